"""Permissions beyond need: what is tried, and what can be seen of it."""

from __future__ import annotations

from typing import Any

import pytest

from core.domain.checks import Check
from core.domain.kek import KeyAccess
from core.providers.aws_kms.setup_kit import role_policy
from functions.emulators.kms import LOCAL_ACCESS_KEY_ID, LOCAL_PRINCIPAL, LOCAL_SECRET_ACCESS_KEY
from tests.providers.aws_kms.arrangements import OURS, by_policy, by_role, changed
from tests.providers.aws_kms.stage import CONTEXT, TENANT, Stage

LEAST: dict[str, Any] = {
    "keystead": {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey", "kms:GetKeyRotationStatus"],
                "Resource": "*",
            },
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"},
        ],
    }
}
SEEN = "only what it and the operator's own policies both allow is seen"
EVERY = (
    *("GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPair"),
    *("GenerateDataKeyPairWithoutPlaintext", "CreateGrant", "ReEncrypt"),
)


def permissions(stage: Stage, access: KeyAccess) -> Check:
    return next(check for check in stage.kms.examine(access, CONTEXT).checks if check.name == "permissions")


def with_more(*actions: str, condition: dict[str, Any] | None = None) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"AWS": LOCAL_PRINCIPAL}, "Action": list(actions), "Resource": "*"}
    return {**OURS, "Statement": [*OURS["Statement"], {**statement, "Condition": condition or {}}]}


@pytest.mark.parametrize("operation", ["GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext", "GenerateDataKey"])
def test_each_operation_is_tried(stage: Stage, operation: str) -> None:
    found = permissions(stage, by_policy(policy=with_more(f"kms:{operation}"))(stage))
    assert (found.result.value, found.observed.split(";")[0]) == ("warn", f"permissions beyond need: {operation}")


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"Null": {"kms:GrantConstraintType": "true"}},
        {"Null": {"kms:GrantConstraintType": "false"}},
        {"StringEquals": {"kms:GrantConstraintType": "EncryptionContextEquals"}},
        *(
            {"ForAllValues:StringEquals": {"kms:GrantOperations": operations}}
            for operations in (["Encrypt"], ["Decrypt"], ["DescribeKey"], ["GenerateDataKey"], ["CreateGrant"])
        ),
    ],
)
def test_grants_of_any_kind_are_tried(stage: Stage, condition: dict[str, Any]) -> None:
    access = by_policy(policy=with_more("kms:CreateGrant", condition=condition))(stage)
    found = permissions(stage, access)
    assert (found.result.value, found.observed.split(";")[0]) == ("warn", "permissions beyond need: CreateGrant")
    assert not stage.emulator.key(access.kek.locator).grants


def test_what_was_tried_is_told(stage: Stage) -> None:
    found = permissions(stage, by_role()(stage))
    assert found.result.value == "pass"
    assert found.observed == f"dry runs of {', '.join(EVERY)} are refused"


def test_a_platform_that_may_little_sees_little(stage: Stage) -> None:
    """The tenant's policy is far too wide, and yet nothing of it shows: that is said."""
    stage.emulator.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL, LEAST)
    found = permissions(stage, by_policy(policy=changed(OURS, Action=["kms:*"]))(stage))
    assert found.result.value == "pass"
    assert SEEN in found.observed


def test_by_a_role_the_platforms_own_permissions_hide_nothing(stage: Stage) -> None:
    stage.emulator.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL, LEAST)
    found = permissions(stage, by_role(policy=changed(role_policy(TENANT), Action=["kms:*"]))(stage))
    assert found.result.value == "warn"
    assert found.observed == f"permissions beyond need: {', '.join(EVERY)}"


def test_a_platform_that_may_little_can_do_its_work(stage: Stage) -> None:
    stage.emulator.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL, LEAST)
    for arrange in (by_policy(), by_role()):
        report = stage.kms.examine(arrange(stage), CONTEXT)
        assert {check.result.value for check in report.checks} == {"pass"}
