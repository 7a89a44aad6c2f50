"""Tenant records as stored: authenticated, so that whoever can write the store cannot name another KEK or branch key.

The record decides under which KEK the service makes keys; without a MAC of its own, a writer of the store could have
the service wrap a tenant's next branch key under the writer's KEK. A genuine record of an earlier time still passes:
a rollback shows against the branch key rows and the audit chain, not here.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from core.domain.policy_caps import UNCAPPED, PolicyCaps
from core.domain.tenants import MAC_FIELD, RECORD, TenantRecord
from core.errors import Conflict, StoreCorrupt
from core.service.alarms import Alarms
from core.service.row_macs import RowMacs

if TYPE_CHECKING:
    from core.ports import Document, TenantStore

ATTEMPTS = 5
_LABEL = b"keystead tenant record v1\n"


class TenantRecords:
    """Reads and writes authenticated tenant records.

    Args:
        store: Holds them.
        macs: Holds the key.
        alarms: Tell the operator of a record that fails.
        caps: The operator's, by which every record read is bound.
    """

    def __init__(self, store: TenantStore, macs: RowMacs, alarms: Alarms, caps: PolicyCaps = UNCAPPED) -> None:
        self._store = store
        self._macs = macs
        self._alarms = alarms
        self._caps = caps

    def read(self, tenant_id: str) -> tuple[TenantRecord, int] | None:
        """A tenant's record and its revision, or None.

        Raises:
            StoreCorrupt: It cannot be read, or fails its MAC; the operator is alarmed.
            StoreUnavailable, VendorFault, KeyUnreachable: It cannot be read or checked now.
        """
        document = self._store.read(tenant_id, RECORD)
        return None if document is None else (self._checked(document), document.revision)

    def page(self, *, after: str, limit: int) -> Sequence[TenantRecord]:
        """Records in order of tenant id, tombstones among them.

        Raises:
            As `read`.
        """
        return [self._checked(document) for document in self._store.list_tenants(after=after, limit=limit)]

    def ids(self, *, after: str, limit: int) -> Sequence[str]:
        """Ids of tenants in order, whatever is in their records, tombstones among them.

        Raises:
            StoreUnavailable, StoreCorrupt: They cannot be read.
        """
        return [document.tenant_id for document in self._store.list_tenants(after=after, limit=limit)]

    def write(self, record: TenantRecord, *, expected_revision: int) -> int:
        """Store a record.

        Returns:
            Its new revision.

        Raises:
            Conflict: The stored revision is another, or the store refuses the change.
            StoreUnavailable, StoreCorrupt, VendorFault, KeyUnreachable: It cannot be authenticated or stored now.
        """
        body = record.to_body()
        stored = {**body, MAC_FIELD: self._mac(body)}
        return self._store.write(record.tenant_id, RECORD, stored, expected_revision=expected_revision).revision

    def change(self, tenant_id: str, change: Callable[[TenantRecord], TenantRecord | None]) -> TenantRecord | None:
        """Rewrite a record as it is now, reading it again whenever somebody else was first.

        Args:
            tenant_id: The tenant.
            change: Gives the record to store, or None to leave it as it is. May be called several times.

        Returns:
            The record as it is afterwards, or None if there is none.

        Raises:
            Conflict: Others kept changing it, or the store refuses the change.
            As `write` besides.
        """
        attempts = ATTEMPTS
        while True:
            found = self.read(tenant_id)
            if found is None:
                return None
            changed = change(found[0])
            if changed is None or changed == found[0]:
                return found[0]
            try:
                self.write(changed, expected_revision=found[1])
            except Conflict:
                attempts -= 1
                if not attempts:
                    raise
            else:
                return changed

    def _checked(self, document: Document) -> TenantRecord:
        body = {name: value for name, value in document.body.items() if name != MAC_FIELD}
        found = document.body.get(MAC_FIELD)
        if not isinstance(found, str) or not hmac.compare_digest(found.encode(), self._mac(body).encode()):
            raise self._corrupt(document, "its MAC is missing or wrong")
        record = TenantRecord.from_body(body)
        if record.tenant_id != document.tenant_id:
            raise self._corrupt(document, "it belongs to another tenant")
        return record if self._caps == UNCAPPED else replace(record, caps=self._caps)

    def _mac(self, body: Mapping[str, Any]) -> str:
        text = json.dumps(dict(body), sort_keys=True, separators=(",", ":"))
        return hmac.new(self._macs.key(), _LABEL + text.encode(), sha256).hexdigest()

    def _corrupt(self, document: Document, problem: str) -> StoreCorrupt:
        self._alarms("store_corrupt", document.tenant_id, "tenant record", problem=problem)
        return StoreCorrupt(f"a stored tenant record is refused: {problem}", alarmed=True)
