"""Schedules run in threads of their own, whatever befalls one of them, and end with the process."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from core.errors import StoreUnavailable
from functions.handlers import Handler
from functions.local import scheduler as scheduling
from functions.local.app import Endpoint, HostCheck, asgi_app
from functions.local.scheduler import TELL_AGAIN, Plan, Scheduler, plans
from tests.functions.asgi import acall, lifespan

SECRET = "canary-7-is-a-token"
OFTEN = Plan("watch", interval=0.001, budget=0.5)
LONG = Plan("check", interval=0.001, budget=45)


@pytest.mark.parametrize(
    ("plan", "took", "chance", "expected"),
    [
        (Plan("a", 60, 45, jitter=0.1), 0, 0, 60),
        (Plan("a", 60, 45, jitter=0.1), 0, 1, 54),
        (Plan("a", 60, 45, jitter=0.1), 45, 0, 15),
        (Plan("a", 60, 45, jitter=0.1), 45, 1, 9),
        (Plan("a", 60, 45), 59, 0.5, 6),
        (Plan("a", 60, 45), 600, 0.5, 6),
        (Plan("a", 0.5, 0.5), 0.1, 0.5, 0.4),
        (Plan("a", 0.5, 0.5), 2.5, 0.5, 0.05),
    ],
)
def test_a_run_begins_an_interval_after_the_last_one_began(
    plan: Plan, took: float, chance: float, expected: float
) -> None:
    assert plan.pause(took, chance) == pytest.approx(expected)


@pytest.mark.parametrize(("interval", "first"), [(60, 5), (10, 5), (4, 2), (0.5, 0.25)])
def test_the_plans(interval: float, first: float) -> None:
    watch, check = plans(interval)
    assert (watch.name, watch.interval, watch.begin(1)) == ("watch", 0.5, 0)
    assert watch.budget <= watch.interval
    assert (check.name, check.interval, check.begin(0), check.begin(1)) == ("check", interval, 0, first)
    assert check.budget < check.pause(0, 1) < check.interval


class Rounds(threading.Event):
    """Waits for nothing, notes how long it would have, and ends after so many rounds."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds
        self.waited: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        return len(self.waited) > self.rounds


def test_what_a_thread_does_between_runs() -> None:
    now, chances, ran = [100.0], iter([0.5, 0.0, 1.0]), []

    def run(name: str, seconds: float, stopping: Callable[[], bool]) -> None:
        ran.append((name, seconds, stopping()))
        now[0] += 10

    plan = Plan("check", 60, 45, first=5, jitter=0.1)
    scheduler = Scheduler(run, [plan], chance=lambda: next(chances), timer=lambda: now[0])
    scheduler._stopping = rounds = Rounds(2)
    scheduler._keep(plan)
    assert ran == [("check", 45, False)] * 2
    assert rounds.waited == [2.5, pytest.approx(50), pytest.approx(44)]


def test_a_long_check_delays_no_watch_and_is_told_to_stop() -> None:
    watched, checking, ended = threading.Semaphore(0), threading.Event(), threading.Event()

    def run(name: str, seconds: float, stopping: Callable[[], bool]) -> None:
        if name == "watch":
            watched.release()
            return
        checking.set()
        while not stopping():
            threading.Event().wait(0.001)
        ended.set()

    scheduler = Scheduler(run, [OFTEN, LONG])
    scheduler.start()
    assert checking.wait(60)
    for _ in range(20):
        assert watched.acquire(timeout=60)
    assert not ended.is_set()
    assert scheduler.stop(60)
    assert ended.is_set()
    while watched.acquire(blocking=False):
        pass
    assert not any(thread.is_alive() for thread in scheduler._threads)
    assert all(thread.daemon for thread in scheduler._threads)


def test_a_run_that_does_not_stop_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    running, let_go = threading.Event(), threading.Event()

    def run(name: str, seconds: float, stopping: Callable[[], bool]) -> None:
        running.set()
        assert let_go.wait(60)
        raise StoreUnavailable("closed under it")

    scheduler = Scheduler(run, [LONG])
    scheduler.start()
    assert running.wait(60)
    assert not scheduler.stop(0)
    [line] = caplog.records
    assert (line.levelname, line.fields) == ("WARNING", {"threads": ["keystead-check"]})  # type: ignore[attr-defined]
    let_go.set()
    scheduler._threads[0].join(60)
    assert len(caplog.records) == 1, "what fails after the end is no failure"


def test_stopping_what_never_started() -> None:
    ran = threading.Event()
    scheduler = Scheduler(lambda *_: ran.set(), [OFTEN])
    assert scheduler.stop()
    scheduler.start()
    scheduler._threads[0].join(60)
    assert not ran.is_set()


def failing(errors: list[Exception | None], times: list[float]) -> None:
    """Run a schedule once per error, at these times."""
    left, now = [*errors], [0.0]

    def run(name: str, seconds: float, stopping: Callable[[], bool]) -> None:
        number = len(errors) - len(left)
        now[0] = times[number]
        error = left.pop(0)
        if error is not None:
            raise error

    scheduler = Scheduler(run, [LONG], timer=lambda: now[0])
    scheduler._stopping = Rounds(len(errors))
    scheduler._keep(LONG)
    assert not left


def test_failures_are_logged_without_their_text_and_end_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "keystead.scheduler")
    silent, bug = StoreUnavailable(SECRET), ValueError(SECRET)
    failing(
        [silent, silent, bug, bug, bug, None, None, bug],
        [0, TELL_AGAIN - 1, TELL_AGAIN, TELL_AGAIN + 1, 2 * TELL_AGAIN, 130, 131, 132],
    )
    lines: list[dict[str, Any]] = [record.fields for record in caplog.records]  # type: ignore[attr-defined]
    assert [
        (record.levelname, line.get("code"), line["failures"])
        for record, line in zip(caplog.records, lines, strict=True)
    ] == [
        ("ERROR", "store_unavailable", 1),
        ("ERROR", "bug", 3),
        ("ERROR", "bug", 5),
        ("INFO", None, 5),
        ("ERROR", "bug", 1),
    ]
    assert {line["schedule"] for line in lines} == {"check"}
    assert lines[0]["exception"] == ["core.errors.StoreUnavailable"]
    assert lines[1]["exception"] == ["builtins.ValueError"]
    assert "test_scheduler.py" in lines[1]["frames"][-1]
    assert SECRET not in repr(lines) + caplog.text


def test_it_lives_between_the_start_and_the_end_of_the_application(fake_handler: Handler) -> None:
    ran, alive_at_close = threading.Event(), []
    scheduler = Scheduler(lambda *_: ran.set(), [OFTEN, LONG])

    def close() -> None:
        alive_at_close.append(any(thread.is_alive() for thread in scheduler._threads))

    app = asgi_app(Endpoint(fake_handler, HostCheck()), on_close=close, scheduler=scheduler)
    assert not ran.is_set()

    async def run() -> None:
        async with lifespan(app):
            assert await asyncio.to_thread(ran.wait, 60)
            assert (await acall(app, "GET", "/healthz")).status == 200
            assert all(thread.is_alive() for thread in scheduler._threads)

    asyncio.run(run())
    assert alive_at_close == [False]


def test_processes_do_not_run_in_step() -> None:
    assert len({scheduling._chance() for _ in range(10)}) == 10
    assert all(0 <= scheduling._chance() <= 1 for _ in range(100))
