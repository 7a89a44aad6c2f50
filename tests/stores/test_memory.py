"""The memory stores keep every port's contract."""

from __future__ import annotations

import json

import pytest

from core.stores._items import Item
from core.stores.memory import MemoryAuditLog, MemoryKeyStore, MemoryTenantStore
from tests.conformance.audit_log import AuditLogContract
from tests.conformance.key_store import KeyStoreContract
from tests.conformance.tenant_store import TenantStoreContract


class TestKeyStore(KeyStoreContract):
    store: MemoryKeyStore

    @pytest.fixture(autouse=True)
    def _set_up(self) -> None:
        self.store = MemoryKeyStore()

    def plant(self, branch_key_id: str, item_type: str, attributes: str, enc: bytes | None) -> None:
        self.store._items.setdefault(branch_key_id, {})[item_type] = Item(item_type, attributes, enc)

    def remove(self, branch_key_id: str, item_type: str) -> None:
        del self.store._items[branch_key_id][item_type]


class TestTenantStore(TenantStoreContract):
    store: MemoryTenantStore

    @pytest.fixture(autouse=True)
    def _set_up(self) -> None:
        self.store = MemoryTenantStore()

    def plant(self, tenant_id: str, name: str, revision: int, text: str) -> None:
        self.store._documents[tenant_id, name] = revision, text


class TestAuditLog(AuditLogContract):
    log: MemoryAuditLog

    @pytest.fixture(autouse=True)
    def _set_up(self) -> None:
        self.log = MemoryAuditLog()

    def plant(self, chain: str, sequence: int, text: str) -> None:
        self.log._entries[chain][sequence] = text

    def plant_head(self, chain: str, text: str) -> None:
        self.log._heads[chain] = text


def test_repr_hides_what_is_kept() -> None:
    store = MemoryTenantStore()
    store.write("acme", "note", {"text": "not for logs"}, expected_revision=0)
    assert "not for logs" not in repr(store)
    assert "enc=" not in repr(Item("branch:ACTIVE", json.dumps({}), b"wrapped"))
