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
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from core.domain.bindings import LostKek
from core.domain.branch_keys import ACTIVE, CREATE_TIME_FORMAT, StoredRow
from core.domain.kek import Kek
from core.domain.states import State
from core.domain.tenants import MAX_FORMER_BRANCH_KEYS, TenantRecord
from core.domain.timing import Instant
from core.errors import Conflict, Denial, KeysteadError, Silence, StoreCorrupt
from core.ports import Events, KeyStore
from core.service.alarms import Alarms
from core.service.kek_versions import KekVersions, Target
from core.service.key_changes import NOT_YET_OWN, check_movable, ends, finished
from core.service.lru import LruCache
from core.service.probes import Probes
from core.service.providers import Providers
from core.service.revocation.telling import Teller
from core.service.rewrapper import Moved, Rewrapper
from core.service.row_checks import RowChecks
from core.service.state_gate import StateGate
from core.service.tenant_records import TenantRecords
from core.service.tenant_view import TenantView

PASSES = 8
"""How often the routine starts over when another process moves the same tenant at the same time."""
VERSION_CAUSES = frozenset({"disabled", "not_found"})
"""Causes of a denial that may be one version's alone."""
NOT_FINAL = frozenset({"unknown", "network"})
"""Causes of a denial that do not mean that a KEK was withdrawn."""
KEK_CHANGED = "keystead.key.kek_changed"
BRANCH_KEY_BEGUN = "keystead.key.branch_key_begun"


class KeyMover:
    """Runs the routine.

    Args:
        records: Hold the tenants' records.
        store: Holds the rows and fences.
        rows: Read and check the rows.
        rewrapper: Puts rows under the KEK in force.
        versions: Decide which version of the KEK to use.
        providers: Name the platform's KEK, and say what a signal means.
        probes: Renew a tenant's probe under a new version of its KEK.
        gate: Holds the tenant views.
        teller: Tells changes of state.
        events: Hear of changes of KEK.
        alarms: Tell the operator of a probe that is gone.
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
        versions: KekVersions,
        providers: Providers,
        probes: Probes,
        gate: StateGate,
        teller: Teller,
        events: Events,
        alarms: Alarms,
        now: Callable[[], Instant],
        backup_retention_days: int,
    ) -> None:
        self._records = records
        self._store = store
        self._rows = rows
        self._rewrapper = rewrapper
        self._versions = versions
        self._providers = providers
        self._probes = probes
        self._gate = gate
        self._teller = teller
        self._events = events
        self.on_reinstating: Callable[[TenantRecord], None] = _nothing_to_end
        """Called before a revoked tenant's record goes back to a state that serves; ends its receipt, or raises."""
        self._alarms = alarms
        self._refused: LruCache[tuple[str, Kek], bool] = LruCache(1000)
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
                target = self._target(view, record)
                self._rewrapper.bear(view, record, target)
                refusing = self._rewrapper.rewrap(view, record, target, done, self._give_up)
                done.rotated |= self._rewrapper.renew_active(view, record, target)
                if self._rewrapper.settled(view, record, target, refusing):
                    self._finish(view, record, target.kek)
                    done.unfit = target.unfit
                    done.kek_version = target.kek.locator if target.kek.versioned else ""
                    return done
            except Conflict:
                continue
        raise Conflict("the tenant's key is being changed by somebody else", hint="try again")

    def _target(self, view: TenantView, record: TenantRecord) -> Target:
        if not Kek(record.kek).versioned:
            return Target(Kek(record.kek))
        active, named = self._rewrapper.named(view, record)
        return self._versions.target(record, active, named)

    def _ends(self, record: TenantRecord) -> State:
        # Where a finished move leaves the tenant: its KEK has just been used, whatever it was before.
        if record.moving_from is None:
            return record.state
        return State.PLATFORM if record.kek == self._providers.platform_kek.locator else State.ACTIVE

    def _give_up(
        self, view: TenantView, record: TenantRecord, stored: StoredRow, signal: Denial | Silence, done: Moved
    ) -> None:
        """Leave rows behind under a KEK that refuses, or say why that cannot be.

        Raises:
            KeyRevoked, KeyUnreachable, VendorFault: The move waits for the KEK.
            Conflict: The record was rewritten to begin a new branch key: start over. Or too many were begun already.
        """
        kek = stored.row.kek
        lost = kek.key.locator in {lost.locator for lost in record.lost_keks}
        denial = signal if isinstance(signal, Denial) else None
        if lost and stored.row.branch_key_id != record.branch_key_id and (denial or kek.key.locator not in record.keks):
            return  # known to be away
        if kek.key.locator == record.kek and denial is not None and denial.cause in VERSION_CAUSES:
            # What an old version of the KEK in force wrapped stays where it is; from here it serves no longer.
            if self._refused.get((record.tenant_id, kek)) is None:
                self._refused.put((record.tenant_id, kek), True)
                self._gate.purge(record.tenant_id)
            return
        refusal = self._providers.refusal(record.tenant_id, kek, signal)
        platform = self._providers.platform_kek.locator
        # Only a KEK of the tenant's own that has plainly said no, itself; and not to go back to the platform's key,
        # unless the tenant's own was never wholly in force, or only an old version of it refuses.
        stays = record.kek == platform and record.state not in NOT_YET_OWN and not self._outlived(record, kek, signal)
        if denial is None or denial.cause in NOT_FINAL or kek.locator == platform or stays:
            raise refusal from None
        if kek.key.locator == record.kek or len(record.former_branch_keys) >= MAX_FORMER_BRANCH_KEYS:
            raise refusal from None
        given_up = () if lost else (LostKek(kek.key.locator, record.moving_binding),)
        self._write(
            view,
            record,
            replace(
                record,
                branch_key_id=str(uuid4()),
                sequence_floor=0,
                former_branch_keys=record.branch_keys,
                lost_keks=(*record.lost_keks, *given_up),
            ),
        )
        done.branch_key_begun = True
        self._events.emit(BRANCH_KEY_BEGUN, record.tenant_id, {"lost": kek.key.locator, "cause": denial.cause})
        raise Conflict("a new branch key is begun")

    def _outlived(self, record: TenantRecord, kek: Kek, signal: Denial | Silence) -> bool:
        # Whether a version alone refuses, while the key that it is of serves by a newer one.
        if not kek.versioned or not isinstance(signal, Denial) or signal.cause not in VERSION_CAUSES:
            return False
        newest = self._providers.newest(record, self._providers.of(record, kek), kek.key)
        return newest.enabled and newest.kek != kek

    def _finish(self, view: TenantView, record: TenantRecord, kek: Kek) -> None:
        lost, probe_digest = self._rewrapper.still_lost(view, record), self._probe(record, kek)
        platform = self._providers.platform_kek.locator
        waits = platform in {kek.locator for kek in lost}
        if record.moving_from is None and lost == record.lost_keks and probe_digest == record.probe_digest:
            return
        now = datetime.fromtimestamp(self._now().wall, UTC)
        active = self._rows.read(view, record.branch_key_id, ACTIVE)
        never = lost or record.kek == platform
        after = finished(
            record.with_floor(active.mac.sequence if active and active.mac else 0),
            ends(record, self._providers.platform_kek),
            now.timestamp(),
            lost=lost,
            probe_digest=probe_digest,
            exclusive_from="" if never else (now + self._retention).strftime(CREATE_TIME_FORMAT),
            fallback_branch_key=record.fallback_branch_key if waits else "",
        )
        if record.state is State.REVOKED and after.state is not State.REVOKED:
            self.on_reinstating(record)
        self._write(view, record, after)
        self._teller.tell(after)
        if record.moving_from is not None:
            moved = {"from": record.moving_from, "to": record.kek}
            self._events.emit(KEK_CHANGED, record.tenant_id, moved)

    def keep_probe(self, tenant_id: str, kek: Kek) -> None:
        """Have the probe lie under the version that new data hangs on. Best effort: a withdrawal is confirmed without.

        Args:
            tenant_id: The tenant.
            kek: The KEK in force, in the version of the ACTIVE row.
        """
        with suppress(KeysteadError):
            found = self._records.read(tenant_id)
            if found is None or found[0].kek != kek.key.locator:
                return
            known, digest = found[0].probe_digest, self._probe(found[0], kek)
            self._records.change(
                tenant_id,
                lambda record: replace(record, probe_digest=digest) if record.probe_digest == known else None,
            )

    def _probe(self, record: TenantRecord, kek: Kek) -> str:
        # Asks the version that new data hangs on: an old one may be disabled without anything being withdrawn.
        if not kek.versioned:
            return record.probe_digest
        try:
            if self._probes.read(record.tenant_id, record.probe_digest).kek == kek:
                return record.probe_digest
        except StoreCorrupt as error:
            self._alarms("store_corrupt", record.tenant_id, "probe", problem=error.detail)
        return self._probes.make(self._providers.of(record, kek), record, kek).digest

    def _write(self, view: TenantView, before: TenantRecord, after: TenantRecord) -> None:
        found = self._records.read(before.tenant_id)
        if found is None or found[0] != before:
            raise Conflict("the tenant's record changed meanwhile")
        self._records.write(after, expected_revision=found[1])
        self._gate.refresh(view, forced=True)


def _nothing_to_end(_record: TenantRecord) -> None:
    """What is done about receipts until `KeyMover.on_reinstating` is set."""
