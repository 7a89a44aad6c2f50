"""What a tenant does about a denial, or another refusal, by its cause."""

from __future__ import annotations

from collections.abc import Mapping

from core.domain.states import RULES, State

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
SWITCH_REPLAYED, OLDER_KEY = "switch_replayed", "older_key"
"""Causes of a suspension after a store was restored from a backup."""
_AFTER_RESTORE = {
    SWITCH_REPLAYED: "A backup was restored, and the kill switch was on. Resume the key when the reason is gone.",
    OLDER_KEY: "The operator restored a backup of before the key was changed. Resuming brings the former key back into "
    "force; then bring the newer one again.",
}


def hint_for(cause: str, *, version: str = "") -> str:
    """The hint that goes with a refusal.

    Args:
        cause: Of the denial.
        version: The version of the key that refused, where keys have versions; else "".
    """
    about = f" (of version {version})" if version else ""
    return f"cause: {cause}{about}; {ACTIONS.get(cause, ACTIONS['unknown'])}"


def remedy_for(state: State, cause: str) -> str:
    """What ends a state: more than its row of the table says, where the cause tells more.

    Args:
        state: State of a key.
        cause: Why it is in it; may be empty.
    """
    if state is State.SUSPENDED:
        return _AFTER_RESTORE.get(cause, RULES[state].remedy)
    known = ACTIONS.get(cause, "") if state is not State.HOLD else ""
    return f"{known[:1].upper()}{known[1:]}." if known else RULES[state].remedy


def withheld_hint(state: State, cause: str) -> str:
    """The hint that goes with a refusal by the state itself.

    Args:
        state, cause: As in `remedy_for`.
    """
    return hint_for(cause) if cause in ACTIONS and state is not State.SUSPENDED else remedy_for(state, cause)
