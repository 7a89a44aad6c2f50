"""Threads for requests, of which no tenant has more than its share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

from functions.local.shares import Shares
from functions.local.slots import Owner

T = TypeVar("T")
PATIENCE = 0.5
"""Seconds after which a request that waits for a thread begins to look whether its caller is still there."""


class CallerLeft(Exception):
    """Whoever asked has left before the work was begun."""


class _Job(Generic[T]):
    def __init__(self, owner: Owner, work: Callable[[], T]) -> None:
        self.owner = owner
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.result: asyncio.Future[T] = self.loop.create_future()
        self.listening: asyncio.Future[None] | None = None

    def tell(self, result: T | None, error: BaseException | None) -> None:
        # From a thread. Nobody waits where the loop is closed.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._tell, result, error)

    def _tell(self, result: Any, error: BaseException | None) -> None:
        if self.result.done():
            return
        if error is None:
            self.result.set_result(result)
        else:
            self.result.set_exception(error)


class Workers:
    """Runs work in threads, each tenant's in a share of them. `run` is for the event loop's thread.

    Args:
        threads: How many.
        share: How many of them one tenant has at a time, at least 1.
        name: Of the threads.
        patience: As `PATIENCE`.
    """

    def __init__(self, threads: int, share: int, name: str, *, patience: float = PATIENCE) -> None:
        self._most = threads
        self._name = name
        self._patience = patience
        self._shares: Shares[_Job[Any]] = Shares(max(1, share))
        self._queue: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._closed = False
        self._lock = Lock()

    @property
    def tenants(self) -> int:
        """Tenants whose work is under way."""
        return len(self._shares)

    async def run(self, owner: Owner, work: Callable[[], T], left: Callable[[], Awaitable[None]]) -> T:
        """Run work in a thread, once the tenant has one.

        A thread cannot be interrupted: where the task is cancelled, the work goes on if it has begun, and counts for
        its tenant until it ends.

        Args:
            owner: Whose work it is.
            work: What to do.
            left: Returns when whoever asked has left; looked at only while the work waits for a thread of the tenant's.

        Returns:
            What the work returns.

        Raises:
            CallerLeft: The work was not begun.
            RuntimeError: These workers are closed.
            Exception: Whatever the work raised.
        """
        job = _Job(owner, work)
        if self._shares.enter(owner, job):
            if not self._put(job):
                self._shares.leave(owner)
                raise RuntimeError("the threads have ended")
            return await job.result
        # To listen costs a task, and most get their thread soon.
        patience = job.loop.call_later(self._patience, self._listen, job, left)
        try:
            return await job.result
        except asyncio.CancelledError:
            self._shares.drop(owner, job)
            raise
        finally:
            patience.cancel()
            if job.listening is not None:
                job.listening.cancel()

    def close(self) -> None:
        """Wait for the work under way, and what waits behind it, and end the threads."""
        with self._lock:
            self._closed = True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _put(self, job: _Job[Any]) -> bool:
        # Gives whether a thread will take it.
        with self._lock:
            if self._closed:
                return False
            if len(self._threads) < self._most:
                thread = Thread(target=self._work, name=f"{self._name}_{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._queue.put(job)
            return True

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            following = self._do(job)
            while following is not None:
                # Where other tenants wait for a thread, this one's next goes behind them.
                if not self._queue.empty() and self._put(following):
                    break
                following = self._do(following)

    def _do(self, job: _Job[Any]) -> _Job[Any] | None:
        # Gives the tenant's next work. The place is passed on before the result is: who has it may ask again at once.
        if job.result.cancelled():
            return self._shares.leave(job.owner)
        result, failure = None, None
        try:
            result = job.work()
        except BaseException as error:  # noqa: BLE001 - raised where the work is waited for
            failure = error
        following = self._shares.leave(job.owner)
        job.tell(result, failure)
        return following

    def _listen(self, job: _Job[Any], left: Callable[[], Awaitable[None]]) -> None:
        async def listen() -> None:
            await left()
            if self._shares.drop(job.owner, job):
                job.result.set_exception(CallerLeft())

        job.listening = asyncio.ensure_future(listen())
