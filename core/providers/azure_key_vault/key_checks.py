"""What the newest version of a key tells of its fitness to be a tenant's KEK.

Sources: Azure Key Vault, "About keys" (types, sizes; dates stop wrapping, not unwrapping) and "Soft-delete overview";
Key Vault REST API, ``DeletionRecoveryLevel``; NIST SP 800-57 part 1, table 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from core.providers.azure_key_vault.attributes import RSA_BITS, KeyAttributes
from core.providers.azure_key_vault.calls import Answer
from core.providers.azure_key_vault.checklist import OPERATIONS, Checklist

FITNESS = ("enabled", "type", "size", "key_ops", "validity")
"""Checks without which a round trip makes no sense."""
RSA_TYPES = ("RSA", "RSA-HSM")
AES_TYPE = "oct-HSM"
AES_BITS = 256
RECOMMENDED_BITS = 3072
SHORT_RETENTION = 30
"""Days; a deleted key that is gone after fewer may be gone before its loss is understood."""
RBAC_HEADER = "x-ms-keyvault-rbac-assignment-id"
"""Sent by vaults with Azure RBAC; nothing else on the data plane tells how a vault decides."""
_CREATE = f"Create a key of type RSA or RSA-HSM with {RECOMMENDED_BITS} bits, as in the setup kit."
_PURGE_PROTECTION = (
    "Switch purge protection on: az keyvault update --enable-purge-protection true, or az keyvault update-hsm for a "
    "Managed HSM."
)


def check_key(checks: Checklist, found: KeyAttributes, answer: Answer) -> None:
    """Note what a key tells of itself.

    Args:
        checks: Where to note it.
        found: Of its newest version.
        answer: The same, as the vault told it.
    """
    if found.enabled:
        checks.passed("enabled", "the key's newest version is enabled")
    else:
        checks.failed(
            "enabled",
            "the key's newest version is disabled",
            "Enable it: az keyvault key set-attributes --enabled true.",
        )
    _check_type(checks, found, answer.body["key"])
    missing = [name for name in OPERATIONS if name not in found.operations]
    if missing:
        checks.failed(
            "key_ops",
            f"the key does not permit {' and '.join(missing)}",
            f"Permit both: az keyvault key set-attributes --ops {' '.join(OPERATIONS)}.",
        )
    else:
        checks.passed("key_ops", "the key permits wrapKey and unwrapKey")
    _check_validity(checks, found)
    _check_recovery(checks, answer.body["attributes"])


def check_access_model(checks: Checklist, answer: Answer, *, is_hsm: bool) -> None:
    """Note how the vault decides who may use its keys."""
    if is_hsm:
        checks.passed("access_model", "a Managed HSM has roles of its own")
    elif answer.headers.get(RBAC_HEADER):
        checks.passed("access_model", "the vault decides by roles of Azure RBAC")
    else:
        checks.warned(
            "access_model",
            "the vault does not say that it decides by roles of Azure RBAC, so it seems to have access policies",
            "Move to Azure RBAC when you can: access policies are the older way, and cover all keys of a vault. The "
            "change voids every policy, so assign the role first.",
        )


def _check_type(checks: Checklist, found: KeyAttributes, key: Mapping[str, Any]) -> None:
    if found.type in RSA_TYPES:
        checks.passed("type", f"the key's type is {found.type}")
        _check_rsa_size(checks, found.bits)
    elif found.type == AES_TYPE:
        checks.passed("type", f"the key's type is {found.type}")
        _check_aes_size(checks, key.get("key_size"))
    elif found.type in ("EC", "EC-HSM"):
        checks.failed("type", f"the key's type is {found.type}: elliptic curve keys sign and cannot wrap", _CREATE)
    else:
        checks.failed("type", "the key's type is none of RSA, RSA-HSM and oct-HSM", _CREATE)


def _check_rsa_size(checks: Checklist, bits: int) -> None:
    if bits not in RSA_BITS:
        checks.failed("size", f"the key has {bits or 'an unknown number of'} bits", _CREATE)
    elif bits < RECOMMENDED_BITS:
        # Not a warning: it is safe today, and what will end that is years away and told to everybody. Whoever has to
        # keep to it could do nothing about a warning at each examination.
        checks.passed("size", f"the key has {bits} bits, which serve; for a new key {RECOMMENDED_BITS} are recommended")
    else:
        checks.passed("size", f"the key has {bits} bits")


def _check_aes_size(checks: Checklist, told: object) -> None:
    if type(told) is int and told != AES_BITS:
        fail_aes_size(checks, f"the key has {told} bits")
    elif type(told) is int:
        checks.passed("size", f"the key has {told} bits")
    else:
        checks.passed("size", f"not told of a key of this type, and proved by a round trip that takes {AES_BITS} bits")


def fail_aes_size(checks: Checklist, observed: str) -> None:
    """Note that an AES key has another size than it must have."""
    checks.failed("size", observed, f"Create a key of type {AES_TYPE} with {AES_BITS} bits.")


def _check_validity(checks: Checklist, found: KeyAttributes) -> None:
    begins, ends = found.not_before, found.expires
    if begins is not None and begins > found.now:
        checks.failed(
            "validity",
            f"the key is not valid before {_date(begins)}",
            "Wait until then, or clear its activation date: until then it wraps nothing.",
        )
    elif ends is not None and ends <= found.now:
        checks.failed(
            "validity",
            f"the key expired on {_date(ends)}",
            "Move its expiry date ahead, or clear it, or make a new version: an expired one wraps nothing new.",
        )
    elif ends is not None:
        checks.warned(
            "validity",
            f"the key expires on {_date(ends)}",
            "Make a new version before that, by hand or by a rotation policy: from then on nothing new can be wrapped "
            "under this one, while what it wrapped stays readable.",
        )
    else:
        checks.passed("validity", "the key is valid and does not expire")


def _check_recovery(checks: Checklist, attributes: Mapping[str, Any]) -> None:
    level, days = attributes.get("recoveryLevel"), attributes.get("recoverableDays")
    words = frozenset(level.split("+")) if isinstance(level, str) else frozenset()
    is_short = type(days) is int and days < SHORT_RETENTION
    lasting = f" for {days} days only" if is_short else ""
    if not words & {"Recoverable", "CustomizedRecoverable"}:
        if "Purgeable" not in words:
            checks.warned("recovery", "it is not told whether a deleted key can be recovered", _PURGE_PROTECTION)
        else:
            checks.failed(
                "recovery",
                "soft delete is off: a deleted key is lost at once, and all data under it",
                "Use a vault with soft delete and purge protection; every vault made today has soft delete.",
            )
    elif "Purgeable" in words:
        checks.warned(
            "recovery",
            f"a deleted key can be recovered{lasting}, but also purged, and then all data under it is lost",
            _PURGE_PROTECTION,
        )
    elif is_short:
        checks.warned(
            "recovery",
            f"a deleted key can be recovered{lasting}, and not be purged before",
            "Use a vault that keeps deleted keys for 90 days: the time cannot be changed once a vault is made.",
        )
    else:
        checks.passed("recovery", "a deleted key can be recovered, and not be purged before")


def _date(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (OSError, OverflowError, ValueError):
        return "a date that no calendar has"
