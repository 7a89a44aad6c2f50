"""What a key's metadata says of its fitness to be a tenant's KEK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.providers.aws_kms.calls import Answer
from core.providers.aws_kms.checklist import UNFIT, Checklist, remedy_of
from core.providers.aws_kms.failures import Failure
from core.providers.aws_kms.metadata import deletion_trouble, expiry_trouble, in_custom_store, key_store_trouble
from core.providers.aws_kms.provider import ENABLED

FITNESS = ("enabled", "type", "usage")
"""Checks without which a round trip makes no sense."""
_MEND_STATE = {
    "Disabled": "Enable the key.",
    "PendingDeletion": "Cancel the key's deletion, then enable it.",
    "PendingReplicaDeletion": "Cancel the key's deletion, then enable it.",
    "PendingImport": "Import the key's material.",
    "Unavailable": "Connect the key's custom key store.",
}


def check_metadata(checks: Checklist, metadata: Mapping[str, Any], now: float | None) -> None:
    """Note what DescribeKey told.

    Args:
        checks: Where to note it.
        metadata: Of the key.
        now: The KMS's wall clock, or None if it told none.
    """
    state = metadata["KeyState"]
    if state == ENABLED:
        checks.passed("enabled", "the key is enabled")
    else:
        mend = _MEND_STATE.get(state, "Wait until the key's state is Enabled.")
        checks.failed("enabled", f"the key's state is {state}", mend)
    spec = metadata.get("KeySpec") or metadata.get("CustomerMasterKeySpec") or "not told"
    if metadata.get("KeyManager") == "AWS":
        checks.failed("type", "AWS manages the key: nobody can withdraw it", "Create a customer managed key.")
    elif spec == "SYMMETRIC_DEFAULT":
        checks.passed("type", "the key is symmetric")
    else:
        checks.failed("type", f"the key's spec is {spec}", "Create a symmetric key (SYMMETRIC_DEFAULT).")
    usage = metadata.get("KeyUsage") or "not told"
    if usage == "ENCRYPT_DECRYPT":
        checks.passed("usage", "the key is for encryption")
    else:
        checks.failed("usage", f"the key's usage is {usage}", "Create a key with usage ENCRYPT_DECRYPT.")
    _check_key_store(checks, metadata)
    _check_deletion(checks, metadata, now)


def check_rotation(checks: Checklist, found: Answer | Failure, metadata: Mapping[str, Any]) -> None:
    """Note what GetKeyRotationStatus told.

    Args:
        checks: Where to note it.
        found: Its answer.
        metadata: Of the key; empty if DescribeKey did not tell.
    """
    fixed = _why_fixed(metadata)
    if fixed or (isinstance(found, Failure) and found.code in UNFIT):
        checks.warned(
            "rotation",
            fixed or "AWS KMS does not rotate keys of this kind by itself",
            "Replace the key by a new one from time to time: keystead key replace, with the new one.",
        )
    elif isinstance(found, Failure):
        allow = "Allow kms:GetKeyRotationStatus in the statement that allows kms:DescribeKey."
        seen = f"it cannot be told whether the key rotates ({found.seen})"
        checks.warned("rotation", seen, remedy_of(found, allow))
    elif found["KeyRotationEnabled"]:
        checks.passed("rotation", "the key rotates by itself")
    else:
        primary = _primary_region(metadata)
        where = f" at the primary key in {primary}, which its replicas follow" if primary else ""
        checks.warned(
            "rotation", "the key does not rotate by itself", f"Switch it on{where}: aws kms enable-key-rotation."
        )


def _why_fixed(metadata: Mapping[str, Any]) -> str:
    if in_custom_store(metadata):
        return "AWS KMS does not rotate keys in custom or external key stores"
    if metadata.get("Origin") == "EXTERNAL":
        return "AWS KMS does not rotate imported key material by itself"
    return ""


def _primary_region(metadata: Mapping[str, Any]) -> str:
    """Where the key lies that this one is a replica of; "" for any other key."""
    found = metadata.get("MultiRegionConfiguration") or {}
    return str(found["PrimaryKey"]["Region"]) if found.get("MultiRegionKeyType") == "REPLICA" else ""


def _check_key_store(checks: Checklist, metadata: Mapping[str, Any]) -> None:
    checks.custom_key_store = in_custom_store(metadata)
    trouble = key_store_trouble(metadata)
    if trouble is None:
        checks.passed("key_store", "the key lies in AWS KMS itself")
    else:
        checks.warned("key_store", trouble.observed, trouble.remedy)


def _check_deletion(checks: Checklist, metadata: Mapping[str, Any], now: float | None) -> None:
    trouble = deletion_trouble(metadata) or expiry_trouble(metadata, now)
    if trouble is None:
        checks.passed("deletion", "no deletion is scheduled, and the key does not expire")
    else:
        note = checks.failed if trouble.fatal else checks.warned
        note("deletion", trouble.observed, trouble.remedy)
