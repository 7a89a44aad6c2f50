"""Branch key rows in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from core.domain.branch_keys import StoredRow
from core.errors import StoreCorrupt
from core.stores import _writes as writes
from core.stores._documents import check_key
from core.stores._items import FENCE, MAC_PREFIX, Item, fence_revision, ordered_versions, stored_row
from core.stores.sqlite.database import SqliteDatabase

_SELECT = "SELECT type, attributes, enc FROM branch_keys WHERE branch_key_id = ?"


class SqliteKeyStore:
    """`core.ports.KeyStore` in an embedded database.

    Args:
        database: The database, shared with the other stores.
    """

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def read(self, branch_key_id: str, row_type: str) -> StoredRow | None:
        """See `core.ports.KeyStore.read`."""
        mac_type = MAC_PREFIX + row_type
        items = self._select(branch_key_id, " AND type IN (?, ?)", row_type, mac_type)
        row = items.get(row_type)
        return None if row is None else stored_row(branch_key_id, row, items.get(mac_type))

    def list_versions(self, branch_key_id: str) -> Sequence[StoredRow]:
        """See `core.ports.KeyStore.list_versions`."""
        return ordered_versions(branch_key_id, self._select(branch_key_id, ""))

    def read_fence(self, branch_key_id: str) -> int | None:
        """See `core.ports.KeyStore.read_fence`.

        Raises:
            StoreCorrupt: The stored fence is not a fence.
        """
        item = self._select(branch_key_id, " AND type = ?", FENCE).get(FENCE)
        return None if item is None else fence_revision(item)

    def create(self, version: StoredRow, active: StoredRow, fence: int) -> None:
        """See `core.ports.KeyStore.create`."""
        branch_key_id = version.row.branch_key_id
        check_key(branch_key_id)
        with self._database.writing() as connection:
            existing = connection.execute(
                "SELECT type FROM branch_keys WHERE branch_key_id = ? LIMIT 1", (branch_key_id,)
            ).fetchall()
            _put(connection, branch_key_id, writes.create(existing, version, active, fence))

    def rotate(self, version: StoredRow, active: StoredRow, *, expected_active_enc: bytes, fence: int) -> None:
        """See `core.ports.KeyStore.rotate`."""
        self._write(
            version.row.branch_key_id,
            lambda get: writes.rotate(get, version, active, expected_active_enc=expected_active_enc, fence=fence),
        )

    def replace_wrapping(self, row: StoredRow, *, expected_enc: bytes, fence: int) -> None:
        """See `core.ports.KeyStore.replace_wrapping`."""
        self._write(
            row.row.branch_key_id,
            lambda get: writes.replace_wrapping(get, row, expected_enc=expected_enc, fence=fence),
        )

    def move_fence(self, branch_key_id: str, *, expected: int, new: int) -> None:
        """See `core.ports.KeyStore.move_fence`."""
        self._write(branch_key_id, lambda get: writes.move_fence(get, expected=expected, new=new))

    def _select(self, branch_key_id: str, condition: str, *values: str) -> dict[str, Item]:
        check_key(branch_key_id, *values)
        with self._database.reading() as connection:
            rows = connection.execute(_SELECT + condition, (branch_key_id, *values)).fetchall()
        return {row[0]: _item(row) for row in rows}

    def _write(self, branch_key_id: str, plan: Callable[[writes.Get], Sequence[Item]]) -> None:
        check_key(branch_key_id)
        with self._database.writing() as connection:

            def get(item_type: str) -> Item | None:
                row = connection.execute(f"{_SELECT} AND type = ?", (branch_key_id, item_type)).fetchone()
                return None if row is None else _item(row)

            _put(connection, branch_key_id, plan(get))


def _item(row: Sequence[object]) -> Item:
    item_type, attributes, enc = row
    if not isinstance(item_type, str) or not isinstance(attributes, str) or not isinstance(enc, bytes | None):
        raise StoreCorrupt("a stored branch key item cannot be read")
    return Item(item_type, attributes, enc)


def _put(connection: sqlite3.Connection, branch_key_id: str, items: Sequence[Item]) -> None:
    connection.executemany(
        "INSERT INTO branch_keys (branch_key_id, type, attributes, enc) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (branch_key_id, type) DO UPDATE SET attributes = excluded.attributes, enc = excluded.enc",
        [(branch_key_id, item.type, item.attributes, item.enc) for item in items],
    )
