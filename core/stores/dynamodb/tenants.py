"""Documents of tenants in DynamoDB.

DynamoDB cannot list partitions in order, so the partition ``_tenants`` has one small item per tenant, with the tenant's
id as its sort key, written in the transaction that writes the tenant's record for the first time. A listing reads a
stretch of it, then the records themselves. No record is ever deleted, so the two agree for good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.domain.tenants import RECORD, SYSTEM
from core.errors import InternalError, StoreCorrupt
from core.ports import Document
from core.stores._documents import check_key, check_write, document, dump
from core.stores.dynamodb.database import DynamoDatabase, check_ids
from core.stores.dynamodb.native import integer_or_text
from core.stores.dynamodb.operation import WRITE_ID, Action, NativeItem, Operation

INDEX = "_tenants"
"""The partition that lists the tenants; no tenant id can equal it."""


class DynamoTenantStore:
    """`core.ports.TenantStore` in DynamoDB.

    Args:
        database: The tables, shared with the other stores.
    """

    def __init__(self, database: DynamoDatabase) -> None:
        self._database = database
        self._table = database.tables.tenants

    def read(self, tenant_id: str, name: str) -> Document | None:
        """See `core.ports.TenantStore.read`."""
        _check(tenant_id, name)
        return self._get(self._database.operation(), tenant_id, name)

    def write(self, tenant_id: str, name: str, body: Mapping[str, Any], *, expected_revision: int) -> Document:
        """See `core.ports.TenantStore.write`."""
        _check(tenant_id, name)
        text = dump(body)
        operation = self._database.operation()
        revision = check_write(self._get(operation, tenant_id, name), name, body, expected_revision)
        item = {
            **_key(tenant_id, name),
            "revision": {"N": str(revision)},
            "body": {"S": text},
            WRITE_ID: {"S": operation.write_id},
        }
        actions = [self._put(item, expected_revision)]
        if name == RECORD and not expected_revision and tenant_id != SYSTEM:
            listed = {**_key(INDEX, tenant_id), WRITE_ID: {"S": operation.write_id}}
            actions.append({"Put": {"TableName": self._table, "Item": listed}})

        def landed() -> bool | None:
            native = operation.get(self._table, _key(tenant_id, name))
            if native is None:
                return False
            if integer_or_text(native.get(WRITE_ID)) == operation.write_id:
                return True
            # Revisions only rise: ours would stand there, or be buried under a higher one.
            return False if _document(tenant_id, name, native).revision <= revision else None

        operation.write(actions, landed)
        return document(tenant_id, name, revision, text)

    def list_tenants(self, *, after: str = "", limit: int = 100) -> Sequence[Document]:
        """See `core.ports.TenantStore.list_tenants`.

        Raises:
            StoreCorrupt: What is stored is not a document, or is missing.
        """
        check_key(after)
        operation = self._database.operation()
        ids = self._ids(operation, after, limit)
        records: dict[str, NativeItem] = {}
        for native in operation.get_many(self._table, [_key(tenant_id, RECORD) for tenant_id in ids]):
            records[str(integer_or_text(native.get("tenant")))] = native
        if missing := [tenant_id for tenant_id in ids if tenant_id not in records]:
            raise StoreCorrupt(f"of {len(missing)} tenants in the list there is no record")
        return [_document(tenant_id, RECORD, records[tenant_id]) for tenant_id in ids]

    def _ids(self, operation: Operation, after: str, limit: int) -> list[str]:
        condition, values = "#tenant = :index", {":index": {"S": INDEX}}
        if after:
            check_ids(INDEX, after)
            condition, values = f"{condition} AND #document > :after", {**values, ":after": {"S": after}}
        names = {"#tenant": "tenant"} | ({"#document": "document"} if after else {})
        found = operation.query(
            self._table,
            condition,
            limit=max(limit, 0),
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
        )
        return [str(integer_or_text(item.get("document"))) for item in found]

    def _get(self, operation: Operation, tenant_id: str, name: str) -> Document | None:
        native = operation.get(self._table, _key(tenant_id, name))
        return None if native is None else _document(tenant_id, name, native)

    def _put(self, item: NativeItem, expected_revision: int) -> Action:
        put: dict[str, Any] = {"TableName": self._table, "Item": item}
        if expected_revision:
            put["ConditionExpression"] = "revision = :expected"
            put["ExpressionAttributeValues"] = {":expected": {"N": str(expected_revision)}}
        else:
            put["ConditionExpression"] = "attribute_not_exists(#tenant)"
            put["ExpressionAttributeNames"] = {"#tenant": "tenant"}
        return {"Put": put}


def _check(tenant_id: str, name: str) -> None:
    check_ids(tenant_id, name)
    if tenant_id == INDEX:
        raise InternalError("the list of tenants is not a tenant")


def _key(tenant_id: str, name: str) -> NativeItem:
    return {"tenant": {"S": tenant_id}, "document": {"S": name}}


def _document(tenant_id: str, name: str, native: NativeItem) -> Document:
    return document(tenant_id, name, integer_or_text(native.get("revision")), integer_or_text(native.get("body")))
