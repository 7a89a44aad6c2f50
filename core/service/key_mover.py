"""Takes a tenant from one KEK to another: enable, replace, move between clouds and go back are this one routine.

The record names both KEKs first. Then every branch key version is rewrapped, and at once a new ACTIVE version is born
under the new KEK, so that no backup of before holds what protects new data. Last, the record lets go of the former KEK.
Each step is a conditional write that can be repeated: whoever finds a move half done, finishes it. The fence, raised to
the new configuration revision before the first row is read, makes every writer of before fail.

Where the former KEK refuses, replacing it by another of the tenant's starts a new branch key; the versions left behind
wait under the KEK that refused, and are rewrapped when it returns (DESIGN 4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from core.domain.bindings import UNBOUND, LostKek
from core.domain.branch_keys import ACTIVE, CREATE_TIME_FORMAT, StoredRow
from core.domain.kek import Kek
from core.domain.states import State
from core.domain.tenants import MAX_FORMER_BRANCH_KEYS, TenantRecord
from core.domain.timing import Instant
from core.errors import Conflict, Denial, Silence, VendorFault
from core.ports import Events, KeyStore
from core.service.branch_key_writer import BranchKeyWriter
from core.service.key_changes import NOT_YET_OWN, check_movable
from core.service.providers import Providers
from core.service.row_checks import RowChecks
from core.service.state_gate import StateGate, TenantView
from core.service.tenant_records import TenantRecords

PASSES = 8
"""How often the routine starts over when another process moves the same tenant at the same time."""
STATE_CHANGED = "keystead.key.state_changed"
KEK_CHANGED = "keystead.key.kek_changed"
BRANCH_KEY_BEGUN = "keystead.key.branch_key_begun"


@dataclass(slots=True)
class Moved:
    """What a run of the routine did.

    Attributes:
        rewrapped: Versions put under the KEK in force.
        rotated: Whether a new ACTIVE version was born.
        waiting: Versions that wait under a KEK that refuses.
        branch_key_begun: Whether a new branch key was begun, because the former KEK refuses.
    """

    rewrapped: int = 0
    rotated: bool = False
    waiting: int = 0
    branch_key_begun: bool = False


class KeyMover:
    """Runs the routine.

    Args:
        records: Hold the tenants' records.
        store: Holds the rows and fences.
        rows: Read and check the rows.
        writer: Writes them.
        providers: Name the platform's KEK, and say what a signal means.
        gate: Holds the tenant views.
        events: Hear of changes of state.
        now: Reads both clocks.
        backup_retention_days: Days after which a backup of the key store is gone.
    """

    def __init__(
        self,
        *,
        records: TenantRecords,
        store: KeyStore,
        rows: RowChecks,
        writer: BranchKeyWriter,
        providers: Providers,
        gate: StateGate,
        events: Events,
        now: Callable[[], Instant],
        backup_retention_days: int,
    ) -> None:
        self._records = records
        self._store = store
        self._rows = rows
        self._writer = writer
        self._providers = providers
        self._gate = gate
        self._events = events
        self._now = now
        self._retention = timedelta(days=backup_retention_days)

    def settle(self, record: TenantRecord) -> None:
        """Raise the fences of a tenant's branch keys to its configuration; does nothing where they are there already.

        Args:
            record: The tenant's record, just read.

        Raises:
            Conflict: The configuration has moved on.
            StoreUnavailable, StoreCorrupt: A fence cannot be read or raised now.
        """
        revision = record.configuration_revision
        for branch_key_id in record.branch_keys:
            fence = self._store.read_fence(branch_key_id)
            if fence is not None and fence < revision:
                self._store.move_fence(branch_key_id, expected=fence, new=revision)

    def run(self, tenant_id: str) -> Moved:
        """Do all that is left to do: finish a move that was begun, and fetch what a returned KEK gives back.

        Raises:
            NotFound: There is no such tenant.
            KeyWithheld: A KEK does not serve, or the kill switch is on.
            KeyUnreachable, VendorFault: A KEK does not answer; calling again goes on where this stopped.
            Conflict: Other processes kept changing the same tenant.
            StoreUnavailable, StoreCorrupt: A store does not answer, or a row is refused.
        """
        done = Moved()
        for _ in range(PASSES):
            view = self._gate.enter_any(tenant_id)
            record = self._gate.reread(view)
            check_movable(record, self._ends(record))
            try:
                self.settle(record)
                waiting = self._rewrap(view, record, done)
                done.rotated |= self._renew_active(view, record)
                if self._settled(view, record):
                    self._finish(view, record)
                    done.waiting = waiting
                    return done
            except Conflict:
                continue
        raise Conflict("the tenant's key is being changed by somebody else", hint="try again")

    def _ends(self, record: TenantRecord) -> State:
        # Where a finished move leaves the tenant: its KEK has just been used, whatever it was before.
        if record.moving_from is None:
            return record.state
        return State.PLATFORM if record.kek == self._providers.platform_kek.locator else State.ACTIVE

    def _rewrap(self, view: TenantView, record: TenantRecord, done: Moved) -> int:
        # Gives how many versions have to wait.
        waiting = 0
        refusing: set[str] = set()
        for branch_key_id in record.branch_keys:
            for stored in self._rows_of(view, record, branch_key_id):
                kek = stored.row.kek
                if kek.locator == record.kek:
                    continue
                if kek.locator not in refusing:
                    try:
                        self._writer.rewrap(record, stored)
                        done.rewrapped += 1
                        continue
                    except (Denial, Silence) as signal:
                        self._give_up(view, record, kek, signal, done)
                    except VendorFault:
                        if kek.locator not in {lost.locator for lost in record.lost_keks}:
                            raise  # a lost KEK may be one that this deployment does not reach any more
                    refusing.add(kek.locator)
                waiting += 1
        return waiting

    def _give_up(self, view: TenantView, record: TenantRecord, kek: Kek, signal: Denial | Silence, done: Moved) -> None:
        """Leave rows behind under a KEK that refuses, or say why that cannot be.

        Raises:
            KeyRevoked, KeyUnreachable, VendorFault: The move waits for the KEK.
            Conflict: The record was rewritten to begin a new branch key: start over. Or too many were begun already.
        """
        if kek.locator in {lost.locator for lost in record.lost_keks}:
            return  # known to be away
        refusal = self._providers.refusal(record.tenant_id, kek, signal)
        platform = self._providers.platform_kek.locator
        # Only a KEK of the tenant's own that has plainly said no; and not to go back to the platform's key, unless
        # the tenant's own was never wholly in force.
        goes_back = record.kek == platform and record.state not in NOT_YET_OWN
        if not isinstance(signal, Denial) or signal.cause == "unknown" or kek.locator == platform or goes_back:
            raise refusal from None
        if len(record.former_branch_keys) >= MAX_FORMER_BRANCH_KEYS:
            raise refusal from None
        self._write(
            view,
            record,
            replace(
                record,
                branch_key_id=str(uuid4()),
                sequence_floor=0,
                former_branch_keys=record.branch_keys,
                lost_keks=(*record.lost_keks, LostKek(kek.locator, record.moving_binding)),
            ),
        )
        done.branch_key_begun = True
        self._events.emit(BRANCH_KEY_BEGUN, record.tenant_id, {"lost": kek.locator, "cause": signal.cause})
        raise Conflict("a new branch key is begun")

    def _renew_active(self, view: TenantView, record: TenantRecord) -> bool:
        active = self._rows.read(view, record.branch_key_id, ACTIVE)
        self._same(view, record)
        if active is None:
            if record.sequence_floor > 0:
                raise self._rows.missing(record.tenant_id, record.branch_key_id, ACTIVE)
            self._writer.create(record)
            return True
        if active.row.kek.locator == record.kek:
            return False
        renewed = self._writer.rotate(record, active)
        view.saw(record.branch_key_id, renewed.mac.sequence if renewed.mac else 0)
        return True

    def _settled(self, view: TenantView, record: TenantRecord) -> bool:
        # A rotation or a first branch key of before the fence rose may have come after the versions were listed.
        lost = {kek.locator for kek in record.lost_keks}
        for branch_key_id in record.branch_keys:
            allowed = {record.kek} if branch_key_id == record.branch_key_id else {record.kek} | lost
            if any(stored.row.kek.locator not in allowed for stored in self._rows_of(view, record, branch_key_id)):
                return False
        return True

    def _finish(self, view: TenantView, record: TenantRecord) -> None:
        lost = self._still_lost(view, record)
        if record.moving_from is None and lost == record.lost_keks:
            return
        state, now = self._ends(record), datetime.fromtimestamp(self._now().wall, UTC)
        active = self._rows.read(view, record.branch_key_id, ACTIVE)
        finished = replace(
            record.with_floor(active.mac.sequence if active and active.mac else 0),
            state=state,
            cause="" if state is not record.state else record.cause,
            since=now.strftime(CREATE_TIME_FORMAT) if state is not record.state else record.since,
            moving_from=None,
            moving_binding=UNBOUND,
            lost_keks=lost,
            # Rows that still lie under a lost KEK will lie in backups for as long again once they are fetched.
            exclusive_from=""
            if lost or record.kek == self._providers.platform_kek.locator
            else (now + self._retention).strftime(CREATE_TIME_FORMAT),
        )
        self._write(view, record, finished)
        if record.moving_from is not None:
            moved = {"from": record.moving_from, "to": record.kek}
            self._events.emit(KEK_CHANGED, record.tenant_id, moved)
        if state is not record.state:
            self._events.emit(STATE_CHANGED, record.tenant_id, {"from": record.state.value, "to": state.value})

    def _still_lost(self, view: TenantView, record: TenantRecord) -> tuple[LostKek, ...]:
        if not record.lost_keks:
            return ()
        waiting = {
            stored.row.kek.locator
            for branch_key_id in record.former_branch_keys
            for stored in self._rows_of(view, record, branch_key_id)
        }
        return tuple(kek for kek in record.lost_keks if kek.locator in waiting and kek.locator != record.kek)

    def _rows_of(self, view: TenantView, record: TenantRecord, branch_key_id: str) -> Sequence[StoredRow]:
        # The primary's ACTIVE row is not rewrapped: a new version takes its place.
        rows = [*self._rows.versions(view, branch_key_id)]
        if branch_key_id != record.branch_key_id:
            active = self._rows.read(view, branch_key_id, ACTIVE)
            rows += [] if active is None else [active]
        self._same(view, record)
        return rows

    def _same(self, view: TenantView, record: TenantRecord) -> None:
        # What was just read was checked against the view; what is done with it follows the record.
        if view.record != record:
            raise Conflict("the tenant's record changed meanwhile")

    def _write(self, view: TenantView, before: TenantRecord, after: TenantRecord) -> None:
        found = self._records.read(before.tenant_id)
        if found is None or found[0] != before:
            raise Conflict("the tenant's record changed meanwhile")
        self._records.write(after, expected_revision=found[1])
        self._gate.refresh(view, forced=True)
