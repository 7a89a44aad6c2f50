"""One call at a time for one thing; the others wait for its result."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Event, Lock
from typing import Generic, TypeVar

from core.errors import InternalError, KeyUnreachable

T = TypeVar("T")
WAIT = 30.0
"""Seconds a caller waits for another's call at most. Providers bound their own calls far below it."""


class StillWaiting(KeyUnreachable):
    """Another's call did not end in the time that this one had."""


class OwnShortage(KeyUnreachable):
    """A call that was not made, for want of its own caller's time: says nothing to those who joined it."""


class _Flight(Generic[T]):
    def __init__(self, started: float) -> None:
        self.started = started
        self.done = Event()
        self.result: T | None = None
        self.error: BaseException | None = None


class SingleFlight(Generic[T]):
    """Joins concurrent calls for the same key.

    Args:
        boot: Reads the boot clock, in seconds.
    """

    def __init__(self, boot: Callable[[], float]) -> None:
        self._boot = boot
        self._flights: dict[Hashable, _Flight[T]] = {}
        self._lock = Lock()

    def run(self, key: Hashable, call: Callable[[], T], *, join_running: bool, seconds: float = WAIT) -> T:
        """Give the result of ``call``, or of another thread's call for the same key.

        Args:
            key: What is being fetched.
            call: Fetches it.
            join_running: Whether a call that began before this one arrived may serve it. If not, this one waits for
                it to end and then joins or begins a later one (DESIGN 5, rule 1: ``lease=0``).
            seconds: How long to wait for a running call.

        Raises:
            StillWaiting: The running call does not end.
            InternalError: The running call was interrupted.
            Exception: Whatever the call raised, to everyone who joined it.
        """
        arrived = self._boot()
        until = arrived + min(seconds, WAIT)
        while True:
            with self._lock:
                flight = self._flights.get(key)
                mine = flight is None
                if flight is None:
                    flight = self._flights[key] = _Flight(self._boot())
            if mine:
                return self._fly(key, flight, call)
            if not flight.done.wait(max(0.0, until - self._boot())):
                raise StillWaiting("the key management system keeps a request waiting")
            if isinstance(flight.error, OwnShortage):
                continue
            if join_running or flight.started > arrived:
                if isinstance(flight.error, Exception):
                    raise flight.error.with_traceback(None)
                if flight.error is not None:  # an interrupt belongs to the thread it struck
                    raise InternalError("the request this one waited for was interrupted")
                return flight.result  # type: ignore[return-value]  # set whenever there is no error

    def _fly(self, key: Hashable, flight: _Flight[T], call: Callable[[], T]) -> T:
        try:
            flight.result = call()
            return flight.result
        except BaseException as error:
            flight.error = error
            raise
        finally:
            with self._lock:
                del self._flights[key]
            flight.done.set()
