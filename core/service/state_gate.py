"""Lets an operation pass only under a tenant state that is fresh (DESIGN 5, rule 2), and numbers purges.

Every cached key names the generation of its tenant's view; a purge gives the view a new generation, so whatever was
cached before it, or arrives after it from a request sent before, serves no more.
"""

from __future__ import annotations

import itertools
from threading import Lock
from typing import Literal

from core.domain.states import RULES
from core.domain.tenants import RECORD, TenantRecord
from core.domain.timing import LONG_AGO, Instant
from core.errors import NotFound, StoreUnavailable
from core.ports import TenantStore
from core.service.lru import LruCache
from core.service.timekeeper import Timekeeper

Access = Literal["read", "write"]
RETRY_SILENT_STORE = 1.0
"""Seconds between attempts while a silent store's last answer still counts."""
_generations = itertools.count(1)


class TenantView:
    """A tenant's record as last read, until when it counts, and the generation of its caches.

    Args:
        tenant_id: The tenant.
    """

    __slots__ = (
        "boot_until",
        "floor",
        "generation",
        "lock",
        "may_read",
        "may_write",
        "read_at",
        "record",
        "tenant_id",
        "wall_until",
    )

    record: TenantRecord

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        self.lock = Lock()
        self.floor = 0
        self.read_at = LONG_AGO
        self.wall_until = self.boot_until = float("-inf")
        self.generation = next(_generations)
        self.may_read = self.may_write = False

    def fresh(self, tick: tuple[float, float]) -> bool:
        """Whether the record counts without another look."""
        return tick[0] < self.wall_until and tick[1] < self.boot_until

    def counts_until(self, deadline: Instant) -> None:
        """Set until when the record counts."""
        self.wall_until, self.boot_until = deadline

    def saw(self, sequence: int) -> None:
        """Remember that an ACTIVE row of this sequence exists, so that an older one is refused."""
        self.floor = max(self.floor, sequence)

    def purge(self) -> None:
        """Make every key cached under this view useless."""
        self.generation = next(_generations)

    def require(self, access: Access) -> None:
        """Refuse what the state does not allow.

        Raises:
            KeyWithheld: The state's own error.
            Unavailable: Likewise.
        """
        if not (self.may_read if access == "read" else self.may_write):
            raise RULES[self.record.state].refusal()


class StateGate:
    """Keeps the views.

    Args:
        store: Holds the tenant records.
        timekeeper: Reads the clocks.
        state_age: Seconds for which a record counts.
        store_silence: Seconds for which it counts if the store does not answer.
        limit: Most tenants kept.
    """

    def __init__(
        self,
        store: TenantStore,
        timekeeper: Timekeeper,
        *,
        state_age: float,
        store_silence: float,
        limit: int,
    ) -> None:
        self._store = store
        self._tick = timekeeper.tick
        self._now = timekeeper.now
        self._state_age = state_age
        self._store_silence = store_silence
        self._views: LruCache[str, TenantView] = LruCache(limit, on_evict=TenantView.purge)
        self._lock = Lock()

    def enter(self, tenant_id: str, access: Access) -> TenantView:
        """A tenant's view, fresh now and allowing the access.

        Raises:
            NotFound: There is no such tenant.
            KeyWithheld, Unavailable: The state does not allow it.
            StoreUnavailable: The store has been silent for longer than its last answer counts.
            StoreCorrupt: The stored record cannot be read.
        """
        view = self.enter_any(tenant_id)
        view.require(access)
        return view

    def enter_any(self, tenant_id: str) -> TenantView:
        """A tenant's view, fresh now, whatever its state allows: for showing it.

        Raises:
            As `enter`, the state apart.
        """
        view = self._views.get(tenant_id) or self._new_view(tenant_id)
        if not view.fresh(self._tick()):
            self.refresh(view)
        return view

    def confirm(self, view: TenantView, access: Access) -> None:
        """Check a view again, reading the record if it is no longer fresh.

        Raises:
            As `enter`.
        """
        if not view.fresh(self._tick()):
            self.refresh(view)
        view.require(access)

    def refresh(self, view: TenantView, *, forced: bool = False) -> None:
        """Read the record anew, unless another thread just did.

        Args:
            view: The view to bring up to date.
            forced: Read even if the view is fresh.

        Raises:
            As `enter`, the state apart.
        """
        with view.lock:
            started = self._now()
            if view.fresh(started) and not forced:
                return
            try:
                document = self._store.read(view.tenant_id, RECORD)
            except StoreUnavailable:
                counts_until = view.read_at.plus(self._store_silence)
                if not started.before(counts_until):
                    raise
                retry = started.plus(RETRY_SILENT_STORE)
                view.counts_until(Instant(*map(min, retry, counts_until)))
                return
            if document is None or (record := TenantRecord.from_body(document.body)).deleted:
                view.purge()
                view.read_at = LONG_AGO
                view.counts_until(LONG_AGO)
                self._views.pop(view.tenant_id)
                raise NotFound("there is no such tenant")
            if view.read_at != LONG_AGO and _gating(view.record) != _gating(record):
                view.purge()
                if view.record.branch_key_id != record.branch_key_id:
                    view.floor = 0
            rule = RULES[record.state]
            view.record, view.may_read, view.may_write = record, rule.may_read, rule.may_write
            view.read_at = started
            view.saw(record.sequence_floor)
            view.counts_until(started.plus(self._state_age))

    def purge(self, tenant_id: str) -> None:
        """Make a tenant's cached keys useless in this process, at once."""
        view = self._views.get(tenant_id)
        if view is not None:
            view.purge()

    def purge_all(self) -> None:
        """Make every cached key useless, and every record stale."""
        with self._lock:
            for view in self._views.values():
                view.purge()
                view.counts_until(LONG_AGO)

    def _new_view(self, tenant_id: str) -> TenantView:
        with self._lock:
            view = self._views.get(tenant_id)
            if view is None:
                view = TenantView(tenant_id)
                self._views.put(tenant_id, view)
            return view


def _gating(record: TenantRecord) -> object:
    # What, when changed by another process, must stop this one from serving what it cached before.
    return (record.state, record.configuration_revision, record.keks, record.branch_key_id, record.policy)
