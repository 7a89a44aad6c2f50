"""What a denial makes of a key's state: holds it, confirms what was held, or excuses it (DESIGN 5, rules 3 to 5)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import uuid4

from core.domain.instants import parse_instant
from core.domain.kek import Kek
from core.domain.states import Signal, State
from core.domain.tenants import TenantRecord
from core.domain.withdrawals import ACCESS_CAUSES, PLAIN_CAUSES
from core.errors import Denial
from core.ports import KeyProvider
from core.service.alarms import Alarms
from core.service.handed_out_counts import HandedOutCounts
from core.service.revocation.asking import Asking
from core.service.revocation.guard import GuardFinding, VendorFaultGuard
from core.service.revocation.receipts import Receipts
from core.service.revocation.signals import confirmed, denied_anew, signalled
from core.service.revocation.uses import Uses
from core.service.timekeeper import Timekeeper


@dataclass(frozen=True, slots=True)
class Pace:
    """When keys are asked. Seconds.

    Attributes:
        confirm_plain: Between two denials of a key that is off, before the withdrawal counts as confirmed.
        confirm_access: Likewise of policy or identity.
        used: Between two checks of a key that was used lately.
        idle: Between two checks of one that was not.
        lately: How long ago "lately" is.
    """

    confirm_plain: float = 1
    confirm_access: float = 60
    used: float = 60
    idle: float = 900
    lately: float = 900


class Denials:
    """Decides.

    Args:
        asking: Asks the probe envelope.
        guard: Tells whether a refusal is our own fault.
        receipts: Know whether one was ended already.
        uses: Know the last use.
        counts: Count the data keys handed out.
        alarms: Tell the operator.
        timekeeper: Reads both clocks, and knows whether they are to be believed.
        pace: How long a confirmation takes.
    """

    def __init__(
        self,
        *,
        asking: Asking,
        guard: VendorFaultGuard,
        receipts: Receipts,
        uses: Uses,
        counts: HandedOutCounts,
        alarms: Alarms,
        timekeeper: Timekeeper,
        pace: Pace,
    ) -> None:
        self._asking = asking
        self._guard = guard
        self._receipts = receipts
        self._uses = uses
        self._counts = counts
        self._alarms = alarms
        self._timekeeper = timekeeper
        self._now = timekeeper.now
        self._pace = pace

    def after(self, record: TenantRecord, kek: Kek, provider: KeyProvider, denial: Denial) -> TenantRecord:
        """The record after a denial.

        Args:
            record: As read before the KMS was asked.
            kek: The KEK that the ACTIVE row lies under.
            provider: Reaches it, through a session of its own if the key is in trouble.
            denial: What its KMS said to the ACTIVE row.

        Raises:
            StoreUnavailable, StoreCorrupt: What the confirmation needs cannot be read.
        """
        heard = self._now().wall
        if denial.cause == "network":
            return signalled(record, Signal.NETWORK_REFUSED, kek, heard, denial)
        if record.state is State.REVOKED:
            return self._still_revoked(record, denial)
        if record.state is not State.HOLD:
            finding = self._guard.ask(record, kek) if denial.cause in ACCESS_CAUSES else GuardFinding.PASSED
            return record if finding is GuardFinding.OURS else signalled(record, Signal.DENIED, kek, heard, denial)
        return self._held(record, kek, provider, denial, heard)

    def _still_revoked(self, record: TenantRecord, denial: Denial) -> TenantRecord:
        withdrawal = record.withdrawal
        if withdrawal is None:
            return replace(record, cause=denial.cause)
        receipt = withdrawal.receipt
        if self._receipts.was_voided(record.tenant_id, receipt):
            # A process ended the receipt to reinstate the key, and died; now the key is refused again.
            receipt = str(uuid4())
        return replace(record, cause=denial.cause, withdrawal=replace(withdrawal, cause=denial.cause, receipt=receipt))

    def _held(
        self, record: TenantRecord, kek: Kek, provider: KeyProvider, denial: Denial, heard: float
    ) -> TenantRecord:
        withdrawal = record.withdrawal
        if withdrawal is None or not withdrawal.first_denial or withdrawal.kek != kek.locator:
            return denied_anew(record, kek, heard, denial)
        guarded = denial.cause in ACCESS_CAUSES
        if not guarded and denial.cause not in PLAIN_CAUSES:
            return replace(record, cause=denial.cause)  # nobody knows what it means: held, and alarmed
        waits = self._pace.confirm_access if guarded else self._pace.confirm_plain
        finding = self._guard.ask(record, kek) if guarded else None
        if finding is GuardFinding.OURS:
            return signalled(record, Signal.EXCUSED, kek, self._now().wall)
        early = heard - parse_instant(withdrawal.first_denial) < waits
        if early or finding is GuardFinding.UNKNOWN or not self._timekeeper.trusted:
            return replace(record, cause=denial.cause)
        # Asked last: had our own trouble ended just before the canary was asked, this would be granted.
        probed = self._asking.probe(record, kek, provider)
        if probed.denial is None:
            if probed.granted:
                self._alarms("probe_contradicts", record.tenant_id, kek.locator, cause=denial.cause)
            return replace(record, cause=denial.cause)
        return confirmed(
            record,
            kek,
            self._now().wall,
            probed.denial if probed.denial.cause == denial.cause else denial,
            guard="not_needed" if finding is None else finding.value,
            last_use=self._uses.last(record.tenant_id),
            data_keys=self._counts.at_most(record.tenant_id),
        )
