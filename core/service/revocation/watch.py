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
        self._patient: set[str] = set()
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

    def later(self, tenant_id: str, after: float, *, patient: bool = False) -> None:
        """Look at a tenant again in so many seconds, not sooner.

        Args:
            tenant_id: The tenant.
            after: Seconds.
            patient: Whether its KMS is silent, so that a look takes long and must not hold up the others.
        """
        with self._lock:
            if tenant_id in self._due or len(self._due) < MOST:
                self._due[tenant_id] = self._now().boot + after
                (self._patient.add if patient else self._patient.discard)(tenant_id)

    def forget(self, tenant_id: str) -> None:
        """Its key serves."""
        with self._lock:
            self._due.pop(tenant_id, None)
            self._patient.discard(tenant_id)

    def due(self) -> tuple[list[str], list[str]]:
        """Whom to look at now: those whose key may have been withdrawn, and those whose KMS is silent."""
        now = self._now().boot
        with self._lock:
            due = sorted(tenant_id for tenant_id, due in self._due.items() if due <= now)
            return [one for one in due if one not in self._patient], [one for one in due if one in self._patient]
