"""After a store was restored from a backup: no state of another day is believed (DESIGN 5, rule 6).

The record of a tenant that comes out of a backup is genuine, and old: the key may have been withdrawn since, the kill
switch turned on, another key brought. So each tenant with a key of its own goes into ``hold``, where its KMS is asked
anew for every call, until a check finds out. What no KMS knows is replayed from the audit chain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from core.domain.audit_copies import ChainCopy
from core.domain.branch_keys import ACTIVE
from core.domain.causes import OLDER_KEY, SWITCH_REPLAYED
from core.domain.histories import History, merged, recall
from core.domain.instants import parse_instant
from core.domain.kek import Kek
from core.domain.states import Signal, State
from core.domain.tenants import SYSTEM, TenantRecord
from core.domain.timing import Instant
from core.domain.withdrawals import instant
from core.errors import InvalidRequest, KeysteadError, StoreUnavailable
from core.service.audit_copies import AuditCopies, PutBack
from core.service.revocation.kill_switch import suspended
from core.service.revocation.receipts import Receipts
from core.service.revocation.signals import signalled
from core.service.revocation.telling import Teller
from core.service.revocation.turns import Turns
from core.service.revocation.watch import Watch
from core.service.row_checks import RowChecks
from core.service.state_gate import StateGate
from core.service.tenant_records import TenantRecords
from core.service.timekeeper import MAX_SKEW


@dataclass(frozen=True, slots=True)
class AfterRestore:
    """What was made of a tenant.

    Attributes:
        tenant_id: The tenant; ``_system`` for the operator's own chain.
        before: State of its key in the backup; "" where the backup has no such tenant.
        after: State now.
        reasons: Why it is suspended, for people; empty if the chain has no reason.
        lost: What the backup does not have, for people.
        entries: Entries of the audit chain that were put back.
    """

    tenant_id: str
    before: str = ""
    after: str = ""
    reasons: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    entries: int = 0


class StoreRestores:
    """Orders what has to be done after a restore.

    Args:
        records: Hold the tenants' records.
        copies: Read the audit chains, and put back what they lost.
        rows: Read the ACTIVE row.
        gate: Holds the tenant views.
        turns: Have a key checked soon.
        watch: Likewise.
        teller: Tells changes of state.
        receipts: End those of withdrawals.
        now: Reads both clocks.
        platform: Locator of the platform's KEK.
    """

    def __init__(
        self,
        *,
        records: TenantRecords,
        copies: AuditCopies,
        rows: RowChecks,
        gate: StateGate,
        turns: Turns,
        watch: Watch,
        teller: Teller,
        receipts: Receipts,
        now: Callable[[], Instant],
        platform: str,
    ) -> None:
        self._records = records
        self._copies = copies
        self._rows = rows
        self._gate = gate
        self._turns = turns
        self._watch = watch
        self._teller = teller
        self._receipts = receipts
        self._now = now
        self._platform = platform

    def put_back(self, chain: str, copy: ChainCopy | None) -> PutBack:
        """Put back what a chain has lost; to come before anything else is appended to it.

        Args:
            chain: Tenant id, or ``_system``.
            copy: The chain as kept elsewhere; None where there is none but the store's.

        Raises:
            InvalidRequest: The copy is of another chain, or not true; nothing was changed.
            StoreUnavailable, StoreCorrupt: The chain cannot be read or written.
        """
        if copy is None:
            return PutBack()
        if copy.chain != chain:
            raise InvalidRequest("the copy is of another audit chain")
        return self._copies.put_back(copy)

    def order(
        self, tenant_id: str, subject: str, copy: ChainCopy | None, back: PutBack, facts: dict[str, Any]
    ) -> AfterRestore:
        """Put a tenant into ``hold``, and replay what its audit chain knows. Only ever tightens; safe to repeat.

        Args:
            tenant_id: The tenant, or ``_system``, where nothing is left to do.
            subject: Who orders it.
            copy: As in `put_back`.
            back: What that made of it.
            facts: What was done is added to these, for the audit.

        Raises:
            Conflict: The record kept changing.
            StoreUnavailable, StoreCorrupt: A store does not answer, or what it holds is refused. If it is the chain,
                the tenant is in ``hold`` all the same.
        """
        lost: tuple[str, ...] = ()
        if back.diverged:
            lost = ("the chain went on differently after the backup: the rest of the copy could not be put back",)
        facts.update(entries_put_back=back.entries, diverged=back.diverged)
        if tenant_id == SYSTEM:
            return AfterRestore(SYSTEM, lost=lost, entries=back.entries)
        self._gate.purge(tenant_id)
        found = self._records.read(tenant_id)
        if found is None or found[0].deleted:
            if found is None and copy is not None:
                lost += ("the backup is older than the tenant: its keys and its data are not in it",)
            return AfterRestore(tenant_id, lost=lost, entries=back.entries)
        before, history, unread = found[0], History(), None
        try:
            history = self._history(tenant_id, copy, back)
        except KeysteadError as error:
            unread = error
            if copy is not None:
                history = recall(copy.entries)
        reasons: dict[str, str] = {}
        written: list[TenantRecord] = []

        def change(record: TenantRecord) -> TenantRecord | None:
            self._end_receipt(record, history)
            reasons.clear()
            reasons.update(_reasons(record, history))
            after = self._tightened(record, subject, reasons)
            written[:] = [] if after == record else [after]
            return after

        after = self._records.change(tenant_id, change) or before
        self._gate.purge(tenant_id)
        self._gate.expire(tenant_id)
        if written:
            self._have_checked(tenant_id)
        self._teller.tell(after)
        if unread is not None:
            raise unread
        lost += self._lost_versions(tenant_id, history)
        lost += tuple(
            f"the policy's {name}, which was set to {value!r}: it is {getattr(after.policy, name)!r} again"
            for name, value in history.policy.items()
            if getattr(after.policy, name, value) != value
        )
        facts.update({"from": before.state.value, "to": after.state.value, "kek": after.kek})
        why = tuple(reasons.values())
        facts.update(why=list(why), lost=list(lost))
        return AfterRestore(tenant_id, before.state.value, after.state.value, why, lost, back.entries)

    def hold(self, tenant_id: str, subject: str, *, end_receipts: bool) -> State | None:
        """Put a tenant into ``hold`` and leave it to others to tell of it: its chain is yet to be put back.

        Args:
            tenant_id, subject: As in `order`.
            end_receipts: Whether to end a receipt although no chain was asked until when it held. Else a key that is
                ``revoked``, or suspended, stays as it is: it is refused already.

        Returns:
            The state of before; None if it cannot be changed now, or there is no such tenant.
        """
        before: list[TenantRecord] = []

        def held(record: TenantRecord) -> TenantRecord | None:
            before[:] = [record]
            if record.deleted or (not end_receipts and record.state in (State.REVOKED, State.SUSPENDED)):
                return None
            self._end_receipt(record, History())
            return self._tightened(record, subject, {})

        try:
            self._gate.purge(tenant_id)
            after = self._records.change(tenant_id, held)
        except KeysteadError:
            return None
        if not before:
            return None
        if after != before[0]:
            self._have_checked(tenant_id)
        return before[0].state

    def _have_checked(self, tenant_id: str) -> None:
        self._turns.begin(tenant_id)
        self._turns.note(tenant_id, described=0.0)  # whether it wraps is looked at before it is active again
        self._watch.add(tenant_id)

    def _tightened(self, record: TenantRecord, by: str, reasons: Mapping[str, str]) -> TenantRecord:
        now = self._now().wall
        if record.keks != {self._platform}:
            record = self._doubted(record, now, by)
        if reasons and record.state is not State.SUSPENDED:
            record = suspended(record, now, by, next(iter(reasons)))
        return record

    def _doubted(self, record: TenantRecord, now: float, by: str) -> TenantRecord:
        # Whatever the backup says of a denial was said of another day: the next one is the first.
        kek = Kek(record.kek)
        if record.state is State.SUSPENDED:
            resumed = replace(record, state=State(record.resume_to or State.HOLD), resume_to="")
            after = self._doubted(resumed, now, by)
            return replace(record, resume_to=after.state.value, withdrawal=after.withdrawal)
        if record.state is not State.HOLD:
            return signalled(record, Signal.STORE_RESTORED, kek, now, by=by)
        if record.withdrawal is None:
            return record
        return replace(record, withdrawal=replace(record.withdrawal, first_denial="", last_denial="", restored=True))

    def _end_receipt(self, record: TenantRecord, history: History) -> None:
        # It may have ended since, which the backup does not know; and what comes next gets a receipt of its own.
        known = record.withdrawal
        if known is not None and known.receipt and State.REVOKED in (record.state, record.resume_to):
            sure = parse_instant(history.revoked_until(known.written)) - MAX_SKEW
            now = self._now().wall
            self._receipts.reinstating(record.tenant_id, known.receipt, instant(now), instant(min(now, sure)))

    def _history(self, tenant_id: str, copy: ChainCopy | None, back: PutBack) -> History:
        known = recall(self._copies.verified(tenant_id))
        return known if copy is None or not back.diverged else merged(known, recall(copy.entries))

    def _lost_versions(self, tenant_id: str, history: History) -> tuple[str, ...]:
        view = self._gate.enter_any(tenant_id)
        try:
            active = self._rows.read(view, view.record.branch_key_id, ACTIVE)
        except StoreUnavailable:
            raise  # nobody knows what is there
        except KeysteadError as error:
            return (f"the branch key cannot be read: {error.detail}",)
        there = active.mac.sequence if active is not None and active.mac else 0
        if history.sequence <= there:
            return ()
        last = history.sequence
        which, under = (f"version {last}", "it") if last == there + 1 else (f"versions {there + 1} to {last}", "them")
        return (f"{which} of the branch key: what was encrypted under {under} cannot be read",)


def _reasons(record: TenantRecord, history: History) -> dict[str, str]:
    # Why it is suspended, by cause, the more important first.
    reasons = {}
    if history.kek and history.kek not in record.keks:
        reasons[OLDER_KEY] = f"the backup is older than the tenant's change to another key: {history.kek}"
    if history.suspended and record.cause != OLDER_KEY:  # an order like this one is in the chain, too
        reasons[SWITCH_REPLAYED] = "the kill switch was on"
    return reasons
