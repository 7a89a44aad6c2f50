"""What a tenant does about a denial, by its cause."""

from __future__ import annotations

from collections.abc import Mapping

ACTIONS: Mapping[str, str] = {
    "disabled": "enable the key again",
    "pending_deletion": "cancel the key's deletion, and enable it",
    "deleted": "the key is gone for good",
    "not_found": "recover the key, if it was deleted, or check that it still is where it was",
    "policy": "let this service use the key again: its key policy, role assignment or access policy",
    "identity": "let this service's role or application in again: the role's trust, or the consent in the Entra tenant",
    "network": "admit this service's addresses in the vault's firewall; this is probably not a withdrawal",
    "not_yet_valid": "move the key's activation date, which lies ahead",
    "expired": "move the key's expiry date, which has passed, or make a new version",
    "wrap_not_permitted": "permit the operation wrapKey on the key",
    "unknown": "the KMS gave a reason that this service does not know; the operator was alarmed",
}
"""Every cause of `core.errors.Denial`."""


def hint_for(cause: str, *, version: str = "") -> str:
    """The hint that goes with a refusal.

    Args:
        cause: Of the denial.
        version: The version of the key that refused, where keys have versions; else "".
    """
    about = f" (of version {version})" if version else ""
    return f"cause: {cause}{about}; {ACTIONS.get(cause, ACTIONS['unknown'])}"
