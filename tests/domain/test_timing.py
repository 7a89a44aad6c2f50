"""Elapsed time is what the clock that says more says; a deadline lies ahead only while both clocks say so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.timing import LONG_AGO, Instant
from tests.domain.strategies import usual

START = Instant(1_800_000_000.0, 500.0)
seconds = st.integers(-(10**6), 10**6).map(float)
instants = st.builds(Instant, seconds, seconds)


@pytest.mark.parametrize(
    ("wall", "boot", "elapsed"),
    [
        pytest.param(5, 5, 5, id="in step"),
        pytest.param(5, 0, 5, id="the virtual machine was frozen"),
        pytest.param(-3600, 5, 5, id="the wall clock was set back"),
        pytest.param(3600, 5, 3600, id="the wall clock was set forward"),
        pytest.param(0, 0, 0, id="no time"),
    ],
)
def test_elapsed_is_the_larger_of_the_two(wall: float, boot: float, elapsed: float) -> None:
    assert Instant(START.wall + wall, START.boot + boot).elapsed(START) == elapsed


@pytest.mark.parametrize(
    ("wall", "boot", "ahead"),
    [(9, 9, True), (10, 9, False), (9, 10, False), (10, 10, False), (-100, 9, True), (-100, 10, False), (11, 0, False)],
)
def test_a_deadline_ends_with_the_first_clock_that_reaches_it(wall: float, boot: float, ahead: bool) -> None:
    now = Instant(START.wall + wall, START.boot + boot)
    assert now.before(START.plus(10)) is ahead


@usual
@given(instants, instants, st.integers(0, 10**6))
def test_before_a_deadline_means_that_less_has_elapsed(now: Instant, start: Instant, length: int) -> None:
    assert now.before(start.plus(length)) == (now.elapsed(start) < length)


@usual
@given(instants, seconds)
def test_long_ago_is_before_everything(now: Instant, length: float) -> None:
    assert LONG_AGO.before(now)
    assert not now.before(LONG_AGO)
    assert not now.before(LONG_AGO.plus(length))
    assert now.elapsed(LONG_AGO) == float("inf")
