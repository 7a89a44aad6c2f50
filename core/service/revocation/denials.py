"""What a denial makes of a key's state: holds it, confirms what was held, or excuses it (DESIGN 5, rules 3 to 5)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import uuid4

from core.domain.instants import parse_instant
from core.domain.kek import Kek
from core.domain.states import Signal, State
from core.domain.tenants import TenantRecord
from core.domain.withdrawals import ACCESS_CAUSES, PLAIN_CAUSES, Withdrawal, instant
from core.errors import Denial, KeysteadError
from core.ports import KeyProvider
from core.service.alarms import Alarms
from core.service.handed_out_counts import HandedOutCounts
from core.service.revocation.asking import Asking
from core.service.revocation.guard import GuardFinding, VendorFaultGuard
from core.service.revocation.receipts import Receipts
from core.service.revocation.signals import confirmed, denied_anew, signalled
from core.service.revocation.uses import Uses
from core.service.timekeeper import MAX_SKEW, Timekeeper


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


FORGOTTEN = 120.0
"""Seconds after which a denial that was not repeated confirms nothing any more."""


def kind(cause: str) -> str:
    """Which class of causes one belongs to: ``plain``, ``access`` or ``other``."""
    if cause in PLAIN_CAUSES:
        return "plain"
    return "access" if cause in ACCESS_CAUSES else "other"


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
            if finding is GuardFinding.OURS:
                return record
            return signalled(record, Signal.DENIED, kek, heard, denial, dated=self._timekeeper.trusted)
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
        if not self._timekeeper.trusted:
            return record  # it is for another process to say when
        if withdrawal is None or not self._continues(withdrawal, kek, denial, heard):
            return denied_anew(record, kek, heard, denial)
        held = replace(record, cause=denial.cause, withdrawal=replace(withdrawal, last_denial=instant(heard)))
        guarded = denial.cause in ACCESS_CAUSES
        if not guarded and denial.cause not in PLAIN_CAUSES:
            return held  # nobody knows what it means: held, and alarmed
        waits = self._pace.confirm_access if guarded else self._pace.confirm_plain
        finding = self._guard.ask(record, kek) if guarded or denial.cause == "not_found" else None
        if finding is GuardFinding.OURS and guarded and not withdrawal.restored:  # there is a state to go back to
            return signalled(record, Signal.EXCUSED, kek, self._now().wall)
        early = heard - parse_instant(withdrawal.first_denial) < waits
        if early or finding in (GuardFinding.UNKNOWN, GuardFinding.OURS):
            return held
        # Asked last: had our own trouble ended just before the canary was asked, this would be granted.
        probed = self._asking.probe(record, kek, provider)
        if probed.denial is None and not probed.elsewhere:
            if probed.granted:
                self._alarms("probe_contradicts", record.tenant_id, kek.locator, cause=denial.cause)
            return held
        return confirmed(
            record,
            kek,
            self._now().wall,
            probed.denial if probed.denial is not None and probed.denial.cause == denial.cause else denial,
            guard="not_needed" if finding is None else finding.value,
            last_use=self._uses.last(record.tenant_id),
            data_keys=self._handed_out(record.tenant_id),
        )

    def _continues(self, withdrawal: Withdrawal, kek: Kek, denial: Denial, heard: float) -> bool:
        # Whether a denial goes on where the last one stopped: of the same KEK and the same kind, not long ago, and by
        # clocks that agree. Else what came before may have been another's doing, or over, and the count begins anew.
        if not withdrawal.first_denial or withdrawal.kek != kek.locator:
            return False
        last = parse_instant(withdrawal.last_denial or withdrawal.first_denial)
        return kind(withdrawal.cause) == kind(denial.cause) and -MAX_SKEW <= heard - last <= FORGOTTEN

    def _handed_out(self, tenant_id: str) -> int:
        try:
            return self._counts.at_most(tenant_id)
        except KeysteadError:
            return 0  # the receipt reads the count once more, and says so if it cannot
