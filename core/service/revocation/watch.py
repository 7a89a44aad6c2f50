"""Tenants whose key is in trouble, as far as this process knows, and when each is to be looked at again."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from core.domain.timing import Instant

MOST = 10_000
"""Tenants remembered. Whoever is left out waits for the next check of all."""


class Watch:
    """Remembers.

    Args:
        now: Reads both clocks.
    """

    def __init__(self, now: Callable[[], Instant]) -> None:
        self._now = now
        self._due: dict[str, float] = {}
        self._lock = Lock()

    def add(self, tenant_id: str, after: float = 0.0) -> None:
        """Look at a tenant in so many seconds, or sooner if that was planned."""
        due = self._now().boot + after
        with self._lock:
            if tenant_id in self._due or len(self._due) < MOST:
                self._due[tenant_id] = min(due, self._due.get(tenant_id, due))

    def notice(self, tenant_id: str) -> None:
        """Remember a tenant, and leave alone when it is to be looked at if that is known."""
        if tenant_id not in self._due:
            self.add(tenant_id)

    def later(self, tenant_id: str, after: float) -> None:
        """Look at a tenant again in so many seconds, not sooner."""
        with self._lock:
            if tenant_id in self._due or len(self._due) < MOST:
                self._due[tenant_id] = self._now().boot + after

    def forget(self, tenant_id: str) -> None:
        """Its key serves."""
        with self._lock:
            self._due.pop(tenant_id, None)

    def due(self) -> list[str]:
        """Whom to look at now."""
        now = self._now().boot
        with self._lock:
            return sorted(tenant_id for tenant_id, due in self._due.items() if due <= now)
