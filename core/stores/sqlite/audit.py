"""Audit chains in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from core.domain.audit import AuditEntry, AuditHead
from core.stores._documents import check_append, check_key, dump_entry, dump_head, load_entry, load_head
from core.stores.sqlite.database import SqliteDatabase
from core.stores.sqlite.schema import MOST

_HEAD = 0
"""The sequence under which the head of a chain is kept."""


class SqliteAuditLog:
    """`core.ports.AuditLog` in an embedded database.

    Args:
        database: The database, shared with the other stores.
    """

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def head(self, chain: str) -> AuditHead:
        """See `core.ports.AuditLog.head`.

        Raises:
            StoreCorrupt: What is stored does not have the form of a head.
        """
        check_key(chain)
        with self._database.reading() as connection:
            return _head(connection, chain)

    def append(self, entry: AuditEntry) -> None:
        """See `core.ports.AuditLog.append`."""
        check_key(entry.chain)
        text = dump_entry(entry)
        with self._database.writing() as connection:
            check_append(_head(connection, entry.chain), entry)
            # A plain INSERT: an entry that stands there already is refused, never replaced.
            connection.execute(
                "INSERT INTO audit (chain, sequence, entry) VALUES (?, ?, ?)", (entry.chain, entry.sequence, text)
            )
            connection.execute(
                "INSERT INTO audit (chain, sequence, entry) VALUES (?, ?, ?)"
                " ON CONFLICT (chain, sequence) DO UPDATE SET entry = excluded.entry",
                (entry.chain, _HEAD, dump_head(entry)),
            )

    def read(self, chain: str, *, after: int = 0, limit: int = 100) -> Sequence[AuditEntry]:
        """See `core.ports.AuditLog.read`."""
        check_key(chain)
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT sequence, entry FROM audit WHERE chain = ? AND sequence > ? ORDER BY sequence LIMIT ?",
                (chain, min(max(after, _HEAD), MOST), min(max(limit, 0), MOST)),
            ).fetchall()
        return [load_entry(chain, sequence, text) for sequence, text in rows]


def _head(connection: sqlite3.Connection, chain: str) -> AuditHead:
    row = connection.execute("SELECT entry FROM audit WHERE chain = ? AND sequence = ?", (chain, _HEAD)).fetchone()
    return load_head(None if row is None else row[0])
