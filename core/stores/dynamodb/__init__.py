"""The store on AWS: three DynamoDB tables, one of them an AWS branch key store that the official SDK reads as it is."""

from core.stores.dynamodb.audit import DynamoAuditLog
from core.stores.dynamodb.client import dynamodb_client
from core.stores.dynamodb.database import DynamoDatabase
from core.stores.dynamodb.keys import DynamoKeyStore
from core.stores.dynamodb.tables import DynamoTables, create_tables
from core.stores.dynamodb.tenants import DynamoTenantStore

__all__ = [
    "DynamoAuditLog",
    "DynamoDatabase",
    "DynamoKeyStore",
    "DynamoTables",
    "DynamoTenantStore",
    "create_tables",
    "dynamodb_client",
]
