"""The check of one tenant's key: asks its KMS, confirms a withdrawal, ends one, and writes what came of it (DESIGN 5).

What is written hangs on the record as it was read *before* the KMS was asked: if another process changed it meanwhile,
the answer counts for nothing and the KMS is asked again. So a late answer cannot undo what came after its question.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from zlib import crc32

from core.domain.branch_keys import ACTIVE, StoredRow
from core.domain.instants import parse_instant
from core.domain.kek import Kek
from core.domain.states import Signal, State
from core.domain.tenants import TenantRecord
from core.domain.withdrawals import ACCESS_CAUSES, instant
from core.errors import WRITE_CAUSES, Conflict, Denial, KeysteadError
from core.ports import KeyProvider
from core.service.alarms import Alarms
from core.service.revocation.asking import Answer, Asking
from core.service.revocation.denials import Denials, Pace
from core.service.revocation.receipts import Receipts
from core.service.revocation.reports import Reports
from core.service.revocation.signals import signalled
from core.service.revocation.telling import Teller
from core.service.revocation.turns import INTERVALS, Turn, Turns
from core.service.revocation.uses import Uses
from core.service.revocation.watch import Watch
from core.service.row_checks import RowChecks
from core.service.state_gate import StateGate
from core.service.tenant_records import TenantRecords
from core.service.tenant_view import TenantView
from core.service.timekeeper import MAX_SKEW, Timekeeper

ATTEMPTS = 4
"""How often a key is asked anew because its tenant's record changed meanwhile."""
log = logging.getLogger("keystead.revocation")
CALM = frozenset({State.PLATFORM, State.SCHEDULED, State.ACTIVE})
UNWATCHED = CALM | {State.SUSPENDED}
FREE_FLAPS, LONGEST_HOLD = 4, 20.0
"""How often trouble may begin anew within ten minutes before a grant has to wait; and for how long at most, in seconds:
what a key that comes and goes costs in writes must have a bound."""
DESCRIBE_EVERY, DESCRIBE_WARNED = 3600.0, 300.0
"""Seconds between two looks at what a KMS can tell of a key; and where it told something to warn of."""


class RevocationChecks:
    """Checks keys.

    Args:
        records: Hold the tenants' records.
        rows: Read the ACTIVE row, whose KEK the state follows.
        gate: Holds the tenant views.
        asking: Asks the KMS.
        turns: Say whose turn it is.
        watch: Remembers tenants in trouble.
        teller: Tells changes of state.
        receipts: Issue and end receipts.
        reports: Know of real unwraps of this process.
        uses: Know the last use.
        denials: Say what a denial makes of the state.
        alarms: Tell the operator.
        timekeeper: Reads both clocks, and knows whether they are to be believed.
        pace: When keys are asked.
        platform: The platform's KEK, which is not a tenant's to withdraw.
    """

    def __init__(
        self,
        *,
        records: TenantRecords,
        rows: RowChecks,
        gate: StateGate,
        asking: Asking,
        turns: Turns,
        watch: Watch,
        teller: Teller,
        receipts: Receipts,
        reports: Reports,
        uses: Uses,
        denials: Denials,
        alarms: Alarms,
        timekeeper: Timekeeper,
        pace: Pace,
        platform: Kek,
    ) -> None:
        self._records = records
        self._rows = rows
        self._gate = gate
        self._asking = asking
        self._turns = turns
        self._watch = watch
        self._teller = teller
        self._receipts = receipts
        self._reports = reports
        self._uses = uses
        self._denials = denials
        self._alarms = alarms
        self._timekeeper = timekeeper
        self._now = timekeeper.now
        self._pace = pace
        self._platform = platform.locator

    def check(self, tenant_id: str, *, forced: bool = False) -> State | None:
        """Ask a tenant's KMS if it is time to, and write what came of it.

        Args:
            tenant_id: The tenant.
            forced: Ask now, whoever's turn it is.

        Returns:
            The state of the key afterwards; None if there is no such tenant.

        Raises:
            StoreUnavailable, StoreCorrupt: A store does not answer, or a row is refused.
            VendorFault, KeyUnreachable: The row MAC key cannot be had.
            Conflict: The tenant's record kept changing.
        """
        turn: Turn | None = None
        self._reports.settle(tenant_id)
        for _ in range(ATTEMPTS):
            found = self._records.read(tenant_id)
            if found is None or found[0].deleted:
                self._watch.forget(tenant_id)
                return None
            record, revision = found
            self._teller.tell_forgotten(record, self._now().wall)
            if State.REVOKED in (record.state, record.resume_to):
                self._issue(record)  # whoever confirmed it may have died before
            if record.state is State.SUSPENDED or record.keks == {self._platform}:
                self._watch.forget(tenant_id)
                return record.state
            if turn is None:
                turn = self._turns.take(tenant_id, trouble=record.state not in CALM, forced=forced)
                if turn is None:
                    self._wait(record)
                    return record.state
            try:
                return self._check(record, revision, turn, forced=forced)
            except Conflict:
                continue
        raise Conflict("the tenant's record keeps changing")

    def suspect(self, tenant_id: str) -> None:
        """Check a key that has just refused something else than data; never raises `KeysteadError`."""
        self._watch.add(tenant_id)
        with suppress(KeysteadError):
            self.check(tenant_id, forced=True)

    def _check(self, record: TenantRecord, revision: int, turn: Turn, *, forced: bool) -> State:
        view = self._gate.enter_any(record.tenant_id)
        if self._gate.reread(view) != record:
            raise Conflict("the tenant's record changed meanwhile")
        stored = self._rows.read(view, record.branch_key_id, ACTIVE)
        if stored is None:
            return self._settle(record, {})
        kek = stored.row.kek
        skips = record.state is State.ACTIVE and not forced and not self._to_describe(turn)
        ago = self._reports.granted_ago(record.tenant_id, kek)
        if skips and ago < self._pace.used:
            return self._settle(record, {"due": self._now().wall + self._pace.used - ago})
        if kek.locator == self._platform:
            # A move has just left the KEK that the state spoke of; it is the mover's to say where it ends.
            after = signalled(record, Signal.GRANTED, kek, self._now().wall)
            if after != record:
                self._write(record, after, revision)
            return self._settle(after, {})
        provider = self._asking.provider(record, kek, fresh=forced or record.state is not State.ACTIVE)
        answer = self._asking.row(record, stored, provider)
        if answer.corrupt:
            answer = self._asking.probe(record, kek, provider, any_version=True)
        noted = self._described(record, kek, provider, turn, answer, forced=forced)
        after = self._after(record, view, stored, provider, answer, turn, wraps="described" in noted, forced=forced)
        if answer.granted and "described" in noted:
            after = replace(after, probe_digest=self._asking.kept_probe(record, kek, provider))
        if after != record:
            self._write(record, after, revision, answer.server_time)
        if answer.granted:
            self._reports.answered(record.tenant_id, kek)
            if record.state is State.REVOKED:
                noted["described"] = 0.0  # what was warned of then may be over
        return self._settle(after, noted)

    def _after(
        self,
        record: TenantRecord,
        view: TenantView,
        stored: StoredRow,
        provider: KeyProvider,
        answer: Answer,
        turn: Turn,
        *,
        wraps: bool,
        forced: bool,
    ) -> TenantRecord:
        kek, now = stored.row.kek, self._now().wall
        if answer.granted:
            if record.state is State.HOLD and not forced and now - parse_instant(record.since) < _steadies(turn):
                return record  # it comes and goes: served by proof meanwhile
            if wraps or record.state is State.WRITE_BLOCKED:
                wrapped = self._asking.wrap(record, kek, provider)
                if wrapped.denial is not None and wrapped.denial.cause in WRITE_CAUSES | ACCESS_CAUSES:
                    return signalled(record, Signal.WRITE_REFUSED, kek, now, wrapped.denial)
                if wrapped.denial is not None:
                    return self._denied(record, view, kek, provider, wrapped.denial)
                if not wrapped.granted and record.state is State.WRITE_BLOCKED:
                    return record
            return signalled(record, Signal.GRANTED, kek, now)
        if answer.silent:
            silent_for = now - parse_instant(record.since) if record.state is State.DEGRADED else 0
            beyond = max(record.lease, record.grace(kek.locator))
            if record.state is State.DEGRADED and silent_for >= beyond:
                return signalled(record, Signal.SILENT_BEYOND_GRACE, kek, now)
            return signalled(record, Signal.SILENT, kek, now)
        if answer.denial is None:
            return record  # trouble of our own: nothing was learned
        return self._denied(record, view, kek, provider, answer.denial)

    def _denied(
        self, record: TenantRecord, view: TenantView, kek: Kek, provider: KeyProvider, denial: Denial
    ) -> TenantRecord:
        self._gate.purge(record.tenant_id)
        view.purge()
        return self._denials.after(record, kek, provider, denial)

    def _write(
        self, record: TenantRecord, after: TenantRecord, revision: int, server_time: float | None = None
    ) -> None:
        if record.state is State.REVOKED and after.state is not State.REVOKED:
            self.reinstating(record, server_time)
        self._records.write(after, expected_revision=revision)
        self._gate.expire(record.tenant_id)  # first: nothing is cached again by the record of before
        if not after.may_read:
            self._gate.purge(record.tenant_id)
        elif not after.may_write:
            self._gate.lapse(record.tenant_id)  # ends what writes; reading goes on, in the grace too
        if after.state is not record.state:
            if record.state in CALM and after.state not in CALM:
                self._turns.begin(record.tenant_id, steady=after.state is State.DEGRADED)
            self._teller.tell(after)
        if after.state is State.REVOKED:
            self._issue(after)
        self._gate.expire(record.tenant_id)

    def reinstating(self, record: TenantRecord, server_time: float | None = None) -> None:
        """Before a revoked key serves again: end its receipt, or see that none is issued any more.

        Args:
            record: As it is.
            server_time: The KMS's own clock. Of clocks that differ the earliest counts: a receipt must not claim too
                much.

        Raises:
            StoreUnavailable, StoreCorrupt, Conflict: That is not possible now, so the key must stay revoked.
        """
        if record.withdrawal is not None and record.withdrawal.receipt:
            now = self._now().wall
            sure = min(now, float("inf") if server_time is None else server_time) - MAX_SKEW
            self._receipts.reinstating(record.tenant_id, record.withdrawal.receipt, instant(now), instant(sure))

    def _issue(self, record: TenantRecord) -> None:
        if not self._timekeeper.trusted:
            return  # a receipt states instants: another process signs it, or this one when its clock is right
        try:
            self._receipts.issue(record)
        except KeysteadError as error:
            self._alarms("receipt_delayed", record.tenant_id, "receipt", code=error.code, problem=error.detail)
        except Exception:
            # Whatever is wrong with signing, it must not keep a key from being reinstated.
            log.exception("a receipt broke", extra={"fields": {"tenant": record.tenant_id}})
            self._alarms("receipt_delayed", record.tenant_id, "receipt", code="internal", problem="see the log")

    def _described(
        self, record: TenantRecord, kek: Kek, provider: KeyProvider, turn: Turn, answer: Answer, *, forced: bool
    ) -> dict[str, object]:
        # At most hourly, unless there is something to warn of, or somebody asks; and when a key turns out to be off.
        noted: dict[str, object] = {"checked": self._now().wall}
        off = answer.denial is not None and record.state is State.HOLD
        # A revoked key that unwraps comes back first: whether it wraps, and all else, is for the check after that.
        looks = answer.granted and record.state is not State.REVOKED and (forced or self._to_describe(turn))
        if off or looks:
            warnings = self._asking.warnings(kek, provider, self._now().wall)
            if warnings is not None:
                noted.update(described=self._now().wall, warnings=warnings)
        return noted

    def _to_describe(self, turn: Turn) -> bool:
        every = DESCRIBE_WARNED if turn.warnings else DESCRIBE_EVERY
        return not 0 <= self._now().wall - turn.described < every

    def _settle(self, record: TenantRecord, noted: dict[str, object]) -> State:
        if record.state in CALM:
            noted.setdefault("due", self._now().wall + self._interval(record.tenant_id))
            noted["attempts"] = 0
        elif record.state is State.HOLD and record.withdrawal is not None and record.withdrawal.first_denial:
            noted.update(self._when_to_confirm(record.tenant_id, record.cause, record.withdrawal.first_denial))
        if noted:
            self._turns.note(record.tenant_id, **noted)
        self._wait(record)
        return record.state

    def _when_to_confirm(self, tenant_id: str, cause: str, first_denial: str) -> dict[str, object]:
        # The confirmation is not to wait for a probe that is due later than it.
        waits = self._pace.confirm_access if cause in ACCESS_CAUSES else self._pace.confirm_plain
        ends = parse_instant(first_denial) + waits
        return {"due": ends} if self._now().wall < ends < self._turns.read(tenant_id).due else {}

    def _wait(self, record: TenantRecord) -> None:
        if record.state in UNWATCHED:
            self._watch.forget(record.tenant_id)
            return
        due = self._turns.read(record.tenant_id).due - self._now().wall
        silent = record.state in (State.DEGRADED, State.UNREACHABLE)
        self._watch.later(record.tenant_id, max(0.2, min(due, INTERVALS[-1])), patient=silent)

    def _interval(self, tenant_id: str) -> float:
        last, now = self._uses.last(tenant_id), self._now().wall
        used = bool(last) and now - parse_instant(last) < self._pace.lately
        interval = self._pace.used if used else self._pace.idle
        # Spread, so that tenants created together are not asked together for ever.
        # And well before the run that is to find it due.
        return interval * (0.7 + crc32(f"{tenant_id} {now:.0f}".encode()) % 1000 / 10_000)


def _steadies(turn: Turn) -> float:
    # Seconds for which a key must be held before a grant ends it: more, the more often it was refused and granted.
    return 0.0 if turn.flaps < FREE_FLAPS else min(5.0 * turn.flaps, LONGEST_HOLD)
