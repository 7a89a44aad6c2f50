"""Rotates branch keys, and tells when the next rotation is due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from core.domain.branch_keys import ACTIVE, CREATE_TIME_FORMAT, StoredRow
from core.domain.tenants import TenantRecord
from core.errors import Conflict, KeyWithheld, KeyWriteBlocked
from core.service.branch_key_writer import BranchKeyWriter
from core.service.kek_versions import KekVersions
from core.service.key_mover import KeyMover
from core.service.results import Rotation
from core.service.row_checks import RowChecks
from core.service.state_gate import StateGate
from core.service.tenant_view import TenantView
from core.service.tenants import Tenants


class RotationService:
    """Makes new ACTIVE branch key versions.

    Args:
        gate: Checks states.
        rows: Read and check the row in force.
        writer: Writes the new one.
        mover: Raises fences that a change of configuration left behind.
        tenants: Keep the sequence floor.
        versions: Decide which version of the KEK to use.
    """

    def __init__(
        self,
        gate: StateGate,
        rows: RowChecks,
        writer: BranchKeyWriter,
        mover: KeyMover,
        tenants: Tenants,
        versions: KekVersions,
    ) -> None:
        self._gate = gate
        self._rows = rows
        self._writer = writer
        self._mover = mover
        self._tenants = tenants
        self._versions = versions
        self.on_withheld: Callable[[str], None] = _nobody_to_tell
        """Called when a KEK refused, or was suspended: sees to it that the key is checked. Must not raise."""

    def rotate(self, tenant_id: str) -> Rotation:
        """Give a tenant a new ACTIVE branch key version; old messages stay readable, none is rewritten.

        Raises:
            NotFound: There is no such tenant.
            Conflict: Another rotation or change of configuration was first, or a change of key is under way.
            KeyWithheld, Unavailable: The tenant's key does not serve.
            ServiceFault: A stored row is refused.
        """
        view = self._gate.enter(tenant_id, "write")
        record = self._gate.reread(view)
        view.require("write")
        if record.moving_from is not None:
            # A new version would be born under the new key, whether or not the former one agrees.
            raise Conflict("a change of key is under way", hint="finish it first: POST key/check")
        self._mover.settle(record)
        try:
            current = self._current(view)
            kek = self._versions.target(record, current.row.kek).kek
            active = self._writer.rotate(record, current, kek)
        except KeyWithheld as error:
            if not isinstance(error, KeyWriteBlocked):
                self._gate.purge(tenant_id)  # the KMS said no: whatever it was asked, what is cached serves no more
                self._tenants.interrupt(tenant_id)  # nor elsewhere, should the KMS be silent when it is asked again
                self.on_withheld(tenant_id)
            raise
        sequence = active.mac.sequence if active.mac else 0
        view.saw(record.branch_key_id, sequence)
        self._tenants.raise_floor(tenant_id, record.branch_key_id, sequence)
        if kek != current.row.kek:
            self._mover.keep_probe(tenant_id, kek)
        self._gate.lapse(tenant_id)  # no purge: the KMS may fall silent now, and what is held must serve
        return Rotation(tenant_id, active.row.branch_key_id, active.row.version_id, sequence, active.row.create_time)

    def current(self, tenant_id: str) -> StoredRow:
        """The verified ACTIVE row of a tenant.

        Raises:
            As `rotate`.
        """
        return self._current(self._gate.enter_any(tenant_id))

    def _current(self, view: TenantView) -> StoredRow:
        record = view.record
        stored = self._rows.read(view, record.branch_key_id, ACTIVE)
        if stored is None and record.sequence_floor == 0:
            self._writer.create(record)
            stored = self._rows.read(view, record.branch_key_id, ACTIVE)
        if stored is None:
            raise self._rows.missing(record.tenant_id, record.branch_key_id, ACTIVE)
        return stored


def _nobody_to_tell(_tenant_id: str) -> None:
    """Who hears of a refusal until `RotationService.on_withheld` is set."""


def due(active: StoredRow, record: TenantRecord) -> str:
    """When a tenant's next branch key version is due, UTC.

    Args:
        active: The ACTIVE row.
        record: The tenant's record, for its rotation period.
    """
    made = datetime.strptime(active.row.create_time, CREATE_TIME_FORMAT).replace(tzinfo=UTC)
    return (made + timedelta(days=record.policy.rotation_days)).strftime(CREATE_TIME_FORMAT)
