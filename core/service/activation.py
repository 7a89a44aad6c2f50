"""Activates a scheduled key by the first call after its date: the call waits, and goes on whatever came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock
from typing import Any

from core.domain.timing import Instant
from core.errors import Conflict, KeysteadError
from core.service.alarms import Alarms
from core.service.audit import AuditTrail
from core.service.key_configuration import KeyConfiguration
from core.service.kms_budget import SECONDS, KmsBudget
from core.service.lru import LruCache
from core.service.state_gate import StateGate
from core.service.tenant_view import TenantView

ACTION = "key.activate"
SUBJECT = "keystead"
KEPT = SECONDS / 2
"""Seconds of KMS time that are the call's own, whatever becomes of the activation."""
AGAIN = 60.0
"""Seconds before a failed activation is tried again by a call."""
log = logging.getLogger("keystead.activation")


class Activation:
    """Activates keys that are due.

    Args:
        configuration: Knows when, and how.
        gate: Reads the record anew afterwards.
        audit: Records what was done.
        alarms: Tell the operator what failed.
        budget: Counts the KMS time of the call that waits.
        now: Reads both clocks.
    """

    def __init__(
        self,
        configuration: KeyConfiguration,
        gate: StateGate,
        audit: AuditTrail,
        alarms: Alarms,
        budget: KmsBudget,
        now: Callable[[], Instant],
    ) -> None:
        self._configuration = configuration
        self._gate = gate
        self._audit = audit
        self._alarms = alarms
        self._budget = budget
        self._now = now
        self._failed: LruCache[str, Instant] = LruCache(1000)
        self._told: LruCache[str, str] = LruCache(1000)
        self._under_way: set[str] = set()
        self._lock = Lock()

    def __call__(self, view: TenantView) -> None:
        """Activate a tenant's key if that is due; never raises `KeysteadError`: the platform's key serves on.

        Args:
            view: The tenant's view; it holds the new record afterwards.
        """
        if not self._configuration.due(view.record):
            return
        failed = self._failed.get(view.tenant_id)
        if failed is not None and self._now().elapsed(failed) < AGAIN:
            return
        with self._lock:
            if view.tenant_id in self._under_way:
                return  # other calls of this moment are served as before
            self._under_way.add(view.tenant_id)
        try:
            self._activate(view)
        finally:
            self._under_way.discard(view.tenant_id)

    def _activate(self, view: TenantView) -> None:
        facts: dict[str, Any] = {"reason": "MIGRATION"}
        try:
            with self._budget.keeping(KEPT):
                self._configuration.check(view.tenant_id, facts)
            self._tell(view.tenant_id, "ok", facts)
            self._gate.reread(view)
        except KeysteadError as error:
            if isinstance(error, Conflict) and self._done_by_another(view):
                return
            self._failed.put(view.tenant_id, self._now())
            self._alarms("activation_failed", view.tenant_id, ACTION, code=error.code, problem=error.detail)
            self._tell(view.tenant_id, error.code, facts)

    def _done_by_another(self, view: TenantView) -> bool:
        try:
            return not self._configuration.due(self._gate.reread(view))
        except KeysteadError:
            return False

    def _tell(self, tenant_id: str, outcome: str, facts: dict[str, Any]) -> None:
        # The chain is for good: what fails alike every minute is told once.
        if outcome != "ok" and self._told.get(tenant_id) == outcome:
            return
        self._told.put(tenant_id, outcome)
        try:
            self._audit.record(tenant_id, ACTION, SUBJECT, outcome, facts)
        except KeysteadError as error:
            log.warning("an activation could not be audited", extra={"fields": {"code": error.code}})
