"""Takes a tenant from one KEK to another: enable, replace, move between clouds and go back are this one routine.

The record names both KEKs first. Then every branch key version is rewrapped, and at once a new ACTIVE version is born
under the new KEK, so that no backup of before holds what protects new data. Last, the record lets go of the former KEK.
Each step is a conditional write that can be repeated: whoever finds a move half done, finishes it. The fence, raised to
the new configuration revision before the first row is read, makes every writer of before fail. What is done with the
rows is `core.service.rewrapper`'s. Where a KEK has versions, taking up a new one is the same routine with nothing to
let go of.

Where the former KEK refuses, replacing it by another of the tenant's starts a new branch key; the versions left behind
wait under the KEK that refused, and are rewrapped when it returns (DESIGN 4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from core.domain.bindings import LostKek
from core.domain.branch_keys import ACTIVE, CREATE_TIME_FORMAT
from core.domain.kek import Kek, KekDescription
from core.domain.states import State
from core.domain.tenants import MAX_FORMER_BRANCH_KEYS, TenantRecord
from core.domain.timing import Instant
from core.errors import Conflict, Denial, Silence
from core.ports import Events, KeyStore
from core.service.key_changes import NOT_YET_OWN, check_movable, finished
from core.service.probes import Probes
from core.service.providers import Providers
from core.service.rewrapper import Moved, Rewrapper
from core.service.row_checks import RowChecks
from core.service.state_gate import StateGate, TenantView
from core.service.tenant_records import TenantRecords

PASSES = 8
"""How often the routine starts over when another process moves the same tenant at the same time."""
VERSION_CAUSES = frozenset({"disabled", "not_found", "policy"})
"""Causes of a denial that may be one version's alone."""
NOT_FINAL = frozenset({"unknown", "network"})
"""Causes of a denial that do not mean that a KEK was withdrawn."""
STATE_CHANGED = "keystead.key.state_changed"
KEK_CHANGED = "keystead.key.kek_changed"
BRANCH_KEY_BEGUN = "keystead.key.branch_key_begun"


class KeyMover:
    """Runs the routine.

    Args:
        records: Hold the tenants' records.
        store: Holds the rows and fences.
        rows: Read and check the rows.
        rewrapper: Puts rows under the KEK in force.
        providers: Name the platform's KEK, and say what a signal means.
        probes: Renew a tenant's probe under a new version of its KEK.
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
        rewrapper: Rewrapper,
        providers: Providers,
        probes: Probes,
        gate: StateGate,
        events: Events,
        now: Callable[[], Instant],
        backup_retention_days: int,
    ) -> None:
        self._records = records
        self._store = store
        self._rows = rows
        self._rewrapper = rewrapper
        self._providers = providers
        self._probes = probes
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
        """Do all that is left to do.

        Finish a move that was begun; fetch what a returned KEK gives back; take up a new version of the KEK in force.

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
                newest = self._newest(view, record)
                if not newest.enabled and record.moving_from is None and not record.lost_keks:
                    done.unfit = newest.detail
                    return done  # what lies under the version before serves on as it does
                refusing = self._rewrapper.rewrap(view, record, newest.kek, done, self._give_up)
                done.rotated |= self._rewrapper.renew_active(view, record, newest.kek)
                if self._rewrapper.settled(view, record, newest.kek, refusing):
                    self._finish(view, record, newest.kek)
                    done.kek_version = newest.kek.locator if newest.kek.versioned else ""
                    return done
            except Conflict:
                continue
        raise Conflict("the tenant's key is being changed by somebody else", hint="try again")

    def _newest(self, view: TenantView, record: TenantRecord) -> KekDescription:
        newest = self._providers.newest(record)
        active = self._rows.read(view, record.branch_key_id, ACTIVE) if newest.kek.versioned else None
        if active is None or active.row.kek.key != newest.kek.key or active.row.kek == newest.kek:
            return newest
        # A replica that lags tells an older version: never go back to it.
        try:
            used = self._providers.of(record, active.row.kek).describe(active.row.kek)
        except Denial as denial:
            if denial.cause == "not_found":
                return newest
            raise self._providers.refusal(record.tenant_id, active.row.kek, denial) from None
        except Silence as silence:
            raise self._providers.refusal(record.tenant_id, active.row.kek, silence) from None
        return used if (used.made or 0) > (newest.made or 0) else newest

    def _ends(self, record: TenantRecord) -> State:
        # Where a finished move leaves the tenant: its KEK has just been used, whatever it was before.
        if record.moving_from is None:
            return record.state
        return State.PLATFORM if record.kek == self._providers.platform_kek.locator else State.ACTIVE

    def _give_up(self, view: TenantView, record: TenantRecord, kek: Kek, signal: Denial | Silence, done: Moved) -> None:
        """Leave rows behind under a KEK that refuses, or say why that cannot be.

        Raises:
            KeyRevoked, KeyUnreachable, VendorFault: The move waits for the KEK.
            Conflict: The record was rewritten to begin a new branch key: start over. Or too many were begun already.
        """
        if kek.key.locator in {lost.locator for lost in record.lost_keks}:
            return  # known to be away
        if kek.key.locator == record.kek and isinstance(signal, Denial) and signal.cause in VERSION_CAUSES:
            # What an old version of the KEK in force wrapped stays where it is; from here it serves no longer.
            self._providers.heard(record.tenant_id, kek, signal)
            self._gate.purge(record.tenant_id)
            return
        refusal = self._providers.refusal(record.tenant_id, kek, signal)
        platform = self._providers.platform_kek.locator
        # Only a KEK of the tenant's own that has plainly said no, itself; and not to go back to the platform's key,
        # unless the tenant's own was never wholly in force.
        goes_back = record.kek == platform and record.state not in NOT_YET_OWN
        if not isinstance(signal, Denial) or signal.cause in NOT_FINAL or kek.locator == platform or goes_back:
            raise refusal from None
        if kek.key.locator == record.kek or len(record.former_branch_keys) >= MAX_FORMER_BRANCH_KEYS:
            raise refusal from None
        self._write(
            view,
            record,
            replace(
                record,
                branch_key_id=str(uuid4()),
                sequence_floor=0,
                former_branch_keys=record.branch_keys,
                lost_keks=(*record.lost_keks, LostKek(kek.key.locator, record.moving_binding)),
            ),
        )
        done.branch_key_begun = True
        self._events.emit(BRANCH_KEY_BEGUN, record.tenant_id, {"lost": kek.key.locator, "cause": signal.cause})
        raise Conflict("a new branch key is begun")

    def _finish(self, view: TenantView, record: TenantRecord, newest: Kek) -> None:
        lost, probe_digest = self._rewrapper.still_lost(view, record), self._probe(record, newest)
        if record.moving_from is None and lost == record.lost_keks and probe_digest == record.probe_digest:
            return
        state, now = self._ends(record), datetime.fromtimestamp(self._now().wall, UTC)
        active = self._rows.read(view, record.branch_key_id, ACTIVE)
        never = lost or record.kek == self._providers.platform_kek.locator
        after = finished(
            record.with_floor(active.mac.sequence if active and active.mac else 0),
            state=state,
            lost=lost,
            probe_digest=probe_digest,
            exclusive_from="" if never else (now + self._retention).strftime(CREATE_TIME_FORMAT),
            since=now.strftime(CREATE_TIME_FORMAT),
        )
        self._write(view, record, after)
        if record.moving_from is not None:
            moved = {"from": record.moving_from, "to": record.kek}
            self._events.emit(KEK_CHANGED, record.tenant_id, moved)
        if state is not record.state:
            self._events.emit(STATE_CHANGED, record.tenant_id, {"from": record.state.value, "to": state.value})

    def _probe(self, record: TenantRecord, newest: Kek) -> str:
        # Asks the version that new data hangs on: an old one may be disabled without anything being withdrawn.
        if not newest.versioned or self._probes.read(record.tenant_id, record.probe_digest).kek == newest:
            return record.probe_digest
        return self._probes.make(self._providers.of(record, newest), record, newest).digest

    def _write(self, view: TenantView, before: TenantRecord, after: TenantRecord) -> None:
        found = self._records.read(before.tenant_id)
        if found is None or found[0] != before:
            raise Conflict("the tenant's record changed meanwhile")
        self._records.write(after, expected_revision=found[1])
        self._gate.refresh(view, forced=True)
