"""Audit chains in Azure Tables: the entries of a chain and its head in one partition."""

from __future__ import annotations

from collections.abc import Sequence

from core.domain.audit import AuditEntry, AuditHead
from core.errors import StoreCorrupt
from core.stores._documents import MAX_COUNT, check_append, dump_entry, dump_head, load_entry, load_head
from core.stores.azure_tables.database import AzureDatabase
from core.stores.azure_tables.entities import WRITES, Entity, etag_of, pieces, text_of, writes_of
from core.stores.azure_tables.names import key_of
from core.stores.azure_tables.operation import Operation, Put

_HEAD = "head"
_NO_TEXT = ""
"""Stands for an entity that has none: neither a head nor an entry."""


class AzureAuditLog:
    """`core.ports.AuditLog` in Azure Tables.

    Args:
        database: The tables, shared with the other stores.
    """

    def __init__(self, database: AzureDatabase) -> None:
        self._database = database
        self._table = database.audit

    def head(self, chain: str) -> AuditHead:
        """See `core.ports.AuditLog.head`.

        Raises:
            StoreCorrupt: What is stored does not have the form of a head.
        """
        return load_head(_text(self._get(self._database.operation(), chain, _HEAD)))

    def append(self, entry: AuditEntry) -> None:
        """See `core.ports.AuditLog.append`.

        Raises:
            StoreCorrupt: What is stored does not have the form of a head, or there is an entry beyond it.
        """
        chain, row, text = entry.chain, _row(entry.sequence), dump_entry(entry)
        operation = self._database.operation()

        def landed() -> bool | None:
            found = self._get(operation, chain, row)
            # Entries are only ever added, never replaced.
            return writes_of(found) == [operation.write_id]

        head = self._get(operation, chain, _HEAD)
        while True:
            check_append(load_head(_text(head)), entry)
            puts = [
                _put(chain, _HEAD, dump_head(entry), head, operation),
                _put(chain, row, text, None, operation),
            ]
            if operation.write(self._table, puts, landed):
                return
            operation.start_over()
            # In this order: an entry that is there was there before the head is read, which every append moves.
            beyond, before = self._get(operation, chain, row), head
            head = self._get(operation, chain, _HEAD)
            if beyond is not None and _etag(head) == _etag(before):
                raise StoreCorrupt("there is an audit entry beyond the head of its chain")

    def read(self, chain: str, *, after: int = 0, limit: int = 100) -> Sequence[AuditEntry]:
        """See `core.ports.AuditLog.read`.

        The sequences of a chain have no gaps, so those that are asked for are known without any order. Only where some
        are missing is looked for what follows: at the end of the chain, and where somebody has taken entries out.
        """
        partition = key_of(chain)
        if limit <= 0:
            return []
        operation = self._database.operation()
        start = min(max(after, 0), MAX_COUNT)
        end = min(start + limit, MAX_COUNT)
        found = self._between(operation, partition, start, end)
        if len(found) < limit and end < MAX_COUNT:
            found |= self._between(operation, partition, end, MAX_COUNT)
        return [load_entry(chain, _sequence(row), _text(found[row])) for row in sorted(found)[:limit]]

    def _between(self, operation: Operation, partition: str, after: int, last: int) -> dict[str, Entity]:
        rows = f"RowKey gt '{_row(after)}' and RowKey le '{_row(last)}'"
        return {entity["RowKey"]: entity for entity in operation.query(self._table, partition, rows)}

    def _get(self, operation: Operation, chain: str, row: str) -> Entity | None:
        return operation.rows(self._table, key_of(chain), [row]).get(row)


def _row(sequence: int) -> str:
    return f"{sequence:020d}"


def _sequence(row: str) -> int | None:
    return int(row) if row.isascii() and row.isdecimal() else None


def _put(chain: str, row: str, text: str, replaces: Entity | None, operation: Operation) -> Put:
    entity = {"PartitionKey": key_of(chain), "RowKey": row, WRITES: operation.write_id, **pieces("entry", text)}
    return Put(entity, replaces)


def _etag(entity: Entity | None) -> str | None:
    return None if entity is None else etag_of(entity)


def _text(entity: Entity | None) -> str | None:
    if entity is None:
        return None
    return text_of(entity, "entry") or _NO_TEXT
