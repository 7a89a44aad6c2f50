"""Shares out a process's threads: one tenant has no more than its share of them, and its further work waits in turn.

Where a tenant's KMS hangs, each of its requests holds a thread for seconds. Without a share they would hold all.
"""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Generic, TypeVar

from functions.local.slots import Owner

T = TypeVar("T")


class _Tenant(Generic[T]):
    # One queue for data, one for the rest, which take turns.

    def __init__(self) -> None:
        self.held = 0
        self.queues: dict[bool, deque[T]] = {True: deque(), False: deque()}
        self.data_next = False

    def next(self) -> T | None:
        for data in (self.data_next, not self.data_next):
            if self.queues[data]:
                self.data_next = not data
                return self.queues[data].popleft()
        return None


class Shares(Generic[T]):
    """A number of places for each tenant's work; safe for threads.

    Args:
        places: How many; at least 1.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._tenants: dict[str, _Tenant[T]] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        """Tenants that hold places."""
        return len(self._tenants)

    def enter(self, owner: Owner, work: T) -> bool:
        """Take one of a tenant's places, or queue for one.

        Args:
            owner: Whose work it is.
            work: What is to be done.

        Returns:
            Whether the work may begin. If not, a `leave` will give it.
        """
        with self._lock:
            tenant = self._tenants.setdefault(owner.tenant_id, _Tenant())
            if tenant.held < self._places:
                tenant.held += 1
                return True
            tenant.queues[owner.data].append(work)
            return False

    def drop(self, owner: Owner, work: T) -> bool:
        """Take work out of the queue.

        Returns:
            Whether it was there: work that may begin is not.
        """
        with self._lock:
            tenant = self._tenants.get(owner.tenant_id)
            if tenant is None or work not in tenant.queues[owner.data]:
                return False
            tenant.queues[owner.data].remove(work)
            return True

    def leave(self, owner: Owner) -> T | None:
        """Give a place back.

        Returns:
            The tenant's next work, which has the place now and may begin; None if nothing waits.
        """
        with self._lock:
            tenant = self._tenants[owner.tenant_id]
            work = tenant.next()
            if work is None:
                tenant.held -= 1
                if not tenant.held:
                    # Names of tenants that come and go are not kept.
                    del self._tenants[owner.tenant_id]
            return work
