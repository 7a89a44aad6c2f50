"""The leaves of the embedded default: key files, a store on this machine, its clock."""

from __future__ import annotations

from core.bootstrap.clouds import cloud_connectors
from core.bootstrap.parts import Config, Leaves
from core.bootstrap.signing import build_signer
from core.domain.kek import Kek
from core.domain.tenants import SYSTEM
from core.errors import InvalidRequest, Silence, StoreCorrupt, StoreUnavailable
from core.service.kms_budget import KmsBudget
from core.service.row_macs import DOCUMENT as ROW_MAC_KEY

PLATFORM_KEK = "platform"
STORE, SIGNING, KEKS = "keystead.db", "signing", "keks"
"""What the embedded default keeps in its data directory."""


def local_leaves(config: Config) -> Leaves:
    """The leaves of the embedded default.

    Raises:
        As `build`.
    """
    # Leaves are imported here so that a deployment loads only its own.
    from core.providers.event_log import EventLog
    from core.providers.local import LocalKeyProvider
    from core.providers.local_kms import LocalKms
    from core.providers.system_clock import SystemClock

    if config.data_dir is None:
        raise InvalidRequest("the embedded default needs a data directory")
    try:
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"the data directory cannot be made: {error.strerror}") from None
    clock = SystemClock()
    kek_dir = config.data_dir / KEKS
    events = EventLog(clock)
    platform = LocalKeyProvider(kek_dir)
    budget = KmsBudget(clock.boot)
    signer, close_signer = build_signer(config, config.data_dir / SIGNING, clock, budget)
    connectors, close_connectors = cloud_connectors(config, clock, budget)
    close_clouds = (*close_connectors, *close_signer)
    if config.store == "memory":
        from core.stores.memory import MemoryAuditLog, MemoryKeyStore, MemoryTenantStore

        platform_kek = LocalKms(kek_dir).ensure(PLATFORM_KEK)
        return Leaves(
            clock,
            MemoryKeyStore(),
            MemoryTenantStore(),
            MemoryAuditLog(),
            signer,
            events,
            platform,
            platform_kek,
            connectors,
            budget,
            closers=close_clouds,
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
            database.close()
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
        platform,
        platform_kek,
        connectors,
        budget,
        closers=(*close_clouds, database.close),
    )
