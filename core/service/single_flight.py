"""One call at a time for one thing; the others wait for its result."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Event, Lock
from typing import Generic, TypeVar

T = TypeVar("T")


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

    def run(self, key: Hashable, call: Callable[[], T], *, join_running: bool) -> T:
        """Give the result of ``call``, or of another thread's call for the same key.

        Args:
            key: What is being fetched.
            call: Fetches it.
            join_running: Whether a call that began before this one arrived may serve it. If not, this one waits for
                it to end and then joins or begins a later one (DESIGN 5, rule 1: ``lease=0``).

        Raises:
            Exception: Whatever the call raised, to everyone who joined it.
        """
        arrived = self._boot()
        while True:
            with self._lock:
                flight = self._flights.get(key)
                mine = flight is None
                if flight is None:
                    flight = self._flights[key] = _Flight(self._boot())
            if mine:
                return self._fly(key, flight, call)
            flight.done.wait()
            if join_running or flight.started > arrived:
                if flight.error is not None:
                    raise flight.error.with_traceback(None)
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
