"""The tables, and the version that says which of them a file has."""

from __future__ import annotations

import sqlite3

from core.errors import StoreCorrupt, StoreUnavailable

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE branch_keys (
            branch_key_id TEXT NOT NULL,
            type TEXT NOT NULL,
            attributes TEXT NOT NULL,
            enc BLOB,
            PRIMARY KEY (branch_key_id, type)
        ) WITHOUT ROWID""",
        """CREATE TABLE tenants (
            tenant_id TEXT NOT NULL,
            name TEXT NOT NULL,
            revision INTEGER NOT NULL,
            body TEXT NOT NULL,
            PRIMARY KEY (tenant_id, name)
        )""",
        "CREATE INDEX tenant_records ON tenants (tenant_id) WHERE name = 'tenant'",
        # Sequence 0 holds the head of the chain.
        """CREATE TABLE audit (
            chain TEXT NOT NULL,
            sequence INTEGER NOT NULL,
            entry TEXT NOT NULL,
            PRIMARY KEY (chain, sequence)
        )""",
    ),
)
"""Statements that lead from version n to n + 1. A released line is never edited; a new version adds one."""

VERSION = len(MIGRATIONS)
MOST = 2**63 - 1
"""The largest integer SQLite holds."""


def prepare(connection: sqlite3.Connection) -> None:
    """Bring a database to this version's schema; several processes may do so at once.

    Args:
        connection: In autocommit mode, not in a transaction.

    Raises:
        StoreUnavailable: A newer version of Keystead made the database.
        StoreCorrupt: It is a database, but not one of Keystead's.
        sqlite3.Error: SQLite refuses.
    """
    if _version(connection) == VERSION:
        return
    try:
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have been first.
        for statements in MIGRATIONS[_version(connection) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
        connection.execute("DELETE FROM schema_version")
        connection.execute("INSERT INTO schema_version VALUES (?)", (VERSION,))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check(connection: sqlite3.Connection) -> None:
    """Refuse a database that does not have exactly this version's schema; for those who may not bring it there.

    Args:
        connection: To read with.

    Raises:
        StoreUnavailable: Another version of Keystead made the database.
        StoreCorrupt: It is empty, or not one of Keystead's.
        sqlite3.Error: SQLite refuses.
    """
    version = _stated(connection)
    if not version:
        raise StoreCorrupt("the embedded database is empty", hint="restore it from a backup")
    if version != VERSION:
        raise StoreUnavailable(
            f"another version of Keystead made the embedded database (schema {version}; this one knows {VERSION})",
            hint="read it with that version",
        )


def _version(connection: sqlite3.Connection) -> int:
    version = _stated(connection)
    if version > VERSION:
        raise StoreUnavailable(
            f"a newer version of Keystead made the embedded database (schema {version}; this one knows {VERSION})",
            hint="start that version, or restore a backup that this version made",
        )
    return version


def _stated(connection: sqlite3.Connection) -> int:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return 0
    if "schema_version" not in tables:
        raise StoreCorrupt(
            "the embedded database's file is not a store of Keystead", hint="name another data directory"
        )
    rows = connection.execute("SELECT version FROM schema_version").fetchall()
    if len(rows) != 1 or not isinstance(rows[0][0], int) or rows[0][0] < 1:
        raise StoreCorrupt("the embedded database does not tell its schema version")
    version: int = rows[0][0]
    return version
