"""The vendor-fault guard: tells a tenant's withdrawal from a fault of our own access (DESIGN 5, rule 5).

Only keys that the operator looks after decide. That many tenants are refused at once decides nothing, as somebody may
hold many tenants: it alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from threading import Lock

from core.domain.canaries import Canary, Pattern, pattern_of
from core.domain.kek import Kek
from core.domain.tenants import SYSTEM, TenantRecord
from core.domain.timing import Instant
from core.errors import KeyUnreachable
from core.ports import TenantStore
from core.service.alarms import Alarms
from core.service.kms_budget import KmsBudget
from core.service.providers import Providers
from core.service.revocation.canaries import Answer, CanaryKeys
from core.service.revocation.vendor_faults import VendorFaults
from core.service.row_macs import RowMacs
from core.service.single_flight import SingleFlight

LATELY = 10.0
SILENT_FOR = 2.0
"""Seconds for which requests do not ask canaries again that were silent."""
MANY, MANY_WITHIN = 3, 60.0
"""Tenants denied within so many seconds that alarm the operator."""
MOST_DENIED = 1000


class GuardFinding(StrEnum):
    """What a look at the canaries of a tenant's pattern found."""

    PASSED = "passed"
    """One of them served, asked after the tenant's KEK was: our access is in order."""
    OURS = "ours"
    """None served, and one was refused as the tenant's KEK was: the fault is ours."""
    UNKNOWN = "unknown"
    """They were silent, or are broken themselves: it cannot be told."""
    NO_CANARY = "no_canary"
    """None is configured for this pattern."""


class VendorFaultGuard:
    """Asks canaries.

    Args:
        canaries: As configured.
        store: Holds their envelopes, and the service's condition.
        macs: Holds the key that authenticates the envelopes.
        providers: Reach the canaries.
        alarms: Tell the operator.
        now: Reads both clocks.
        budget: Counts the KMS time of a request.
        table_name: The logical key store name.
    """

    def __init__(
        self,
        *,
        canaries: Sequence[Canary],
        store: TenantStore,
        macs: RowMacs,
        providers: Providers,
        alarms: Alarms,
        now: Callable[[], Instant],
        budget: KmsBudget,
        table_name: str,
    ) -> None:
        self._canaries: dict[Pattern, list[Canary]] = {}
        for canary in canaries:
            self._canaries.setdefault(canary.pattern, []).append(canary)
        self._keys = CanaryKeys(store, macs, providers, alarms, table_name)
        self._faults = VendorFaults(store, now)
        self._platform = providers.platform_kek
        self._alarms = alarms
        self._now = now
        self._budget = budget
        self._flights: SingleFlight[GuardFinding] = SingleFlight(lambda: now().boot)
        self._recent: dict[Pattern, tuple[Instant, GuardFinding]] = {}
        self._denied: dict[Pattern, dict[str, Instant]] = {}
        self._lock = Lock()

    def ask(self, record: TenantRecord, kek: Kek) -> GuardFinding:
        """Whether a refusal of a tenant's KEK is our own fault, by canaries asked now and with fresh credentials.

        Where it is, alarms and notes the service's condition. For the platform's own KEK it always is.

        Args:
            record: The tenant's record.
            kek: The KEK that refused.

        Raises:
            StoreCorrupt: The KEK is not one of the tenant's.
        """
        if kek == self._platform:
            return GuardFinding.OURS
        return self._joined("ask", self._pattern(record, kek))

    def ask_lately(self, record: TenantRecord, kek: Kek, within: float = LATELY) -> GuardFinding:
        """As `ask`, for requests: takes at most their KMS time, and may make do with an earlier finding.

        That our access was in order a moment ago excuses nobody now, so ``PASSED`` is always found anew. ``UNKNOWN``
        also where the request has no time left.

        Args:
            record, kek: As in `ask`.
            within: Age in seconds up to which another finding of this process will do.

        Raises:
            As `ask`.
        """
        if kek == self._platform:
            return GuardFinding.OURS
        pattern = self._pattern(record, kek)
        if pattern not in self._canaries:
            return GuardFinding.NO_CANARY
        recent = self._recent.get(pattern)
        if recent is not None:
            asked, finding = recent
            lasts = {GuardFinding.OURS: within, GuardFinding.UNKNOWN: min(within, SILENT_FOR)}.get(finding, 0.0)
            if self._now().elapsed(asked) < lasts:
                return finding
        if self._budget.remaining() <= 0:
            return GuardFinding.UNKNOWN
        # Apart from the looks of `ask`, which may take longer than a request has time to wait.
        with self._budget.spending():
            return self._joined("ask_lately", pattern)

    def retest(self, deadline: Instant) -> Mapping[Pattern, GuardFinding]:
        """Ask every canary once, making the envelopes of new ones, and bring the service's condition up to date.

        Args:
            deadline: No pattern's canaries are begun with after it.

        Returns:
            What was found of each pattern there was time for.
        """
        self._faults.keep_only(frozenset(self._canaries))
        found = {}
        for pattern in self._canaries:
            if not self._now().before(deadline):
                break
            found[pattern] = self._look(pattern, every=True)
        return found

    def noticed(self, record: TenantRecord, kek: Kek) -> None:
        """A tenant's KEK was refused for a cause that our own fault would have as well; alarms if many tenants' were.

        Raises:
            As `ask`.
        """
        pattern, now = self._pattern(record, kek), self._now()
        with self._lock:
            denied = self._denied.setdefault(pattern, {})
            denied.pop(record.tenant_id, None)
            denied[record.tenant_id] = now
            while len(denied) > MOST_DENIED or now.elapsed(next(iter(denied.values()))) > MANY_WITHIN:
                del denied[next(iter(denied))]
            tenants = len(denied)
        if tenants >= MANY:
            self._alarms("many_denials", SYSTEM, str(pattern), tenants=tenants)

    def condition(self) -> Mapping[str, str]:
        """The service's own condition: as `VendorFaults.condition`.

        Raises:
            As there.
        """
        return self._faults.condition()

    def _pattern(self, record: TenantRecord, kek: Kek) -> Pattern:
        access = record.access(kek)
        return pattern_of(access.kek, access.role_arn)

    def _joined(self, what: str, pattern: Pattern) -> GuardFinding:
        # A look that was begun earlier proves nothing of now, so nobody joins one.
        if pattern not in self._canaries:
            return GuardFinding.NO_CANARY
        try:
            return self._flights.run((what, pattern), lambda: self._look(pattern), join_running=False)
        except KeyUnreachable:
            return GuardFinding.UNKNOWN

    def _look(self, pattern: Pattern, *, every: bool = False) -> GuardFinding:
        asked, served, refused = self._now(), False, []
        for canary in self._canaries[pattern]:
            answer = self._keys.ask(canary)
            served = served or answer is Answer.SERVED
            if answer is Answer.REFUSED:
                refused.append(canary)
            if served and not every:
                break
        finding = _finding(served, bool(refused))
        if finding is GuardFinding.PASSED:
            for canary in refused:
                self._alarms("canary_refused", SYSTEM, canary.kek, pattern=str(pattern))
            self._faults.end(pattern)
        elif finding is GuardFinding.OURS:
            self._alarms("vendor_fault", SYSTEM, str(pattern), canaries=[canary.kek for canary in refused])
            self._faults.begin(pattern)
        if finding is not GuardFinding.UNKNOWN or self._budget.remaining() > 0:
            # Who ran out of time has learned nothing for the others.
            self._recent[pattern] = (asked, finding)
        return finding


def _finding(served: bool, refused: bool) -> GuardFinding:
    if served:
        return GuardFinding.PASSED
    return GuardFinding.OURS if refused else GuardFinding.UNKNOWN
