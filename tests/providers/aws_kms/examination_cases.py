"""What can be wrong with a tenant's key, and what its examination must say of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from core.providers.aws_kms.setup_kit import role_policy, trust_policy
from functions.emulators.kms import LOCAL_PRINCIPAL, Fault
from tests.providers.aws_kms.arrangements import (
    ANY_EXTERNAL_ID,
    OURS,
    Arrange,
    bound_to,
    by_policy,
    by_role,
    changed,
    distrusting,
    faulty,
    then,
)
from tests.providers.aws_kms.stage import EXTERNAL_ID, PLATFORM_ACCOUNT, TENANT, missing, unbound, without

# The policy that a published guide to bringing one's own key tells tenants to give to the service, word for word.
PUBLISHED = json.loads("""
{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "kms:Encrypt",
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:GenerateDataKey"
      ],
      "Resource": "arn:aws:kms:*:*:key/*",
      "Condition": {
        "StringEquals": {
          "kms:EncryptionContext:tenant_id": "${aws:RequestedRegion}"
        }
      }
    }
  ]
}
""")
OF_METADATA = ("exists", "enabled", "type", "usage", "key_store", "deletion")
FROM_USE = ("round_trip", "tenant_bound", "rotation", "permissions")
FROM_KEY = ("reachable", *OF_METADATA, *FROM_USE, "describe")


def skipped(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "skip")


@dataclass(frozen=True)
class Case:
    """What is wrong, what does not pass then, and the check whose words must contain a piece of advice."""

    arrange: Arrange
    found: dict[str, str]
    check: str = ""
    words: str = ""


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
    "any external id": Case(distrusting(ANY_EXTERNAL_ID), {"external_id": "fail"}, "external_id", "any other"),
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
        lambda stage: replace(by_policy()(stage), kek=missing(stage.key())),
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
        {"deletion": "warn"},
        "deletion",
        "expires on ",
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
    "no crypto": Case(
        by_policy(policy=without(OURS, "KeysteadCrypto")),
        {"round_trip": "fail", **skipped("tenant_bound")},
        "round_trip",
        LOCAL_PRINCIPAL,
    ),
    "no decrypt": Case(
        by_policy(policy=changed(OURS, Action=["kms:Encrypt"])),
        {"round_trip": "fail", **skipped("tenant_bound")},
        "round_trip",
        "some minutes",
    ),
    "bound to another tenant": Case(
        by_policy(tenant="another"),
        {"round_trip": "fail", **skipped("tenant_bound")},
        "round_trip",
        "kms:EncryptionContext:tenant_id",
    ),
    "bound to the Region": Case(
        by_policy(policy=changed(OURS, Condition=bound_to("${aws:RequestedRegion}"))),
        {"round_trip": "fail", **skipped("tenant_bound")},
        "round_trip",
        "${aws:RequestedRegion}",
    ),
    "the published policy": Case(
        by_role(policy=PUBLISHED),
        {
            "round_trip": "fail",
            "describe": "fail",
            "rotation": "warn",
            **skipped(*OF_METADATA, "tenant_bound"),
        },
        "round_trip",
        "${aws:RequestedRegion}",
    ),
    "not bound": Case(
        by_policy(policy=unbound(OURS)), {"tenant_bound": "fail"}, "tenant_bound", "kms:EncryptionContext:tenant_id"
    ),
    "role not bound": Case(
        by_role(policy=unbound(role_policy(TENANT))), {"tenant_bound": "fail"}, "tenant_bound", "StringEquals"
    ),
    "bound by a wildcard": Case(
        by_policy(policy=changed(OURS, Condition=bound_to(f"{TENANT}*", "StringLike"))), {"tenant_bound": "fail"}
    ),
    "bound if given": Case(
        by_policy(policy=changed(OURS, Condition=bound_to(TENANT, "StringEqualsIfExists"))), {"tenant_bound": "fail"}
    ),
    "only encrypting bound": Case(
        by_policy(
            policy={
                **OURS,
                "Statement": [
                    *changed(OURS, Action=["kms:Encrypt"])["Statement"],
                    {**unbound(OURS)["Statement"][1], "Action": ["kms:Decrypt"]},
                ],
            }
        ),
        {"tenant_bound": "fail"},
        "tenant_bound",
        "other than this tenant's",
    ),
    "unsteady": Case(
        faulty(Fault("Decrypt", code="AccessDeniedException", after=1)),
        {"tenant_bound": "fail"},
        "tenant_bound",
        "unsteady",
    ),
    "no describe": Case(
        by_policy(policy=without(OURS, "KeysteadDescribe")),
        {"describe": "fail", "rotation": "warn", **skipped(*OF_METADATA)},
        "describe",
        "DescribeKey takes no encryption context",
    ),
    "no rotation status": Case(
        by_policy(
            policy={
                **OURS,
                "Statement": [*OURS["Statement"][:2], {**OURS["Statement"][2], "Action": "kms:DescribeKey"}],
            }
        ),
        {"rotation": "warn"},
        "rotation",
        "kms:GetKeyRotationStatus",
    ),
    "too much": Case(
        by_policy(
            policy=changed(OURS, Action=["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant"])
        ),
        {"permissions": "warn"},
        "permissions",
        "permissions beyond need: GenerateDataKey, CreateGrant",
    ),
    "role with too much": Case(
        by_role(policy=changed(role_policy(TENANT), Action=["kms:*"])),
        {"permissions": "warn"},
        "permissions",
        "ReEncrypt",
    ),
}
