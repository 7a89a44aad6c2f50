"""The embedded store: one SQLite file, shared by the threads and processes of one machine."""

from core.stores.sqlite.audit import SqliteAuditLog
from core.stores.sqlite.database import SqliteDatabase
from core.stores.sqlite.keys import SqliteKeyStore
from core.stores.sqlite.tenants import SqliteTenantStore

__all__ = ["SqliteAuditLog", "SqliteDatabase", "SqliteKeyStore", "SqliteTenantStore"]
