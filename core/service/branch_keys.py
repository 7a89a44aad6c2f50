"""Finds, verifies and unwraps branch keys, and keeps each for its lease (DESIGN 5, rules 1 and 9).

The lease starts before the unwrap request is sent. When it ends, the next use unwraps anew; if the KMS is silent then,
the old key serves on until the outage grace is over, and the KMS is asked again every few seconds.
"""

from __future__ import annotations

from dataclasses import replace
from hmac import compare_digest
from typing import TYPE_CHECKING

from core.domain.branch_keys import ACTIVE, VERSION_PREFIX, StoredRow
from core.domain.kek import KEY_BYTES, Kek, WrappedKey
from core.domain.states import RULES
from core.domain.tenants import TenantRecord
from core.domain.timing import Instant
from core.errors import Denial, MessageInvalid, Silence, StoreUnavailable, Unasked, WrapMismatch
from core.service.branch_key import BranchKey
from core.service.held_keys import HeldKeys, Slot, caches
from core.service.kms_budget import KmsBudget
from core.service.lru import LruCache
from core.service.providers import Providers
from core.service.row_checks import RowChecks
from core.service.single_flight import OwnShortage, SingleFlight, StillWaiting
from core.service.state_gate import StateGate
from core.service.tenant_view import TenantView
from core.service.timekeeper import Timekeeper

if TYPE_CHECKING:
    from core.ports import KeyProvider
    from core.service.branch_key_writer import BranchKeyWriter
    from core.service.revocation.reports import Reports

UNKNOWN_FOR = 5.0
"""Seconds for which a version not found is not looked up again."""


class BranchKeys:
    """Finds, verifies, unwraps and caches branch keys.

    Args:
        rows: Read and check the rows.
        writer: Writes a tenant's first version where it is missing.
        providers: Reach the KEKs.
        gate: Holds the tenant views.
        reports: Hear what the KMS answered, and say when it is not to be asked.
        timekeeper: Reads the clocks, and hears of the KMS's own.
        budget: Counts the KMS time of a request.
        table_name: The logical key store name.
        limit: Most keys kept.
    """

    def __init__(
        self,
        *,
        rows: RowChecks,
        writer: BranchKeyWriter,
        providers: Providers,
        gate: StateGate,
        reports: Reports,
        timekeeper: Timekeeper,
        budget: KmsBudget,
        table_name: str,
        limit: int,
    ) -> None:
        self._rows = rows
        self._writer = writer
        self._providers = providers
        self._gate = gate
        self._reports = reports
        self._timekeeper = timekeeper
        self._budget = budget
        self._table_name = table_name
        self._held = HeldKeys(limit, timekeeper.now)
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

    def fallback(self, view: TenantView, branch_key_id: str) -> BranchKey:
        """The ACTIVE version of the branch key under the platform's KEK that new data goes under for now.

        Args:
            view: The tenant's view.
            branch_key_id: As its record named it.

        Raises:
            As `active`.
        """
        self._prove(view)
        return self._get(view, branch_key_id, ACTIVE)

    def version(self, view: TenantView, branch_key_id: str, version_id: str) -> BranchKey:
        """The version that a message names.

        Raises:
            MessageInvalid: The tenant has no such version.
            As `active` besides.
        """
        if not self.owns(view, branch_key_id):
            raise MessageInvalid("the message was not encrypted under a branch key of this tenant")
        self._prove(view)
        return self._get(view, branch_key_id, VERSION_PREFIX + version_id)

    def _prove(self, view: TenantView) -> None:
        # In `hold` the KEK in question must serve for this very call, whichever KEK the wanted row lies under.
        if RULES[view.record.state].proves:
            self._get(view, view.record.branch_key_id, ACTIVE)

    def owns(self, view: TenantView, branch_key_id: str) -> bool:
        """Whether a branch key is the tenant's, by a record read anew if the one at hand does not know it.

        Raises:
            StoreUnavailable, StoreCorrupt: The record cannot be read.
        """
        if branch_key_id in view.record.branch_keys:
            return True
        slot, now = (view.tenant_id, branch_key_id, ""), self._timekeeper.now()
        unknown = self._unknown.get(slot)
        if unknown is not None and now.before(unknown):
            return False
        if branch_key_id in self._gate.reread(view).branch_keys:
            return True  # another process began a new branch key just now
        self._unknown.put(slot, now.plus(UNKNOWN_FOR))
        return False

    def _get(self, view: TenantView, branch_key_id: str, row_type: str) -> BranchKey:
        slot = (view.tenant_id, branch_key_id, row_type)
        cached = self._held.find(slot)
        if cached is not None and cached.serves(self._timekeeper.tick()):
            return cached
        unknown = self._unknown.get(slot)
        if unknown is not None and self._timekeeper.now().before(unknown):
            raise _unknown_version()
        # Waiting for another thread's flight is waiting for the KMS too; without time left, only what is cached serves.
        joins = caches(view) and self._budget.remaining() > 0
        # What a request had unwrapped for itself serves all of it, however many items it has.
        memo = self._budget.memo()
        kept: BranchKey | None = memo.get(slot)
        if kept is not None and kept.view is view and kept.serves(self._timekeeper.tick()):
            return kept
        left = self._budget.remaining()
        try:
            with self._budget.spending():
                found = self._flights.run(
                    (slot, view.generation), lambda: self._renew(view, slot), join_running=joins, seconds=left
                )
            if not found.lasting:
                memo[slot] = found
            return found
        except (StillWaiting, OwnShortage):
            # Nobody was asked, or nobody answered in this request's time: what is cached may serve it, and no other.
            generation, held = view.generation, self._held.in_grace(view, slot, None)
            if held is None:
                raise
            return BranchKey(held.stored, held.key, view, generation, self._timekeeper.now(), lasting=False)

    def _renew(self, view: TenantView, slot: Slot) -> BranchKey:
        generation, asked = view.generation, self._timekeeper.now()
        cached = self._held.find(slot)
        if cached is not None and not view.holds(cached.generation):
            cached = None  # of before a purge, or of a view that was evicted
        if cached is not None and cached.serves(asked):
            return cached  # another thread's flight landed between our look and our start
        stored, asked_as = self._read(view, slot, asked, cached), view.record
        pause = self._reports.paused(view, stored.row.kek)
        if pause is not None:
            held = self._held.extend(view, slot, stored, generation) if pause.silent else None
            if held is None:
                raise pause.error.with_traceback(None)
            return held
        try:
            key, generation, trusted, proved_ago = self._unwrap(view, stored, generation)
            if self._held.contradicts(view, slot, stored, key):
                first = key
                key, generation, trusted, proved_ago = self._unwrap(view, stored, generation)
                generation = self._judge(view, slot, stored, first, key, generation)
        except Silence as silence:
            refusal = self._reports.silent(view, stored.row.kek, silence)
            held = self._held.extend(view, slot, stored, generation)
            if held is None:
                raise refusal from None
            return held
        self._reports.granted(view, stored.row.kek, asked_as)
        if not (trusted and caches(view)):
            # For the calls that wait for it, no more; if our clock is off, everything was purged.
            return BranchKey(stored, key, view, generation, asked, lasting=False)
        proved = asked.plus(-max(0.0, proved_ago))
        if cached is not None and cached.version_id == stored.row.version_id and compare_digest(cached.key, key):
            self._held.renew(slot, cached, stored, proved, generation)
        else:
            cached = BranchKey(stored, key, view, generation, proved, lasting=True)
            if cached.cacheable:
                self._held.keep(slot, cached)
        return cached

    def _judge(
        self, view: TenantView, slot: Slot, stored: StoredRow, first: bytes, second: bytes, generation: float
    ) -> float:
        # A version's key never changes: of what is held and the two answers one was spoilt on its way, and what is
        # encrypted by that one can never be read. Two that agree are believed.
        problem = self._rows.contradicted(view.tenant_id, stored)
        if compare_digest(first, second):
            return view.purge(since=generation)
        if self._held.contradicts(view, slot, stored, second):
            raise problem
        return generation

    def _read(self, view: TenantView, slot: Slot, asked: Instant, cached: BranchKey | None) -> StoredRow:
        _, branch_key_id, row_type = slot
        try:
            stored = self._rows.read(view, branch_key_id, row_type)
        except StoreUnavailable:
            if cached is None:
                raise
            return cached.stored  # verified before; a silent store is no reason not to ask the KMS
        if stored is None and row_type == ACTIVE and self._unborn(view, branch_key_id):
            stored = self._rows.read(view, branch_key_id, row_type)
        if stored is None:
            if row_type == ACTIVE:
                raise self._rows.missing(view.tenant_id, branch_key_id, row_type)
            self._unknown.put(slot, asked.plus(UNKNOWN_FOR))
            raise _unknown_version()
        return stored

    def _unborn(self, view: TenantView, branch_key_id: str) -> bool:
        # The process died between the record that names a branch key and its first row: the row is made now.
        record = view.record
        if branch_key_id and branch_key_id == record.fallback_branch_key:
            platform = self._providers.platform_kek
            self._writer.create(replace(record, branch_key_id=branch_key_id, kek=platform.locator), platform)
            return True
        if record.sequence_floor == 0:
            self._writer.create(record)
        return record.sequence_floor == 0

    def _unwrap(self, view: TenantView, stored: StoredRow, generation: float) -> tuple[bytes, float, bool, float]:
        # Gives the key, the generation it may serve under, whether our clock agrees with the KMS's, and how many
        # seconds before the request the access was last proved: a session used again has outlived a removed trust.
        row, record = stored.row, view.record
        if row.kek.key.locator not in record.every_binding():
            raise StoreUnavailable("the tenant's key changed while its branch key was read", retry_after=1)
        sent = self._timekeeper.now()
        try:
            unwrapped = self._provider(record, row.kek).unwrap(
                WrappedKey(row.kek, row.enc), row.kms_context(self._table_name)
            )
        except Denial as denial:
            self._timekeeper.compare(denial.server_time, sent, self._timekeeper.now())
            # Every key of the tenant in this process goes at once, whichever row was refused. A former KEK that was
            # given up refuses as a matter of course, and so does an old version of a KEK that its owner disabled after
            # a rotation: only if it had served here is that news.
            old_version = row.kek.versioned and row.type != ACTIVE and denial.cause == "disabled"
            in_force = row.kek.key.locator in record.keks and not old_version
            if in_force or self._held.served(view.tenant_id, row.kek):
                self._gate.purge(view.tenant_id)
                view.purge()
            raise self._reports.denied(view, stored, denial) from None
        except Unasked as unasked:
            raise OwnShortage(unasked.detail) from None
        except WrapMismatch:
            raise self._rows.corrupt(view.tenant_id, stored, "it does not unwrap") from None
        received, unpurged = self._timekeeper.now(), view.generation == generation
        trusted = self._timekeeper.compare(unwrapped.server_time, sent, received)
        if unpurged and not trusted:
            generation = view.generation  # the purge was for the clock, not for this answer
        if len(unwrapped.key) != KEY_BYTES:
            raise self._rows.corrupt(view.tenant_id, stored, "it unwraps to a wrong length")
        return unwrapped.key, generation, trusted, unwrapped.proved_ago

    def _provider(self, record: TenantRecord, kek: Kek) -> KeyProvider:
        # To prove a key is to prove the access to it, too: not by a session that may have outlived it.
        if RULES[record.state].proves and kek != self._providers.platform_kek:
            return self._providers.connect(replace(record.access(kek), lease=0))
        return self._providers.of(record, kek)


def _unknown_version() -> MessageInvalid:
    return MessageInvalid("the message names a branch key version this tenant does not have")
