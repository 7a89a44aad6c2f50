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
from core.domain.tenants import TenantRecord
from core.domain.timing import Instant
from core.errors import Conflict, Denial, Silence
from core.ports import Events, KeyStore
from core.service.branch_key_writer import BranchKeyWriter
from core.service.providers import Providers
from core.service.row_checks import RowChecks
from core.service.state_gate import StateGate, TenantView
from core.service.tenant_records import TenantRecords

PASSES = 8
"""How often the routine starts over when another process moves the same tenant at the same time."""
STATE_CHANGED = "keystead.key.state_changed"


@dataclass(frozen=True, slots=True)
class Moved:
    """What a run of the routine did.

    Attributes:
        rewrapped: Versions put under the KEK in force.
        rotated: Whether a new ACTIVE version was born.
        waiting: Versions that wait under a KEK that refuses.
    """

    rewrapped: int = 0
    rotated: bool = False
    waiting: int = 0


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
            KeyRevoked, KeyUnreachable, VendorFault: A KEK does not serve; calling again goes on where this stopped.
            Conflict: Other processes kept changing the same tenant.
            StoreUnavailable, StoreCorrupt: A store does not answer, or a row is refused.
        """
        rewrapped, rotated = 0, False
        for _ in range(PASSES):
            view = self._gate.enter_any(tenant_id)
            self._gate.refresh(view, forced=True)
            try:
                self.settle(view.record)
                count, waiting = self._rewrap(view)
                rewrapped += count
                rotated |= self._renew_active(view)
                if self._settled(view):
                    self._finish(view)
                    return Moved(rewrapped, rotated, waiting)
            except Conflict:
                continue
        raise Conflict("the tenant's key is being changed by somebody else", hint="try again")

    def _rewrap(self, view: TenantView) -> tuple[int, int]:
        # How many versions were put under the KEK in force, and how many have to wait.
        record, done, waiting = view.record, 0, 0
        refusing: set[str] = set()
        for branch_key_id in record.branch_keys:
            for stored in self._rows_of(view, branch_key_id):
                kek = stored.row.kek
                if kek.locator == record.kek:
                    continue
                if kek.locator in refusing:
                    waiting += 1
                    continue
                try:
                    self._writer.rewrap(record, stored)
                    done += 1
                except (Denial, Silence) as signal:
                    self._give_up(view, kek, signal)
                    refusing.add(kek.locator)
                    waiting += 1
        return done, waiting

    def _give_up(self, view: TenantView, kek: Kek, signal: Denial | Silence) -> None:
        """Leave rows behind under a KEK that refuses, or say why that cannot be.

        Raises:
            KeyRevoked, KeyUnreachable, VendorFault: The move waits for the KEK.
            Conflict: The record was rewritten to begin a new branch key: start over.
        """
        record = view.record
        if kek.locator in {lost.locator for lost in record.lost_keks}:
            return  # known to be away
        replaced = self._providers.platform_kek.locator not in (record.kek, record.moving_from)
        if not (isinstance(signal, Denial) and replaced):
            raise self._providers.refusal(kek, signal) from None
        self._write(
            view,
            replace(
                record,
                branch_key_id=str(uuid4()),
                sequence_floor=0,
                former_branch_keys=record.branch_keys,
                lost_keks=(*record.lost_keks, LostKek(kek.locator, record.moving_binding)),
            ),
        )
        raise Conflict("a new branch key is begun")

    def _renew_active(self, view: TenantView) -> bool:
        record = view.record
        active = self._rows.read(view, record.branch_key_id, ACTIVE)
        if active is None:
            if record.sequence_floor > 0:
                raise self._rows.missing(record.tenant_id, record.branch_key_id, ACTIVE)
            self._writer.create(record)
            return True
        if active.row.kek.locator == record.kek:
            return False
        renewed = self._writer.rotate(record, active)
        view.saw(renewed.mac.sequence if renewed.mac else 0)
        return True

    def _settled(self, view: TenantView) -> bool:
        # A rotation or a first branch key of before the fence rose may have come after the versions were listed.
        record = view.record
        lost = {kek.locator for kek in record.lost_keks}
        for branch_key_id in record.branch_keys:
            allowed = {record.kek} if branch_key_id == record.branch_key_id else {record.kek} | lost
            if any(stored.row.kek.locator not in allowed for stored in self._rows_of(view, branch_key_id)):
                return False
        return True

    def _rows_of(self, view: TenantView, branch_key_id: str) -> Sequence[StoredRow]:
        # The primary's ACTIVE row is not rewrapped: a new version takes its place.
        rows = [*self._rows.versions(view, branch_key_id)]
        if branch_key_id != view.record.branch_key_id:
            active = self._rows.read(view, branch_key_id, ACTIVE)
            rows += [] if active is None else [active]
        return rows

    def _finish(self, view: TenantView) -> None:
        record = view.record
        waiting = {
            stored.row.kek.locator
            for branch_key_id in record.former_branch_keys
            for stored in self._rows_of(view, branch_key_id)
        }
        lost = tuple(kek for kek in record.lost_keks if kek.locator in waiting and kek.locator != record.kek)
        if record.moving_from is None:
            if lost != record.lost_keks:
                self._write(view, replace(record, lost_keks=lost))
            return
        state = State.PLATFORM if record.kek == self._providers.platform_kek.locator else State.ACTIVE
        now = datetime.fromtimestamp(self._now().wall, UTC)
        active = self._rows.read(view, record.branch_key_id, ACTIVE)
        finished = replace(
            record.with_floor(active.mac.sequence if active and active.mac else 0),
            state=state,
            cause="",
            since=now.strftime(CREATE_TIME_FORMAT),
            moving_from=None,
            moving_binding=UNBOUND,
            lost_keks=lost,
            exclusive_from="" if state is State.PLATFORM else (now + self._retention).strftime(CREATE_TIME_FORMAT),
        )
        self._write(view, finished)
        if state is not record.state:
            self._events.emit(
                STATE_CHANGED, record.tenant_id, {"from": record.state.value, "to": state.value, "kek": record.kek}
            )

    def _write(self, view: TenantView, record: TenantRecord) -> None:
        found = self._records.read(record.tenant_id)
        if found is None or found[0] != view.record:
            raise Conflict("the tenant's record changed meanwhile")
        self._records.write(record, expected_revision=found[1])
        self._gate.refresh(view, forced=True)
