"""Documents of tenants in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from core.domain.tenants import RECORD, SYSTEM
from core.ports import Document
from core.stores._documents import check_key, check_write, document, dump
from core.stores.sqlite.database import SqliteDatabase
from core.stores.sqlite.schema import MOST


class SqliteTenantStore:
    """`core.ports.TenantStore` in an embedded database.

    Args:
        database: The database, shared with the other stores.
    """

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def read(self, tenant_id: str, name: str) -> Document | None:
        """See `core.ports.TenantStore.read`."""
        check_key(tenant_id, name)
        with self._database.reading() as connection:
            return _get(connection, tenant_id, name)

    def write(self, tenant_id: str, name: str, body: Mapping[str, Any], *, expected_revision: int) -> Document:
        """See `core.ports.TenantStore.write`."""
        check_key(tenant_id, name)
        text = dump(body)
        with self._database.writing() as connection:
            revision = check_write(_get(connection, tenant_id, name), name, body, expected_revision)
            connection.execute(
                "INSERT INTO tenants (tenant_id, name, revision, body) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (tenant_id, name) DO UPDATE SET revision = excluded.revision, body = excluded.body",
                (tenant_id, name, revision, text),
            )
        return document(tenant_id, name, revision, text)

    def list_tenants(self, *, after: str = "", limit: int = 100) -> Sequence[Document]:
        """See `core.ports.TenantStore.list_tenants`.

        Raises:
            StoreCorrupt: What is stored is not a document.
        """
        check_key(after)
        with self._database.reading() as connection:
            # The name stands in the statement, not in a parameter, so that the partial index serves it.
            rows = connection.execute(
                "SELECT tenant_id, revision, body FROM tenants"
                " WHERE name = 'tenant' AND tenant_id > ? AND tenant_id <> ? ORDER BY tenant_id LIMIT ?",
                (after, SYSTEM, min(max(limit, 0), MOST)),
            ).fetchall()
        return [document(tenant_id, RECORD, revision, text) for tenant_id, revision, text in rows]

    def tenant_ids(self) -> Sequence[str]:
        """The ids of all tenants in order, deleted ones included, whatever their records hold."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT tenant_id FROM tenants WHERE name = 'tenant' AND tenant_id <> ? ORDER BY tenant_id", (SYSTEM,)
            ).fetchall()
        return [str(tenant_id) for (tenant_id,) in rows]


def _get(connection: sqlite3.Connection, tenant_id: str, name: str) -> Document | None:
    row = connection.execute(
        "SELECT revision, body FROM tenants WHERE tenant_id = ? AND name = ?", (tenant_id, name)
    ).fetchone()
    return None if row is None else document(tenant_id, name, *row)
