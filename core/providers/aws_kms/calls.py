"""Calls with a deadline that holds: each runs on a thread of its own, which is abandoned when time is up.

The SDK's time-outs do not cover name look-ups and count per read, so a caller who waits for the SDK may wait for long.
Retries are ours, by error code, inside the same budget.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import SystemRandom
from threading import Event, Lock, Thread
from typing import Any

from core.ports import Clock
from core.providers.aws_kms.failures import Failure, silent
from core.providers.aws_kms.lines import Line

Answer = Mapping[str, Any]
OPERATION_SECONDS = 2.5
"""KMS time of one operation, role and retries included."""
ATTEMPTS = 3
ABANDONED = 64
"""Most threads left behind in calls to one endpoint that do not end; beyond it nothing is asked there."""
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


@dataclass(frozen=True, slots=True)
class Request:
    """One call.

    Attributes:
        operation: As the service names it, such as ``Decrypt``.
        params: Its parameters; they may hold keys.
        accept: Whether an answer is the one that was asked for; anything else is silence.
    """

    operation: str
    params: Mapping[str, Any] = field(repr=False)
    accept: Callable[[Answer], bool] = field(repr=False)


class Calls:
    """Makes calls, on threads that can be left behind.

    Args:
        abandoned: Most threads left behind at one time, per endpoint.
        pause: Waits a number of seconds between attempts.
    """

    def __init__(self, *, abandoned: int = ABANDONED, pause: Callable[[float], None] = time.sleep) -> None:
        self._limit = abandoned
        self._pause = pause
        self._abandoned: Counter[str] = Counter()
        self._lock = Lock()

    def make(
        self, request: Request, call: Callable[[Line], Answer | Failure], budget: Budget, endpoint: str = ""
    ) -> Answer | Failure:
        """The first answer of up to three attempts, or the last failure.

        Args:
            request: What is asked, for its name and what it accepts.
            call: Asks it once, over a line that is cut when nobody waits any longer; raises nothing.
            budget: Ends it all.
            endpoint: Whom it goes to: what one does not answer is not held against another.
        """
        found: Answer | Failure = silent(request.operation, "no time was left to ask")
        for attempt in range(ATTEMPTS):
            if attempt:
                pause = _random.uniform(*_PAUSES[attempt - 1])
                if budget.left() <= pause:
                    break
                self._pause(pause)
            left = budget.left()
            if left <= 0:
                break
            found = self._once(request, call, left, endpoint)
            if not isinstance(found, Failure) or not found.again:
                break
        return found

    def _once(
        self, request: Request, call: Callable[[Line], Answer | Failure], seconds: float, endpoint: str
    ) -> Answer | Failure:
        with self._lock:
            if self._abandoned[endpoint] >= self._limit:
                return silent(request.operation, "too many calls before it are still waiting")
        job = _Job(call, endpoint)
        try:
            Thread(target=self._run, args=(job,), name=f"aws-{request.operation}", daemon=True).start()
        except RuntimeError:
            return silent(request.operation, "no thread could be started")
        if not job.done.wait(seconds) and self._abandon(job):
            job.line.cut()
            return silent(request.operation, "time was up")
        found = job.found
        if not isinstance(found, Failure) and (found is None or not _accepted(request, found)):
            return silent(request.operation, "an answer that is not the service's own", again=True)
        return found

    def _abandon(self, job: _Job) -> bool:
        with self._lock:
            if job.done.is_set():
                return False
            job.abandoned = True
            self._abandoned[job.endpoint] += 1
            return True

    def _run(self, job: _Job) -> None:
        try:
            job.found = job.call(job.line)
        finally:
            with self._lock:
                job.done.set()
                self._abandoned[job.endpoint] -= job.abandoned


class _Job:
    def __init__(self, call: Callable[[Line], Answer | Failure], endpoint: str) -> None:
        self.call = call
        self.endpoint = endpoint
        self.line = Line()
        self.done = Event()
        self.found: Answer | Failure | None = None
        self.abandoned = False


def _accepted(request: Request, answer: Answer) -> bool:
    # A body that is JSON of another shape can make any look-up fail in any way.
    try:
        return request.accept(answer)
    except (AttributeError, LookupError, TypeError, ValueError):
        return False
