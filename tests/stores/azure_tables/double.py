"""A double of the SDK's client in this process: quick, and as narrow as Cosmos DB for Table and Storage are together.

It refuses what one of the two refuses: keys, property names, sizes, transactions, conditions on anything but keys. It
gives entities in no useful order, one a page, some pages empty, so that no read of two is of one moment. Entities pass
through the SDK's own serialisation.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any
from uuid import uuid4

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.data.tables import TableEntity, TableErrorCode, TableTransactionError, UpdateMode
from azure.data.tables._deserialize import _convert_to_entity
from azure.data.tables._serialize import _add_entity_properties

MAX_KEY, MAX_ENTITY, MAX_TRANSACTION, MAX_ACTIONS, MAX_COMPARISONS = 255, 2**20, 2 * 10**6, 100, 15
RESERVED = {"id", "rid", "etag", "resourceid"}
_PART_OVERHEAD = 900
_KEY = re.compile(r"[^/\\#?\x00-\x1f\x7f-\x9f]+")
_FILTER = re.compile(r"PartitionKey eq '([^']+)'(?: and (.+))?")
_COMPARISON = re.compile(r"RowKey (eq|gt|ge|lt|le) '([^']+)'")
_COMPARE = {
    "eq": lambda key, bound: key == bound,
    "gt": lambda key, bound: key > bound,
    "ge": lambda key, bound: key >= bound,
    "lt": lambda key, bound: key < bound,
    "le": lambda key, bound: key <= bound,
}
Rows = dict[tuple[str, str], dict[str, Any]]


def refused(status: int, code: str, kind: type[HttpResponseError] = HttpResponseError) -> HttpResponseError:
    """What the SDK raises for an error that the service answers with; its texts must not reach anybody."""
    error = kind(message="SECRET")
    error.status_code = status
    known = code in [known.value for known in TableErrorCode]
    # The SDK gives its errors this attribute when it raises them, and gives a transaction's the bare text.
    vars(error)["error_code"] = TableErrorCode(code) if known and kind is not TableTransactionError else code
    return error


def code_of(error: HttpResponseError) -> str:
    code = vars(error)["error_code"]
    return str(getattr(code, "value", code))


class TablesDouble:
    """An account with no tables yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: dict[str, Rows] = {}

    def create_table(self, name: str) -> None:
        with self._lock:
            if name in self._tables:
                raise refused(409, "TableAlreadyExists")
            self._tables[name] = {}

    def get_table_client(self, name: str) -> TableDouble:
        return TableDouble(self._tables, name, self._lock)


class TableDouble:
    """One table.

    Args:
        tables: All there are.
        name: Its name.
        lock: Held for as long as a request takes.
    """

    def __init__(self, tables: dict[str, Rows], name: str, lock: threading.Lock) -> None:
        self._tables, self._name, self._lock = tables, name, lock

    def query_entities(self, query_filter: str, *, select: Sequence[str] | None = None) -> Query:
        partition, rows = _FILTER.fullmatch(query_filter).groups()  # type: ignore[union-attr] # no match, no query
        return Query(self, partition, rows or "", select)

    def matching(self, partition: str, rows: str) -> list[dict[str, Any]]:
        """The entities that fit a condition, in the order of nothing anybody knows."""
        with self._lock:
            there = [entity for (key, row), entity in self._there().items() if key == partition and _fits(row, rows)]
        return sorted(there, key=lambda entity: sha256(entity["RowKey"].encode()).digest())

    def submit_transaction(self, operations: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> list[Any]:
        with self._lock:
            rows = self._there()
            bodies = [_serialised(entity) for _, entity, _ in operations]
            _check_transaction(bodies)
            after = dict(rows)
            for (what, _, options), body in zip(operations, bodies, strict=True):
                try:
                    _apply(after, what, body, **options)
                except HttpResponseError as error:
                    raise refused(error.status_code or 0, code_of(error), TableTransactionError) from error
            rows.clear()
            rows.update(after)
            return [{"etag": after[_keys(body)]["odata.etag"]} for body in bodies]

    def update_entity(self, entity: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        with self._lock:
            return _apply(self._there(), "update", _serialised(entity), **options)

    def upsert_entity(self, entity: Mapping[str, Any], *, mode: UpdateMode) -> None:
        assert mode is UpdateMode.REPLACE
        with self._lock:
            _put(self._there(), _serialised(entity))

    def delete_entity(self, partition_key: str, row_key: str, *, match_condition: MatchConditions) -> None:
        assert match_condition is MatchConditions.Unconditionally
        with self._lock:
            self._there().pop((partition_key, row_key), None)

    def get_entity(self, partition_key: str, row_key: str) -> TableEntity:
        with self._lock:
            if (partition_key, row_key) not in self._there():
                raise refused(404, "ResourceNotFound", ResourceNotFoundError)
            return _deserialised(self._there()[partition_key, row_key])

    def _there(self) -> Rows:
        if self._name not in self._tables:
            raise refused(404, "TableNotFound", ResourceNotFoundError)
        return self._tables[self._name]


class Query:
    """What `query_entities` gives: pages of one entity, read when they are asked for; every other page is empty."""

    def __init__(self, table: TableDouble, partition: str, rows: str, select: Sequence[str] | None) -> None:
        self._table, self._partition, self._rows, self._select = table, partition, rows, select
        self.continuation_token: dict[str, int | str] | None = None

    def by_page(self, continuation_token: dict[str, int | str] | None = None) -> Query:
        self.continuation_token = continuation_token
        return self

    def __next__(self) -> Iterator[TableEntity]:
        token = self.continuation_token or {"number": 0, "after": ""}
        number, after = int(token["number"]), str(token["after"])
        left = [
            entity
            for entity in self._table.matching(self._partition, self._rows)
            if sha256(entity["RowKey"].encode()).hexdigest() > after
        ]
        page = left[:1] if number % 2 == 0 or len(left) == 1 else []
        if page:
            after = sha256(page[0]["RowKey"].encode()).hexdigest()
        self.continuation_token = {"number": number + 1, "after": after} if len(left) > len(page) else None
        wanted = None if self._select is None else {*self._select}
        return iter(
            [
                _deserialised({name: value for name, value in entity.items() if not wanted or name in wanted})
                for entity in page
            ]
        )


def _serialised(entity: Mapping[str, Any]) -> dict[str, Any]:
    body = _add_entity_properties(entity)
    for key in _keys(body):
        if not _KEY.fullmatch(key) or len(key.encode()) > MAX_KEY:
            raise refused(400, "OutOfRangeInput")
    own = [name for name in body if "@" not in name and name not in {"PartitionKey", "RowKey"}]
    if len(own) > 252:
        raise refused(400, "TooManyProperties")
    for name in own:
        if name.lower() in RESERVED or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,254}", name):
            raise refused(400, "PropertyNameInvalid")
        value = entity[name]
        if len(value if isinstance(value, bytes) else str(value).encode("utf-16-le")) > 64 * 1024:
            raise refused(400, "PropertyValueTooLarge")
    # As Storage counts texts, and as Cosmos DB keeps bytes.
    if sum(2 * len(name) + 8 + 2 * len(str(body[name])) // (1 + isinstance(entity[name], bytes)) for name in own) > (
        MAX_ENTITY
    ):
        raise refused(400, "EntityTooLarge")
    return body


def _deserialised(body: Mapping[str, Any]) -> TableEntity:
    convert: Any = _convert_to_entity
    entity: TableEntity = convert(dict(body))
    return entity


def _check_transaction(bodies: Sequence[dict[str, Any]]) -> None:
    if not 1 <= len(bodies) <= MAX_ACTIONS:
        raise refused(400, "InvalidInput")
    if len({partition for partition, _ in map(_keys, bodies)}) != 1:
        raise refused(400, "CommandsInBatchActOnDifferentPartitions")
    if len({*map(_keys, bodies)}) != len(bodies):
        raise refused(400, "InvalidDuplicateRow")
    if sum(len(json.dumps(body)) + _PART_OVERHEAD for body in bodies) > MAX_TRANSACTION:
        raise refused(413, "RequestBodyTooLarge")


def _apply(
    rows: Rows,
    what: str,
    body: dict[str, Any],
    *,
    mode: UpdateMode = UpdateMode.MERGE,
    etag: str | None = None,
    match_condition: MatchConditions | None = None,
) -> dict[str, Any]:
    there = rows.get(_keys(body))
    if what == "create":
        if there is not None:
            raise refused(409, "EntityAlreadyExists")
        return _put(rows, body)
    assert (what, mode, match_condition) == ("update", UpdateMode.REPLACE, MatchConditions.IfNotModified)
    if there is None:
        raise refused(404, "ResourceNotFound")
    if there["odata.etag"] != etag:
        raise refused(412, "UpdateConditionNotSatisfied")
    return _put(rows, body)


def _put(rows: Rows, body: dict[str, Any]) -> dict[str, Any]:
    etag = f'W/"{uuid4()}"'
    rows[_keys(body)] = {**body, "odata.etag": etag}
    return {"etag": etag}


def _keys(body: Mapping[str, Any]) -> tuple[str, str]:
    return body["PartitionKey"], body["RowKey"]


def _fits(row: str, condition: str) -> bool:
    if not condition:
        return True
    any_of = condition.startswith("(")
    parts = condition.strip("()").split(" or " if any_of else " and ")
    found = [_COMPARISON.fullmatch(part) for part in parts]
    if None in found or len(parts) >= MAX_COMPARISONS:
        raise refused(400, "InvalidInput")
    return (any if any_of else all)(_COMPARE[match[1]](row, match[2]) for match in found if match)
