"""Which policies pass as bound to the tenant: those that let nobody else's contexts through, however written."""

from __future__ import annotations

from typing import Any

import pytest

from core.providers.aws_kms.probes import foreign_contexts
from core.providers.aws_kms.setup_kit import key_policy, trust_policy
from core.providers.aws_kms.trust import wrong_external_ids
from functions.emulators.kms import CUSTOMER_ACCOUNT, LOCAL_PRINCIPAL
from tests.providers.aws_kms.arrangements import bound_to, changed
from tests.providers.aws_kms.stage import CONTEXT, ROLE, Stage

LONG = "customer-europe-production-eu-central-1-blue"
ID = "kms:EncryptionContext:tenant_id"
KEYS = "kms:EncryptionContextKeys"
OTHER = "kms:EncryptionContext:branch-key-id"


def check_of(stage: Stage, tenant: str, condition: dict[str, Any]) -> str:
    policy = changed(key_policy("aws", CUSTOMER_ACCOUNT, LOCAL_PRINCIPAL, tenant), Condition=condition)
    access = stage.access(stage.emulator.create_key(policy=policy), tenant=tenant)
    report = stage.kms.examine(access, {**CONTEXT, "tenant_id": tenant})
    found = {check.name: check.result.value for check in report.checks}
    assert found["round_trip"] == "pass"
    return found["tenant_bound"]


@pytest.mark.parametrize(
    ("tenant", "pattern"),
    [
        (LONG, "customer-europe-production-eu-central-1-*"),
        (LONG, "customer-europe-production-eu-central-1-blu?"),
        (LONG, f"{LONG}*"),
        (LONG, f"*{LONG}"),
        (LONG, "customer-*-production-eu-central-1-blue"),
        (LONG, "customer-europe-production-eu-central-*-blue"),
        ("acme", "acme*"),
        ("acme", "acm?"),
        ("acme", "?cme"),
        ("acme", "a?me"),
        ("acme", "ac?e"),
        ("customer-blue-16", "customer-blu?-16"),
        ("acme", "a*e"),
        ("acme", "????"),
        ("acme-eu", "*-eu"),
        ("acme-eu", "acme-*"),
        ("a", "?"),
        ("x", "?"),
        ("a" * 63, "a" * 62 + "?"),
    ],
)
def test_wildcards(stage: Stage, tenant: str, pattern: str) -> None:
    assert check_of(stage, tenant, bound_to(pattern, "StringLike")) == "fail"
    assert check_of(stage, tenant, bound_to(tenant, "StringLike")) == "pass"


@pytest.mark.parametrize(
    ("condition", "result"),
    [
        ({"StringEquals": {ID: "acme", "kms:EncryptionContext:type": "branch:ACTIVE"}}, "pass"),
        ({"StringEqualsIgnoreCase": {ID: "ACME"}}, "pass"),
        ({"ForAllValues:StringEquals": {ID: "acme"}}, "fail"),
        ({"ForAnyValue:StringEquals": {KEYS: ["tenant_id"]}}, "fail"),
        ({"Null": {ID: "false"}}, "fail"),
        ({"StringNotEquals": {ID: "globex"}}, "fail"),
        ({"StringEqualsIfExists": {ID: "acme"}}, "fail"),
        ({"StringEqualsIfExists": {ID: "acme"}, "Null": {OTHER: "false"}}, "fail"),
        ({"StringEqualsIfExists": {ID: "acme"}, "ForAnyValue:StringEquals": {KEYS: ["branch-key-id"]}}, "fail"),
        ({"StringEqualsIfExists": {ID: "acme"}, "StringEquals": {OTHER: "bk-1"}}, "fail"),
    ],
)
def test_conditions(stage: Stage, condition: dict[str, Any], result: str) -> None:
    assert check_of(stage, "acme", condition) == result


@pytest.mark.parametrize("tenant", ["a", "x", "acme", "-".join("a" * 32), LONG])
def test_foreign_contexts_are_foreign_and_few(tenant: str) -> None:
    own = {**CONTEXT, "tenant_id": tenant}
    found = [*foreign_contexts(own)]
    assert own not in found
    assert {} in found
    assert {name: value for name, value in CONTEXT.items() if name != "tenant_id"} in found
    assert len(found) <= 30
    assert len({tuple(context.items()) for context in found}) == len(found)


# The same for a role's external id: the service makes them all alike.

OWN = f"keystead-{'0123456789abcdef' * 3}"


@pytest.mark.parametrize(
    "pattern",
    [
        *("*", "keystead-*", f"keystead-{'?' * 48}", f"{OWN}*", f"{OWN[:-1]}?", f"{OWN[:-1]}*", f"*{OWN}"),
        *(f"*{OWN[1:]}", f"{OWN[:20]}*{OWN[-20:]}", f"{OWN[:12]}*", f"{OWN[:28]}?{OWN[29:]}"),
    ],
)
def test_external_ids_with_wildcards(stage: Stage, pattern: str) -> None:
    arn = stage.role_key()
    stage.role([arn], external_id=OWN)
    for condition, result in (({"StringLike": {"sts:ExternalId": pattern}}, "fail"), (None, "pass")):
        trust = trust_policy(LOCAL_PRINCIPAL, OWN)
        if condition is not None:
            trust["Statement"][0]["Condition"] = condition
        stage.emulator.update_trust_policy(ROLE, trust)
        report = stage.kms.examine(stage.role_access(arn, external_id=OWN), CONTEXT)
        assert {check.name: check.result.value for check in report.checks}["external_id"] == result


@pytest.mark.parametrize("own", [OWN, "xid-CANARY-9f3f31dee6915899", "no-tail-z", "a", "b"])
def test_wrong_external_ids_are_wrong(own: str) -> None:
    found = wrong_external_ids(own)
    assert own not in found
    assert None in found
    assert len({len(other) for other in found if other}) > 1


def test_one_wrong_external_id_is_like_every_other_tenants() -> None:
    alike = [other for other in wrong_external_ids(OWN) if other and len(other) == len(OWN)]
    assert any(other.startswith("keystead-") and other[9:20] != OWN[9:20] for other in alike)
