"""Finishes, on a schedule, what a tenant's key has half done: an activation, a move, a fallback, a new version."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from core.domain.kek import Kek
from core.domain.states import State
from core.domain.tenants import TenantRecord
from core.domain.timing import Instant
from core.errors import KeysteadError
from core.service.audit import AuditTrail
from core.service.key_configuration import KeyConfiguration
from core.service.lru import LruCache
from core.service.tenant_records import TenantRecords

ACTION, SUBJECT = "key.check", "keystead"
SERVING = frozenset({State.PLATFORM, State.SCHEDULED, State.ACTIVE, State.WRITE_BLOCKED})
VERSIONS_EVERY = 3600.0
"""Seconds between two looks at whether a KEK has a new version."""
WAITING_EVERY = 900.0
"""Seconds between two attempts at what waits for a KEK that was given up."""
DONE = ("rewrapped", "rotated", "activated", "branch_key_begun")
log = logging.getLogger("keystead.revocation")


class Upkeep:
    """Finishes.

    Args:
        records: Hold the tenants' records.
        configuration: Knows how.
        audit: Hears of what was done.
        now: Reads both clocks.
    """

    def __init__(
        self,
        records: TenantRecords,
        configuration: KeyConfiguration,
        audit: AuditTrail,
        now: Callable[[], Instant],
    ) -> None:
        self._records = records
        self._configuration = configuration
        self._audit = audit
        self._now = now
        self._looked: LruCache[str, Instant] = LruCache(10_000)

    def mend(self, tenant_id: str) -> None:
        """Do what is due for a tenant's key, if its KEK serves.

        Raises:
            As `KeyConfiguration.check`.
        """
        found = self._records.read(tenant_id)
        if found is None or found[0].deleted or not self._due(found[0]):
            return
        self._looked.put(tenant_id, self._now())
        facts: dict[str, Any] = {"reason": "HEALTH_CHECK"}
        self._configuration.check(tenant_id, facts)
        if any(facts.get(name) for name in DONE):
            try:
                self._audit.record(tenant_id, ACTION, SUBJECT, "ok", facts)
            except KeysteadError as error:
                log.warning("upkeep could not be audited", extra={"fields": {"tenant": tenant_id, "code": error.code}})

    def _due(self, record: TenantRecord) -> bool:
        if record.moving_from is not None:
            return record.state is not State.SUSPENDED  # it may be what ends the trouble
        if record.state not in SERVING:
            return False
        if record.fallback_branch_key or self._configuration.due(record):
            return True
        last = self._looked.get(record.tenant_id)
        elapsed = float("inf") if last is None else self._now().elapsed(last)
        if record.lost_keks:
            return elapsed >= WAITING_EVERY
        return Kek(record.kek).versioned and elapsed >= VERSIONS_EVERY
