"""Stores that live and die with the process: for tests, and for trying Keystead without leaving a trace.

They keep what the lasting stores keep (items and JSON text), so nothing handed in or out can change what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from core.domain.audit import AuditEntry, AuditHead
from core.domain.branch_keys import StoredRow
from core.domain.tenants import RECORD, SYSTEM
from core.ports import Document
from core.stores import _writes as writes
from core.stores._documents import (
    check_append,
    check_key,
    check_write,
    document,
    dump,
    dump_entry,
    dump_head,
    load_entry,
    load_head,
)
from core.stores._items import FENCE, MAC_PREFIX, Item, fence_revision, ordered_versions, stored_row


class MemoryKeyStore:
    """`core.ports.KeyStore` in memory. Safe to use from many threads; one lock makes every write a transaction."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._items: dict[str, dict[str, Item]] = {}

    def read(self, branch_key_id: str, row_type: str) -> StoredRow | None:
        """See `core.ports.KeyStore.read`."""
        check_key(branch_key_id, row_type)
        with self._lock:
            items = self._items.get(branch_key_id, {})
            row, mac = items.get(row_type), items.get(MAC_PREFIX + row_type)
        return None if row is None else stored_row(branch_key_id, row, mac)

    def list_versions(self, branch_key_id: str) -> Sequence[StoredRow]:
        """See `core.ports.KeyStore.list_versions`."""
        check_key(branch_key_id)
        with self._lock:
            items = dict(self._items.get(branch_key_id, {}))
        return ordered_versions(branch_key_id, items)

    def read_fence(self, branch_key_id: str) -> int | None:
        """See `core.ports.KeyStore.read_fence`.

        Raises:
            StoreCorrupt: The stored fence is not a fence.
        """
        check_key(branch_key_id)
        with self._lock:
            item = self._items.get(branch_key_id, {}).get(FENCE)
        return None if item is None else fence_revision(item)

    def create(self, version: StoredRow, active: StoredRow, fence: int) -> None:
        """See `core.ports.KeyStore.create`."""
        with self._lock:
            items = self._partition(version.row.branch_key_id)
            self._put(version.row.branch_key_id, writes.create(items.keys(), version, active, fence))

    def rotate(self, version: StoredRow, active: StoredRow, *, expected_active_enc: bytes, fence: int) -> None:
        """See `core.ports.KeyStore.rotate`."""
        with self._lock:
            get = self._partition(version.row.branch_key_id).get
            self._put(
                version.row.branch_key_id,
                writes.rotate(get, version, active, expected_active_enc=expected_active_enc, fence=fence),
            )

    def replace_wrapping(self, row: StoredRow, *, expected_enc: bytes, fence: int) -> None:
        """See `core.ports.KeyStore.replace_wrapping`."""
        with self._lock:
            get = self._partition(row.row.branch_key_id).get
            self._put(row.row.branch_key_id, writes.replace_wrapping(get, row, expected_enc=expected_enc, fence=fence))

    def move_fence(self, branch_key_id: str, *, expected: int, new: int) -> None:
        """See `core.ports.KeyStore.move_fence`."""
        with self._lock:
            get = self._partition(branch_key_id).get
            self._put(branch_key_id, writes.move_fence(get, expected=expected, new=new))

    def _partition(self, branch_key_id: str) -> Mapping[str, Item]:
        check_key(branch_key_id)
        return self._items.get(branch_key_id, {})

    def _put(self, branch_key_id: str, items: Sequence[Item]) -> None:
        self._items.setdefault(branch_key_id, {}).update({item.type: item for item in items})


class MemoryTenantStore:
    """`core.ports.TenantStore` in memory. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._documents: dict[tuple[str, str], tuple[int, str]] = {}

    def read(self, tenant_id: str, name: str) -> Document | None:
        """See `core.ports.TenantStore.read`."""
        check_key(tenant_id, name)
        with self._lock:
            return self._get(tenant_id, name)

    def write(self, tenant_id: str, name: str, body: Mapping[str, Any], *, expected_revision: int) -> Document:
        """See `core.ports.TenantStore.write`."""
        check_key(tenant_id, name)
        text = dump(body)
        with self._lock:
            revision = check_write(self._get(tenant_id, name), name, body, expected_revision)
            self._documents[tenant_id, name] = revision, text
        return document(tenant_id, name, revision, text)

    def list_tenants(self, *, after: str = "", limit: int = 100) -> Sequence[Document]:
        """See `core.ports.TenantStore.list_tenants`."""
        check_key(after)
        with self._lock:
            found = sorted(
                (tenant_id, revision, text)
                for (tenant_id, name), (revision, text) in self._documents.items()
                if name == RECORD and tenant_id > after and tenant_id != SYSTEM
            )
        return [document(tenant_id, RECORD, *stored) for tenant_id, *stored in found[: max(limit, 0)]]

    def _get(self, tenant_id: str, name: str) -> Document | None:
        stored = self._documents.get((tenant_id, name))
        return None if stored is None else document(tenant_id, name, *stored)


class MemoryAuditLog:
    """`core.ports.AuditLog` in memory. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._heads: dict[str, str] = {}
        self._entries: dict[str, dict[int, str]] = {}

    def head(self, chain: str) -> AuditHead:
        """See `core.ports.AuditLog.head`."""
        check_key(chain)
        with self._lock:
            return load_head(self._heads.get(chain))

    def append(self, entry: AuditEntry) -> None:
        """See `core.ports.AuditLog.append`."""
        check_key(entry.chain)
        text = dump_entry(entry)
        with self._lock:
            check_append(load_head(self._heads.get(entry.chain)), entry)
            self._entries.setdefault(entry.chain, {})[entry.sequence] = text
            self._heads[entry.chain] = dump_head(entry)

    def read(self, chain: str, *, after: int = 0, limit: int = 100) -> Sequence[AuditEntry]:
        """See `core.ports.AuditLog.read`."""
        check_key(chain)
        with self._lock:
            found = sorted(item for item in self._entries.get(chain, {}).items() if item[0] > after)
        return [load_entry(chain, sequence, text) for sequence, text in found[: max(limit, 0)]]
