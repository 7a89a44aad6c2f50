"""What the three stores share: the client, the tables, the clock."""

from __future__ import annotations

from typing import Any

from core.ports import Clock
from core.stores.azure_tables.operation import Operation
from core.stores.azure_tables.tables import AzureTables


class AzureDatabase:
    """The tables, reached through one client. Safe to use from many threads.

    Azure Storage reads what was written last in the region that it writes to. An account of Cosmos DB does so only if
    its default consistency is strong, or bounded staleness with reads in the region that it writes to: set one of
    them. The stores cannot see which it is.

    Args:
        client: A client, as `core.stores.azure_tables.client.tables_client` makes it: one that does not retry by
            itself.
        tables: Names of the tables.
        clock: Tells how long an operation has been trying.

    Attributes:
        branch_keys: The SDK's client of the table; likewise ``tenants`` and ``audit``.
    """

    def __init__(self, client: Any, tables: AzureTables, clock: Clock) -> None:
        self._clock = clock
        self._tables = tables
        self.branch_keys: Any = client.get_table_client(tables.branch_keys)
        self.tenants: Any = client.get_table_client(tables.tenants)
        self.audit: Any = client.get_table_client(tables.audit)

    def __repr__(self) -> str:
        return f"AzureDatabase({self._tables!r})"

    def operation(self) -> Operation:
        """One operation of a store: its requests share the time there is."""
        return Operation(self._clock)
