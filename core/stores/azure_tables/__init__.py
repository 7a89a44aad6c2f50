"""The store on Azure: three tables of Azure Storage or of Azure Cosmos DB for Table, by what both of them promise."""

from core.stores.azure_tables.audit import AzureAuditLog
from core.stores.azure_tables.client import tables_client
from core.stores.azure_tables.database import AzureDatabase
from core.stores.azure_tables.keys import AzureKeyStore
from core.stores.azure_tables.tables import AzureTables, create_tables
from core.stores.azure_tables.tenants import AzureTenantStore

__all__ = [
    "AzureAuditLog",
    "AzureDatabase",
    "AzureKeyStore",
    "AzureTables",
    "AzureTenantStore",
    "create_tables",
    "tables_client",
]
