"""The states of a tenant's key, as one table: what each allows, what callers hear, and what takes it where.

Source: DESIGN 5 (docs/design.md). The tenant stores refuse a transition that is not in `TRANSITIONS`. A key's
status and docs/revocation.md are rendered from here.
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


class Signal(StrEnum):
    """What takes a key from one state to another."""

    SCHEDULE = "schedule"
    CANCEL = "cancel"
    MOVE = "move"
    REVERT = "revert"
    DENIED = "denied"
    CONFIRMED = "confirmed"
    GRANTED = "granted"
    EXCUSED = "excused"
    SILENT = "silent"
    SILENT_BEYOND_GRACE = "silent_beyond_grace"
    NETWORK_REFUSED = "network_refused"
    WRITE_REFUSED = "write_refused"
    SUSPEND = "suspend"
    RESUME = "resume"
    STORE_RESTORED = "store_restored"


MEANINGS: dict[Signal, str] = {
    Signal.SCHEDULE: "a key passed its examination and has an activation date ahead",
    Signal.CANCEL: "a scheduled key is taken back",
    Signal.MOVE: "every row lies under a key of the tenant's own, which has just served",
    Signal.REVERT: "every row lies under the platform's key again",
    Signal.DENIED: "the tenant's KMS refused the key that new data hangs on",
    Signal.CONFIRMED: "it refused again, the probe envelope too, and our own access is not to blame",
    Signal.GRANTED: "the tenant's KMS unwrapped with the key",
    Signal.EXCUSED: "our own access is to blame: a canary key is refused alike",
    Signal.SILENT: "the tenant's KMS did not answer",
    Signal.SILENT_BEYOND_GRACE: "it has not answered for longer than lease and outage grace",
    Signal.NETWORK_REFUSED: "a network rule in front of the key refused us",
    Signal.WRITE_REFUSED: "the key unwraps, but does not wrap",
    Signal.SUSPEND: "the kill switch was turned on",
    Signal.RESUME: "the kill switch was turned off",
    Signal.STORE_RESTORED: "the store was restored from a backup, so the state is that of another day",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What a state means for requests.

    Attributes:
        may_read: Whether data may be decrypted.
        may_write: Whether data may be encrypted and keys rotated.
        proves: Whether each call must have the key unwrapped anew: nothing cached serves.
        error: What a caller hears where it may not, or where the KMS does not let it.
        wording: One sentence for people.
        remedy: What ends the state.
    """

    may_read: bool
    may_write: bool
    error: type[KeysteadError] | None
    wording: str
    remedy: str
    proves: bool = False

    def refusal(self, hint: str = "") -> KeysteadError:
        """The error for an operation this state does not allow.

        Args:
            hint: What ends it, where more is known than the remedy.
        """
        return (self.error or KeyRevoked)(self.wording, hint=hint or self.remedy)


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
        True,
        True,
        KeyRevoked,
        "The tenant's KMS refused once, or a backup was restored: every call asks it until that is settled.",
        "Wait for the answer.",
        proves=True,
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
"""`unreachable` and `hold` allow operations because what the KMS answers decides, not the state: in `unreachable` a
cached key has outlived its grace, in `hold` each call asks anew."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table.

    Attributes:
        signal: What happened.
        sources: States in which it counts. In others it changes nothing.
        target: The state it leads to.
    """

    signal: Signal
    sources: frozenset[State]
    target: State


_OWN = frozenset({State.ACTIVE, State.DEGRADED, State.UNREACHABLE, State.WRITE_BLOCKED, State.NETWORK_BLOCKED})
_NOT_YET_OWN = frozenset({State.PLATFORM, State.SCHEDULED})

TABLE: tuple[Transition, ...] = (
    Transition(Signal.SCHEDULE, frozenset({State.PLATFORM}), State.SCHEDULED),
    Transition(Signal.CANCEL, frozenset({State.SCHEDULED}), State.PLATFORM),
    Transition(Signal.MOVE, (_NOT_YET_OWN | _OWN | {State.HOLD, State.REVOKED}) - {State.ACTIVE}, State.ACTIVE),
    Transition(Signal.REVERT, _OWN | {State.SCHEDULED, State.HOLD}, State.PLATFORM),
    Transition(Signal.DENIED, _NOT_YET_OWN | _OWN, State.HOLD),
    Transition(Signal.STORE_RESTORED, _NOT_YET_OWN | _OWN | {State.REVOKED}, State.HOLD),
    Transition(Signal.CONFIRMED, frozenset({State.HOLD}), State.REVOKED),
    Transition(Signal.GRANTED, (_OWN | {State.HOLD, State.REVOKED}) - {State.ACTIVE}, State.ACTIVE),
    Transition(Signal.GRANTED, frozenset({State.HOLD}), State.PLATFORM),
    Transition(Signal.GRANTED, frozenset({State.HOLD}), State.SCHEDULED),
    Transition(Signal.EXCUSED, frozenset({State.HOLD}), State.ACTIVE),
    Transition(Signal.EXCUSED, frozenset({State.HOLD}), State.PLATFORM),
    Transition(Signal.EXCUSED, frozenset({State.HOLD}), State.SCHEDULED),
    Transition(Signal.SILENT, frozenset({State.ACTIVE}), State.DEGRADED),
    Transition(Signal.SILENT_BEYOND_GRACE, frozenset({State.ACTIVE, State.DEGRADED}), State.UNREACHABLE),
    Transition(Signal.NETWORK_REFUSED, _OWN - {State.NETWORK_BLOCKED}, State.NETWORK_BLOCKED),
    Transition(Signal.WRITE_REFUSED, (_OWN | {State.HOLD}) - {State.WRITE_BLOCKED}, State.WRITE_BLOCKED),
    Transition(Signal.SUSPEND, frozenset(State) - {State.SUSPENDED}, State.SUSPENDED),
    *(
        Transition(Signal.RESUME, frozenset({State.SUSPENDED}), state)
        for state in (State.PLATFORM, State.SCHEDULED, State.ACTIVE, State.HOLD, State.REVOKED)
    ),
)
"""Where a signal has several targets from one state, it goes back to what the state came from, which the tenant's
record keeps: `hold` during an enablement, the kill switch."""

TRANSITIONS: dict[State, frozenset[State]] = {
    state: frozenset(row.target for row in TABLE if state in row.sources) for state in State
}


def next_state(state: State, signal: Signal, back_to: State | None = None) -> State:
    """The state that a signal leads to; the same one if it changes nothing.

    Args:
        state: The present one.
        signal: What happened.
        back_to: Where to go, if the table has that row; else its first row for the signal counts.
    """
    targets = [row.target for row in TABLE if row.signal is signal and state in row.sources]
    if back_to in targets:
        return back_to
    return targets[0] if targets else state


def check_transition(old: State, new: State) -> None:
    """Refuse a change of state that is not in the table; staying is always allowed.

    Raises:
        Conflict: The table has no such transition.
    """
    if new is not old and new not in TRANSITIONS[old]:
        raise Conflict(f"a key cannot go from state {old} to {new}")
