"""Branch key rows in DynamoDB.

The rules of every write are those of `core.stores._writes`. They are applied to what was read first; the transaction
is then conditional on its being so still.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from core.domain.branch_keys import ACTIVE, VERSION_PREFIX, BranchKeyRow, StoredRow
from core.stores import _writes as writes
from core.stores._items import FENCE, MAC_PREFIX, Item, fence_revision, ordered_versions, stored_row
from core.stores.dynamodb.database import DynamoDatabase, check_ids
from core.stores.dynamodb.native import SORT, from_native, integer_or_text, key, to_native
from core.stores.dynamodb.operation import WRITE_ID, Action, NativeItem, Operation

_TOGETHER = 10
"""Version rows read with their MACs in one request, which DynamoDB limits to 100 items and 4 MB: rows of any size."""
_ABSENT = "attribute_not_exists(#type)"


class DynamoKeyStore:
    """`core.ports.KeyStore` in DynamoDB: the table is a branch key store that the official SDK can use as it is.

    Args:
        database: The tables, shared with the other stores.
    """

    def __init__(self, database: DynamoDatabase) -> None:
        self._database = database
        self._table = database.tables.branch_keys

    def read(self, branch_key_id: str, row_type: str) -> StoredRow | None:
        """See `core.ports.KeyStore.read`."""
        mac_type = MAC_PREFIX + row_type
        check_ids(branch_key_id, mac_type)
        items = self._items(self._database.operation(), branch_key_id, [row_type, mac_type])
        row = items.get(row_type)
        return None if row is None else stored_row(branch_key_id, row, items.get(mac_type))

    def list_versions(self, branch_key_id: str) -> Sequence[StoredRow]:
        """See `core.ports.KeyStore.list_versions`."""
        check_ids(branch_key_id)
        operation = self._database.operation()
        found = operation.query(
            self._table,
            "#id = :id AND begins_with(#type, :versions)",
            ProjectionExpression="#type",
            ExpressionAttributeNames={"#id": "branch-key-id", "#type": SORT},
            ExpressionAttributeValues={":id": {"S": branch_key_id}, ":versions": {"S": VERSION_PREFIX}},
        )
        types = [from_native(item).type for item in found]
        items: dict[str, Item] = {}
        # A query may see one half of a write: each row is read again together with its MAC.
        for start in range(0, len(types), _TOGETHER):
            chosen = types[start : start + _TOGETHER]
            items |= self._items(operation, branch_key_id, [*chosen, *(MAC_PREFIX + row_type for row_type in chosen)])
        return ordered_versions(branch_key_id, items)

    def read_fence(self, branch_key_id: str) -> int | None:
        """See `core.ports.KeyStore.read_fence`.

        Raises:
            StoreCorrupt: The stored fence is not a fence.
        """
        check_ids(branch_key_id)
        native = self._database.operation().get(self._table, key(branch_key_id, FENCE))
        return None if native is None else fence_revision(from_native(native))

    def create(self, version: StoredRow, active: StoredRow, fence: int) -> None:
        """See `core.ports.KeyStore.create`."""
        branch_key_id = version.row.branch_key_id
        check_ids(branch_key_id, MAC_PREFIX + version.row.type)
        operation = self._database.operation()
        there = operation.query(
            self._table,
            "#id = :id",
            limit=1,
            ExpressionAttributeNames={"#id": "branch-key-id"},
            ExpressionAttributeValues={":id": {"S": branch_key_id}},
        )
        items = writes.create([str(item[SORT]) for item in there], version, active, fence)
        puts = [self._put(operation, branch_key_id, item, _ABSENT) for item in items]
        operation.write(puts, self._version_landed(operation, version.row))

    def rotate(self, version: StoredRow, active: StoredRow, *, expected_active_enc: bytes, fence: int) -> None:
        """See `core.ports.KeyStore.rotate`."""
        new = version.row
        check_ids(new.branch_key_id, MAC_PREFIX + new.type)
        operation = self._database.operation()
        stored = self._items(operation, new.branch_key_id, dict.fromkeys([FENCE, ACTIVE, new.type]))
        items = writes.rotate(stored.get, version, active, expected_active_enc=expected_active_enc, fence=fence)
        conditions: dict[str, tuple[str, Mapping[str, Mapping[str, object]]]] = {
            new.type: (_ABSENT, {}),
            ACTIVE: ("enc = :enc", {":enc": {"B": expected_active_enc}}),
        }
        actions = [
            self._put(operation, new.branch_key_id, item, *conditions.get(item.type, ("", {}))) for item in items
        ]
        actions.append(self._fence_is(new.branch_key_id, fence))
        operation.write(actions, self._version_landed(operation, new))

    def replace_wrapping(self, row: StoredRow, *, expected_enc: bytes, fence: int) -> None:
        """See `core.ports.KeyStore.replace_wrapping`."""
        new = row.row
        mac_type = MAC_PREFIX + new.type
        check_ids(new.branch_key_id, mac_type)
        operation = self._database.operation()
        stored = self._items(operation, new.branch_key_id, [FENCE, new.type])
        row_item, mac_item = writes.replace_wrapping(stored.get, row, expected_enc=expected_enc, fence=fence)
        values: dict[str, Mapping[str, object]] = {":enc": {"B": expected_enc}, ":tenant": {"S": new.tenant_id}}
        condition = "enc = :enc AND tenant_id = :tenant"
        if new.version is not None:
            condition, values = f"{condition} AND version = :version", {**values, ":version": {"S": new.version}}

        def landed() -> bool | None:
            found, mac = operation.get_together(
                self._table, [key(new.branch_key_id, item_type) for item_type in (new.type, mac_type)]
            )
            if _is_of(operation, mac):
                return True
            # A wrapping is never the same twice: while the old one stands, none was put in its place.
            return False if found is not None and from_native(found).enc == expected_enc else None

        actions = [
            self._put(operation, new.branch_key_id, row_item, condition, values),
            self._put(operation, new.branch_key_id, mac_item),
            self._fence_is(new.branch_key_id, fence),
        ]
        operation.write(actions, landed)

    def move_fence(self, branch_key_id: str, *, expected: int, new: int) -> None:
        """See `core.ports.KeyStore.move_fence`."""
        check_ids(branch_key_id)
        operation = self._database.operation()
        stored = self._items(operation, branch_key_id, [FENCE])
        [item] = writes.move_fence(stored.get, expected=expected, new=new)

        def landed() -> bool | None:
            found = operation.get(self._table, key(branch_key_id, FENCE))
            if _is_of(operation, found):
                return True
            # It only rises: ours would stand there, or be buried under a higher one.
            return False if found is None or fence_revision(from_native(found)) <= new else None

        values = {":expected": {"N": str(expected)}}
        operation.write([self._put(operation, branch_key_id, item, "revision = :expected", values)], landed)

    def _items(
        self, operation: Operation, branch_key_id: str, types: Sequence[str] | Mapping[str, None]
    ) -> dict[str, Item]:
        found = operation.get_together(self._table, [key(branch_key_id, item_type) for item_type in types])
        return {item.type: item for native in found if native is not None for item in [from_native(native)]}

    def _put(
        self,
        operation: Operation,
        branch_key_id: str,
        item: Item,
        condition: str = "",
        values: Mapping[str, Mapping[str, object]] | None = None,
    ) -> Action:
        put: dict[str, object] = {
            "TableName": self._table,
            "Item": to_native(branch_key_id, item, operation.write_id),
        }
        if condition:
            put["ConditionExpression"] = condition
            if "#type" in condition:
                put["ExpressionAttributeNames"] = {"#type": SORT}
            if values:
                put["ExpressionAttributeValues"] = values
        return {"Put": put}

    def _fence_is(self, branch_key_id: str, revision: int) -> Action:
        return {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": key(branch_key_id, FENCE),
                "ConditionExpression": "revision = :fence",
                "ExpressionAttributeValues": {":fence": {"N": str(revision)}},
            }
        }

    def _version_landed(self, operation: Operation, version: BranchKeyRow) -> Callable[[], bool | None]:
        def landed() -> bool | None:
            found = operation.get(self._table, key(version.branch_key_id, MAC_PREFIX + version.type))
            # Versions are only ever added: none there, none was written.
            return False if found is None else _is_of(operation, found) or None

        return landed


def _is_of(operation: Operation, native: NativeItem | None) -> bool:
    return native is not None and integer_or_text(native.get(WRITE_ID)) == operation.write_id
