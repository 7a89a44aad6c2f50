"""Keys withdrawn in every way and given back, under load, with leases of seconds: what `make bench-revocation` runs.

All acts run at the same time, each on a tenant and a key of its own, and once for all the tests here. Bounds are what
the settings say and what a busy machine adds; how fast it is with default settings, the benchmark tells.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack

import pytest

from benchmarks.revocation.aws import KILL_SWITCH, LEASE_0
from benchmarks.revocation.course import Pace, Timing
from benchmarks.revocation.run import Withdrawals, emulators, on_ministack, run
from benchmarks.revocation.targets import NEVER, RESTORED_WITHIN, judge, wrong
from core.bootstrap import Config
from core.domain.withdrawals import ACCESS_CAUSES
from tests.aws.ministack import TOOL

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("revocation-wall-clock")]

CONFIRM = 2
PACE = Pace(lease=2, confirm=CONFIRM, apart=1, warm=2.5, withdrawn=1, jitter=2, patience=25, after=1.5)
STATE_AGE = Config().state_age
GUARDED = ACCESS_CAUSES | {"not_found"}
"""Causes for which canaries are asked."""
BUSY = 8
"""Seconds: one call's KMS time, and what it waits for a processor that others use."""
ON_EMULATORS = (
    *("aws-disabled", "aws-scheduled", "aws-denied", "aws-untrusted", "aws-role-deleted", LEASE_0, KILL_SWITCH),
    *("az-disabled", "az-unassigned", "az-deleted", "az-firewall", "az-consent"),
)
ON_MINISTACK = ("ms-disabled", "ms-scheduled", "ms-denied", "ms-untrusted", "ms-role-deleted")
ACTS = (*ON_EMULATORS, *ON_MINISTACK)
BYSTANDERS = ("aws-bystander", "az-bystander", "ms-bystander")


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> Withdrawals:
    """All that was measured."""
    settings = {"KEYSTEAD_CONFIRM_AFTER": f"{CONFIRM}"}
    with ExitStack() as stack:
        sites = [stack.enter_context(emulators(tmp_path_factory.mktemp("emulators"), settings, every=0.25))]
        if TOOL.exists():
            sites.append(stack.enter_context(on_ministack(tmp_path_factory.mktemp("ministack"), settings, every=0.25)))
        else:
            assert "CI" not in os.environ, "CI sets ministack up"
        return run(sites, PACE, lambda _: None)


@pytest.fixture
def timings(found: Withdrawals) -> Mapping[str, Timing]:
    """By tenant."""
    return {timing.tenant: timing for timing in found.timings}


@pytest.fixture
def timing(timings: Mapping[str, Timing], request: pytest.FixtureRequest) -> Timing:
    """Of one act."""
    tenant: str = request.param
    if tenant in ON_MINISTACK and not TOOL.exists():
        pytest.skip("NOT RUN: ministack is not set up here; `make .tools/ministack/.installed` does it")
    return timings[tenant]


each_act = pytest.mark.parametrize("timing", ACTS, indirect=True)


def test_every_act_was_run(timings: Mapping[str, Timing]) -> None:
    assert set(timings) == {*ON_EMULATORS, *(ON_MINISTACK if TOOL.exists() else ())}


@each_act
def test_it_ends_in_the_right_state_with_the_right_cause_and_a_receipt_that_verifies(timing: Timing) -> None:
    assert wrong(timing) == []
    expected = ["hold", "revoked"] if timing.expected["state"] == "revoked" else [timing.expected["state"]]
    assert timing.states == ["active", *expected, "active"]


@each_act
def test_it_stops_serving_within_the_bounds(timing: Timing) -> None:
    bound = STATE_AGE if timing.tenant == KILL_SWITCH else min(PACE.lease, STATE_AGE)
    assert set(timing.served_after) == {"worker 1", "worker 2"}
    assert max(timing.served_after.values()) <= bound + BUSY
    if timing.tenant != KILL_SWITCH:
        # Nobody asks before the lease is over, and a session that is out serves no longer than another.
        assert timing.refused_after is not None
        assert timing.refused_after <= 2 * PACE.lease + BUSY


@each_act
def test_it_is_confirmed_when_it_may_be(timing: Timing) -> None:
    assert timing.final_after is not None
    if timing.expected["state"] != "revoked":
        assert timing.final_after <= BUSY
        assert timing.receipt_after is None
        return
    assert timing.held_after is not None
    assert timing.receipt_after is not None
    confirm = CONFIRM if timing.cause in ACCESS_CAUSES else 1
    assert timing.held_after <= BUSY
    assert confirm <= timing.final_after <= confirm + 2 * BUSY
    assert timing.final_after <= timing.receipt_after + 0.1
    assert timing.receipt_after <= confirm + 2 * BUSY


@each_act
def test_it_serves_again_by_itself_and_nothing_is_lost(timing: Timing) -> None:
    restored = [NEVER if seconds is None else seconds for seconds in timing.restored_after.values()]
    assert len(restored) == 2
    assert max(restored) <= RESTORED_WITHIN
    assert (timing.failed_before, timing.failed_after, timing.lost) == (0, 0, 0)
    assert timing.messages > 4


@each_act
def test_the_receipt_states_what_was_done(timing: Timing) -> None:
    if timing.expected["state"] != "revoked":
        assert timing.receipt is None
        return
    receipt = timing.receipt
    assert receipt is not None
    guarded = "no_canary" if timing.tenant in ON_MINISTACK else "passed"
    guard = guarded if timing.cause in GUARDED else "not_needed"
    assert (receipt["tenant_id"], receipt["cause"], receipt["guard"]) == (timing.tenant, timing.cause, guard)
    assert receipt["first_denial"] <= receipt["confirmed"] <= receipt["state_written"] < receipt["not_served_after"]
    assert receipt["kms_code"]
    assert receipt["longest_lease"] == (0 if timing.tenant == LEASE_0 else PACE.lease)


def test_without_a_lease_the_very_next_call_is_refused(timings: Mapping[str, Timing]) -> None:
    assert timings[LEASE_0].served_begun_after == {"worker 1": 0, "worker 2": 0}


@pytest.mark.parametrize("tenant", BYSTANDERS)
def test_others_are_served_throughout(found: Withdrawals, tenant: str) -> None:
    if tenant == "ms-bystander" and not TOOL.exists():
        pytest.skip("NOT RUN: ministack is not set up here; `make .tools/ministack/.installed` does it")
    (bystander,) = [each for each in found.bystanders if each.tenant == tenant]
    assert (bystander.failed, bystander.lost) == ({}, 0)
    assert bystander.calls > 20
    assert bystander.messages > 10


def test_the_benchmark_would_pass(found: Withdrawals) -> None:
    missed = [verdict for verdict in judge(found.timings, found.bystanders, KILL_SWITCH, LEASE_0) if not verdict.held]
    assert [verdict for verdict in missed if "kill switch" not in verdict.name] == []
