"""The three tables: their names, their keys, and how to make them where no template does.

::

    table         PartitionKey          RowKey              properties
    branch keys   <branch key id>       <type of the item>  attributes, enc: see `core.stores._items`
    tenants       doc.<tenant>          <document>          body, revision
                  record.<0 to f>       <tenant>            likewise: the tenants' records, by the digest of the tenant
    audit         <chain>               <sequence>          entry; 20 digits
                  <chain>               head                head

Every entity has ``writes``: which writes made it (`core.stores.azure_tables.operation`).
"""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass
from typing import Any

from core.errors import InternalError
from core.stores.azure_tables.faults import fault_of, sdk_errors

_EXISTS = "TableAlreadyExists"
_NAME = re.compile(r"(?!tables$)[a-z][a-z0-9]{2,62}")
"""What both services take; lower case, as only one of them tells cases apart."""


@dataclass(frozen=True, slots=True)
class AzureTables:
    """Names of the tables: 3 to 63 lower-case letters and digits, a letter first, no two alike.

    Attributes:
        branch_keys: Branch key rows, MACs and fences.
        tenants: Tenants' documents.
        audit: Audit chains.

    Raises:
        InternalError: One is not such a name.
    """

    branch_keys: str = "keysteadbranchkeys"
    tenants: str = "keysteadtenants"
    audit: str = "keysteadaudit"

    def __post_init__(self) -> None:
        names = astuple(self)
        if len({*names}) != len(names) or not all(_NAME.fullmatch(name) for name in names):
            raise InternalError("a table of Azure is named with 3 to 63 lower-case letters and digits, a letter first")


def create_tables(client: Any, tables: AzureTables) -> None:
    """Make the tables that are missing.

    For emulators and trials. A deployment's template makes them, with the account's protection against deletion.

    Args:
        client: A client, as `core.stores.azure_tables.client.tables_client` makes it.
        tables: Their names.

    Raises:
        StoreUnavailable: Azure does not answer, or does not let us.
    """
    for name in astuple(tables):
        _create(client, name)


def _create(client: Any, name: str) -> None:
    try:
        client.create_table(name)
    except sdk_errors() as error:
        if getattr(error, "error_code", None) == _EXISTS:
            return
        fault = fault_of(error)
    else:
        return
    raise fault.error
