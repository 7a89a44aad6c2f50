"""What an examination tells of a key that does not let its examiner in: nothing, not even whether there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.providers.aws_kms.setup_kit import key_policy
from functions.emulators.kms import CUSTOMER_ACCOUNT, LOCAL_PRINCIPAL, Fault
from tests.providers.aws_kms.arrangements import OURS
from tests.providers.aws_kms.stage import CONTEXT, Stage, missing, without

VICTIMS = key_policy("aws", CUSTOMER_ACCOUNT, LOCAL_PRINCIPAL, "victim")
KeyMaker = Callable[[Stage], str]


def then(act: Callable[[Any, str], object], **key: Any) -> KeyMaker:
    def made(stage: Stage) -> str:
        arn = stage.key(policy=VICTIMS, **key)
        act(stage.emulator, arn)
        return arn

    return made


def nothing(_emulator: Any, _arn: str) -> None:
    """As it was made."""


KEYS: dict[str, KeyMaker] = {
    "another tenant's": then(nothing),
    "disabled": then(lambda emulator, arn: emulator.disable_key(arn)),
    "pending deletion": then(lambda emulator, arn: emulator.schedule_key_deletion(arn)),
    "deleted": then(lambda emulator, arn: emulator.delete_key(arn)),
    "without rotation": then(nothing, rotation=False),
    "in a custom key store": then(nothing, origin="AWS_CLOUDHSM", custom_key_store_id="cks-1"),
    "asymmetric": then(nothing, spec="RSA_2048"),
    "for signing": then(nothing, spec="RSA_2048", usage="SIGN_VERIFY"),
    "with more permissions": then(
        lambda emulator, arn: emulator.put_key_policy(
            arn,
            {
                **VICTIMS,
                "Statement": [
                    *VICTIMS["Statement"],
                    {"Effect": "Allow", "Principal": {"AWS": LOCAL_PRINCIPAL}, "Action": "kms:CreateGrant"}
                    | {"Resource": "*"},
                ],
            },
        )
    ),
    "not this service's": lambda stage: stage.emulator.create_key(),
}


def told(stage: Stage, arn: str) -> list[tuple[str, str, str, str]]:
    report = stage.kms.examine(stage.access(arn), CONTEXT)
    assert not report.ok
    assert not report.custom_key_store
    return [(check.name, check.result.value, check.observed, check.remedy) for check in report.checks]


@pytest.mark.parametrize("kind", KEYS)
def test_every_key_looks_like_none(stage: Stage, kind: str) -> None:
    nobodys = told(stage, missing(stage.key()).locator)
    assert told(stage, KEYS[kind](stage)) == nobodys
    words = {name: f"{observed} {remedy}" for name, _, observed, remedy in nobodys}
    assert "AWS refuses, or there is no such key" in words["round_trip"]
    assert "operator's own role may lack the permission, or the ARN may name no key" in words["round_trip"]
    assert "told only to whom the key lets in" in words["exists"]


def test_only_using_the_key_is_tried_then(stage: Stage) -> None:
    arn = KEYS["another tenant's"](stage)
    stage.emulator.clear_calls()
    told(stage, arn)
    assert stage.made() == ["GetCallerIdentity", "Encrypt", "Encrypt"]


@pytest.mark.parametrize("code", ["ValidationException", "SomethingNewException"])
def test_an_unforeseen_refusal_lets_nobody_in(stage: Stage, code: str) -> None:
    stage.emulator.add_fault(Fault("Encrypt", code=code))
    found = {name: (result, observed) for name, result, observed, _ in told(stage, stage.key())}
    assert found["exists"][0] == "skip"
    assert found["round_trip"] == ("fail", f"Encrypt: {code}")


def test_a_role_may_know_its_accounts_keys(stage: Stage) -> None:
    """It lies in the tenant's own account, and opens to the tenant's external id only."""
    arn = stage.role_key(rotation=False)
    stage.role([arn], tenant="another")
    report = stage.kms.examine(stage.role_access(arn), CONTEXT)
    found = {check.name: check.result.value for check in report.checks}
    assert (found["exists"], found["round_trip"], found["rotation"]) == ("pass", "fail", "warn")


@pytest.mark.parametrize(
    ("act", "check", "words"),
    [
        (lambda emulator, arn: emulator.disable_key(arn), "enabled", "state is Disabled"),
        (lambda emulator, arn: emulator.schedule_key_deletion(arn), "deletion", "is to be deleted"),
        (lambda emulator, arn: emulator.set_key_state(arn, "PendingImport"), "enabled", "PendingImport"),
    ],
)
def test_whom_the_key_lets_in_is_told_its_state(
    stage: Stage, act: Callable[[Any, str], object], check: str, words: str
) -> None:
    arn = stage.key()
    act(stage.emulator, arn)
    assert [words in observed for name, _, observed, _ in told(stage, arn) if name == check] == [True]


def test_a_policy_that_lets_in_no_tenant_is_explained_in_full(stage: Stage) -> None:
    policy = without(OURS, "KeysteadCrypto", "KeysteadDescribe")
    policy["Statement"].append(
        {
            "Effect": "Allow",
            "Principal": {"AWS": LOCAL_PRINCIPAL},
            "Action": ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"],
            "Resource": "arn:aws:kms:*:*:key/*",
            "Condition": {"StringEquals": {"kms:EncryptionContext:tenant_id": "${aws:RequestedRegion}"}},
        }
    )
    found = {name: (result, remedy) for name, result, _, remedy in told(stage, stage.key(policy=policy))}
    assert {name for name, (result, _) in found.items() if result == "fail"} == {"round_trip", "describe"}
    assert "${aws:RequestedRegion}" in found["round_trip"][1]
    assert "DescribeKey takes no encryption context" in found["describe"][1]
