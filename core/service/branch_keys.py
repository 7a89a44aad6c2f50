"""Finds, verifies and unwraps branch keys, and keeps each for its lease (DESIGN 5, rules 1 and 9).

The lease starts before the unwrap request is sent. When it ends, the next use unwraps anew; if the KMS is silent then,
the old key serves on until the outage grace is over, and the KMS is asked again every few seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest

from core.domain.branch_keys import ACTIVE, VERSION_PREFIX, StoredRow
from core.domain.kek import KEY_BYTES, WrappedKey
from core.domain.timing import Instant
from core.errors import (
    Denial,
    KeysteadError,
    KeyUnreachable,
    MessageInvalid,
    Silence,
    StoreCorrupt,
    StoreUnavailable,
    WrapMismatch,
)
from core.ports import KeyStore
from core.service.alarms import Alarms
from core.service.branch_key import BranchKey
from core.service.branch_key_writer import BranchKeyWriter
from core.service.lru import LruCache
from core.service.providers import Providers
from core.service.row_macs import RowMacs
from core.service.single_flight import SingleFlight
from core.service.state_gate import StateGate, TenantView
from core.service.timekeeper import Timekeeper

ASK_AGAIN = 5.0
"""Seconds for which a silent KMS is not asked again while the grace lasts."""
UNKNOWN_FOR = 5.0
"""Seconds for which a version not found is not looked up again."""

Slot = tuple[str, str, str]


class BranchKeys:
    """Finds, verifies, unwraps and caches branch keys.

    Args:
        store: Holds the rows.
        writer: Writes a tenant's first version where it is missing.
        providers: Reach the KEKs.
        macs: Check the rows.
        gate: Holds the tenant views.
        timekeeper: Reads the clocks, and hears of the KMS's own.
        alarms: Tell the operator of corrupt rows.
        raise_floor: Records the highest sequence seen of a tenant's branch key: tenant id, sequence.
        table_name: The logical key store name.
        limit: Most keys kept.
    """

    def __init__(
        self,
        *,
        store: KeyStore,
        writer: BranchKeyWriter,
        providers: Providers,
        macs: RowMacs,
        gate: StateGate,
        timekeeper: Timekeeper,
        alarms: Alarms,
        raise_floor: Callable[[str, int], None],
        table_name: str,
        limit: int,
    ) -> None:
        self._store = store
        self._writer = writer
        self._providers = providers
        self._macs = macs
        self._gate = gate
        self._timekeeper = timekeeper
        self._alarms = alarms
        self._raise_floor = raise_floor
        self._table_name = table_name
        self._cache: LruCache[Slot, BranchKey] = LruCache(limit)
        self._unknown: LruCache[Slot, Instant] = LruCache(limit)
        self._flights: SingleFlight[BranchKey] = SingleFlight(lambda: timekeeper.now().boot)

    def active(self, view: TenantView) -> BranchKey:
        """The ACTIVE version of a tenant's branch key.

        Raises:
            KeyRevoked, KeyUnreachable, VendorFault: The KEK does not serve.
            StoreUnavailable: A store does not answer.
            StoreCorrupt: The row is missing or fails a check; the operator is alarmed.
        """
        return self._get(view, view.record.branch_key_id, ACTIVE)

    def version(self, view: TenantView, branch_key_id: str, version_id: str) -> BranchKey:
        """The version that a message names.

        Raises:
            MessageInvalid: The tenant has no such version.
            As `active` besides.
        """
        if branch_key_id != view.record.branch_key_id:
            raise MessageInvalid("the message was not encrypted under a branch key of this tenant")
        return self._get(view, branch_key_id, VERSION_PREFIX + version_id)

    def verified(self, view: TenantView, branch_key_id: str, row_type: str) -> StoredRow | None:
        """Read a row and check it: MAC, owner, KEK, and that it is not older than what was seen before.

        Returns:
            The row, or None where there is none.

        Raises:
            StoreCorrupt: A check failed; the operator is alarmed.
            StoreUnavailable, VendorFault, KeyUnreachable: It cannot be read or checked now.
        """
        stored = self._store.read(branch_key_id, row_type)
        if stored is None:
            return None
        row, mac = stored.row, stored.mac
        if mac is None or not self._macs.holds(stored):
            raise self._corrupt(view, stored, "its MAC is missing or wrong")
        if (row.branch_key_id, row.type, row.tenant_id) != (branch_key_id, row_type, view.tenant_id):
            raise self._corrupt(view, stored, "it does not belong here")
        if row.kek.locator not in view.record.keks:
            # The view may be older than a move that has just ended.
            self._gate.refresh(view, forced=True)
            if row.kek.locator not in view.record.keks:
                raise self._corrupt(view, stored, "it names a key that is not in the tenant's current set")
        if row_type == ACTIVE:
            if mac.sequence < view.floor:
                raise self._corrupt(view, stored, "it is older than one seen before")
            view.saw(mac.sequence)
            if mac.sequence > view.record.sequence_floor:
                self._raise_floor(view.tenant_id, mac.sequence)
        return stored

    def _get(self, view: TenantView, branch_key_id: str, row_type: str) -> BranchKey:
        slot = (view.tenant_id, branch_key_id, row_type)
        cached = self._cache.get(slot)
        if cached is not None and cached.serves(self._timekeeper.tick()):
            return cached
        unknown = self._unknown.get(slot)
        if unknown is not None and self._timekeeper.now().before(unknown):
            raise _unknown_version()
        return self._flights.run(
            (slot, view.generation), lambda: self._renew(view, slot), join_running=view.record.policy.lease > 0
        )

    def _renew(self, view: TenantView, slot: Slot) -> BranchKey:
        generation, asked = view.generation, self._timekeeper.now()
        cached = self._cache.get(slot)
        if cached is not None and cached.generation != generation:
            cached = None  # of before a purge, or of a view that was evicted
        if cached is not None and cached.serves(asked):
            return cached  # another thread's flight landed between our look and our start
        stored = self._read(view, slot, asked, cached)
        try:
            key, generation, trusted = self._unwrap(view, stored, generation)
        except Silence:
            if cached is not None and self._extend(cached, view):
                return cached
            raise KeyUnreachable("the key management system does not answer", retry_after=int(ASK_AGAIN)) from None
        if not trusted:
            # Our clock is off and everything was purged: this answer serves the calls that wait for it, no more.
            return BranchKey(stored, key, view, generation, asked, lasting=False)
        if cached is not None and cached.version_id == stored.row.version_id and compare_digest(cached.key, key):
            # The same key: data keys that hang on it live on under its new lease.
            cached.stored, cached.asked = stored, asked
            cached.wall_until, cached.boot_until = asked.plus(view.record.policy.lease)
            return cached
        branch_key = BranchKey(stored, key, view, generation, asked, lasting=view.record.policy.lease > 0)
        if branch_key.cacheable:
            self._cache.put(slot, branch_key)
            if slot[2] == ACTIVE:
                # The ACTIVE row holds its version's key, so reading what was just written asks no KMS. An object of its
                # own: renewing it by the version's row must not spare the ACTIVE row its checks.
                twin = BranchKey(stored, key, view, generation, asked, lasting=True)
                self._cache.put((slot[0], slot[1], VERSION_PREFIX + branch_key.version_id), twin)
        return branch_key

    def _read(self, view: TenantView, slot: Slot, asked: Instant, cached: BranchKey | None) -> StoredRow:
        _, branch_key_id, row_type = slot
        try:
            stored = self.verified(view, branch_key_id, row_type)
        except StoreUnavailable:
            if cached is None:
                raise
            return cached.stored  # verified before; a silent store is no reason not to ask the KMS
        if stored is None and row_type == ACTIVE and view.record.sequence_floor == 0:
            # The tenant was created, and the process died before its first branch key was written.
            self._writer.create(view.record)
            stored = self.verified(view, branch_key_id, row_type)
        if stored is None:
            if row_type == ACTIVE:
                self._alarms("store_corrupt", view.tenant_id, f"{branch_key_id} {row_type}", problem="it is missing")
                raise StoreCorrupt("a stored branch key row is missing", alarmed=True)
            self._unknown.put(slot, asked.plus(UNKNOWN_FOR))
            raise _unknown_version()
        return stored

    def _unwrap(self, view: TenantView, stored: StoredRow, generation: float) -> tuple[bytes, float, bool]:
        # Gives the key, the generation it may serve under, and whether our clock agrees with the KMS's.
        row = stored.row
        sent = self._timekeeper.now()
        try:
            unwrapped = self._providers.of(view.record, row.kek).unwrap(
                WrappedKey(row.kek, row.enc), row.kms_context(self._table_name)
            )
        except Denial as denial:
            # Every key of the tenant in this process goes at once, whichever row was refused.
            self._gate.purge(view.tenant_id)
            view.purge()
            raise self._providers.refusal(row.kek, denial) from None
        except WrapMismatch:
            raise self._corrupt(view, stored, "it does not unwrap") from None
        received, unpurged = self._timekeeper.now(), view.generation == generation
        trusted = self._timekeeper.compare(unwrapped.server_time, sent, received)
        if unpurged and not trusted:
            generation = view.generation  # the purge was for the clock, not for this answer
        if len(unwrapped.key) != KEY_BYTES:
            raise self._corrupt(view, stored, "it unwraps to a wrong length")
        return unwrapped.key, generation, trusted

    def _extend(self, cached: BranchKey, view: TenantView) -> bool:
        # Counted from now: the silence may have taken as long as the KMS's time-out.
        now, policy = self._timekeeper.now(), view.record.policy
        end = cached.asked.plus(max(policy.lease, policy.outage_grace))
        if not now.before(end):
            return False
        again = now.plus(ASK_AGAIN)
        cached.wall_until, cached.boot_until = min(again.wall, end.wall), min(again.boot, end.boot)
        return True

    def _corrupt(self, view: TenantView, stored: StoredRow, problem: str) -> KeysteadError:
        row = stored.row
        self._alarms(
            "store_corrupt", view.tenant_id, f"{row.branch_key_id} {row.type}", problem=problem, kek=row.kek.locator
        )
        return StoreCorrupt(f"a stored branch key row is refused: {problem}", alarmed=True)


def _unknown_version() -> MessageInvalid:
    return MessageInvalid("the message names a branch key version this tenant does not have")
