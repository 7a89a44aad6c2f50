"""One process of a simulation: its clock, what holds it up, and what its scheduler does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.bootstrap import Application
from core.domain.branch_keys import ACTIVE
from core.domain.states import RULES
from core.domain.tenants import TenantRecord
from core.errors import KeysteadError
from core.service.timekeeper import MAX_SKEW
from tests.service.revocation.simulation_clouds import TENANTS
from tests.service.revocation.simulation_promises import ALLOWED
from tests.service.revocation.simulation_stores import Store

if TYPE_CHECKING:
    from tests.service.revocation.simulation_fleet import Fleet


class Clock:
    """One process's clock: the fleet's time, its wall clock off by something."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.skew = self.set_at = 0.0

    def set_skew(self, seconds: float) -> None:
        """Have the wall clock be off from now on; one that goes back purges everything, rightly."""
        self.skew, self.set_at = seconds, self._fleet.time
        self._fleet.off |= abs(seconds) > MAX_SKEW

    def wall(self) -> float:
        return self._fleet.time + self.skew

    def boot(self) -> float:
        return self._fleet.time


@dataclass
class Unwrapped:
    """The last unwrap of a row for a request.

    Attributes:
        asked: When it was asked for.
        proved: When the access was last proved in full by then: a session may have been used again.
        answered: When it was answered.
        known: The tenant's record as the process knew it then; None if it keeps no keys.
    """

    asked: float
    proved: float
    answered: float
    known: TenantRecord | None


class Process:
    """One process, and what holds it up."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.clock = Clock(fleet)
        self.store = Store(fleet)
        self.frozen = False
        self.cut_off = False
        self.busy = False
        self.tenant = ""
        """Whose request it works on, if it does."""
        self.unwrapped: dict[tuple[str, str], Unwrapped] = {}
        """By tenant and type of the row."""
        self.upset: dict[str, float] = {}
        """When something last happened in it after which a tenant's cached keys need not serve."""
        self.plans: list[tuple[str, Callable[[], object]]] = []
        self.app: Application = fleet.assemble(self)
        self.minute = fleet.time

    def hold_up(self, where: str) -> None:
        """Let what was planned for a moment inside a KMS call happen."""
        if self.plans and self.plans[0][0] == where:
            self.plans.pop(0)[1]()

    def served(self, context: Mapping[str, str], asked: float, proved_ago: float) -> None:
        """Take note of an unwrap."""
        if self.tenant and context.get("tenant_id") == self.tenant:
            view = self.app.gate._views.get(self.tenant)
            kept = view is not None and view.record.lease and not RULES[view.record.state].proves
            known = view.record if view is not None and kept else None
            rows = {context["type"], context.get("version", "")}
            if context["branch-key-id"] != self.fleet.record(self.tenant)["branch_key_id"]:
                rows.discard(ACTIVE)
            for row in rows:
                self.unwrapped[self.tenant, row] = Unwrapped(asked, asked - proved_ago, self.fleet.time, known)

    def idle_until(self) -> float:
        """When its scheduler next has something to do."""
        return min([self.minute + 60, *self.app.schedules._watch._due.values()])

    def background(self) -> None:
        """What the host's scheduler does."""
        if self.frozen or self.busy:
            return
        self.busy = True
        try:
            for tenant_id in [one for some in self.app.schedules._watch.due() for one in some]:
                self._quietly(lambda tenant_id=tenant_id: self.app.checks.check(tenant_id))  # type: ignore[misc]
            if self.fleet.time - self.minute >= 60:
                self.minute = self.fleet.time
                for tenant_id in TENANTS:
                    self._quietly(lambda tenant_id=tenant_id: self._check_and_mend(tenant_id))  # type: ignore[misc]
        finally:
            self.busy = False

    def _check_and_mend(self, tenant_id: str) -> None:
        self.app.checks.check(tenant_id)
        self.app.schedules._upkeep.mend(tenant_id)

    def _quietly(self, act: Callable[[], object]) -> None:
        try:
            act()
        except KeysteadError as error:
            if not isinstance(error, ALLOWED):
                raise
