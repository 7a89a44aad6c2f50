"""What `describe` tells of a key in AWS KMS before it stops serving."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from core.domain.kek import Kek, KekDescription
from core.providers.aws_kms.metadata import ends, warnings
from tests.providers.aws_kms.stage import CONTEXT, Stage

DAY = 86_400.0
NOON = 1_900_000_800.0
SAID = "2030-03-17 18:00 UTC"
"""The same for people."""


def described(stage: Stage, arn: str) -> KekDescription:
    return stage.kms.connect(stage.access(arn)).describe(Kek(arn))


@pytest.fixture(params=["UTC", "Asia/Kathmandu"])
def time_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """This machine's own time zone, which the SDK gives instants in."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_a_key_without_an_end_has_no_warnings(stage: Stage) -> None:
    found = described(stage, stage.key())
    assert (found.enabled, found.cause, found.warnings, found.ends) == (True, "", (), None)


@pytest.mark.usefixtures("time_zone")
def test_material_that_expires(stage: Stage) -> None:
    arn = stage.key(origin="EXTERNAL")
    assert described(stage, arn).ends is None
    stage.emulator.set_valid_to(arn, NOON)
    found = described(stage, arn)
    assert (found.enabled, found.cause, found.ends) == (True, "", NOON)
    (warning,) = found.warnings
    assert f"material expires on {SAID}." in warning
    assert "Import it again before that" in warning
    checks = {check.name: check for check in stage.kms.examine(stage.access(arn), CONTEXT).checks}
    assert (checks["deletion"].result.value, SAID in checks["deletion"].observed) == ("warn", True)


def test_material_that_has_expired(stage: Stage) -> None:
    arn = stage.key(origin="EXTERNAL")
    stage.emulator.expire_material(arn)
    found = described(stage, arn)
    assert (found.enabled, found.detail, found.cause, found.ends) == (False, "PendingImport", "disabled", None)


@pytest.mark.usefixtures("time_zone")
def test_a_scheduled_deletion(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.emulator, "now", lambda: NOON - 7 * DAY)
    arn = stage.key()
    stage.emulator.schedule_key_deletion(arn, days=7)
    found = described(stage, arn)
    assert (found.enabled, found.detail, found.cause, found.ends) == (
        False,
        "PendingDeletion",
        "pending_deletion",
        NOON,
    )
    (warning,) = found.warnings
    assert f"to be deleted on {SAID}." in warning
    assert "cancel-key-deletion" in warning
    stage.emulator.cancel_key_deletion(arn)
    again = described(stage, arn)
    assert (again.cause, again.warnings, again.ends) == ("disabled", (), None)


def test_a_key_store_of_the_tenants_own(stage: Stage) -> None:
    found = described(stage, stage.key(origin="AWS_CLOUDHSM", custom_key_store_id="cks-1"))
    assert (found.enabled, found.ends) == (True, None)
    (warning,) = found.warnings
    assert "A withdrawal looks like an outage there" in warning


def test_a_disabled_key_has_a_cause(stage: Stage) -> None:
    arn = stage.key()
    stage.emulator.disable_key(arn)
    found = described(stage, arn)
    assert (found.enabled, found.cause, found.warnings) == (False, "disabled", ())


AWARE, NAIVE = datetime.fromtimestamp(NOON, UTC), datetime.fromtimestamp(NOON, UTC).replace(tzinfo=None)
LATER = datetime.fromtimestamp(NOON + DAY, UTC)


@pytest.mark.parametrize(
    ("metadata", "words", "end"),
    [
        ({}, [], None),
        ({"ValidTo": AWARE}, [f"expires on {SAID}"], NOON),
        ({"ValidTo": NAIVE}, [f"expires on {SAID}"], NOON),
        ({"ValidTo": "2030-03-17"}, [], None),
        ({"DeletionDate": 1.0}, [], None),
        ({"ValidTo": datetime.fromtimestamp(NOON - 2 * DAY, UTC)}, ["expired on 2030-03-15"], NOON - 2 * DAY),
        ({"ValidTo": LATER, "DeletionDate": AWARE}, [f"deleted on {SAID}", "expires on 2030-03-18"], NOON),
        ({"ValidTo": AWARE, "DeletionDate": LATER}, ["deleted on 2030-03-18", f"expires on {SAID}"], NOON),
        ({"KeyState": "PendingReplicaDeletion"}, ["The key is to be deleted."], None),
        ({"Origin": "EXTERNAL_KEY_STORE"}, ["custom or external key store"], None),
    ],
)
def test_metadata(metadata: dict[str, Any], words: list[str], end: float | None) -> None:
    given = {"KeyState": "Enabled", **metadata}
    found = warnings(given, NOON - DAY)
    assert len(found) == len(words)
    assert [part in whole for part, whole in zip(words, found, strict=True)] == [True] * len(words)
    assert ends(given) == end


def test_without_the_clouds_time_nothing_has_expired() -> None:
    metadata = {"KeyState": "Enabled", "ValidTo": AWARE}
    assert "expires on" in warnings(metadata, None)[0]
    assert "expired on" in warnings(metadata, NOON)[0]
