"""Audit chains in DynamoDB."""

from __future__ import annotations

from collections.abc import Sequence

from core.domain.audit import AuditEntry, AuditHead
from core.errors import Conflict, StoreCorrupt
from core.stores._documents import MAX_COUNT, check_append, dump_entry, dump_head, load_entry, load_head
from core.stores.dynamodb.database import DynamoDatabase, check_ids
from core.stores.dynamodb.native import integer_or_text
from core.stores.dynamodb.operation import WRITE_ID, Action, NativeItem, Operation

_HEAD = 0
"""The sequence under which the head of a chain is kept."""
_NO_TEXT = ""
"""Stands for an item that has none: neither a head nor an entry."""


class DynamoAuditLog:
    """`core.ports.AuditLog` in DynamoDB.

    Args:
        database: The tables, shared with the other stores.
    """

    def __init__(self, database: DynamoDatabase) -> None:
        self._database = database
        self._table = database.tables.audit

    def head(self, chain: str) -> AuditHead:
        """See `core.ports.AuditLog.head`.

        Raises:
            StoreCorrupt: What is stored does not have the form of a head.
        """
        check_ids(chain)
        return load_head(self._head(self._database.operation(), chain))

    def append(self, entry: AuditEntry) -> None:
        """See `core.ports.AuditLog.append`.

        Raises:
            StoreCorrupt: What is stored does not have the form of a head, or there is an entry beyond it.
        """
        check_ids(entry.chain)
        text = dump_entry(entry)
        operation = self._database.operation()
        head = self._head(operation, entry.chain)
        check_append(load_head(head), entry)
        chain, sequence = entry.chain, entry.sequence

        def landed() -> bool | None:
            native = operation.get(self._table, _key(chain, sequence))
            # Entries are only ever added, never replaced.
            return native is not None and integer_or_text(native.get(WRITE_ID)) == operation.write_id

        try:
            operation.write(
                [
                    self._put(operation, chain, sequence, text, replaces=None),
                    self._put(operation, chain, _HEAD, dump_head(entry), replaces=head),
                ],
                landed,
            )
        except Conflict:
            keys = [_key(chain, _HEAD), _key(chain, sequence)]
            found_head, found = operation.get_together(self._table, keys)
            if found is not None and _text(found_head) == head:
                raise StoreCorrupt("there is an audit entry beyond the head of its chain") from None
            raise

    def read(self, chain: str, *, after: int = 0, limit: int = 100) -> Sequence[AuditEntry]:
        """See `core.ports.AuditLog.read`."""
        check_ids(chain)
        found = self._database.operation().query(
            self._table,
            "#tenant = :chain AND #sequence > :after",
            limit=max(limit, 0),
            ExpressionAttributeNames={"#tenant": "tenant", "#sequence": "sequence"},
            ExpressionAttributeValues={
                ":chain": {"S": chain},
                ":after": {"N": str(min(max(after, _HEAD), MAX_COUNT))},
            },
        )
        return [load_entry(chain, integer_or_text(item.get("sequence")), _text(item)) for item in found]

    def _head(self, operation: Operation, chain: str) -> str | None:
        return _text(operation.get(self._table, _key(chain, _HEAD)))

    def _put(self, operation: Operation, chain: str, sequence: int, text: str, *, replaces: str | None) -> Action:
        put: dict[str, object] = {
            "TableName": self._table,
            "Item": {**_key(chain, sequence), "entry": {"S": text}, WRITE_ID: {"S": operation.write_id}},
        }
        if replaces is None:
            put["ConditionExpression"] = "attribute_not_exists(#tenant)"
            put["ExpressionAttributeNames"] = {"#tenant": "tenant"}
        else:
            put["ConditionExpression"] = "#entry = :old"
            put["ExpressionAttributeNames"] = {"#entry": "entry"}
            put["ExpressionAttributeValues"] = {":old": {"S": replaces}}
        return {"Put": put}


def _key(chain: str, sequence: int) -> NativeItem:
    return {"tenant": {"S": chain}, "sequence": {"N": str(sequence)}}


def _text(native: NativeItem | None) -> str | None:
    if native is None:
        return None
    text = integer_or_text(native.get("entry"))
    return text if isinstance(text, str) else _NO_TEXT
