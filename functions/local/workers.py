"""A pool of threads for requests, of which no tenant has more than its share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
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
        self.future: Future[T] = Future()
        self.listening: asyncio.Future[None] | None = None


class Workers:
    """Runs work in threads, each tenant's in a share of them.

    Args:
        threads: Size of the pool.
        share: How many of them one tenant has at a time, at least 1.
        name: Of the threads.
        patience: As `PATIENCE`.
    """

    def __init__(self, threads: int, share: int, name: str, *, patience: float = PATIENCE) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._shares: Shares[_Job[Any]] = Shares(max(1, share))
        self._patience = patience
        self._queued = 0
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
            Exception: Whatever the work raised.
        """
        job = _Job(owner, work)
        if self._shares.enter(owner, job):
            self._submit(job)
            return await asyncio.wrap_future(job.future)
        job.future.add_done_callback(lambda future: future.cancelled() and self._shares.drop(owner, job))
        # To listen costs a task, and most get their thread soon.
        patience = asyncio.get_running_loop().call_later(self._patience, self._listen, job, left)
        try:
            return await asyncio.wrap_future(job.future)
        finally:
            patience.cancel()
            if job.listening is not None:
                job.listening.cancel()

    def close(self) -> None:
        """Wait for the work in the pool and end its threads."""
        self._pool.shutdown(wait=True)

    def _submit(self, job: _Job[Any]) -> None:
        following: _Job[Any] | None = job
        while following is not None:
            with self._lock:
                self._queued += 1
            try:
                self._pool.submit(self._work, following)
                return
            except RuntimeError as error:  # the pool is closed
                self._unqueue()
                if following.future.set_running_or_notify_cancel():
                    following.future.set_exception(error)
                following = self._shares.leave(following.owner)

    def _unqueue(self) -> None:
        with self._lock:
            self._queued -= 1

    def _work(self, job: _Job[Any]) -> None:
        self._unqueue()
        following = self._do(job)
        while following is not None:
            if self._queued:
                # Other tenants wait for a thread: this one's next goes behind them.
                self._submit(following)
                return
            following = self._do(following)

    def _do(self, job: _Job[Any]) -> _Job[Any] | None:
        # Gives the tenant's next work. The place is passed on before the result is: who has it may ask again at once.
        if not job.future.set_running_or_notify_cancel():
            return self._shares.leave(job.owner)
        try:
            result = job.work()
        except BaseException as error:  # noqa: BLE001 - raised where the work is waited for
            following = self._shares.leave(job.owner)
            job.future.set_exception(error)
        else:
            following = self._shares.leave(job.owner)
            job.future.set_result(result)
        return following

    def _listen(self, job: _Job[Any], left: Callable[[], Awaitable[None]]) -> None:
        async def listen() -> None:
            await left()
            if self._shares.drop(job.owner, job):
                job.future.set_exception(CallerLeft())

        job.listening = asyncio.ensure_future(listen())
