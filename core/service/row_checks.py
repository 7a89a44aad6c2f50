"""Checks stored branch key rows before anything is done with them: MAC, owner, KEK, and age (DESIGN 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from core.domain.branch_keys import ACTIVE, StoredRow
from core.errors import Silence, StoreCorrupt, StoreUnavailable
from core.service.alarms import Alarms
from core.service.row_macs import RowMacs
from core.service.state_gate import StateGate
from core.service.tenant_view import TenantView

if TYPE_CHECKING:
    from core.ports import KeyStore

READS = 8
"""How often rows are read while others keep changing the tenant's key."""
Found = TypeVar("Found")


class RowChecks:
    """Reads rows and refuses those that this service did not write, or that are of an earlier time.

    Args:
        store: Holds the rows.
        macs: Check them.
        gate: Reads a tenant's record anew where it may be older than the row.
        alarms: Tell the operator of corrupt rows.
        raise_floor: Records the highest sequence seen of a tenant's branch key: tenant id, branch key id,
            sequence.
    """

    def __init__(
        self,
        store: KeyStore,
        macs: RowMacs,
        gate: StateGate,
        alarms: Alarms,
        raise_floor: Callable[[str, str, int], None],
    ) -> None:
        self._store = store
        self._macs = macs
        self._gate = gate
        self._alarms = alarms
        self._raise_floor = raise_floor

    def read(self, view: TenantView, branch_key_id: str, row_type: str) -> StoredRow | None:
        """Read a row and check it.

        Returns:
            The row, or None where there is none.

        Raises:
            StoreCorrupt: A check failed; the operator is alarmed.
            StoreUnavailable, VendorFault, KeyUnreachable: It cannot be read or checked now.
        """
        # Taken before the row is read: what another thread puts in its place meanwhile is no reason to refuse it.
        lowest = view.lowest(branch_key_id)
        stored = self._settled(
            view,
            lambda: self._store.read(branch_key_id, row_type),
            lambda found: found is not None and bool(self._misplaced(view, found)),
        )
        if stored is None:
            return None
        self._check(view, stored, branch_key_id, row_type)
        if row_type == ACTIVE and stored.mac is not None and branch_key_id == view.record.branch_key_id:
            if stored.mac.sequence < lowest:
                raise self.corrupt(view.tenant_id, stored, "it is older than one seen before")
            view.saw(branch_key_id, stored.mac.sequence)
            if stored.mac.sequence > view.record.sequence_floor:
                self._raise_floor(view.tenant_id, branch_key_id, stored.mac.sequence)
        return stored

    def versions(self, view: TenantView, branch_key_id: str) -> Sequence[StoredRow]:
        """Every version of a branch key, checked.

        Raises:
            As `read`.
        """
        rows = self._settled(
            view,
            lambda: self._store.list_versions(branch_key_id),
            lambda found: any(self._misplaced(view, stored) for stored in found),
        )
        for stored in rows:
            self._check(view, stored, branch_key_id, stored.row.type)
        return rows

    def _settled(self, view: TenantView, read: Callable[[], Found], misplaced: Callable[[Found], bool]) -> Found:
        # The record at hand may be of before a change of key, or several. What does not fit is wrong only if the
        # record was the same before it was read and after.
        for _ in range(READS):
            known = view.record
            found = read()
            if not misplaced(found) or self._gate.reread(view) == known:
                return found
        raise StoreUnavailable("the tenant's key keeps changing while its rows are read", retry_after=1)

    def _check(self, view: TenantView, stored: StoredRow, branch_key_id: str, row_type: str) -> None:
        row, mac = stored.row, stored.mac
        problem = self._misplaced(view, stored)
        if mac is None or not self._macs.holds(stored):
            problem = "its MAC is missing or wrong"
        elif (row.branch_key_id, row.type, row.tenant_id) != (branch_key_id, row_type, view.tenant_id):
            problem = "it does not belong here"
        if problem:
            raise self.corrupt(view.tenant_id, stored, problem)

    def _misplaced(self, view: TenantView, stored: StoredRow) -> str:
        binding = view.record.bindings(stored.row.branch_key_id).get(stored.row.kek.key.locator)
        if binding is None:
            return "it names a key that is not in the tenant's current set"
        if stored.mac is not None and stored.mac.revision < binding.since:
            return "it is of a time before the tenant's key came into force"
        return ""

    def corrupt(self, tenant_id: str, stored: StoredRow, problem: str) -> StoreCorrupt:
        """Alarm the operator of a row, and give the error to raise."""
        row = stored.row
        about = f"{row.branch_key_id} {row.type}"
        self._alarms("store_corrupt", tenant_id, about, problem=problem, kek=row.kek.locator)
        return StoreCorrupt(f"a stored branch key row is refused: {problem}", alarmed=True)

    def contradicted(self, tenant_id: str, stored: StoredRow) -> Silence:
        """Alarm the operator of a KMS that unwraps a row to another key than before: that is no answer."""
        about = f"{stored.row.branch_key_id} {stored.row.type}"
        self._alarms("kms_contradicts", tenant_id, about, kek=stored.row.kek.locator)
        return Silence("the key management system gives one key, and then another")

    def missing(self, tenant_id: str, branch_key_id: str, row_type: str) -> StoreCorrupt:
        """Alarm the operator of a row that must be there and is not, and give the error to raise."""
        self._alarms("store_corrupt", tenant_id, f"{branch_key_id} {row_type}", problem="it is missing")
        return StoreCorrupt("a stored branch key row is missing", alarmed=True)
