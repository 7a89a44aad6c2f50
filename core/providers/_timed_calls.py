"""Calls with a deadline that holds: each runs on a thread of its own, which is abandoned when time is up.

An SDK's time-outs do not cover name look-ups and count per read, so a caller who waits for the SDK may wait for long.
Retries are ours, by what a failure means, inside the same budget.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from random import SystemRandom
from threading import Event, Lock, Thread
from typing import Generic, Protocol, TypeVar, cast

from core.ports import Clock
from core.providers._lines import Line

OPERATION_SECONDS = 2.5
"""KMS time of one operation, what proves our identity and retries included."""
ATTEMPTS = 3
ABANDONED = 64
"""Most threads left behind in calls to one endpoint that do not end; beyond it nothing is asked there."""
EVERYWHERE = 256
"""Most of them in the whole process, whatever the endpoints: an attacker can name many that hang."""
_PAUSES = ((0.05, 0.2), (0.1, 0.4))
"""Seconds, shortest and longest, before the second and the third attempt."""
_random = SystemRandom()


class Budget:
    """KMS time that is left to one operation.

    Args:
        clock: Counts it.
        seconds: All of it.
        remaining: Seconds left to whoever asks; asked once, when the operation begins.
    """

    def __init__(self, clock: Clock, seconds: float, remaining: Callable[[], float]) -> None:
        self._clock = clock
        self._end = clock.boot() + min(seconds, remaining())

    def left(self) -> float:
        """Seconds left; may be negative."""
        return self._end - self._clock.boot()


class Failed(Protocol):
    """What a leaf's failures have in common."""

    @property
    def again(self) -> bool:
        """Whether asking again at once makes sense."""
        ...


A = TypeVar("A")
F = TypeVar("F", bound=Failed)
R = TypeVar("R")


class LeftBehind:
    """Counts the threads left behind in calls to all endpoints together.

    Args:
        limit: Most of them in all.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._all = 0
        self._lock = Lock()

    def is_full(self) -> bool:
        """Whether no more may be left behind."""
        with self._lock:
            return self._all >= self._limit

    def add(self, count: int) -> None:
        """Count some more, or with a negative number, some that have ended."""
        with self._lock:
            self._all += count


PROCESS = LeftBehind(EVERYWHERE)
"""Of this process."""


class TimedCalls(Generic[A, F]):
    """Makes calls, on threads that can be left behind.

    Args:
        name: Of the leaf; names the threads.
        failure: Its class of failures.
        silent: Makes one that is a silence, from the operation, what was seen, and whether to ask again at once.
        abandoned: Most threads left behind at one time, per endpoint.
        everywhere: Counts those of all endpoints.
        pause: Waits a number of seconds between attempts.
    """

    def __init__(
        self,
        name: str,
        failure: type[F],
        silent: Callable[[str, str, bool], F],
        *,
        abandoned: int = ABANDONED,
        everywhere: LeftBehind = PROCESS,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name = name
        self._failure = failure
        self._silent = silent
        self._limit = abandoned
        self._everywhere = everywhere
        self._pause = pause
        self._abandoned: Counter[str] = Counter()
        self._lock = Lock()

    def attempt(
        self,
        operation: str,
        accept: Callable[[A], bool],
        call: Callable[[Line], A | F],
        budget: Budget,
        endpoint: str,
    ) -> A | F:
        """The first answer of up to three attempts, or the last failure.

        Args:
            operation: What is asked.
            accept: Whether an answer is the one that was asked for; anything else is silence.
            call: Asks it once, over a line that is cut when nobody waits any longer; raises nothing.
            budget: Ends it all.
            endpoint: Whom it goes to: what one does not answer is not held against another.
        """
        found: A | F = self._silent(operation, "no time was left to ask", False)
        for attempt in range(ATTEMPTS):
            if attempt:
                pause = _random.uniform(*_PAUSES[attempt - 1])
                if budget.left() <= pause:
                    break
                self._pause(pause)
            left = budget.left()
            if left <= 0:
                break
            found = self._once(operation, accept, call, left, endpoint)
            if not isinstance(found, self._failure) or not found.again:
                break
        return found

    def _once(
        self,
        operation: str,
        accept: Callable[[A], bool],
        call: Callable[[Line], A | F],
        seconds: float,
        endpoint: str,
    ) -> A | F:
        with self._lock:
            if self._abandoned[endpoint] >= self._limit or self._everywhere.is_full():
                return self._silent(operation, "too many calls before it are still waiting", False)
        job: _Job[A | F] = _Job(call, endpoint)
        try:
            Thread(target=self._run, args=(job,), name=f"{self._name}-{operation}", daemon=True).start()
        except RuntimeError:
            return self._silent(operation, "no thread could be started", False)
        if not job.done.wait(seconds) and self._abandon(job):
            job.line.cut()
            return self._silent(operation, "time was up", False)
        found = job.found
        if isinstance(found, self._failure):
            return found
        if found is None or not _accepted(accept, cast(A, found)):
            return self._silent(operation, "an answer that is not the service's own", True)
        return found

    def _abandon(self, job: _Job[A | F]) -> bool:
        with self._lock:
            if job.done.is_set():
                return False
            job.abandoned = True
            self._abandoned[job.endpoint] += 1
            self._everywhere.add(1)
            return True

    def _run(self, job: _Job[A | F]) -> None:
        try:
            job.found = job.call(job.line)
        finally:
            with self._lock:
                job.done.set()
                if job.abandoned:
                    self._ended(job.endpoint)

    def _ended(self, endpoint: str) -> None:
        self._everywhere.add(-1)
        self._abandoned[endpoint] -= 1
        if not self._abandoned[endpoint]:  # tenants name endpoints: what is kept of them must not grow for ever
            del self._abandoned[endpoint]


class _Job(Generic[R]):
    def __init__(self, call: Callable[[Line], R], endpoint: str) -> None:
        self.call = call
        self.endpoint = endpoint
        self.line = Line()
        self.done = Event()
        self.found: R | None = None
        self.abandoned = False


def _accepted(accept: Callable[[A], bool], answer: A) -> bool:
    # A body that is JSON of another shape can make any look-up fail in any way.
    try:
        return accept(answer)
    except (AttributeError, LookupError, TypeError, ValueError):
        return False
