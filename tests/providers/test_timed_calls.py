"""Threads left behind in calls that do not end: so many per endpoint, and so many in all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event
from threading import enumerate as threads

import pytest

from core.providers._lines import Line
from core.providers._timed_calls import EVERYWHERE, PROCESS, Budget, LeftBehind, TimedCalls
from tests.service.world import FakeClock

TOO_MANY = "too many calls before it are still waiting"


@dataclass(frozen=True, slots=True)
class Failure:
    seen: str
    again: bool = False


class Calls:
    """Calls that hang until they are released."""

    def __init__(self, abandoned: int, everywhere: LeftBehind) -> None:
        self.release = Event()
        self.timed: TimedCalls[str, Failure] = TimedCalls(
            "stuck", Failure, lambda _, seen, again: Failure(seen, again), abandoned=abandoned, everywhere=everywhere
        )

    def hang(self, endpoint: str) -> str:
        def call(_: Line) -> str:
            self.release.wait(30)
            return "late"

        return self._seen(self.timed.attempt("Ask", bool, call, Budget(FakeClock(), 0.01, lambda: 60), endpoint))

    def answer(self, endpoint: str) -> str:
        return self._seen(
            self.timed.attempt("Ask", bool, lambda _: "good", Budget(FakeClock(), 9, lambda: 9), endpoint)
        )

    def end(self) -> None:
        self.release.set()
        for thread in [thread for thread in threads() if thread.name == "stuck-Ask"]:
            thread.join(30)

    @staticmethod
    def _seen(found: str | Failure) -> str:
        return found.seen if isinstance(found, Failure) else found


@pytest.fixture
def everywhere() -> LeftBehind:
    return LeftBehind(3)


@pytest.fixture
def calls(everywhere: LeftBehind) -> Iterator[Calls]:
    found = Calls(2, everywhere)
    yield found
    found.end()


def test_the_limit_of_all_endpoints(calls: Calls, everywhere: LeftBehind) -> None:
    other = Calls(2, everywhere)
    assert [calls.hang(endpoint) for endpoint in ("a", "a", "a", "b")] == ["time was up"] * 2 + [
        TOO_MANY,
        "time was up",
    ]
    assert everywhere.is_full()
    for endpoint in ("b", "c"):
        assert calls.answer(endpoint) == other.answer(endpoint) == TOO_MANY
    calls.end()
    assert not everywhere.is_full()
    assert calls.answer("a") == other.answer("c") == "good"


def test_nothing_is_kept_of_an_endpoint_whose_calls_ended(calls: Calls) -> None:
    assert calls.answer("a") == "good"
    assert dict(calls.timed._abandoned) == {}
    assert [calls.hang("b"), calls.hang("b")] == ["time was up"] * 2
    assert dict(calls.timed._abandoned) == {"b": 2}
    calls.end()
    assert dict(calls.timed._abandoned) == {}


def test_all_leaves_of_a_process_share_one_limit() -> None:
    timed: TimedCalls[str, Failure] = TimedCalls("x", Failure, lambda _, seen, again: Failure(seen, again))
    assert timed._everywhere is PROCESS
    assert PROCESS._limit == EVERYWHERE == 256
