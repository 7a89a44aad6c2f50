"""What a process knows of one tenant: its record as last read, and which cached keys may still serve.

Every cached key names the generation of its tenant's view. A purge or a lapse gives the view a new one, so whatever was
cached before, or arrives later from a request sent before, serves no more as it is. What was cached before a lapse may
be renewed; what was cached before a purge is gone.
"""

from __future__ import annotations

import itertools
from threading import Lock
from typing import Literal

from core.domain.causes import withheld_hint
from core.domain.states import RULES, State
from core.domain.tenants import TenantRecord
from core.domain.timing import LONG_AGO, Instant
from core.errors import StoreUnavailable

Access = Literal["read", "write"]
_RETIRED = float("nan")
_generations = itertools.count(1)
_numbering = Lock()


class TenantView:
    """A tenant's record as last read, until when it counts, and the generation of its caches.

    Args:
        tenant_id: The tenant.
    """

    __slots__ = (
        "boot_until",
        "failed_at",
        "failure",
        "floor",
        "generation",
        "held_from",
        "lock",
        "may_read",
        "may_write",
        "read_at",
        "record",
        "retired",
        "tenant_id",
        "wall_until",
    )

    record: TenantRecord
    generation: float
    held_from: float

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        self.lock = Lock()
        self.floor = ("", 0)
        self.read_at = LONG_AGO
        self.wall_until = self.boot_until = float("-inf")
        self.held_from = self.generation = next(_generations)
        self.retired = False
        self.may_read = self.may_write = False
        self.failure: StoreUnavailable | None = None
        self.failed_at = LONG_AGO

    def fresh(self, tick: tuple[float, float]) -> bool:
        """Whether the record counts without another look."""
        return tick[0] < self.wall_until and tick[1] < self.boot_until

    def counts_until(self, deadline: Instant) -> None:
        """Set until when the record counts."""
        self.wall_until, self.boot_until = deadline

    def saw(self, branch_key_id: str, sequence: int) -> None:
        """Remember that the primary branch key has an ACTIVE row of this sequence, so that an older one is refused.

        What is told of a branch key that is not, or no longer, the primary one counts for nothing.
        """
        known, highest = self.floor
        if branch_key_id == self.record.branch_key_id:
            self.floor = (branch_key_id, max(highest, sequence) if branch_key_id == known else sequence)

    def lowest(self, branch_key_id: str) -> int:
        """The lowest sequence that a branch key's ACTIVE row may have."""
        known, highest = self.floor
        return highest if branch_key_id == known else 0

    def purge(self, since: float | None = None) -> float:
        """Make every key cached under this view useless.

        Args:
            since: Do nothing if this is not the view's generation any more.

        Returns:
            The generation of what may be cached from now on; ``since`` if nothing was done.
        """
        with _numbering:
            if since is not None and since != self.generation:
                return since
            if not self.retired:
                self.held_from = number = next(_generations)
                self.generation = number  # last: who reads a generation finds the keys of before it gone
            return self.generation

    def lapse(self) -> None:
        """End the lease of every key cached under this view: it serves again once it was renewed, or in its grace."""
        with _numbering:
            if not self.retired:
                self.generation = next(_generations)

    def retire(self) -> None:
        """Make this view useless for good: no key can name its generation, which equals nothing, itself included.

        Once the gate has let go of a view no purge reaches it, so nothing may be cached under it any more.
        """
        with _numbering:
            self.retired, self.held_from, self.generation = True, _RETIRED, _RETIRED

    def holds(self, generation: float) -> bool:
        """Whether a key of this generation was not purged since: it may be renewed, and serve in its grace."""
        return generation >= self.held_from

    def take(self, record: TenantRecord) -> None:
        """Know the record from now on; what it ends of that known before serves no more."""
        before = self.record if self.read_at != LONG_AGO else record
        # The record first: whoever finds the new generation must not find the old terms.
        self.record, self.may_read, self.may_write = record, record.may_read, record.may_write
        if _must_purge(before, record):
            self.purge()
        elif _must_lapse(before, record):
            self.lapse()

    def require(self, access: Access) -> None:
        """Refuse what the state does not allow.

        Raises:
            KeyWithheld: The state's own error.
            Unavailable: Likewise.
        """
        if not (self.may_read if access == "read" else self.may_write):
            raise RULES[self.record.state].refusal(withheld_hint(self.record.state, self.record.cause))


_OWN_SERVES = frozenset({State.ACTIVE, State.DEGRADED, State.UNREACHABLE, State.WRITE_BLOCKED})
_NOT_YET_OWN = frozenset({State.PLATFORM, State.SCHEDULED})


def _must_purge(old: TenantRecord, new: TenantRecord) -> bool:
    # What, when changed by another process, must stop this one from serving what it cached before: a KEK that said no,
    # and a tenant's own KEK coming into force, to which what the platform's unwrapped proves nothing.
    before, after, lost = old.every_binding(), new.every_binding(), {gone.locator for gone in new.lost_keks}
    given_up = any(
        (kek in lost and kek not in new.keks) or (kek in after and after[kek].since != before[kek].since)
        for kek in old.keks
    )
    refused = (old.branch_key_id, old.interruptions) != (new.branch_key_id, new.interruptions)
    gated = old.state is not new.state and not (
        (old.state in _OWN_SERVES and new.state in _OWN_SERVES | _NOT_YET_OWN) or {old.state, new.state} <= _NOT_YET_OWN
    )
    return given_up or refused or gated or (old.lease > new.lease == 0)


def _must_lapse(old: TenantRecord, new: TenantRecord) -> bool:
    # What was proved by other terms than now must be proved anew. A purge would do more than the tenant chose: a
    # process may hear of it long after, in the midst of an outage, and would throw away what the grace is for.
    changed = (old.configuration_revision, old.keks) != (new.configuration_revision, new.keks)
    tightened = new.lease < old.lease or new.policy.outage_grace < old.policy.outage_grace
    return changed or tightened or (old.falls_back and not new.falls_back)
