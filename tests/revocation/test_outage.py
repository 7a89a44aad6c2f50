"""An outage of the KMS in every shape at once, made by microburst: ridden out, never taken for a withdrawal, healed.

The full ten minutes are `make bench-revocation ARGS=--outage`; here graces are seconds.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from benchmarks.revocation.microburst import TOOL
from benchmarks.revocation.outage import BRIEF, BYTES, CALLS, PATIENT, Scale, Weathered, run
from benchmarks.revocation.targets import judge_outage

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("revocation-outage")]

SCALE = Scale(
    outage=12,
    lease=1,
    patient=120,
    brief=5,  # longer than a lease and a call that its KMS does not answer
    shapes=frozenset({"throttled", "blackhole", "page-403"}),
    recovery=40,
    warm=2,
    every=0.25,
)
SHAPES = (*CALLS, *BYTES)
KMS_TIME = 2.5
"""Seconds that a call may wait for its KMS."""
BUSY = 8
"""Seconds that a call may wait for a processor that others use."""


@pytest.fixture(scope="session")
def weathered(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Weathered]:
    """What became of the tenants."""
    if not TOOL.exists():
        assert "CI" not in os.environ, "CI sets microburst up"
        pytest.skip("NOT RUN: microburst is not set up here; `make .tools/microburst/.installed` does it")
    return run(tmp_path_factory.mktemp("outage"), SCALE, lambda _: None)


def of(weathered: Sequence[Weathered], shape: str, kind: str) -> Weathered:
    (found,) = [each for each in weathered if (each.trouble, each.kind) == (shape, kind)]
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_a_warm_tenant_is_served_inside_its_grace(weathered: Sequence[Weathered], shape: str) -> None:
    patient = of(weathered, shape, PATIENT)
    assert patient.broken > 0
    assert (patient.failed, patient.first_failed) == ({}, {})
    assert patient.served > 4
    assert patient.slowest <= KMS_TIME + BUSY


@pytest.mark.parametrize("shape", sorted(SCALE.shapes))
def test_after_the_grace_it_is_told_to_come_again(weathered: Sequence[Weathered], shape: str) -> None:
    brief = of(weathered, shape, BRIEF)
    assert set(brief.failed) == {"key_unreachable"}
    assert brief.without_retry_after == 0
    assert brief.served > 0
    assert set(brief.first_failed) == {"worker 1", "worker 2"}
    for seconds in brief.first_failed.values():
        # The grace counts from the last unwrap, which came at most a lease and one call before the outage.
        assert SCALE.brief - SCALE.lease - 2 * SCALE.every <= seconds <= SCALE.brief + KMS_TIME + BUSY
    assert "unreachable" in brief.states


def test_no_outage_is_taken_for_a_withdrawal(weathered: Sequence[Weathered]) -> None:
    assert len(weathered) == len(SHAPES) + len(SCALE.shapes)
    assert {state for each in weathered for state in each.states} <= {"active", "degraded", "unreachable"}
    assert sum(each.receipts for each in weathered) == 0


def test_all_serve_again_by_themselves_and_nothing_is_lost(weathered: Sequence[Weathered]) -> None:
    for each in weathered:
        assert set(each.recovered_after) == {"worker 1", "worker 2"}
        assert None not in each.recovered_after.values(), each.tenant
        assert each.active_after is not None, each.tenant
        assert each.states[-1] == "active"
        assert each.messages > 4
        assert each.lost == 0


def test_the_benchmark_would_pass(weathered: Sequence[Weathered]) -> None:
    assert [str(verdict) for verdict in judge_outage(weathered, SCALE.recovery) if not verdict.held] == []
