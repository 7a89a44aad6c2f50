"""The Azure stores over tables of their own, and what a test does to the tables behind their back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import EdmType, EntityProperty, UpdateMode

from core.providers.system_clock import SystemClock
from core.stores.azure_tables import (
    AzureAuditLog,
    AzureDatabase,
    AzureKeyStore,
    AzureTables,
    AzureTenantStore,
    create_tables,
)
from core.stores.azure_tables.entities import pieces
from core.stores.azure_tables.names import key_of
from core.stores.azure_tables.tenants import _place


def fresh_tables(client: Any) -> AzureTables:
    """Three new tables."""
    tables = AzureTables(*(f"{name}{uuid4().hex}" for name in ("keys", "tenants", "audit")))
    create_tables(client, tables)
    return tables


@dataclass(frozen=True)
class Deployment:
    """The stores over tables of their own.

    Attributes:
        client: What the stores talk through.
        tables: The tables.
    """

    client: Any
    tables: AzureTables

    @property
    def database(self) -> AzureDatabase:
        return AzureDatabase(self.client, self.tables, SystemClock())

    @property
    def keys(self) -> AzureKeyStore:
        return AzureKeyStore(self.database)

    @property
    def tenants(self) -> AzureTenantStore:
        return AzureTenantStore(self.database)

    @property
    def audit(self) -> AzureAuditLog:
        return AzureAuditLog(self.database)

    def plant(self, table: str, partition: str, row: str, properties: dict[str, Any]) -> None:
        """Put an entity in place of what stands there, whatever it is."""
        entity = {"PartitionKey": partition, "RowKey": row, **properties}
        self.client.get_table_client(table).upsert_entity(entity, mode=UpdateMode.REPLACE)

    def plant_branch_key_item(self, branch_key_id: str, item_type: str, attributes: str, enc: bytes | None) -> None:
        """Put an item among the branch keys."""
        assert attributes.isascii()
        found = {**pieces("attributes", attributes), **({} if enc is None else pieces("enc", enc))}
        self.plant(self.tables.branch_keys, key_of(branch_key_id), key_of(item_type), found)

    def remove_branch_key_item(self, branch_key_id: str, item_type: str) -> None:
        table = self.client.get_table_client(self.tables.branch_keys)
        table.delete_entity(key_of(branch_key_id), key_of(item_type), match_condition=MatchConditions.Unconditionally)
        with pytest.raises(ResourceNotFoundError):
            table.get_entity(key_of(branch_key_id), key_of(item_type))

    def plant_document(self, tenant_id: str, name: str, revision: int, text: str) -> None:
        properties = {"revision": EntityProperty(revision, EdmType.INT64), **pieces("body", text)}
        self.plant(self.tables.tenants, *_place(tenant_id, name), properties)

    def plant_entry(self, chain: str, row: str, text: str) -> None:
        self.plant(self.tables.audit, key_of(chain), row, pieces("entry", text))
