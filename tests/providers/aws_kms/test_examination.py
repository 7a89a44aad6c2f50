"""Examinations: good keys pass, and each fault fails its own check, with a remedy that names it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.domain.checks import Report
from core.errors import InvalidRequest
from core.providers.aws_kms.checklist import NAMES, Checklist
from core.providers.aws_kms.failures import Failure, Kind
from core.providers.aws_kms.key_checks import check_metadata, check_rotation
from core.providers.aws_kms.setup_kit import role_policy
from functions.emulators.kms import Fault
from tests.providers.aws_kms.arrangements import by_policy, by_role, changed
from tests.providers.aws_kms.cases import Case
from tests.providers.aws_kms.examination_cases import CASES
from tests.providers.aws_kms.stage import CONTEXT, TENANT, Stage


def results(report: Report) -> dict[str, str]:
    """What did not simply pass."""
    return {check.name: check.result.value for check in report.checks if check.result.value != "pass"}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_examination(stage: Stage, case: Case) -> None:
    access = case.arrange(stage)
    report = stage.kms.examine(access, CONTEXT)
    assert tuple(check.name for check in report.checks) == NAMES
    assert results(report) == case.found
    assert report.ok == (not {"fail", "skip"} & {*case.found.values()})
    assert report.custom_key_store == (case.found.get("key_store") == "warn")
    found = {check.name: check for check in report.checks}
    if case.check:
        assert case.words in f"{found[case.check].observed} {found[case.check].remedy}"
    for check in report.checks:
        assert check.observed
        assert bool(check.remedy) == (check.result.value in ("warn", "fail"))


def test_an_examination_changes_nothing(stage: Stage) -> None:
    access = by_role(policy=changed(role_policy(TENANT), Action=["kms:*"]))(stage)
    stage.kms.examine(access, CONTEXT)
    assert not stage.emulator.key(access.kek.locator).grants
    assert "CreateGrant" in stage.made()
    made = [call for call in stage.emulator.calls if call.operation == "CreateGrant"]
    assert {call.outcome_code for call in made} == {"DryRunOperationException"}


def test_an_examination_leaves_no_session_behind(stage: Stage) -> None:
    access = replace(by_role()(stage), lease=3600)
    stage.kms.examine(access, CONTEXT)
    stage.emulator.clear_calls()
    stage.kms.connect(access).describe(access.kek)
    assert stage.made() == ["AssumeRole", "DescribeKey"]


@pytest.mark.parametrize("locator", ["arn:aws:kms:eu-central-1:111122223333:alias/byok", "local:platform", ""])
def test_what_is_no_key_of_aws(stage: Stage, locator: str) -> None:
    with pytest.raises(InvalidRequest):
        stage.kms.examine(stage.access(locator), CONTEXT)


def test_an_examination_of_a_kms_that_hangs_ends(stage: Stage) -> None:
    access = by_policy()(stage)
    stage.emulator.add_fault(Fault("DescribeKey", hang=True))
    assert results(stage.kms.examine(access, CONTEXT))["reachable"] == "fail"


NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIT = {"KeyState": "Enabled", "KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT", "Origin": "EXTERNAL"}


@pytest.mark.parametrize(
    ("metadata", "now", "deletion", "observed"),
    [
        ({}, NOW, "pass", "does not expire"),
        ({"ValidTo": NOW + timedelta(days=1)}, NOW, "warn", "expires on 2026-03-02 12:00 UTC"),
        ({"ValidTo": NOW - timedelta(seconds=1)}, NOW, "fail", "expired on 2026-03-01 11:59 UTC"),
        ({"ValidTo": NOW - timedelta(seconds=1)}, None, "warn", "expires on 2026-03-01 11:59 UTC"),
        ({"KeyState": "PendingReplicaDeletion"}, NOW, "fail", "is to be deleted"),
        ({"DeletionDate": NOW}, NOW, "fail", "is to be deleted on 2026-03-01 12:00 UTC"),
    ],
)
def test_deletion_and_expiry(metadata: dict[str, Any], now: datetime | None, deletion: str, observed: str) -> None:
    checks = Checklist()
    check_metadata(checks, {**FIT, **metadata}, None if now is None else now.timestamp())
    found = next(check for check in checks.report().checks if check.name == "deletion")
    assert found.result.value == deletion
    assert found.observed.endswith(observed)


REPLICA = {"MultiRegionKeyType": "REPLICA", "PrimaryKey": {"Region": "us-east-1"}}
PRIMARY = {**REPLICA, "MultiRegionKeyType": "PRIMARY"}
ON, OFF = {"KeyRotationEnabled": True}, {"KeyRotationEnabled": False}
NEVER = Failure(Kind.DENIAL, "GetKeyRotationStatus", "x", "unknown", "UnsupportedOperationException")
REFUSED = Failure(Kind.DENIAL, "GetKeyRotationStatus", "x", "policy", "AccessDeniedException")
DISABLED = Failure(Kind.STATE, "GetKeyRotationStatus", "x", "disabled", "DisabledException")


@pytest.mark.parametrize(
    ("metadata", "found", "rotation", "words"),
    [
        ({}, ON, "pass", "rotates"),
        ({}, OFF, "warn", "Switch it on: aws kms enable-key-rotation"),
        ({}, REFUSED, "warn", "kms:GetKeyRotationStatus"),
        ({}, DISABLED, "warn", "Enable the key"),
        ({}, NEVER, "warn", "Replace the key"),
        ({"MultiRegionConfiguration": PRIMARY}, OFF, "warn", "Switch it on: "),
        ({"MultiRegionConfiguration": REPLICA}, ON, "pass", "rotates"),
        ({"MultiRegionConfiguration": REPLICA}, OFF, "warn", "Switch it on at the primary key in us-east-1"),
        ({"Origin": "EXTERNAL"}, OFF, "warn", "imported key material"),
        ({"Origin": "EXTERNAL"}, REFUSED, "warn", "imported key material"),
        ({"Origin": "AWS_CLOUDHSM"}, NEVER, "warn", "custom or external key stores"),
        ({"Origin": "EXTERNAL_KEY_STORE"}, OFF, "warn", "custom or external key stores"),
        ({"CustomKeyStoreId": "cks-1"}, OFF, "warn", "custom or external key stores"),
    ],
)
def test_rotation(metadata: dict[str, Any], found: Any, rotation: str, words: str) -> None:
    checks = Checklist()
    check_rotation(checks, found, metadata)
    told = next(check for check in checks.report().checks if check.name == "rotation")
    assert told.result.value == rotation
    assert words in f"{told.observed} {told.remedy}"
    # KMS refuses to rotate what it did not make.
    assert ("enable-key-rotation" in told.remedy) == (found == OFF and not {*metadata} & {"Origin", "CustomKeyStoreId"})
