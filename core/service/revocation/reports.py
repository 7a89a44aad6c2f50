"""What requests tell of a tenant's KMS, and how they bear with one that denies or is silent (DESIGN 5, rules 3 and 4).

A denial stops the whole fleet by one write, `hold`, and is not asked again in this process for a moment. A silence is
written down, too, and while it lasts the KMS is not asked by every request: cached keys serve without a call, others
are refused at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.domain.branch_keys import ACTIVE, StoredRow
from core.domain.instants import parse_instant
from core.domain.kek import Kek
from core.domain.states import Signal, State
from core.domain.tenants import TenantRecord
from core.domain.timing import Instant
from core.domain.withdrawals import ACCESS_CAUSES, instant
from core.errors import Denial, KeysteadError, OwnFault, Silence, VendorFault
from core.service.lru import LruCache
from core.service.providers import Providers
from core.service.revocation.guard import GuardFinding, VendorFaultGuard
from core.service.revocation.pauses import DENIED_FOR, SILENT_FOR, Pause
from core.service.revocation.signals import signalled
from core.service.revocation.telling import Teller
from core.service.revocation.turns import Turns
from core.service.revocation.uses import Uses
from core.service.revocation.watch import Watch
from core.service.row_checks import RowChecks
from core.service.state_gate import StateGate
from core.service.tenant_records import TenantRecords
from core.service.tenant_view import TenantView
from core.service.timekeeper import Timekeeper

SILENT = frozenset({State.DEGRADED, State.UNREACHABLE})


@dataclass(frozen=True, slots=True)
class _Owed:
    signal: Signal
    kek: Kek
    denial: Denial
    heard: float
    dated: bool


class Reports:
    """Hears what requests met.

    Args:
        records: Hold the tenants' records.
        rows: Read the ACTIVE row, whose KEK the state follows.
        gate: Holds the tenant views.
        providers: Say what a signal means to callers.
        guard: Tells whether a refusal is our own fault.
        turns: Set the pace of the checks that follow.
        watch: Remembers tenants in trouble.
        teller: Tells changes of state.
        uses: Keep the last use.
        timekeeper: Reads both clocks, and knows whether they are to be believed.
    """

    def __init__(
        self,
        *,
        records: TenantRecords,
        rows: RowChecks,
        gate: StateGate,
        providers: Providers,
        guard: VendorFaultGuard,
        turns: Turns,
        watch: Watch,
        teller: Teller,
        uses: Uses,
        timekeeper: Timekeeper,
    ) -> None:
        self._records = records
        self._rows = rows
        self._gate = gate
        self._providers = providers
        self._guard = guard
        self._turns = turns
        self._watch = watch
        self._teller = teller
        self._uses = uses
        self._timekeeper = timekeeper
        self._now = timekeeper.now
        self._pauses: LruCache[tuple[str, str], Pause] = LruCache(10_000)
        self._granted: LruCache[tuple[str, str], Instant] = LruCache(10_000)
        self._owed: LruCache[str, _Owed] = LruCache(10_000)

    def paused(self, view: TenantView, kek: Kek) -> Pause | None:
        """Why a KEK is not to be asked now; None if it may be.

        Args:
            view: The tenant's view.
            kek: The KEK, with its version where there are versions.
        """
        pause = self._pauses.get((view.tenant_id, kek.locator))
        if pause is None:
            return None
        if pause.silent and view.record.state is State.ACTIVE and view.read_at.boot > pause.began.boot:
            return None  # read since: another process has reached it
        if self._now().before(pause.until):
            return pause
        turns = kek != self._providers.platform_kek and view.record.state in SILENT
        if pause.silent and turns and not self._our_turn(view.tenant_id):
            return self._pause(view, kek, pause.error, SILENT_FOR, silent=True)
        return None

    def _our_turn(self, tenant_id: str) -> bool:
        # Fleet-wide, a KMS that is silent is asked by one process at a time.
        try:
            return self._turns.take(tenant_id, trouble=True) is not None
        except KeysteadError:
            return False

    def silent(self, view: TenantView, kek: Kek, silence: Silence) -> KeysteadError:
        """Take note of a silence.

        Returns:
            What a request without a cached key hears.
        """
        error = self._providers.refusal(view.tenant_id, kek, silence)
        self._pause(view, kek, error, SILENT_FOR, silent=True)
        if kek != self._providers.platform_kek and not isinstance(silence, OwnFault):
            self._watch.add(view.tenant_id)
            if view.record.state is State.ACTIVE and kek.key.locator == view.record.kek:
                self._signal(view.tenant_id, Signal.SILENT, kek)
        return error

    def granted(self, view: TenantView, kek: Kek, asked_as: TenantRecord) -> None:
        """Take note of a real unwrap.

        Args:
            view: The tenant's view.
            kek: The KEK, with its version where there are versions.
            asked_as: The tenant's record when it was asked for: only what it said then is over by this.
        """
        self._pauses.pop((view.tenant_id, kek.locator))
        self._granted.put((view.tenant_id, kek.locator), self._now())
        self._over(view.tenant_id, kek)
        if kek == self._providers.platform_kek:
            return
        self._uses.note(view.tenant_id)
        if asked_as.state in SILENT and kek.key.locator == asked_as.kek:
            self._signal(view.tenant_id, Signal.GRANTED, kek, since=asked_as.since)

    def answered(self, tenant_id: str, kek: Kek) -> None:
        """A check had a real unwrap: no use of the key, but requests may ask it again."""
        self._pauses.pop((tenant_id, kek.locator))
        self._over(tenant_id, kek)

    def settle(self, tenant_id: str) -> None:
        """Write a denial that a silent store did not take: the fleet is to know, whatever the KMS answers by now."""
        owed = self._owed.get(tenant_id)
        if owed is not None:
            self._owed.pop(tenant_id)
            self._signal(tenant_id, owed.signal, owed.kek, owed.denial, owed=owed)

    def _over(self, tenant_id: str, kek: Kek) -> None:
        owed = self._owed.get(tenant_id)
        if owed is not None and owed.kek == kek:
            self._owed.pop(tenant_id)

    def granted_ago(self, tenant_id: str, kek: Kek) -> float:
        """Seconds since a request of this process last had a real unwrap under a KEK; infinite if none had."""
        last = self._granted.get((tenant_id, kek.locator))
        return float("inf") if last is None else self._now().elapsed(last)

    def denied(self, view: TenantView, stored: StoredRow, denial: Denial) -> KeysteadError:
        """Take note of a denial: have the whole fleet stop serving from its caches, if the state follows this KEK.

        The caller has purged this process's keys.

        Returns:
            What the request hears.
        """
        kek, tenant_id = stored.row.kek, view.tenant_id
        error = self._providers.refusal(tenant_id, kek, denial)
        self._granted.pop((tenant_id, kek.locator))
        if kek == self._providers.platform_kek or not self._followed(view, stored):
            return error
        if self._ours(view.record, kek, denial):
            error = VendorFault("this service's own access to the key management system is refused", retry_after=30)
        else:
            self.withdraw(view, kek, denial)
        self._pause(view, kek, error, DENIED_FOR, silent=False)
        return error

    def withdraw(self, view: TenantView, kek: Kek, denial: Denial) -> None:
        """Write what a denial of the KEK that the state follows leads to. Best effort: leases end without it, too."""
        self._watch.later(view.tenant_id, 0.0)
        if denial.cause == "network":
            self._signal(view.tenant_id, Signal.NETWORK_REFUSED, kek, denial)
        else:
            self._signal(view.tenant_id, Signal.DENIED, kek, denial)

    def _ours(self, record: TenantRecord, kek: Kek, denial: Denial) -> bool:
        if denial.cause not in ACCESS_CAUSES:
            return False
        try:
            self._guard.noticed(record, kek)
            return self._guard.ask_lately(record, kek) is GuardFinding.OURS
        except KeysteadError:
            return False

    def _followed(self, view: TenantView, stored: StoredRow) -> bool:
        # The state follows the ACTIVE row's KEK, in its version: others refuse for themselves alone.
        if stored.row.type == ACTIVE and stored.row.branch_key_id == view.record.branch_key_id:
            return True
        try:
            active = self._rows.read(view, view.record.branch_key_id, ACTIVE)
        except KeysteadError:
            return stored.row.kek.key.locator == view.record.kek and not stored.row.kek.versioned
        return active is not None and active.row.kek == stored.row.kek

    def _signal(
        self,
        tenant_id: str,
        signal: Signal,
        kek: Kek,
        denial: Denial | None = None,
        *,
        since: str = "",
        owed: _Owed | None = None,
    ) -> None:
        now = self._now().wall
        written: list[TenantRecord] = []

        def change(record: TenantRecord) -> TenantRecord | None:
            if record.deleted or kek.key.locator not in record.keks or since not in ("", record.since):
                return None
            if owed is not None and record.state is State.ACTIVE and parse_instant(record.since) > owed.heard:
                return None  # it served again meanwhile
            dated = self._timekeeper.trusted and (owed is None or owed.dated)
            after = signalled(record, signal, kek, now, denial, dated=dated)
            if after is record:
                return None
            if owed is not None and after.withdrawal is not None and after.withdrawal.first_denial:
                after = replace(after, withdrawal=replace(after.withdrawal, first_denial=instant(owed.heard)))
            written[:] = [after]
            return after

        try:
            found = self._records.change(tenant_id, change)
        except KeysteadError:
            if denial is not None:
                self._owed.put(tenant_id, owed or _Owed(signal, kek, denial, now, self._timekeeper.trusted))
            return
        finally:
            self._gate.expire(tenant_id)
        if written and found == written[0]:
            self._turns.begin(tenant_id, steady=signal is Signal.SILENT)
            self._teller.tell(written[0])

    def _pause(self, view: TenantView, kek: Kek, error: KeysteadError, seconds: float, *, silent: bool) -> Pause:
        now = self._now()
        pause = Pause(now, now.plus(seconds), error, silent)
        self._pauses.put((view.tenant_id, kek.locator), pause)
        return pause
