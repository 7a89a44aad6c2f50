"""Tells changes of state: to the audit chain, to whoever takes events, and to the tenant's timeline.

A change is kept in the tenant's record, in the very write that makes it, until it was told: a process that dies in
between leaves it for whoever looks at the tenant next. So nothing is lost, and what is told twice carries one id.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from core.domain.instants import parse_instant
from core.domain.tenants import TenantRecord
from core.domain.withdrawals import StateChange
from core.errors import Conflict, KeysteadError
from core.ports import Events, TenantStore
from core.service.audit import AuditTrail
from core.service.tenant_records import TenantRecords

STATE_CHANGED = "keystead.key.state_changed"
ACTION = "key.state"
SUBJECT = "keystead"
"""Who is said to have made changes that nobody ordered."""
DOCUMENT = "timeline"
KEPT = 200
LEFT_ALONE = 10.0
"""Seconds for which a change is left to the process that made it."""
ATTEMPTS = 5
LOOKED_BACK = 100
"""Entries at the end of a chain in which a change that was told is looked for."""
log = logging.getLogger("keystead.revocation")


class Teller:
    """Tells.

    Args:
        records: Hold what is yet to be told.
        store: Holds the timelines.
        audit: The chains.
        events: Take events.
    """

    def __init__(self, records: TenantRecords, store: TenantStore, audit: AuditTrail, events: Events) -> None:
        self._records = records
        self._store = store
        self._audit = audit
        self._events = events

    def tell(self, record: TenantRecord) -> bool:
        """Tell what a record holds untold; never raises `KeysteadError`.

        Args:
            record: As just written or read.

        Returns:
            Whether everything is told; what is not waits for the next time.
        """
        if not record.untold:
            return True
        try:
            self._tell(record)
        except KeysteadError as error:
            fields = {"tenant": record.tenant_id, "code": error.code}
            log.warning("a change of state could not be told yet", extra={"fields": fields})
            return False
        return True

    def tell_forgotten(self, record: TenantRecord, now: float) -> bool:
        """Tell what another process made and left untold; as `tell`.

        Args:
            record: As just read.
            now: Seconds since the epoch.
        """
        if not record.untold or now - parse_instant(record.untold[-1].at) < LEFT_ALONE:
            return True
        return self.tell(record)

    def timeline(self, tenant_id: str) -> tuple[StateChange, ...]:
        """The latest changes of a tenant's state that were told, oldest first.

        Raises:
            StoreUnavailable, StoreCorrupt: They cannot be read.
        """
        return self._read(tenant_id)[0]

    def _tell(self, record: TenantRecord) -> None:
        # The chain decides what is in the chain: whoever can write the timeline must not keep a change out of it.
        told = self._audited(record.tenant_id)
        for change in record.untold:
            if change.id not in told:
                details = {**change.to_body(), "reason": "HEALTH_CHECK"}
                self._audit.record(record.tenant_id, ACTION, change.by or SUBJECT, "ok", details)
            # Nobody can tell whether a process that died here had sent it; who hears it twice knows it by its id.
            data = {"from": change.before, "to": change.after, **change.to_body()}
            self._events.emit(STATE_CHANGED, record.tenant_id, data)
            self._add(record.tenant_id, change)
        ids = {change.id for change in record.untold}
        self._records.change(
            record.tenant_id,
            lambda found: replace(found, untold=tuple(change for change in found.untold if change.id not in ids)),
        )

    def _audited(self, tenant_id: str) -> frozenset[str]:
        end = self._audit.end(tenant_id)
        entries = self._audit.read(tenant_id, after=max(0, end - LOOKED_BACK), limit=LOOKED_BACK)
        return frozenset(str(entry.details.get("id", "")) for entry in entries if entry.action == ACTION)

    def _add(self, tenant_id: str, change: StateChange) -> None:
        for attempt in range(ATTEMPTS):
            known, revision = self._read(tenant_id)
            if change.id in {told.id for told in known}:
                return
            kept = [told.to_body() for told in (*known, change)][-KEPT:]
            try:
                self._store.write(tenant_id, DOCUMENT, {"changes": kept}, expected_revision=revision)
                return
            except Conflict:
                if attempt == ATTEMPTS - 1:
                    raise

    def _read(self, tenant_id: str) -> tuple[tuple[StateChange, ...], int]:
        document = self._store.read(tenant_id, DOCUMENT)
        if document is None:
            return (), 0
        try:
            return tuple(StateChange.from_body(change) for change in document.body["changes"]), document.revision
        except (KeyError, TypeError):
            # Begun anew with the next change: the chain has them all.
            log.error("a tenant's stored timeline cannot be read", extra={"fields": {"tenant": tenant_id}})
            return (), document.revision
