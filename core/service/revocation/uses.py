"""When a tenant's keys were last used, as far as it was recorded: a lower bound, for receipts (DESIGN 5, "Receipt").

Told at each renewal of a branch key, so the true last use may be up to a lease later. Written down seldom, and only as
far as it goes: nothing is refused because it could not be.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Lock

from core.domain.instants import parse_instant
from core.domain.timing import LONG_AGO, Instant
from core.domain.withdrawals import instant
from core.errors import Conflict, InvalidRequest, KeysteadError
from core.ports import TenantStore
from core.service.lru import LruCache

DOCUMENT = "last-use"
WRITTEN_EVERY = 300.0
"""Seconds between two writes for one tenant by one process."""
CLOCKS_DIFFER = 10.0
"""Seconds by which two processes' clocks may differ; a stored use farther ahead is none."""
ATTEMPTS = 3


class _Use:
    # `at` is when the keys were last used here, `tried` when that was last to be written down.
    __slots__ = ("at", "tried")

    def __init__(self) -> None:
        self.at = 0.0
        self.tried = LONG_AGO


class Uses:
    """Keeps the last use of each tenant's keys. Safe to use from many threads.

    Args:
        store: Holds the documents.
        now: Reads both clocks.
        limit: Most tenants kept in memory.
    """

    def __init__(self, store: TenantStore, now: Callable[[], Instant], *, limit: int = 10_000) -> None:
        self._store = store
        self._now = now
        self._uses: LruCache[str, _Use] = LruCache(limit)
        self._lock = Lock()

    def note(self, tenant_id: str) -> None:
        """A tenant's key has just unwrapped a branch key. Writes at most once per `WRITTEN_EVERY`; never raises."""
        now = self._now()
        with self._lock:
            use = self._uses.get(tenant_id)
            if use is None:
                use = _Use()
                self._uses.put(tenant_id, use)
            use.at = max(use.at, now.wall)
            due = now.elapsed(use.tried) >= WRITTEN_EVERY
            if due:
                use.tried = now
        if due:
            self._write(tenant_id, use)

    def flush(self, tenant_id: str) -> None:
        """Write down what this process knows, now, as far as that goes; never raises."""
        use = self._uses.get(tenant_id)
        if use is not None:
            use.tried = self._now()
            self._write(tenant_id, use)

    def last(self, tenant_id: str) -> str:
        """The last use recorded by any process, or known to this one; never raises.

        Returns:
            UTC, ``CREATE_TIME_FORMAT``; "" if none is known.
        """
        use = self._uses.get(tenant_id)
        own = instant(use.at) if use is not None else ""
        with suppress(KeysteadError):
            return max(own, self._read(tenant_id)[0])
        return own

    def _write(self, tenant_id: str, use: _Use) -> None:
        for _ in range(ATTEMPTS):
            try:
                stored, revision = self._read(tenant_id)
                at = instant(use.at)
                if at > stored:
                    self._store.write(tenant_id, DOCUMENT, {"at": at}, expected_revision=revision)
                return
            except Conflict:
                continue  # another process wrote; what it wrote may be the later one
            except KeysteadError:
                return

    def _read(self, tenant_id: str) -> tuple[str, int]:
        document = self._store.read(tenant_id, DOCUMENT)
        if document is None:
            return "", 0
        at = document.body.get("at")
        try:
            # What makes no sense must neither reach a receipt nor keep the truth from being written.
            known = isinstance(at, str) and parse_instant(at) <= self._now().wall + CLOCKS_DIFFER
        except InvalidRequest:
            known = False
        return str(at) if known else "", document.revision
