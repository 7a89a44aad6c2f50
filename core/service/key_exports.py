"""Exports a tenant's branch key rows as stored: with them and its KEK a tenant reads its messages without us."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from core.domain.branch_keys import ACTIVE, BranchKeyRow
from core.service.results import KeyExport
from core.service.row_checks import RowChecks
from core.service.state_gate import StateGate


class KeyExports:
    """Makes exports.

    Args:
        gate: Reads the tenant's record.
        rows: Read and check the rows.
        table_name: The logical key store name.
    """

    def __init__(self, gate: StateGate, rows: RowChecks, table_name: str) -> None:
        self._gate = gate
        self._rows = rows
        self._table_name = table_name

    def export(self, tenant_id: str) -> KeyExport:
        """Every row of a tenant's branch keys, wrapped by its KEK. It holds no plain key.

        Raises:
            NotFound: There is no such tenant.
            StoreUnavailable, StoreCorrupt: The rows cannot be read, or one is refused.
        """
        view = self._gate.enter_any(tenant_id)
        record, items = self._gate.reread(view), []
        for branch_key_id in record.branch_keys:
            # The ACTIVE row first: a rotation in between must not leave it without its version.
            active = self._rows.read(view, branch_key_id, ACTIVE)
            if active is None and (branch_key_id != record.branch_key_id or record.sequence_floor > 0):
                raise self._rows.missing(tenant_id, branch_key_id, ACTIVE)
            rows = self._rows.versions(view, branch_key_id)
            items += [_item(stored.row) for stored in (*rows, *filter(None, (active,)))]
        return KeyExport(tenant_id, self._table_name, record.kek, record.branch_keys, tuple(items))


def _item(row: BranchKeyRow) -> dict[str, Any]:
    # The hierarchy version is the one number among the attributes (AWS Encryption SDK specification).
    item: dict[str, Any] = {
        name: {"N" if name == "hierarchy-version" else "S": value} for name, value in row.attributes().items()
    }
    return item | {"enc": {"B": b64encode(row.enc).decode()}}
