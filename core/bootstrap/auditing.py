"""Opens the audit chains of an embedded default for reading only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.bootstrap.local import SIGNING, STORE
from core.errors import StoreCorrupt, StoreUnavailable
from core.ports import Signer
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


def open_audit(data_dir: Path, public_keys: Sequence[Mapping[str, Any]] = ()) -> AuditReader:
    """Open the audit chains of an embedded default without making, mending or locking anything, on any disk.

    `build` makes what is missing and wants a disk that can be written, which is right for serving and wrong for an
    auditor: where the evidence is gone, that must show, and a copy on a read-only disk must do.

    Args:
        data_dir: The data directory.
        public_keys: JWKs of keys that signed checkpoints, besides those of the directory's own key file. Where they
            are given there need not be such a file: a deployment that signs in a KMS has none.

    Raises:
        StoreCorrupt: The store is gone, or it is damaged or not of this version; or no public key is left.
        StoreUnavailable: It cannot be read here and now, or changes while it is.
        InvalidRequest: One of the public keys is none.
    """
    from core.providers.system_clock import SystemClock
    from core.stores.sqlite import SqliteAuditLog, SqliteDatabase, SqliteTenantStore

    _check_there(data_dir, STORE, "restore it from a backup (a service with KEYSTEAD_STORE=memory keeps no store)")
    signer = _public_signer(data_dir, public_keys)
    database = SqliteDatabase(data_dir / STORE, read_only=True)
    tenant_store = SqliteTenantStore(database)
    timekeeper = Timekeeper(SystemClock(), lambda _reason: None)
    trail = AuditTrail(SqliteAuditLog(database), tenant_store, signer, timekeeper.now)
    return AuditReader(trail, tenant_store.tenant_ids, database.close)


@dataclass(frozen=True, slots=True)
class _PublicKeys:
    """`core.ports.Signer` of public halves only: verifies, and signs nothing."""

    key_set: Mapping[str, Any]

    def sign(self, _payload: Mapping[str, Any]) -> str:
        """Refuse.

        Raises:
            StoreUnavailable: Always.
        """
        raise StoreUnavailable("the signing keys were opened to be read only")

    def jwks(self) -> Mapping[str, Any]:
        """The public keys."""
        return self.key_set


def _public_signer(data_dir: Path, public_keys: Sequence[Mapping[str, Any]]) -> Signer:
    from core.providers._jws import key_set, public_jwks
    from core.providers.local_signer import FILE, LocalSigner

    if not public_keys:
        hint = "restore it from a backup; if the service signs in a KMS, give its public keys: what it answers at"
        _check_there(data_dir, f"{SIGNING}/{FILE}", f"{hint} /.well-known/jwks.json")
    if (data_dir / SIGNING / FILE).exists():
        return LocalSigner(data_dir / SIGNING, read_only=True, retired=public_keys)
    first, *others = public_jwks(public_keys)
    return _PublicKeys(key_set(first, others))


def _check_there(data_dir: Path, needed: str, hint: str) -> None:
    if not (data_dir / needed).exists():
        raise StoreCorrupt(f"the data directory {data_dir} has lost {needed}: nothing can be verified", hint=hint)
