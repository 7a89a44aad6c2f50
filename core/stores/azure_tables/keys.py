"""Branch key rows in Azure Tables.

The rules of every write are those of `core.stores._writes`. They are applied to what was read first. Rows, MACs and the
fence of a branch key lie in one partition, and every write replaces the fence, if only by its equal: so all writes are
conditional on the fence's ETag, which no other write has left as it was. A write that lost such a race is judged anew,
by what stands there now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.domain.branch_keys import ACTIVE, VERSION_PREFIX, StoredRow
from core.stores import _writes as writes
from core.stores._items import FENCE, MAC_PREFIX, Item, fence_revision, ordered_versions, stored_row
from core.stores.azure_tables.database import AzureDatabase
from core.stores.azure_tables.entities import (
    WRITES,
    Entity,
    bytes_of,
    etag_of,
    made_by,
    pieces,
    text_of,
    writes_of,
    writes_with,
)
from core.stores.azure_tables.names import key_of, name_of
from core.stores.azure_tables.operation import Operation, Put

_NO_JSON = ""
"""Stands for attributes that are none, which `core.stores._items` refuses."""
Plan = Callable[[Mapping[str, Item]], Sequence[Item]]
"""What to put, given what stands there."""


class AzureKeyStore:
    """`core.ports.KeyStore` in Azure Tables.

    Args:
        database: The tables, shared with the other stores.
    """

    def __init__(self, database: AzureDatabase) -> None:
        self._database = database
        self._table = database.branch_keys

    def read(self, branch_key_id: str, row_type: str) -> StoredRow | None:
        """See `core.ports.KeyStore.read`."""
        mac_type = MAC_PREFIX + row_type
        row, mac = self._pair(self._database.operation(), branch_key_id, row_type)
        items = _items({row_type: row, mac_type: mac})
        return None if row is None else stored_row(branch_key_id, items[row_type], items.get(mac_type))

    def list_versions(self, branch_key_id: str) -> Sequence[StoredRow]:
        """See `core.ports.KeyStore.list_versions`.

        One request per thousand items of the branch key, of which a version has two.
        """
        operation = self._database.operation()
        found = {name_of(entity["RowKey"]): entity for entity in operation.query(self._table, key_of(branch_key_id))}
        items: dict[str, Item] = {}
        for row_type in [found_type for found_type in found if found_type and found_type.startswith(VERSION_PREFIX)]:
            row, mac = found.get(row_type), found.get(MAC_PREFIX + row_type)
            if not _are_of_one_write(row, mac):
                row, mac = self._pair(operation, branch_key_id, row_type)
            items |= _items({row_type: row, MAC_PREFIX + row_type: mac})
        return ordered_versions(branch_key_id, items)

    def read_fence(self, branch_key_id: str) -> int | None:
        """See `core.ports.KeyStore.read_fence`.

        Raises:
            StoreCorrupt: The stored fence is not a fence.
        """
        fence = self._entities(self._database.operation(), branch_key_id, [FENCE]).get(FENCE)
        return None if fence is None else fence_revision(_item(FENCE, fence))

    def create(self, version: StoredRow, active: StoredRow, fence: int) -> None:
        """See `core.ports.KeyStore.create`."""

        def plan(there: Mapping[str, Item]) -> Sequence[Item]:
            return writes.create(there.keys(), version, active, fence)

        self._write(version.row.branch_key_id, None, plan)

    def rotate(self, version: StoredRow, active: StoredRow, *, expected_active_enc: bytes, fence: int) -> None:
        """See `core.ports.KeyStore.rotate`."""

        def plan(there: Mapping[str, Item]) -> Sequence[Item]:
            return writes.rotate(there.get, version, active, expected_active_enc=expected_active_enc, fence=fence)

        self._write(version.row.branch_key_id, [version.row.type, ACTIVE], plan)

    def replace_wrapping(self, row: StoredRow, *, expected_enc: bytes, fence: int) -> None:
        """See `core.ports.KeyStore.replace_wrapping`."""

        def plan(there: Mapping[str, Item]) -> Sequence[Item]:
            return writes.replace_wrapping(there.get, row, expected_enc=expected_enc, fence=fence)

        self._write(row.row.branch_key_id, [row.row.type], plan)

    def move_fence(self, branch_key_id: str, *, expected: int, new: int) -> None:
        """See `core.ports.KeyStore.move_fence`."""

        def plan(there: Mapping[str, Item]) -> Sequence[Item]:
            return writes.move_fence(there.get, expected=expected, new=new)

        self._write(branch_key_id, [], plan)

    def _write(self, branch_key_id: str, row_types: Sequence[str] | None, plan: Plan) -> None:
        """Read, judge and write, until it is written or refused.

        Args:
            branch_key_id: The branch key.
            row_types: The rows that it is about; None if the branch key must not exist.
            plan: The judgement.
        """
        operation = self._database.operation()
        while True:
            if row_types is None:
                there = self._all(operation, branch_key_id)
            else:
                types = [FENCE, *row_types, *(MAC_PREFIX + row_type for row_type in row_types)]
                there = self._entities(operation, branch_key_id, types)
            items = {item.type: item for item in plan(_items(there))}
            fence = items.pop(FENCE, None) or _item(FENCE, there[FENCE])
            # The fence comes first: whoever lost the race is refused before anything else is touched.
            puts = [
                self._put(branch_key_id, item, there.get(item.type), operation) for item in (fence, *items.values())
            ]
            if operation.write(self._table, puts, self._landed(operation, branch_key_id, there.get(FENCE))):
                return
            operation.start_over()

    def _landed(self, operation: Operation, branch_key_id: str, before: Entity | None) -> Callable[[], bool | None]:
        def landed() -> bool | None:
            after = self._entities(operation, branch_key_id, [FENCE]).get(FENCE)
            return made_by(operation.write_id, before, after)

        return landed

    def _put(self, branch_key_id: str, item: Item, replaces: Entity | None, operation: Operation) -> Put:
        is_fence = item.type == FENCE
        entity: dict[str, Any] = {
            "PartitionKey": key_of(branch_key_id),
            "RowKey": key_of(item.type),
            WRITES: writes_with(replaces if is_fence else None, operation.write_id),
            **pieces("attributes", item.attributes),
        }
        if item.enc is not None:
            entity |= pieces("enc", item.enc)
        return Put(entity, replaces)

    def _pair(self, operation: Operation, branch_key_id: str, row_type: str) -> tuple[Entity | None, Entity | None]:
        """A row and its MAC, as one write left them: a query may see one half of a write."""
        mac_type, seen = MAC_PREFIX + row_type, None
        while True:
            found = self._entities(operation, branch_key_id, [row_type, mac_type])
            row, mac = found.get(row_type), found.get(mac_type)
            picture = [entity and etag_of(entity) for entity in (row, mac)]
            # Seen twice, it is not half a write: somebody has put it there so, and the MAC will tell.
            if _are_of_one_write(row, mac) or picture == seen:
                return row, mac
            seen = picture
            operation.start_over()

    def _entities(self, operation: Operation, branch_key_id: str, types: Sequence[str]) -> dict[str, Entity]:
        keys = {key_of(item_type): item_type for item_type in types}
        found = operation.rows(self._table, key_of(branch_key_id), list(keys))
        return {keys[key]: entity for key, entity in found.items() if key in keys}

    def _all(self, operation: Operation, branch_key_id: str) -> dict[str, Entity]:
        found = operation.query(self._table, key_of(branch_key_id))
        return {name_of(entity["RowKey"]) or entity["RowKey"]: entity for entity in found}


def _item(item_type: str, entity: Entity) -> Item:
    return Item(item_type, text_of(entity, "attributes") or _NO_JSON, bytes_of(entity, "enc"))


def _items(entities: Mapping[str, Entity | None]) -> dict[str, Item]:
    return {item_type: _item(item_type, entity) for item_type, entity in entities.items() if entity is not None}


def _are_of_one_write(row: Entity | None, mac: Entity | None) -> bool:
    return row is mac is None or (row is not None and mac is not None and writes_of(row)[:1] == writes_of(mac)[:1])
