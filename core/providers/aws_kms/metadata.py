"""What DescribeKey tells of where a key lies, and of when it will stop serving by itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from core.providers._troubles import Trouble, utc

DELETING = frozenset({"PendingDeletion", "PendingReplicaDeletion"})


def in_custom_store(metadata: Mapping[str, Any]) -> bool:
    """Whether the key lies in a custom or external key store."""
    return bool(metadata.get("CustomKeyStoreId")) or metadata.get("Origin") in ("AWS_CLOUDHSM", "EXTERNAL_KEY_STORE")


def ends(metadata: Mapping[str, Any]) -> float | None:
    """When the key will stop serving by itself, in seconds since the epoch; None if that is not set."""
    dates = (_seconds(metadata.get("DeletionDate")), _seconds(metadata.get("ValidTo")))
    return min((date for date in dates if date is not None), default=None)


def warnings(metadata: Mapping[str, Any], now: float | None) -> tuple[str, ...]:
    """What the key's owner should know ahead, in sentences.

    Args:
        metadata: Of the key.
        now: The KMS's wall clock, or None if it told none.
    """
    found = (deletion_trouble(metadata), expiry_trouble(metadata, now), key_store_trouble(metadata))
    return tuple(trouble.warning for trouble in found if trouble is not None)


def deletion_trouble(metadata: Mapping[str, Any]) -> Trouble | None:
    """A scheduled deletion; a replica's has no date while it waits for its primary."""
    date = _seconds(metadata.get("DeletionDate"))
    if metadata["KeyState"] not in DELETING and date is None:
        return None
    return Trouble(
        f"the key is to be deleted{'' if date is None else f' on {utc(date)}'}",
        "Cancel the key's deletion (aws kms cancel-key-deletion), then enable it.",
        fatal=True,
    )


def expiry_trouble(metadata: Mapping[str, Any], now: float | None) -> Trouble | None:
    """Imported material that does not last."""
    date = _seconds(metadata.get("ValidTo"))
    if date is None:
        return None
    if now is not None and date <= now:
        return Trouble(f"the key's material expired on {utc(date)}", "Import the key's material again.", fatal=True)
    return Trouble(
        f"the key's material expires on {utc(date)}",
        "Import it again before that, or without an expiry: from then on nothing can be read until you do.",
    )


def key_store_trouble(metadata: Mapping[str, Any]) -> Trouble | None:
    """A key store of the tenant's own, whose outages and withdrawals look alike."""
    if not in_custom_store(metadata):
        return None
    return Trouble(
        "the key lies in a custom or external key store",
        "A withdrawal looks like an outage there, so nothing is served while the store does not answer. Use a key "
        "in AWS KMS itself if outages should be ridden out.",
    )


def _seconds(date: object) -> float | None:
    # The SDK gives instants in this machine's own time zone.
    if not isinstance(date, datetime):
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
