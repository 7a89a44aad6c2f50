"""Random schedules: whatever happens, in whatever order, the promises of DESIGN 5 hold."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.service.revocation.simulation import TENANTS, Fleet

PROCESSES = 3
tenants = st.sampled_from(TENANTS)
indexes = st.integers(0, PROCESSES - 1)
causes = st.sampled_from(["disabled", "pending_deletion", "not_found", "policy", "identity", "unknown", "network"])
spans = st.sampled_from([0.4, 1.0, 2.0, 5.5, 11.0, 31.0, 61.0, 95.0, 400.0, 1000.0])


class Schedule(RuleBasedStateMachine):
    """What can happen, in any order."""

    fleet: Fleet

    @initialize(
        canary=st.booleans(), lease=st.sampled_from([0.0, 5.0, 60.0]), grace=st.sampled_from([0.0, 30.0, 900.0])
    )
    def begin(self, canary: bool, lease: float, grace: float) -> None:
        self.fleet = Fleet(PROCESSES, canary=canary, lease=lease, outage_grace=grace)

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

    @rule(tenant=tenants, cause=causes)
    def withdraw(self, tenant: str, cause: str) -> None:
        self.fleet.withdraw(tenant, cause)

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
        self.fleet.fleet[index].store.silent = silent

    @rule(index=indexes, frozen=st.booleans())
    def freeze(self, index: int, frozen: bool) -> None:
        self.fleet.fleet[index].frozen = frozen

    @rule(index=indexes, where=st.sampled_from(["asked", "answered"]), seconds=spans)
    def held_up(self, index: int, where: str, seconds: float) -> None:
        process = self.fleet.fleet[index]
        process.plans.append((where, lambda: self.fleet.pass_time(seconds)))

    @rule(index=indexes, skew=st.sampled_from([0.0, 0.0, 3.0, -3.0, 20.0, -20.0]))
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

    @precondition(lambda self: self.fleet.canary)
    @rule(fault=st.sampled_from(["", "", "policy", "credentials"]))
    def own_fault(self, fault: str) -> None:
        self.fleet.set_own_fault(fault)

    def teardown(self) -> None:
        if hasattr(self, "fleet"):
            self.fleet.end()


TestSchedules = Schedule.TestCase
TestSchedules.settings = settings(
    max_examples=50,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)


def tell(seed: int, steps: int = 30) -> Fleet:
    """A schedule told by a seed: quicker than hypothesis, for thousands of them."""
    rng = random.Random(seed)
    fleet = Fleet(
        PROCESSES,
        canary=rng.random() < 0.7,
        lease=rng.choice([0.0, 5.0, 60.0]),
        outage_grace=rng.choice([0.0, 30.0, 900.0]),
    )
    for _ in range(steps):
        fleet.something(rng)
    fleet.end()
    return fleet


@pytest.mark.parametrize("block", range(4))
def test_seeded_schedules(block: int) -> None:
    for seed in range(block * 30, block * 30 + 30):
        fleet = tell(seed)
        assert fleet.largest <= 60
        assert fleet.slowest <= 30
