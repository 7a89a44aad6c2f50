"""The DynamoDB stores over an emulator, and what a test does to the tables behind their back."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from core.providers.system_clock import SystemClock
from core.stores.dynamodb import (
    DynamoAuditLog,
    DynamoDatabase,
    DynamoKeyStore,
    DynamoTables,
    DynamoTenantStore,
    create_tables,
)

NATIVE_MAC_TAG = "tag"


def fresh_tables(client: Any) -> DynamoTables:
    """Three new tables."""
    tables = DynamoTables(*(f"{name}-{uuid4()}" for name in ("keys", "tenants", "audit")))
    create_tables(client, tables)
    return tables


class OneAtATime:
    """A client whose calls wait for one another: moto's transactions are none between threads.

    Args:
        client: The client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*arguments: Any, **request: Any) -> Any:
            with self._lock:
                return method(*arguments, **request)

        return call


@dataclass(frozen=True)
class Deployment:
    """The stores over tables of their own.

    Attributes:
        client: What the stores talk through.
        tables: The tables.
    """

    client: Any
    tables: DynamoTables

    @property
    def database(self) -> DynamoDatabase:
        return DynamoDatabase(self.client, self.tables, SystemClock())

    @property
    def keys(self) -> DynamoKeyStore:
        return DynamoKeyStore(self.database)

    @property
    def tenants(self) -> DynamoTenantStore:
        return DynamoTenantStore(self.database)

    @property
    def audit(self) -> DynamoAuditLog:
        return DynamoAuditLog(self.database)

    def plant_branch_key_item(self, branch_key_id: str, item_type: str, attributes: str, enc: bytes | None) -> None:
        """Put an item, given as JSON, among the branch keys; skips what DynamoDB cannot hold."""
        key = {"branch-key-id": {"S": branch_key_id}, "type": {"S": item_type}}
        try:
            found = json.loads(attributes)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            found = {"planted": attributes}
        elif "kms-arn" in found or "hierarchy-version" in found:
            named = {name: {"S": found.pop(name, "")} for name in key}
            if named != key:
                pytest.skip("DynamoDB holds no item whose own key differs from where it is found")
        if any("\ud800" in value for value in found.values() if isinstance(value, str)):
            pytest.skip("DynamoDB holds no text that is not Unicode")
        native = {name: _native(name, value) for name, value in found.items()}
        if enc is not None:
            native["enc"] = {"B": enc}
        self.client.put_item(TableName=self.tables.branch_keys, Item={**native, **key})

    def remove_branch_key_item(self, branch_key_id: str, item_type: str) -> None:
        key = {"branch-key-id": {"S": branch_key_id}, "type": {"S": item_type}}
        self.client.delete_item(TableName=self.tables.branch_keys, Key=key)

    def plant_document(self, tenant_id: str, name: str, revision: int, text: str) -> None:
        item = {
            "tenant": {"S": tenant_id},
            "document": {"S": name},
            "revision": {"N": str(revision)},
            "body": {"S": text},
        }
        self.client.put_item(TableName=self.tables.tenants, Item=item)

    def plant_entry(self, chain: str, sequence: int, text: str) -> None:
        item = {"tenant": {"S": chain}, "sequence": {"N": str(sequence)}, "entry": {"S": text}}
        self.client.put_item(TableName=self.tables.audit, Item=item)


def _native(name: str, value: object) -> dict[str, object]:
    if name == NATIVE_MAC_TAG and isinstance(value, str):
        try:
            return {"B": bytes.fromhex(value)}
        except ValueError:
            return {"S": value}
    match value:
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case float():
            # A number of DynamoDB's is 1 or 1.5; there is no 1.0 beside 1.
            return {"N": str(value + 0.5)}
        case str():
            return {"S": value}
        case None:
            return {"NULL": True}
    return {"L": []}
