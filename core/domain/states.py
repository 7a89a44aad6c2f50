"""The states of a tenant's key, as one table: what each allows, what callers hear, and where it may go next.

Source: DESIGN 5 (docs/design.md). The tenant stores refuse a transition that is not in `TRANSITIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.errors import (
    Conflict,
    KeyNetworkBlocked,
    KeyRevoked,
    KeysteadError,
    KeySuspended,
    KeyUnreachable,
    KeyWriteBlocked,
)


class State(StrEnum):
    """State of a tenant's key."""

    PLATFORM = "platform"
    SCHEDULED = "scheduled"
    ACTIVE = "active"
    DEGRADED = "degraded"
    UNREACHABLE = "unreachable"
    WRITE_BLOCKED = "write_blocked"
    NETWORK_BLOCKED = "network_blocked"
    HOLD = "hold"
    REVOKED = "revoked"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a state means for requests.

    Attributes:
        may_read: Whether data may be decrypted.
        may_write: Whether data may be encrypted and keys rotated.
        error: What a caller hears where it may not.
        wording: One sentence for people.
        remedy: What ends the state.
    """

    may_read: bool
    may_write: bool
    error: type[KeysteadError] | None
    wording: str
    remedy: str

    def refusal(self) -> KeysteadError:
        """The error for an operation this state does not allow."""
        return (self.error or KeyRevoked)(self.wording, hint=self.remedy)


RULES: dict[State, Rule] = {
    State.PLATFORM: Rule(True, True, None, "The platform's key protects this tenant's data.", ""),
    State.SCHEDULED: Rule(
        True, True, None, "The tenant's key is checked and waits for its activation date.", "Wait for the date."
    ),
    State.ACTIVE: Rule(True, True, None, "The tenant's key protects its data.", ""),
    State.DEGRADED: Rule(
        True, True, None, "The tenant's KMS does not answer; cached keys still serve.", "Wait, or ask the KMS's vendor."
    ),
    State.UNREACHABLE: Rule(
        True,
        True,
        KeyUnreachable,
        "The tenant's KMS has not answered for longer than the outage grace.",
        "Wait, or ask the KMS's vendor.",
    ),
    State.WRITE_BLOCKED: Rule(
        True,
        False,
        KeyWriteBlocked,
        "The tenant's key unwraps but may not wrap.",
        "Allow the wrap operation again, or move the key's validity dates.",
    ),
    State.NETWORK_BLOCKED: Rule(
        False,
        False,
        KeyNetworkBlocked,
        "A network rule in front of the tenant's key refuses this service.",
        "Admit the service's address or private endpoint.",
    ),
    State.HOLD: Rule(
        True, True, KeyRevoked, "The tenant's KMS refused once; the refusal is being confirmed.", "Wait for the answer."
    ),
    State.REVOKED: Rule(
        False,
        False,
        KeyRevoked,
        "The tenant's KMS refuses the use of its key.",
        "Enable the key, or restore the policy or role that lets this service use it.",
    ),
    State.SUSPENDED: Rule(
        False, False, KeySuspended, "The kill switch is on.", "Resume the key when the reason is gone."
    ),
}
"""`hold` and `unreachable` allow operations because they gate on a fresh unwrap, not on the state alone."""

_WITHDRAWN = {
    State.DEGRADED,
    State.UNREACHABLE,
    State.WRITE_BLOCKED,
    State.NETWORK_BLOCKED,
    State.HOLD,
    State.REVOKED,
    State.SUSPENDED,
}

TRANSITIONS: dict[State, frozenset[State]] = {
    State.PLATFORM: frozenset({State.SCHEDULED, State.ACTIVE, State.HOLD, State.SUSPENDED}),
    State.SCHEDULED: frozenset({State.PLATFORM, State.ACTIVE, State.HOLD, State.SUSPENDED}),
    State.ACTIVE: frozenset({State.PLATFORM, *_WITHDRAWN}),
    State.DEGRADED: frozenset({State.ACTIVE, *_WITHDRAWN} - {State.DEGRADED}),
    State.UNREACHABLE: frozenset({State.ACTIVE, *_WITHDRAWN} - {State.UNREACHABLE}),
    State.WRITE_BLOCKED: frozenset({State.ACTIVE, *_WITHDRAWN} - {State.WRITE_BLOCKED}),
    State.NETWORK_BLOCKED: frozenset({State.ACTIVE, *_WITHDRAWN} - {State.NETWORK_BLOCKED}),
    State.HOLD: frozenset({State.PLATFORM, State.SCHEDULED, State.ACTIVE, *_WITHDRAWN} - {State.HOLD}),
    State.REVOKED: frozenset({State.ACTIVE, State.SUSPENDED}),
    State.SUSPENDED: frozenset({State.PLATFORM, State.SCHEDULED, State.ACTIVE, State.HOLD, State.REVOKED}),
}


def check_transition(old: State, new: State) -> None:
    """Refuse a change of state that is not in the table; staying is always allowed.

    Raises:
        Conflict: The table has no such transition.
    """
    if new is not old and new not in TRANSITIONS[old]:
        raise Conflict(f"a key cannot go from state {old} to {new}")
