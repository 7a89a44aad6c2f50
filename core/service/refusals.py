"""Records refusals of authenticated callers: in the actor's own chain and the operator's, never the victim's.

The first refusal of a subject, reason and minute is recorded at once; the rest of that minute is folded into one entry
with a count, so that a flood cannot grow the chain. The count is written when the minute is over, at the next operation
or at a clean shutdown; a process that is killed loses the count of at most that minute, never the first refusal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from core.domain.tenants import SYSTEM
from core.domain.timing import Instant
from core.errors import KeysteadError
from core.service.audit import AuditTrail

MAX_PENDING = 1000
"""Folds kept open; beyond it the oldest is written out."""
log = logging.getLogger("keystead.audit")


_Key = tuple[str, str, str | None, str]
"""Subject, issuer, the subject's own tenant, operation."""


@dataclass(slots=True)
class _Fold:
    minute: int
    chains: tuple[str, ...]
    details: dict[str, object]
    count: int = 0


class Refusals:
    """Folds and writes refusals.

    Args:
        audit: The chains.
        now: Reads both clocks.
    """

    def __init__(self, audit: AuditTrail, now: Callable[[], Instant]) -> None:
        self._audit = audit
        self._now = now
        self._lock = Lock()
        self._folds: dict[_Key, _Fold] = {}

    def record(self, subject: str, issuer: str, tenant_id: str | None, operation: str, request_id: str) -> None:
        """Record one refusal; never raises, for the caller must hear the refusal itself.

        Args:
            subject: Who was refused.
            issuer: Who vouches for the subject; subjects of two issuers are two subjects.
            tenant_id: The actor's own tenant, if its token names one.
            operation: What it wanted.
            request_id: Joins log lines of one request.
        """
        minute = int(self._now().wall // 60)
        chains = (SYSTEM,) if tenant_id is None else (tenant_id, SYSTEM)
        key = (subject, issuer, tenant_id, operation)
        details: dict[str, object] = {"operation": operation, "issuer": issuer}
        with self._lock:
            due = self._take_due(minute)
            fold = self._folds.get(key)
            if fold is not None:
                fold.count += 1
            else:
                self._folds[key] = _Fold(minute, chains, details)
        if fold is None:
            self._write(chains, subject, {**details, "request_id": request_id, "count": 1})
        self._write_folds(due)

    def write_due(self) -> None:
        """Write out the folds of past minutes; called at every operation, and costs nothing where there are none."""
        if self._folds:
            minute = int(self._now().wall // 60)
            with self._lock:
                due = self._take_due(minute)
            self._write_folds(due)

    def flush(self) -> None:
        """Write out every open fold, as at shutdown."""
        with self._lock:
            due, self._folds = list(self._folds.items()), {}
        self._write_folds(due)

    def _take_due(self, minute: int) -> list[tuple[_Key, _Fold]]:
        due = [item for item in self._folds.items() if item[1].minute != minute]
        if len(self._folds) - len(due) > MAX_PENDING:
            due.append(next(item for item in self._folds.items() if item[1].minute == minute))
        for key, _ in due:
            del self._folds[key]
        return due

    def _write_folds(self, folds: list[tuple[_Key, _Fold]]) -> None:
        for (subject, *_), fold in folds:
            if fold.count:
                self._write(fold.chains, subject, {**fold.details, "count": fold.count, "minute": fold.minute * 60})

    def _write(self, chains: tuple[str, ...], subject: str, details: dict[str, object]) -> None:
        for chain in chains:
            try:
                self._audit.record(chain, "access.denied", subject, "access_denied", details)
            except KeysteadError as error:
                fields = {"chain": chain, "subject": subject, "code": error.code, **details}
                log.error("refusal not recorded", extra={"fields": fields})
