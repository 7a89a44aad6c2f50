"""Opens the audit chains of an embedded default for reading only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.bootstrap.local import SIGNING, STORE
from core.errors import StoreCorrupt
from core.service.audit import AuditTrail, AuditVerdict
from core.service.timekeeper import Timekeeper


@dataclass(frozen=True, slots=True)
class AuditReader:
    """The audit chains of a data directory, read and never written: for auditors.

    Attributes:
        trail: The chains; its store refuses to be written, and its signer to sign.
        list_ids: Tells the ids of all tenants.
        closer: Lets go of the store.
    """

    trail: AuditTrail
    list_ids: Callable[[], Sequence[str]]
    closer: Callable[[], None]

    def verify(self, chain: str, checkpoints: Sequence[str] = ()) -> AuditVerdict:
        """Check a chain; see `core.service.audit.AuditTrail.verify`.

        Raises:
            StoreUnavailable, StoreCorrupt: It cannot be read.
        """
        return self.trail.verify(chain, checkpoints=checkpoints)

    def tenants(self) -> Sequence[str]:
        """Every tenant's id, deleted ones included: their chains stay.

        Raises:
            StoreUnavailable, StoreCorrupt: They cannot be read.
        """
        return self.list_ids()

    def close(self) -> None:
        """Let go of the store."""
        self.closer()


def open_audit(data_dir: Path) -> AuditReader:
    """Open the audit chains of an embedded default without making, mending or locking anything, on any disk.

    `build` makes what is missing and wants a disk that can be written, which is right for serving and wrong for an
    auditor: where the evidence is gone, that must show, and a copy on a read-only disk must do.

    Raises:
        StoreCorrupt: The store or the signing keys are gone, or the store is damaged or not of this version.
        StoreUnavailable: It cannot be read here and now, or changes while it is.
    """
    from core.providers.local_signer import FILE, LocalSigner
    from core.providers.system_clock import SystemClock
    from core.stores.sqlite import SqliteAuditLog, SqliteDatabase, SqliteTenantStore

    for needed in (STORE, f"{SIGNING}/{FILE}"):
        if not (data_dir / needed).exists():
            raise StoreCorrupt(
                f"the data directory {data_dir} has lost {needed}: nothing can be verified",
                hint="restore it from a backup (a service with KEYSTEAD_STORE=memory keeps no store)",
            )
    database = SqliteDatabase(data_dir / STORE, read_only=True)
    tenant_store = SqliteTenantStore(database)
    signer = LocalSigner(data_dir / SIGNING, read_only=True)
    timekeeper = Timekeeper(SystemClock(), lambda _reason: None)
    trail = AuditTrail(SqliteAuditLog(database), tenant_store, signer, timekeeper.now)
    return AuditReader(trail, tenant_store.tenant_ids, database.close)
