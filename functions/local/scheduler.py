"""Runs the service's schedules in a worker process, each in a thread of its own: a long one delays no other.

Every run must be able to overlap with those of other processes and to go on where another was cut off.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import SystemRandom
from threading import Event, Thread

from core.errors import KeysteadError
from functions.faults import facts

Run = Callable[[str, float, Callable[[], bool]], object]
"""Runs a schedule, given its name, the seconds it may take, and what tells that it shall stop before."""
STOP_SECONDS = 5.0
"""How long runs under way get to notice that they shall stop."""
TELL_AGAIN = 60.0
"""Seconds for which the same failure of a schedule is not logged again."""
_log = logging.getLogger("keystead.scheduler")
_chance = SystemRandom().random


@dataclass(frozen=True, slots=True)
class Plan:
    """When a schedule runs. Seconds unless named.

    Attributes:
        name: The schedule's.
        interval: At most from the start of a run to the start of the next, unless the run takes longer.
        budget: What one run may take. What it has begun then goes on, and is not begun again by the next.
        first: The first run begins within so many seconds.
        jitter: By how much of the interval a run may come sooner, so that processes do not run in step.
    """

    name: str
    interval: float
    budget: float
    first: float = 0
    jitter: float = 0

    def begin(self, chance: float) -> float:
        """Seconds before the first run.

        Args:
            chance: From 0 to 1.
        """
        return self.first * chance

    def pause(self, took: float, chance: float) -> float:
        """Seconds before the next run; never less than a tenth of the interval, however long the last one took.

        Args:
            took: What the last run took.
            chance: From 0 to 1.
        """
        return max(self.interval / 10, self.interval * (1 - self.jitter * chance) - took)


def plans(check_interval: float = 60) -> tuple[Plan, ...]:
    """When the service's schedules run: ``watch`` looks at tenants known to be in trouble, ``check`` at all.

    Args:
        check_interval: Seconds between two runs of ``check``.
    """
    return (
        Plan("watch", interval=0.5, budget=0.5),
        Plan("check", check_interval, budget=0.75 * check_interval, first=min(5, check_interval / 2), jitter=0.1),
    )


class Scheduler:
    """Runs schedules from `start` to `stop`. A run that fails is logged, and the next one comes when it is due.

    Args:
        run: Runs a schedule.
        schedule: When each runs.
        chance: Gives numbers from 0 to 1.
        timer: Seconds from any start.
    """

    def __init__(
        self,
        run: Run,
        schedule: Iterable[Plan],
        *,
        chance: Callable[[], float] = _chance,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._chance = chance
        self._timer = timer
        self._stopping = Event()
        self._threads = [
            Thread(target=self._keep, args=(plan,), name=f"keystead-{plan.name}", daemon=True) for plan in schedule
        ]

    def start(self) -> None:
        """Start; once."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Begin no run any more, tell those under way to stop, and wait for them.

        Args:
            seconds: How long to wait in all. What does not end in that time ends with the process.

        Returns:
            Whether all ended.
        """
        self._stopping.set()
        until = self._timer() + seconds
        started = [thread for thread in self._threads if thread.ident is not None]
        for thread in started:
            thread.join(max(0.0, until - self._timer()))
        left = [thread.name for thread in started if thread.is_alive()]
        if left:
            _log.warning("schedules did not stop in time", extra={"fields": {"threads": left}})
        return not left

    def _keep(self, plan: Plan) -> None:
        failures = _Failures(plan.name, self._timer)
        pause = plan.begin(self._chance())
        while not self._stopping.wait(pause):
            began = self._timer()
            try:
                self._run(plan.name, plan.budget, self._stopping.is_set)
                failures.none()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next run may do better
                if self._stopping.is_set():
                    return  # what it works with may be closed by now
                failures.note(error)
            pause = plan.pause(self._timer() - began, self._chance())


class _Failures:
    # Tells the log of a schedule's failures: each kind at once, then no more often than every minute.

    def __init__(self, schedule: str, timer: Callable[[], float]) -> None:
        self._schedule = schedule
        self._timer = timer
        self._count = 0
        self._told: tuple[str, float] | None = None

    def none(self) -> None:
        if self._count:
            _log.info("a schedule runs again", extra={"fields": {"schedule": self._schedule, "failures": self._count}})
        self._count, self._told = 0, None

    def note(self, error: Exception) -> None:
        self._count += 1
        code = error.code if isinstance(error, KeysteadError) else "bug"
        kind, now = f"{code} {type(error).__qualname__}", self._timer()
        if self._told is not None and self._told[0] == kind and now - self._told[1] < TELL_AGAIN:
            return
        self._told = (kind, now)
        fields = {"schedule": self._schedule, "failures": self._count, "code": code, **facts(error)}
        _log.error("a schedule failed", extra={"fields": fields})
