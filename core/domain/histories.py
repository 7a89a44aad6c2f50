"""What an audit chain remembers of a tenant's key, for when the key's record was restored from a backup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.domain.audit import AuditEntry
from core.domain.kek import Kek
from core.domain.states import Signal, State

STATE_CHANGED = "key.state"
"""Action of an entry that tells a change of state."""
SUSPENDED = "key.suspend"
ROTATED, TUNED = "key.rotate", "key.policy"
MOVES = frozenset({Signal.MOVE.value, Signal.REVERT.value})
PUT_IN_ORDER = "store.restored"
"""Action of an entry that tells what was done after a restore."""


@dataclass(frozen=True, slots=True)
class History:
    """How a chain leaves a tenant's key.

    Attributes:
        suspended: Whether the kill switch is on.
        switched: UTC: when it was turned on or off the last time; "" for never.
        kek: Locator of the KEK that the tenant was last put under, or went on with: resumed after a restore had
            brought a former one back; "" where the chain tells of none.
        moved: UTC: when that was.
        sequence: The highest sequence of a version that a rotation of the present branch key made; 0 where there was
            none.
        left: UTC: when the state ``revoked`` was left, each time.
        policy: What the tenant's knobs were set to, those that ever were.
        tuned: UTC: when the last one was; "" for never.
    """

    suspended: bool = False
    switched: str = ""
    kek: str = ""
    moved: str = ""
    sequence: int = 0
    left: tuple[str, ...] = ()
    policy: Mapping[str, Any] = field(default_factory=dict)
    tuned: str = ""

    def revoked_until(self, since: str) -> str:
        """Until when a key stayed ``revoked`` for sure: ``since``, where the chain does not tell when that ended.

        Args:
            since: UTC: when it came into that state.
        """
        return min((at for at in self.left if at >= since), default=since)


def recall(entries: Iterable[AuditEntry]) -> History:
    """Read a chain.

    Args:
        entries: A tenant's chain, in order, from its first entry; whole, or what is left of it.
    """
    suspended, switched, kek, moved, sequence = False, "", "", "", 0
    told: set[str] = set()
    left: set[str] = set()
    policy: dict[str, Any] = {}
    brought_back = tuned = ""
    for entry in entries:
        if entry.action == STATE_CHANGED and _text(entry, "before") == State.REVOKED.value:
            left.add(_text(entry, "at") or entry.time)
        done = entry.outcome == "ok"
        switch = _switch(entry, told)
        if switch is not None:
            suspended, switched = switch, entry.time
            if brought_back and not switch:
                kek, moved, brought_back = brought_back, entry.time, ""
        elif done and entry.action == PUT_IN_ORDER:
            brought_back = _text(entry, "kek")
        elif done and entry.action == ROTATED:
            made = entry.details.get("sequence")
            sequence = max(sequence, made if type(made) is int else 0)
        elif done and entry.action == TUNED and isinstance(entry.details.get("after"), Mapping):
            policy, tuned = {**policy, **entry.details["after"]}, entry.time
        if entry.details.get("branch_key_begun") is True:
            sequence = 0
        if to := _moved_to(entry):
            kek, moved, brought_back = to, entry.time, ""
    return History(suspended, switched, kek, moved, sequence, tuple(sorted(left)), policy, tuned)


def _text(entry: AuditEntry, name: str) -> str:
    found = entry.details.get(name)
    return found if isinstance(found, str) else ""


def _switch(entry: AuditEntry, told: set[str]) -> bool | None:
    # Whether an entry turns the kill switch on or off, or neither. There is the order, and beside it the change of
    # state: either of both may come first, and a process may die between them. Off is only what left the state: the
    # order of a resume may be told after the next suspension.
    if entry.action == STATE_CHANGED:
        change = _text(entry, "id")
        if change and change in told:
            return None  # two processes may tell one change, the second long after it
        told.add(change)
        # Only what leaves the state turns it off: changes of before may be told late.
        before, after = (_text(entry, name) == State.SUSPENDED.value for name in ("before", "after"))
        return after if before is not after else None
    return True if entry.outcome == "ok" and entry.action == SUSPENDED else None


def _moved_to(entry: AuditEntry) -> str:
    # Whoever begins a change of key may die before it is told: who finishes it tells as well, and the change of state.
    if entry.action == STATE_CHANGED and _text(entry, "signal") in MOVES:
        return Kek(_text(entry, "kek")).key.locator
    return _text(entry, "moving_to")


def merged(one: History, other: History) -> History:
    """What two chains of one key remember together: of each thing, what was last.

    Args:
        one, other: Of a chain that went on differently after a backup, and of its copy.
    """
    switch, move = max(one, other, key=lambda each: each.switched), max(one, other, key=lambda each: each.moved)
    return History(
        suspended=switch.suspended,
        switched=switch.switched,
        kek=move.kek,
        moved=move.moved,
        sequence=max(one.sequence, other.sequence),
        left=tuple(sorted({*one.left, *other.left})),
        policy={**other.policy, **one.policy} if one.tuned >= other.tuned else {**one.policy, **other.policy},
        tuned=max(one.tuned, other.tuned),
    )
