"""What a key tells of its dates, and of what becomes of it once it is deleted.

Sources: Azure Key Vault, "About keys" (dates stop wrapping, not unwrapping) and "Soft-delete overview"; Key Vault REST
API, ``DeletionRecoveryLevel``.
"""

from __future__ import annotations

from core.providers._troubles import Trouble, utc
from core.providers.azure_key_vault.attributes import KeyAttributes

SHORT_RETENTION = 30
"""Days; a deleted key that is gone after fewer may be gone before its loss is understood."""
_RECOVERABLE, _PURGEABLE = frozenset({"Recoverable", "CustomizedRecoverable"}), "Purgeable"
_PURGE_PROTECTION = (
    "Switch purge protection on: az keyvault update --enable-purge-protection true, or az keyvault update-hsm for a "
    "Managed HSM."
)


def warnings(found: KeyAttributes) -> tuple[str, ...]:
    """What the key's owner should know ahead, in sentences."""
    troubles = [validity_trouble(found)]
    if found.recovery_words & (_RECOVERABLE | {_PURGEABLE}):
        # What is not told of recovery is a matter for the examination; nobody could end such a warning.
        troubles.append(recovery_trouble(found))
    return tuple(trouble.warning for trouble in troubles if trouble is not None)


def validity_trouble(found: KeyAttributes) -> Trouble | None:
    """Dates that stop, or will stop, new wraps."""
    begins, ends = found.not_before, found.expires
    if begins is not None and begins > found.now:
        return Trouble(
            f"the key is not valid before {utc(begins)}",
            "Wait until then, or clear its activation date: until then it wraps nothing.",
            fatal=True,
        )
    if ends is not None and ends <= found.now:
        return Trouble(
            f"the key expired on {utc(ends)}",
            "Move its expiry date ahead, or clear it, or make a new version: an expired one wraps nothing new.",
            fatal=True,
        )
    if ends is not None:
        return Trouble(
            f"the key expires on {utc(ends)}",
            "Make a new version before that, by hand or by a rotation policy: from then on nothing new can be wrapped "
            "under this one, while what it wrapped stays readable.",
        )
    return None


def recovery_trouble(found: KeyAttributes) -> Trouble | None:
    """What may become of a key that somebody deletes."""
    words, days = found.recovery_words, found.recoverable_days
    is_short = days is not None and days < SHORT_RETENTION
    lasting = f" for {days} days only" if is_short else ""
    if not words & _RECOVERABLE:
        if _PURGEABLE not in words:
            return Trouble("it is not told whether a deleted key can be recovered", _PURGE_PROTECTION)
        return Trouble(
            "soft delete is off: a deleted key is lost at once, and all data under it",
            "Use a vault with soft delete and purge protection; every vault made today has soft delete.",
            fatal=True,
        )
    if _PURGEABLE in words:
        return Trouble(
            f"a deleted key can be recovered{lasting}, but also purged, and then all data under it is lost",
            _PURGE_PROTECTION,
        )
    if is_short:
        return Trouble(
            f"a deleted key can be recovered{lasting}, and not be purged before",
            "Use a vault that keeps deleted keys for 90 days: the time cannot be changed once a vault is made.",
        )
    return None
