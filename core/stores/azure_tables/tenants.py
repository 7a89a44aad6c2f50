"""Documents of tenants in Azure Tables.

A transaction spans one partition, and partitions cannot be listed. So the tenants' records, and they alone, lie in 16
partitions by the digest of the tenant's id, which are the list of tenants: a record and its place in the list are one
entity. The other documents of a tenant lie in a partition of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from core.domain.tenants import RECORD, SYSTEM
from core.errors import InternalError, StoreCorrupt
from core.ports import Document
from core.stores._documents import MAX_COUNT, check_key, check_write, document, dump
from core.stores.azure_tables.database import AzureDatabase
from core.stores.azure_tables.entities import WRITES, Entity, integer_of, made_by, pieces, text_of, writes_with
from core.stores.azure_tables.names import key_of, name_of
from core.stores.azure_tables.operation import Operation, Put

SHARDS = "0123456789abcdef"
"""What the digest of a tenant's id may begin with."""
_DOCUMENTS, _RECORDS = "doc.", "record."


class AzureTenantStore:
    """`core.ports.TenantStore` in Azure Tables.

    Args:
        database: The tables, shared with the other stores.
    """

    def __init__(self, database: AzureDatabase) -> None:
        self._database = database
        self._table = database.tenants

    def read(self, tenant_id: str, name: str) -> Document | None:
        """See `core.ports.TenantStore.read`."""
        entity = self._get(self._database.operation(), tenant_id, name)
        return None if entity is None else _document(tenant_id, name, entity)

    def write(self, tenant_id: str, name: str, body: Mapping[str, Any], *, expected_revision: int) -> Document:
        """See `core.ports.TenantStore.write`."""
        partition, row = _place(tenant_id, name)
        text = dump(body)
        operation = self._database.operation()
        while True:
            there = self._get(operation, tenant_id, name)
            stored = None if there is None else _document(tenant_id, name, there)
            revision = check_write(stored, name, body, expected_revision)
            entity = {
                "PartitionKey": partition,
                "RowKey": row,
                "revision": _int64(revision),
                WRITES: writes_with(there, operation.write_id),
                **pieces("body", text),
            }

            def landed(before: Entity | None = there) -> bool | None:
                return made_by(operation.write_id, before, self._get(operation, tenant_id, name))

            if operation.write(self._table, [Put(entity, there)], landed):
                return document(tenant_id, name, revision, text)
            operation.start_over()

    def list_tenants(self, *, after: str = "", limit: int = 100) -> Sequence[Document]:
        """See `core.ports.TenantStore.list_tenants`.

        The ids of all tenants are read each time and sorted here, as no order can be relied on: 16 requests, and more
        where a partition has over a thousand tenants. Then come the chosen records, 10 a request or fewer. So a sweep
        over many thousands of tenants should ask for thousands at a time.

        Raises:
            StoreCorrupt: What is stored is not a document, or has gone meanwhile.
        """
        check_key(after)
        if limit <= 0:
            return []
        operation = self._database.operation()
        chosen = sorted(tenant_id for tenant_id in self._ids(operation) if tenant_id > after)[:limit]
        places: dict[str, list[str]] = defaultdict(list)
        for tenant_id in chosen:
            partition, row = _place(tenant_id, RECORD)
            places[partition].append(row)
        records: dict[str, Entity] = {}
        for partition, rows in places.items():
            records |= operation.rows(self._table, partition, rows)
        if missing := [tenant_id for tenant_id in chosen if key_of(tenant_id) not in records]:
            raise StoreCorrupt(f"the records of {len(missing)} tenants have gone while they were listed")
        return [_document(tenant_id, RECORD, records[key_of(tenant_id)]) for tenant_id in chosen]

    def _ids(self, operation: Operation) -> list[str]:
        found: list[str] = []
        for shard in SHARDS:
            for entity in operation.query(self._table, _RECORDS + shard, keys_only=True):
                tenant_id = name_of(entity["RowKey"])
                if tenant_id is None:
                    raise StoreCorrupt("a tenant's record is stored under a key that stands for no id")
                found.append(tenant_id)
        return found

    def _get(self, operation: Operation, tenant_id: str, name: str) -> Entity | None:
        partition, row = _place(tenant_id, name)
        return operation.rows(self._table, partition, [row]).get(row)


def _place(tenant_id: str, name: str) -> tuple[str, str]:
    """PartitionKey and RowKey of a document."""
    key, row = key_of(tenant_id), key_of(name)
    if name != RECORD or tenant_id == SYSTEM:
        return _DOCUMENTS + key, row
    if name_of(key) is None:
        raise InternalError("a tenant's id is too long for the list of tenants")
    return _RECORDS + sha256(tenant_id.encode()).hexdigest()[0], key


def _int64(number: int) -> object:
    from azure.data.tables import EdmType, EntityProperty

    if number > MAX_COUNT:
        raise StoreCorrupt("a stored document has the last revision there is")
    return EntityProperty(number, EdmType.INT64)


def _document(tenant_id: str, name: str, entity: Entity) -> Document:
    return document(tenant_id, name, integer_of(entity, "revision"), text_of(entity, "body"))
