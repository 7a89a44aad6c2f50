"""Random schedules: whatever happens, in whatever order, the promises of DESIGN 5 hold."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.service.revocation.simulation import GRACES, LEASES, SKEWS, SPANS, Simulation
from tests.service.revocation.simulation_clouds import CAUSES, GLOBEX, TENANTS

PROCESSES = 3
tenants = st.sampled_from(TENANTS)
indexes = st.integers(0, PROCESSES - 1)
causes = st.sampled_from(CAUSES)
spans = st.sampled_from(SPANS)


class Schedule(RuleBasedStateMachine):
    """What can happen, in any order."""

    fleet: Simulation

    @initialize(
        canary=st.booleans(),
        lease=st.sampled_from(LEASES),
        outage_grace=st.sampled_from(GRACES),
        fallback=st.sampled_from(["", "platform"]),
        sessions=st.booleans(),
        vault=st.booleans(),
    )
    def begin(self, **kinds: Any) -> None:
        self.fleet = Simulation(PROCESSES, **kinds)

    @rule(seconds=spans)
    def wait(self, seconds: float) -> None:
        self.fleet.pass_time(seconds)

    @rule(index=indexes, tenant=tenants, which=st.integers(0, 50))
    def decrypt(self, index: int, tenant: str, which: int) -> None:
        self.fleet.decrypt(self.fleet.fleet[index], tenant, which)

    @rule(tenant=tenants, which=st.integers(0, 50), seconds=st.sampled_from([1.0, 3.0]), times=st.integers(1, 30))
    def load(self, tenant: str, which: int, seconds: float, times: int) -> None:
        self.fleet.load(tenant, which, seconds, times)

    @rule(index=indexes, tenant=tenants)
    def encrypt(self, index: int, tenant: str) -> None:
        self.fleet.encrypt(self.fleet.fleet[index], tenant)

    @rule(tenant=tenants, cause=causes, lingers=st.booleans())
    def withdraw(self, tenant: str, cause: str, lingers: bool) -> None:
        self.fleet.withdraw(tenant, cause, lingers=lingers)

    @rule(tenant=tenants)
    def reinstate(self, tenant: str) -> None:
        self.fleet.reinstate(tenant)

    @rule(tenant=tenants, silent=st.booleans())
    def outage(self, tenant: str, silent: bool) -> None:
        self.fleet.moods[self.fleet.kek(tenant)].silent = silent

    @rule(index=indexes, cut=st.booleans())
    def cut_off(self, index: int, cut: bool) -> None:
        self.fleet.fleet[index].cut_off = cut

    @rule(index=indexes, silent=st.booleans())
    def store_outage(self, index: int, silent: bool) -> None:
        self.fleet.fleet[index].store.cut(silent=silent)

    @rule(index=indexes, frozen=st.booleans())
    def freeze(self, index: int, frozen: bool) -> None:
        self.fleet.fleet[index].frozen = frozen

    @rule(index=indexes, where=st.sampled_from(["asked", "answered"]), seconds=spans)
    def held_up(self, index: int, where: str, seconds: float) -> None:
        process = self.fleet.fleet[index]
        process.plans.append((where, lambda: self.fleet.pass_time(seconds)))

    @rule(index=indexes, skew=st.sampled_from(SKEWS))
    def skew(self, index: int, skew: float) -> None:
        self.fleet.fleet[index].clock.set_skew(skew)

    @rule(index=indexes)
    def crash(self, index: int) -> None:
        self.fleet.crash(index)

    @rule(index=indexes, tenant=tenants)
    def suspend(self, index: int, tenant: str) -> None:
        self.fleet.suspend(self.fleet.fleet[index], tenant)

    @rule(index=indexes, tenant=tenants)
    def resume(self, index: int, tenant: str) -> None:
        self.fleet.resume(self.fleet.fleet[index], tenant)

    @rule(index=indexes, tenant=tenants)
    def move(self, index: int, tenant: str) -> None:
        self.fleet.move(self.fleet.fleet[index], tenant)

    @rule(index=indexes, tenant=tenants)
    def store_restored(self, index: int, tenant: str) -> None:
        self.fleet.store_restored(self.fleet.fleet[index], tenant)

    @rule(index=indexes, tenant=tenants)
    def rotate(self, index: int, tenant: str) -> None:
        self.fleet.rotate(self.fleet.fleet[index], tenant)

    @rule(index=indexes, tenant=tenants, fallback=st.sampled_from(["", "platform"]))
    def set_fallback(self, index: int, tenant: str, fallback: str) -> None:
        self.fleet.set_fallback(self.fleet.fleet[index], tenant, fallback)

    @rule(index=indexes, tenant=tenants, lease=st.sampled_from(LEASES), outage_grace=st.sampled_from(GRACES))
    def set_terms(self, index: int, tenant: str, lease: float, outage_grace: float) -> None:
        self.fleet.set_terms(self.fleet.fleet[index], tenant, lease, outage_grace)

    @rule(
        index=indexes,
        tenant=tenants,
        terms=st.none() | st.tuples(st.sampled_from(LEASES), st.sampled_from(GRACES)),
        cause=st.sampled_from(["", "disabled"]),
        seconds=st.sampled_from(SPANS[:7]),
    )
    def overtake(self, index: int, tenant: str, terms: tuple[float, float] | None, cause: str, seconds: float) -> None:
        process = self.fleet.fleet[index]

        def act() -> None:
            if terms is None:
                self.fleet.rotate(process, tenant)
            else:
                self.fleet.set_terms(process, tenant, *terms)

        self.fleet.overtake(process, tenant, act, cause, seconds)

    @rule(index=indexes, tenant=tenants, refused=st.booleans())
    def outlast(self, index: int, tenant: str, refused: bool) -> None:
        self.fleet.outlast(self.fleet.fleet[index], tenant, refused=refused)

    @rule(index=indexes, tenant=tenants)
    def check(self, index: int, tenant: str) -> None:
        self.fleet.check(self.fleet.fleet[index], tenant)

    @precondition(lambda self: self.fleet.backup is None)
    @rule()
    def back_up(self) -> None:
        self.fleet.back_up()

    @precondition(lambda self: self.fleet.backup is not None)
    @rule(whole=st.booleans(), copied=st.booleans())
    def roll_back(self, whole: bool, copied: bool) -> None:
        self.fleet.roll_back(whole=whole, copied=copied)

    @precondition(lambda self: self.fleet.vault)
    @rule()
    def new_version(self) -> None:
        self.fleet.new_version()

    @precondition(lambda self: self.fleet.vault)
    @rule(which=st.integers(0, 3))
    def disable(self, which: int) -> None:
        self.fleet.disable(GLOBEX, which)

    @precondition(lambda self: self.fleet.canary)
    @rule(fault=st.sampled_from(["", "", "policy", "credentials"]))
    def own_fault(self, fault: str) -> None:
        self.fleet.set_own_fault(fault)

    def teardown(self) -> None:
        if hasattr(self, "fleet"):
            self.fleet.end()


TestSchedules = Schedule.TestCase
TestSchedules.settings = settings(
    max_examples=36,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)


def tell(seed: int, steps: int = 30) -> Simulation:
    """A schedule told by a seed: quicker than hypothesis, for thousands of them."""
    rng = random.Random(seed)
    fleet = Simulation(
        PROCESSES,
        canary=rng.random() < 0.7,
        lease=rng.choice(LEASES),
        outage_grace=rng.choice(GRACES),
        fallback=rng.choice(["", "platform"]),
        sessions=rng.random() < 0.5,
        vault=rng.random() < 0.5,
    )
    for _ in range(steps):
        fleet.something(rng)
    fleet.end()
    return fleet


@pytest.mark.parametrize("block", range(4))
def test_seeded_schedules(block: int) -> None:
    for seed in range(block * 20, block * 20 + 20):
        fleet = tell(seed)
        assert fleet.promises.largest <= 60
        assert fleet.promises.slowest <= 30
