"""Lets an operation pass only under a tenant state that is fresh (DESIGN 5, rule 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Lock

from core.domain.key_policy import KeyPolicy
from core.domain.states import RULES, State
from core.domain.tenants import TenantRecord
from core.domain.timing import LONG_AGO, Instant
from core.errors import NotFound, StoreUnavailable
from core.service.lru import LruCache
from core.service.tenant_records import TenantRecords
from core.service.tenant_view import Access, TenantView
from core.service.timekeeper import Timekeeper

RETRY_SILENT_STORE = 1.0
"""Seconds between attempts while a silent store's last answer still counts."""
REFUSAL_AGE = 2.0
"""Seconds for which a record counts whose state refuses, or has each call prove the key: what ends it is seen soon."""
ATTEMPTS = 3
"""How often a record is read again that was no longer fresh when it arrived."""


class StateGate:
    """Keeps the views.

    Args:
        records: Hold the tenants' records.
        timekeeper: Reads the clocks.
        state_age: Seconds for which a record counts.
        store_silence: Seconds for which it counts if the store does not answer.
        limit: Most tenants kept.
    """

    def __init__(
        self,
        records: TenantRecords,
        timekeeper: Timekeeper,
        *,
        state_age: float,
        store_silence: float,
        limit: int,
    ) -> None:
        self._records = records
        self._tick = timekeeper.tick
        self._now = timekeeper.now
        self._state_age = state_age
        self._store_silence = store_silence
        self._views: LruCache[str, TenantView] = LruCache(limit, on_evict=TenantView.retire)
        self._lock = Lock()
        self.on_scheduled: Callable[[TenantView], None] = _nothing_done
        """Called before an operation of a tenant whose own key is scheduled; activates it where that is due."""
        self.on_trouble: Callable[[TenantView], None] = _nothing_done
        """Called before an operation of a tenant whose key is in trouble; sees to it that it is checked."""

    def enter(self, tenant_id: str, access: Access) -> TenantView:
        """A tenant's view, fresh now and allowing the access.

        Raises:
            NotFound: There is no such tenant.
            KeyWithheld, Unavailable: The state does not allow it.
            StoreUnavailable: The store has been silent for longer than its last answer counts.
            StoreCorrupt: The stored record cannot be read.
        """
        view = self.enter_any(tenant_id)
        if view.record.state is State.SCHEDULED:
            self.on_scheduled(view)
        elif view.record.state not in _CALM:
            self.on_trouble(view)
        view.require(access)
        return view

    def enter_any(self, tenant_id: str) -> TenantView:
        """A tenant's view, fresh now, whatever its state allows: for showing it.

        Raises:
            As `enter`, the state apart.
        """
        view = self._views.get(tenant_id) or self._new_view(tenant_id)
        self._freshen(view)
        return view

    def confirm(self, view: TenantView, access: Access) -> None:
        """Check a view again, reading the record if it is no longer fresh.

        Raises:
            As `enter`.
        """
        self._freshen(view)
        view.require(access)

    def refresh(self, view: TenantView, *, forced: bool = False) -> None:
        """Read the record anew, unless another thread just did.

        Args:
            view: The view to bring up to date.
            forced: Read even if the view is fresh.

        Raises:
            As `enter`, the state apart.
        """
        arrived = self._now()
        with view.lock:
            if view.failure is not None and view.failed_at.boot > arrived.boot:
                # Another thread waited for the same silence while this one queued: once is enough.
                if view.fresh(self._tick()):
                    return
                raise view.failure.with_traceback(None)
            started = self._now()
            if view.fresh(started) and not forced:
                return
            try:
                found = self._records.read(view.tenant_id)
            except StoreUnavailable as error:
                self._store_silent(view, error)
                return
            view.failure = None
            if found is None or found[0].deleted:
                view.retire()
                self._views.pop(view.tenant_id)
                raise NotFound("there is no such tenant")
            self._take(view, found[0], started)

    def reread(self, view: TenantView) -> TenantRecord:
        """Read the record anew, and give it; unlike `refresh`, never make do with the last one.

        For who concludes something from what a record does *not* say.

        Raises:
            StoreUnavailable: The store does not answer, even if the last record still counts.
            As `enter` besides, the state apart.
        """
        self.refresh(view, forced=True)
        failure = view.failure
        if failure is not None:
            raise failure.with_traceback(None)
        return view.record

    def _freshen(self, view: TenantView) -> None:
        # A slow store, or a process stopped while it read, hands over a record that is old already.
        for _ in range(ATTEMPTS):
            if view.fresh(self._tick()):
                return
            self.refresh(view)
        if not view.fresh(self._tick()):
            raise StoreUnavailable("the tenant store answers too slowly for its answers to count")

    def _store_silent(self, view: TenantView, error: StoreUnavailable) -> None:
        now = self._now()
        view.failure, view.failed_at = error, now
        counts_until = view.read_at.plus(self._store_silence)
        if not now.before(counts_until):
            raise error
        retry = now.plus(RETRY_SILENT_STORE)
        view.counts_until(Instant(min(retry.wall, counts_until.wall), min(retry.boot, counts_until.boot)))

    def _take(self, view: TenantView, record: TenantRecord, started: Instant) -> None:
        view.take(record)
        view.read_at = started
        view.saw(record.branch_key_id, record.sequence_floor)
        lenient = record.may_read and record.may_write and not RULES[record.state].proves
        age = self._state_age if lenient else min(self._state_age, REFUSAL_AGE)
        view.counts_until(_until_activation(record, started, started.plus(age)))

    def purge(self, tenant_id: str) -> None:
        """Make a tenant's cached keys useless in this process, at once."""
        view = self._views.get(tenant_id)
        if view is not None:
            view.purge()

    def lapse(self, tenant_id: str) -> None:
        """End the lease of a tenant's cached keys in this process: they serve once renewed, or in their grace."""
        view = self._views.get(tenant_id)
        if view is not None:
            view.lapse()

    def tighten(self, tenant_id: str, policy: KeyPolicy) -> None:
        """Hold a tenant to a policy that this process has stored, or may have stored, and have its record read anew.

        Takes effect at once wherever the policy is stricter, whether or not the store answers then.
        """
        view = self._views.get(tenant_id)
        if view is None:
            return
        with view.lock:  # a reading of before would undo it
            if view.read_at != LONG_AGO:
                view.take(replace(view.record, policy=view.record.policy.held_to(policy)))
            view.counts_until(LONG_AGO)

    def expire(self, tenant_id: str) -> None:
        """Have a tenant's record read anew by the next operation: this process has just written it."""
        view = self._views.get(tenant_id)
        if view is not None:
            view.counts_until(LONG_AGO)

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


def _nothing_done(_view: TenantView) -> None:
    """What is done about scheduled keys, and those in trouble, until `StateGate` is told."""


def _until_activation(record: TenantRecord, now: Instant, deadline: Instant) -> Instant:
    # The first call after the activation date must not be served by what was read before it.
    if record.pending is None:
        return deadline
    # Few records have a date ahead, and reading one loads modules that a cold function would wait for.
    from core.domain.instants import parse_instant

    activation = parse_instant(record.pending.activation)
    return Instant(min(deadline.wall, activation), deadline.boot) if activation > now.wall else deadline


_CALM = frozenset({State.PLATFORM, State.ACTIVE, State.SUSPENDED})
