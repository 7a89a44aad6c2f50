"""The composition root: the only module that knows every leaf."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from core.domain.kek import Kek, ProviderName
from core.domain.message import DEFAULT_FRAME_LENGTH
from core.domain.tenants import SYSTEM, KeyPolicy
from core.errors import InvalidRequest, Silence, StoreCorrupt, StoreUnavailable
from core.ports import AuditLog, Clock, Events, KeyProvider, KeyStore, Signer, TenantStore
from core.service.access import AccessGate
from core.service.alarms import Alarms
from core.service.audit import AuditTrail, AuditVerdict
from core.service.branch_key_writer import BranchKeyWriter
from core.service.branch_keys import BranchKeys
from core.service.encryption import CacheLimits, EncryptionService
from core.service.handed_out_keys import HandedOutKeys
from core.service.keystead import Keystead, Parts
from core.service.providers import Providers
from core.service.refusals import Refusals
from core.service.rotation import RotationService
from core.service.row_macs import DOCUMENT as ROW_MAC_KEY
from core.service.row_macs import RowMacs
from core.service.state_gate import StateGate
from core.service.status import StatusService
from core.service.tenant_records import TenantRecords
from core.service.tenants import Tenants
from core.service.timekeeper import Timekeeper

PLATFORM_KEK = "platform"
STORE, SIGNING, KEKS = "keystead.db", "signing", "keks"
"""What the embedded default keeps in its data directory."""


@dataclass(frozen=True, slots=True)
class Config:
    """How a deployment is put together. Seconds unless named.

    Attributes:
        data_dir: Where the embedded default keeps its keys and store; needed for ``sqlite``.
        store: ``sqlite`` or ``memory``; the latter forgets everything when the process ends.
        table_name: Logical name of the branch key store. Part of every wrap: chosen once, never changed.
        state_age: How long a tenant's state counts without another look.
        store_silence: How long the last state counts if the store does not answer.
        policy: Knobs a new tenant starts with.
        frame_length: Bytes of plaintext per frame of new messages.
        cache: Limits of the data key caches.
        max_tenants: Most tenants whose state is kept in memory.
        max_branch_keys: Most unwrapped branch keys kept in memory.
    """

    data_dir: Path | None = None
    store: Literal["sqlite", "memory"] = "sqlite"
    table_name: str = "keystead-branch-keys"
    state_age: float = 10
    store_silence: float = 30
    policy: KeyPolicy = field(default_factory=KeyPolicy)
    frame_length: int = DEFAULT_FRAME_LENGTH
    cache: CacheLimits = field(default_factory=CacheLimits)
    max_tenants: int = 10_000
    max_branch_keys: int = 10_000


@dataclass(frozen=True, slots=True)
class Leaves:
    """The leaves a deployment stands on.

    Attributes:
        clock: Reads the clocks.
        key_store: Holds branch key rows.
        tenant_store: Holds tenants' documents.
        audit_log: Holds audit chains.
        signer: Signs statements.
        events: Takes events.
        providers: Key providers by name.
        platform_kek: The platform's own KEK.
        closers: Called in order when the application closes.
    """

    clock: Clock
    key_store: KeyStore
    tenant_store: TenantStore
    audit_log: AuditLog
    signer: Signer
    events: Events
    providers: Mapping[ProviderName, KeyProvider]
    platform_kek: Kek
    closers: tuple[Callable[[], None], ...] = ()


@dataclass(frozen=True, slots=True)
class Application:
    """Everything that was put together; hosts use `keystead`, tools the rest."""

    config: Config
    leaves: Leaves
    keystead: Keystead
    encryption: EncryptionService
    branch_keys: BranchKeys
    records: TenantRecords
    tenants: Tenants
    rotation: RotationService
    audit: AuditTrail
    gate: StateGate
    refusals: Refusals

    def close(self) -> None:
        """Write out what is pending and let go of the leaves."""
        self.refusals.flush()
        for close in self.leaves.closers:
            close()


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


def build(config: Config) -> Application:
    """Put the embedded default together, creating its keys on first use. Safe for several processes at once.

    Raises:
        InvalidRequest: The configuration is contradictory.
        KeysteadError: The data directory cannot be used; the message says why.
    """
    return assemble(config, local_leaves(config))


def local_leaves(config: Config) -> Leaves:
    """The leaves of the embedded default.

    Raises:
        As `build`.
    """
    # Leaves are imported here so that a deployment loads only its own.
    from core.providers.event_log import EventLog
    from core.providers.local import LocalKeyProvider
    from core.providers.local_kms import LocalKms
    from core.providers.local_signer import LocalSigner
    from core.providers.system_clock import SystemClock

    if config.data_dir is None:
        raise InvalidRequest("the embedded default needs a data directory")
    try:
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"the data directory cannot be made: {error.strerror}") from None
    clock = SystemClock()
    kek_dir = config.data_dir / KEKS
    signer = LocalSigner(config.data_dir / SIGNING)
    events = EventLog(clock)
    providers: dict[ProviderName, KeyProvider] = {"local": LocalKeyProvider(kek_dir)}
    if config.store == "memory":
        from core.stores.memory import MemoryAuditLog, MemoryKeyStore, MemoryTenantStore

        platform_kek = LocalKms(kek_dir).ensure(PLATFORM_KEK)
        return Leaves(
            clock, MemoryKeyStore(), MemoryTenantStore(), MemoryAuditLog(), signer, events, providers, platform_kek
        )
    from core.stores.sqlite import SqliteAuditLog, SqliteDatabase, SqliteKeyStore, SqliteTenantStore

    database = SqliteDatabase(config.data_dir / STORE)
    tenant_store = SqliteTenantStore(database)
    kms = LocalKms(kek_dir)
    if tenant_store.read(SYSTEM, ROW_MAC_KEY) is None:
        platform_kek = kms.ensure(PLATFORM_KEK)
    else:
        # A new KEK would open nothing that this store holds: say so instead of making one.
        platform_kek = Kek(f"local:{PLATFORM_KEK}")
        try:
            found = {description.kek for description in kms.describe()}
        except Silence:
            found = set()
        if platform_kek not in found:
            raise StoreCorrupt(
                "the platform's key file is missing beside a store that needs it",
                hint="restore the directory keks from the same backup as keystead.db",
            )
    return Leaves(
        clock,
        SqliteKeyStore(database),
        tenant_store,
        SqliteAuditLog(database),
        signer,
        events,
        providers,
        platform_kek,
        closers=(database.close,),
    )


def assemble(config: Config, leaves: Leaves) -> Application:
    """Put the service together over given leaves.

    Raises:
        InvalidRequest: The configuration is out of range.
    """
    config.policy.check()
    if not 0 < config.state_age <= config.store_silence:
        raise InvalidRequest("state_age must be above 0 and not above store_silence")
    timekeeper = Timekeeper(leaves.clock, lambda reason: _distrust_clock(reason, gate, alarms))
    alarms = Alarms(leaves.events, timekeeper.now)
    providers = Providers(leaves.providers, leaves.platform_kek)
    macs = RowMacs(leaves.tenant_store, providers, config.table_name)
    records = TenantRecords(leaves.tenant_store, macs, alarms)
    gate = StateGate(
        records,
        timekeeper,
        state_age=config.state_age,
        store_silence=config.store_silence,
        limit=config.max_tenants,
    )
    writer = BranchKeyWriter(leaves.key_store, providers, macs, timekeeper.now, config.table_name)
    tenants = Tenants(records, writer, providers, timekeeper, config.policy)
    branch_keys = BranchKeys(
        store=leaves.key_store,
        writer=writer,
        providers=providers,
        macs=macs,
        gate=gate,
        timekeeper=timekeeper,
        alarms=alarms,
        raise_floor=tenants.raise_floor,
        table_name=config.table_name,
        limit=config.max_branch_keys,
    )
    encryption = EncryptionService(gate, branch_keys, timekeeper, limits=config.cache, frame_length=config.frame_length)
    rotation = RotationService(gate, branch_keys, writer, tenants)
    audit = AuditTrail(leaves.audit_log, leaves.tenant_store, leaves.signer, timekeeper.now)
    refusals = Refusals(audit, timekeeper.now)
    parts = Parts(
        gate=AccessGate(audit, refusals, alarms),
        tenants=tenants,
        encryption=encryption,
        handed_out=HandedOutKeys(gate, branch_keys, timekeeper),
        rotation=rotation,
        status=StatusService(tenants, rotation, leaves.key_store, providers, timekeeper, state_age=config.state_age),
        audit=audit,
        signer=leaves.signer,
        tenant_store=leaves.tenant_store,
        audit_log=leaves.audit_log,
    )
    return Application(
        config, leaves, Keystead(parts), encryption, branch_keys, records, tenants, rotation, audit, gate, refusals
    )


def _distrust_clock(reason: str, gate: StateGate, alarms: Alarms) -> None:
    gate.purge_all()
    alarms(reason, SYSTEM, "clock", action="every cached key was purged")
