"""The stores of a simulation: what the fleet shares, and one process's way to it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.domain.states import State
from core.domain.tenants import RECORD, TenantRecord
from core.errors import StoreUnavailable
from core.ports import Document
from core.service.state_gate import RETRY_SILENT_STORE
from core.stores.memory import MemoryTenantStore

if TYPE_CHECKING:
    from tests.service.revocation.simulation_fleet import Fleet

STATE_AGE, STORE_SILENCE = 10.0 + RETRY_SILENT_STORE, 30.0
"""Seconds within which a process sees what was written: one that reaches the store, and one that does not."""


@dataclass(frozen=True)
class Known:
    """What a tenant's record said from some time on."""

    time: float
    state: State
    falls_back: bool
    lease: float
    serves: float
    """Seconds for which a key serves at most after its access was last proved."""


def _known(time: float, record: TenantRecord) -> Known:
    serves = max(record.lease, record.grace(record.kek)) if record.lease else 0
    return Known(time, record.state, record.falls_back, record.lease, serves)


class Shared(MemoryTenantStore):
    """The one store, which remembers what tenants' records said, and when."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self._fleet = fleet
        self.bodies: dict[str, Mapping[str, Any]] = {}
        """Tenants' records as they are."""
        self._known: dict[str, list[Known]] = {}

    def write(self, tenant_id: str, name: str, body: Mapping[str, Any], *, expected_revision: int) -> Document:
        document = super().write(tenant_id, name, body, expected_revision=expected_revision)
        if name == RECORD:
            record = TenantRecord.from_body(body)
            self.bodies[tenant_id] = document.body
            self._fleet.promises.recorded(record)
            self._known.setdefault(tenant_id, []).append(_known(self._fleet.time, record))
        return document

    def restore(self, documents: Mapping[tuple[str, str], tuple[int, str]]) -> None:
        """Put back what it held."""
        self._documents = dict(documents)
        for tenant_id in self.bodies:
            document = self.read(tenant_id, RECORD)
            assert document is not None
            self.bodies[tenant_id] = document.body
            record = TenantRecord.from_body(document.body)
            self._known[tenant_id].append(_known(self._fleet.time, record))
            self._fleet.promises.restored(record)

    def lately(self, tenant_id: str, seconds: float) -> list[Known]:
        """All that a tenant's record said within the last so many seconds, the oldest first."""
        known, since = self._known[tenant_id], self._fleet.time - seconds
        return known[max(bisect_right(known, since, key=lambda one: one.time) - 1, 0) :]


class Store(MemoryTenantStore):
    """One process's way to the one store, which can be cut."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self._fleet = fleet
        self.silent = False
        self._silent_at = 0.0

    def cut(self, *, silent: bool) -> None:
        """Cut the way, or mend it."""
        if self.silent:
            self._silent_at = self._fleet.time
        self.silent = silent

    def sees_within(self, since: float | None = None) -> float:
        """Seconds within which this process sees what was written, as far as the store's silence since then tells.

        Args:
            since: When it was written; None for now.
        """
        written = self._fleet.time if since is None else since
        silent_at = self._fleet.time if self.silent else self._silent_at
        return STATE_AGE if silent_at <= written - STORE_SILENCE else STORE_SILENCE

    def read(self, tenant_id: str, name: str) -> Document | None:
        self._reach()
        return self._fleet.tenant_store.read(tenant_id, name)

    def write(self, tenant_id: str, name: str, body: Mapping[str, Any], *, expected_revision: int) -> Document:
        self._reach()
        return self._fleet.tenant_store.write(tenant_id, name, body, expected_revision=expected_revision)

    def list_tenants(self, *, after: str = "", limit: int = 100) -> Any:
        self._reach()
        return self._fleet.tenant_store.list_tenants(after=after, limit=limit)

    def _reach(self) -> None:
        if self.silent:
            raise StoreUnavailable("the store does not answer")
