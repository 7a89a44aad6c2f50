"""What the three stores share: the client, the tables, the clock."""

from __future__ import annotations

from typing import Any

from core.errors import InternalError
from core.ports import Clock
from core.stores._documents import check_key
from core.stores.dynamodb.operation import Operation
from core.stores.dynamodb.tables import DynamoTables

_MAX_PARTITION_KEY = 2048
_MAX_SORT_KEY = 1024


class DynamoDatabase:
    """The tables, reached through one client. Safe to use from many threads.

    Args:
        client: A boto3 DynamoDB client, as `dynamodb_client` makes it: one that does not retry by itself.
        tables: Names of the tables.
        clock: Tells how long an operation has been trying.
    """

    def __init__(self, client: Any, tables: DynamoTables, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self.tables = tables

    def __repr__(self) -> str:
        return f"DynamoDatabase({self.tables!r})"

    def operation(self) -> Operation:
        """One operation of a store: its requests share the time there is."""
        return Operation(self._client, self._clock)


def check_ids(partition: str, *sort_keys: str) -> None:
    """Refuse ids that DynamoDB cannot hold as keys.

    Raises:
        InternalError: One is empty, too long or not valid Unicode. Ids are checked long before they get here.
    """
    check_key(partition, *sort_keys)
    if not 1 <= len(partition.encode()) <= _MAX_PARTITION_KEY:
        raise InternalError("an id to look up in DynamoDB is empty or too long")
    if not all(1 <= len(key.encode()) <= _MAX_SORT_KEY for key in sort_keys):
        raise InternalError("a name to look up in DynamoDB is empty or too long")
