"""A simulated fleet over one store with a clock of its own: several processes, several tenants, and what they ask for.

Time passes only by `Fleet.pass_time`, which lets every process that is not frozen run its watch each second and its
check of all each minute. What the KMS answered and what callers got is kept, and compared with what is promised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.bootstrap import Application, Config, Leaves, assemble
from core.domain.branch_keys import ACTIVE, VERSION_PREFIX
from core.domain.canaries import Canary
from core.domain.kek import Kek
from core.domain.key_policy import KeyPolicy
from core.domain.key_target import KeyTarget
from core.domain.message_header import parse_header
from core.stores.memory import MemoryAuditLog, MemoryKeyStore
from tests.service.revocation.simulation_clouds import (
    CANARY,
    KEKS,
    TENANTS,
    VAULT_CANARY,
    VAULT_KEK,
    Call,
    Connector,
    Kms,
    Mood,
    Provider,
)
from tests.service.revocation.simulation_processes import Process
from tests.service.revocation.simulation_promises import ALLOWED, Broken, Promises
from tests.service.revocation.simulation_stores import Shared
from tests.service.world import (
    ENTRA_TENANT,
    OPERATOR,
    PLATFORM,
    MemorySigner,
    RecordedEvents,
    ScriptedConnector,
    ScriptedKms,
    caller,
)

CANARIES = (Canary(CANARY.locator), Canary(VAULT_CANARY.locator, entra_tenant=ENTRA_TENANT))


@dataclass
class Fleet:
    """Everything there is."""

    processes: int = 3
    canary: bool = True
    lease: float = 60
    outage_grace: float = 900
    fallback: str = ""
    sessions: bool = False
    """Whether sessions with the clouds are used again, for a lease."""
    vault: bool = False
    """Whether a tenant begins with a KEK whose versions are named."""
    time: float = 1_800_000_000.0
    own_fault: str = ""
    off: bool = False
    """Whether a clock was off by more than is allowed for: turns that it wrote may come late, and nothing else."""
    refusals: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kms = ScriptedKms()
        self.moods: dict[Kek, Mood] = {}
        for kek in (PLATFORM, CANARY, VAULT_CANARY, *(kek for keks in KEKS.values() for kek in keks)):
            self.kms.keys[kek.locator] = bytes(len(kek.locator)).ljust(32, b"k")[:32]
            self.moods[kek] = Mood()
        self.promises = Promises(self)
        self.versions: list[Kek] = []
        self.new_version(VAULT_CANARY)
        self.new_version()
        self.tenant_store, self.key_store = Shared(self), MemoryKeyStore()
        self.audit_log, self.events, self.signer = MemoryAuditLog(), RecordedEvents(), MemorySigner()
        self.messages: dict[str, list[tuple[bytes, bytes]]] = {tenant: [] for tenant in TENANTS}
        self.fleet = [Process(self) for _ in range(self.processes)]
        first = self.fleet[0].app.keystead
        for tenant in TENANTS:
            first.create_tenant(OPERATOR, tenant)
            first.configure_key(caller(tenant), tenant, target(KEKS[tenant][self.vault]))
        for process in self.fleet:
            for tenant in TENANTS:
                self.encrypt(process, tenant)
            self.pass_time(7)  # leases and looks at the state must not end together

    def assemble(self, process: Process) -> Application:
        """A process's application."""
        kms = Kms(self, process)
        connector = Connector(kms, ScriptedConnector(self.kms))
        leaves = Leaves(
            clock=process.clock,
            key_store=self.key_store,
            tenant_store=process.store,
            audit_log=self.audit_log,
            signer=self.signer,
            events=self.events,
            platform=Provider(kms),
            platform_kek=PLATFORM,
            connectors={"local": connector, "azure_key_vault": connector},
        )
        config = Config(
            policy=KeyPolicy(lease=self.lease, outage_grace=self.outage_grace, fallback=self.fallback),
            offerings={"default": frozenset({"local", "azure_key_vault"})},
            canaries=CANARIES if self.canary else (),
        )
        return assemble(config, leaves)

    def kek(self, tenant: str) -> Kek:
        """A tenant's KEK in force, as recorded."""
        return Kek(self.record(tenant)["kek"])

    def keks(self, tenant: str) -> list[Kek]:
        """A tenant's KEKs, and their versions."""
        return [kek for kek in (*KEKS[tenant], *self.versions) if kek.key in KEKS[tenant]]

    def in_trouble(self, tenant: str) -> bool:
        """Whether any of a tenant's KEKs is off, or our own access: what asks them may rightly end what is cached."""
        return bool(self.own_fault) or any(self.moods[kek].cause for kek in self.keks(tenant))

    def active(self, tenant: str) -> Kek:
        """The KEK, and the version of it, that a tenant's ACTIVE row lies under."""
        stored = self.key_store.read(self.record(tenant)["branch_key_id"], ACTIVE)
        return self.kek(tenant) if stored is None else stored.row.kek

    def mood(self, kek: Kek) -> Mood:
        """How a KEK is treated, or a version: off with its key, or by itself."""
        whole = self.moods[kek.key]
        return whole if whole.cause else self.moods[kek]

    def record(self, tenant: str) -> Mapping[str, Any]:
        """A tenant's record as stored."""
        return self.tenant_store.bodies[tenant]

    def pass_time(self, seconds: float) -> None:
        """Let time pass for everybody who is not frozen: by the second where somebody has something to do."""
        end = self.time + seconds
        while self.time < end:
            awake = [process.idle_until() for process in self.fleet if not process.frozen]
            idle = min(awake, default=end) - self.time
            self.time = min(self.time + max(1.0, idle), end)
            for process in self.fleet:
                process.background()
            self.promises.look()

    def new_version(self, whose: Kek = VAULT_KEK) -> None:
        """A KEK whose versions are named gets a new one."""
        kek = Kek(f"{whose}/{len(self.versions) + 1:032x}")
        self.kms.keys[kek.locator], self.moods[kek] = bytes(kek.locator[-32:], "ascii"), Mood()
        self.versions.append(kek)

    def encrypt(self, process: Process, tenant: str) -> None:
        """A caller encrypts."""
        must = self.promises.must_fall_back(process, tenant)
        plaintext = f"{tenant} {len(self.messages[tenant])}".encode()
        encrypt = process.app.encryption.encrypt
        message = self._operate(process, tenant, ACTIVE, lambda: encrypt(tenant, plaintext, {}))
        if message is None and must and self.promises.must_fall_back(process, tenant) and self._idle(process):
            raise Broken("refused to encrypt, against the tenant's choice of a fallback")
        if message is not None:
            self.messages[tenant].append((message, plaintext))
            self.promises.served(process, tenant, row_of(message))
            self.promises.written(process, tenant, message, must_fall_back=must)

    def decrypt(self, process: Process, tenant: str, which: int) -> None:
        """A caller decrypts one of its messages."""
        message, plaintext = self.messages[tenant][which % len(self.messages[tenant])]
        decrypt, must = process.app.encryption.decrypt, self.promises.must_read(process, tenant, message)
        found = self._operate(process, tenant, row_of(message), lambda: decrypt(tenant, message, {}))
        if found is None and must and self.promises.must_read(process, tenant, message) and self._idle(process):
            raise Broken("refused to decrypt what lies under the platform's key")
        if found is not None:
            if found != plaintext:
                raise Broken("a message decrypts to something else")
            self.promises.plaintext(process, tenant, message)
            self.promises.served(process, tenant, row_of(message))

    def _idle(self, process: Process) -> bool:
        return not (process.frozen or process.busy)

    def _operate(self, process: Process, tenant: str, row: str, act: Callable[[], bytes]) -> bytes | None:
        if not self._idle(process):
            return None
        process.busy = True
        must = self.promises.must_serve(process, tenant, row)
        process.tenant = tenant
        try:
            return act()
        except ALLOWED as error:
            if must and self.promises.must_serve(process, tenant, row):
                raise Broken(f"refused inside the grace: {error!r} {error.hint}") from error
            return None
        finally:
            process.busy, process.tenant = False, ""


def target(kek: Kek) -> KeyTarget:
    """A KEK as a tenant names it."""
    return KeyTarget(kek.locator, entra_tenant=ENTRA_TENANT if kek.versioned else "")


def row_of(message: bytes) -> str:
    """Type of the row that a message hangs on."""
    return VERSION_PREFIX + parse_header(message).edks[0].version_id
