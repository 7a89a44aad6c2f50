"""What can be wrong with a tenant's account, role and key, and what its examination must say of it."""

from __future__ import annotations

from dataclasses import replace

from core.providers.aws_kms.setup_kit import trust_policy
from functions.emulators.kms import LOCAL_PRINCIPAL, Fault
from tests.providers.aws_kms.arrangements import (
    ANY_EXTERNAL_ID,
    by_policy,
    by_role,
    distrusting,
    faulty,
    then,
)
from tests.providers.aws_kms.cases import FROM_KEY, FROM_USE, NOT_LET_IN, OF_METADATA, Case, skipped
from tests.providers.aws_kms.policy_cases import POLICY_CASES
from tests.providers.aws_kms.stage import EXTERNAL_ID, PLATFORM_ACCOUNT, missing, unbound

CASES: dict[str, Case] = {
    "good key policy": Case(by_policy(), {}),
    "good role": Case(by_role(), {}),
    "not rotating": Case(by_policy(rotation=False), {"rotation": "warn"}, "rotation", "enable-key-rotation"),
    "own account": Case(
        by_policy(account=PLATFORM_ACCOUNT),
        {"account": "fail", **skipped("region", "role", "external_id", *FROM_KEY)},
        "account",
        "platform",
    ),
    "role in our own account": Case(
        lambda stage: replace(by_role()(stage), role_arn=f"arn:aws:iam::{PLATFORM_ACCOUNT}:role/r"),
        {"account": "fail", **skipped("region", "role", "external_id", *FROM_KEY)},
        "account",
        "the role",
    ),
    "another Region": Case(
        by_policy(region="eu-west-1"),
        {"region": "fail", **skipped("role", "external_id", *FROM_KEY)},
        "region",
        "eu-central-1",
    ),
    "own credentials": Case(
        faulty(Fault("GetCallerIdentity", code="InvalidClientTokenId")),
        {"identity": "fail", **skipped("account", "region", "role", "external_id", *FROM_KEY)},
        "identity",
        "operator",
    ),
    "no external id": Case(
        lambda stage: replace(by_role()(stage), external_id=""),
        {"external_id": "fail", **skipped("role", *FROM_KEY)},
        "external_id",
        "operator",
    ),
    "no trust": Case(
        distrusting(trust_policy(LOCAL_PRINCIPAL.replace("keystead", "other"), EXTERNAL_ID)),
        {"role": "fail", **skipped("external_id", *FROM_KEY)},
        "role",
        LOCAL_PRINCIPAL,
    ),
    "another external id": Case(
        distrusting(trust_policy(LOCAL_PRINCIPAL, "another")),
        {"role": "fail", **skipped("external_id", *FROM_KEY)},
        "role",
        "sts:ExternalId",
    ),
    "external id not demanded": Case(
        distrusting(unbound(trust_policy(LOCAL_PRINCIPAL, EXTERNAL_ID))),
        {"external_id": "fail"},
        "external_id",
        "sts:ExternalId",
    ),
    "any external id": Case(distrusting(ANY_EXTERNAL_ID), {"external_id": "fail"}, "external_id", "StringEquals"),
    "STS silent": Case(
        faulty(Fault("AssumeRole", reset=True), by_role()),
        {"role": "fail", **skipped("external_id", *FROM_KEY)},
        "role",
        "again later",
    ),
    "STS silent later": Case(
        faulty(Fault("AssumeRole", code="Throttling", after=1, times=6), by_role()),
        {"external_id": "fail"},
        "external_id",
        "could not be told",
    ),
    "KMS silent": Case(
        faulty(Fault("DescribeKey", reset=True)),
        {"reachable": "fail", **skipped(*OF_METADATA, *FROM_USE, "describe")},
        "reachable",
        "again later",
    ),
    "missing": Case(
        lambda stage: replace(by_policy()(stage), kek=missing(stage.key())), NOT_LET_IN, "round_trip", "no such key"
    ),
    "missing, by a role": Case(
        lambda stage: replace(by_role()(stage), kek=missing(stage.key())),
        {"exists": "fail", **skipped(*OF_METADATA[1:], *FROM_USE, "describe")},
        "exists",
        "ARN",
    ),
    "disabled": Case(
        then(by_policy(), lambda stage, arn: stage.emulator.disable_key(arn)),
        {"enabled": "fail", **skipped(*FROM_USE)},
        "enabled",
        "Enable the key",
    ),
    "pending deletion": Case(
        then(by_policy(), lambda stage, arn: stage.emulator.schedule_key_deletion(arn)),
        {"enabled": "fail", "deletion": "fail", **skipped(*FROM_USE)},
        "deletion",
        "cancel-key-deletion",
    ),
    "material gone": Case(
        then(by_policy(origin="EXTERNAL"), lambda stage, arn: stage.emulator.set_key_state(arn, "PendingImport")),
        {"enabled": "fail", **skipped(*FROM_USE)},
        "enabled",
        "Import",
    ),
    "material that expires": Case(
        then(
            by_policy(origin="EXTERNAL"),
            lambda stage, arn: stage.emulator.set_valid_to(arn, stage.clock.wall() + 86400),
        ),
        {"deletion": "warn", "rotation": "warn"},
        "deletion",
        "expires on ",
    ),
    "managed by AWS": Case(
        by_policy(manager="AWS"),
        {"type": "fail", **skipped(*FROM_USE)},
        "type",
        "customer managed",
    ),
    "asymmetric": Case(
        by_policy(spec="RSA_2048", rotation=False),
        {"type": "fail", **skipped(*FROM_USE)},
        "type",
        "SYMMETRIC_DEFAULT",
    ),
    "for signing": Case(
        by_policy(spec="RSA_2048", usage="SIGN_VERIFY", rotation=False),
        {"type": "fail", "usage": "fail", **skipped(*FROM_USE)},
        "usage",
        "ENCRYPT_DECRYPT",
    ),
    "custom key store": Case(
        by_policy(custom_key_store_id="cks-1", origin="AWS_CLOUDHSM", rotation=False),
        {"key_store": "warn", "rotation": "warn"},
        "key_store",
        "outage",
    ),
    "external key store": Case(
        by_policy(custom_key_store_id="cks-1", origin="EXTERNAL_KEY_STORE", rotation=False),
        {"key_store": "warn", "rotation": "warn"},
        "key_store",
        "outage",
    ),
    **POLICY_CASES,
}
