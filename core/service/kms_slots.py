"""How many calls to a tenant's KMS this process has under way at a time (DESIGN 5).

A KMS that hangs holds every thread that asks it, and one that throttles is not helped by more callers. Slots belong to
a tenant: a tenant without one waits for its own calls, and for nobody else's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock

from core.errors import Unasked

SLOTS = 4
"""Calls of one tenant at a time."""


class _Tenant:
    # `users`: those with a slot, and those who wait for one.

    def __init__(self, slots: int) -> None:
        self.free = BoundedSemaphore(slots)
        self.users = 0


class KmsSlots:
    """Hands out slots; safe for threads. A tenant that uses none takes no memory.

    Args:
        slots: How many a tenant has.
    """

    def __init__(self, slots: int = SLOTS) -> None:
        self._slots = slots
        self._tenants: dict[str, _Tenant] = {}
        self._lock = Lock()

    @contextmanager
    def hold(self, tenant_id: str, seconds: float) -> Iterator[None]:
        """Hold one of a tenant's slots for the duration of the block.

        Args:
            tenant_id: The tenant.
            seconds: How long to wait for one; 0 takes only what is free.

        Raises:
            Unasked: None was free in that time.
        """
        with self._lock:
            tenant = self._tenants.setdefault(tenant_id, _Tenant(self._slots))
            tenant.users += 1
        try:
            if not tenant.free.acquire(timeout=max(0.0, seconds)):
                raise Unasked("too many calls to this tenant's key management system are under way")
            try:
                yield
            finally:
                tenant.free.release()
        finally:
            with self._lock:
                tenant.users -= 1
                if not tenant.users:
                    del self._tenants[tenant_id]

    def __len__(self) -> int:
        """Tenants with calls under way or waiting."""
        return len(self._tenants)
