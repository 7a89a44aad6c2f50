"""What an audit chain remembers of a tenant's key, for when the key's record was restored from a backup."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.domain.audit import AuditEntry
from core.domain.states import State

STATE_CHANGED = "key.state"
"""Action of an entry that tells a change of state."""
SUSPENDED, RESUMED = "key.suspend", "key.resume"
ROTATED = "key.rotate"


@dataclass(frozen=True, slots=True)
class History:
    """How a chain leaves a tenant's key.

    Attributes:
        suspended: Whether the kill switch is on.
        switched: UTC: when it was turned on or off the last time; "" for never.
        kek: Locator of the KEK that the tenant was last put under; "" where the chain tells of none.
        moved: UTC: when that was.
        sequence: The highest sequence of a version that a rotation made; 0 where there was none.
    """

    suspended: bool = False
    switched: str = ""
    kek: str = ""
    moved: str = ""
    sequence: int = 0


def recall(entries: Iterable[AuditEntry]) -> History:
    """Read a chain.

    Args:
        entries: A tenant's chain, in order, from its first entry; whole, or what is left of it.
    """
    suspended, switched, kek, moved, sequence = False, "", "", "", 0
    for entry in entries:
        done = entry.outcome == "ok"
        if entry.action == STATE_CHANGED:
            # Beside the order itself: either of both may come first, and a process may die between them.
            on = entry.details.get("after") == State.SUSPENDED.value
            suspended, switched = on, entry.time if on or suspended else switched
        elif done and entry.action in (SUSPENDED, RESUMED):
            suspended, switched = entry.action == SUSPENDED, entry.time
        elif done and entry.action == ROTATED:
            made = entry.details.get("sequence")
            sequence = max(sequence, made if type(made) is int else 0)
        to = entry.details.get("moving_to")
        if isinstance(to, str) and to:
            kek, moved = to, entry.time
    return History(suspended, switched, kek, moved, sequence)


def merged(one: History, other: History) -> History:
    """What two chains of one key remember together: of each thing, what was last.

    Args:
        one, other: Of a chain that went on differently after a backup, and of its copy.
    """
    switch, move = max(one, other, key=lambda each: each.switched), max(one, other, key=lambda each: each.moved)
    return History(switch.suspended, switch.switched, move.kek, move.moved, max(one.sequence, other.sequence))
