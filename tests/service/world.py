"""A whole application over memory stores, with a clock, a KMS and stores that a test can disturb."""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.bootstrap import Application, Config, Leaves, assemble
from core.domain.branch_keys import StoredRow
from core.domain.checks import Check, Report, Result
from core.domain.context import serialise
from core.domain.kek import Kek, KekDescription, KeyAccess, UnwrappedKey, WrappedKey
from core.domain.key_policy import KeyPolicy
from core.domain.offerings import Offerings
from core.domain.states import State
from core.domain.tenants import RECORD, TenantRecord
from core.errors import Denial, Silence, StoreUnavailable, WrapMismatch
from core.ports import Document, KeyProvider
from core.service.access import Caller, Permission
from core.stores.memory import MemoryAuditLog, MemoryKeyStore, MemoryTenantStore

PLATFORM = Kek("local:platform")
OTHER_KEK = Kek("local:customer-acme")
THIRD_KEK = Kek("local:customer-new")
VAULT_KEK = Kek("https://acme-kv.vault.azure.net/keys/kek")
"""One whose versions are named."""
ENTRA_TENANT = "72f988bf-0000-4000-8000-00000000acce"


class FakeClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.wall_time = 1_800_000_000.0
        self.boot_time = 1000.0
        self.reads = 0

    def wall(self) -> float:
        self.reads += 1
        return self.wall_time

    def boot(self) -> float:
        return self.boot_time

    def advance(self, seconds: float) -> None:
        self.wall_time += seconds
        self.boot_time += seconds


class ScriptedKms:
    """A KeyProvider with keys in memory; ``trouble`` runs before each answer and may raise or wait.

    ``versions`` are those of `VAULT_KEK`, the oldest first; ``unfit`` says why one of them does not wrap.
    """

    def __init__(self) -> None:
        self.keys = {kek.locator: os.urandom(32) for kek in (PLATFORM, OTHER_KEK, THIRD_KEK)}
        self.versions: list[Kek] = []
        self.unfit: dict[Kek, str] = {}
        self.stale = 0
        self.new_version()
        self.unwraps: list[Mapping[str, str]] = []
        self.wraps = 0
        self.trouble: Callable[[str, Mapping[str, str]], None] = lambda operation, context: None
        self.after_unwrap: Callable[[], None] = lambda: None
        self.server_time: float | None = None
        self.proved_ago = 0.0
        self._lock = Lock()

    def new_version(self) -> Kek:
        """Rotate `VAULT_KEK`."""
        kek = Kek(f"{VAULT_KEK}/{len(self.versions) + 1:032x}")
        self.keys[kek.locator] = os.urandom(32)
        self.versions.append(kek)
        return kek

    def wrap(self, kek: Kek, key: bytes, context: Mapping[str, str]) -> WrappedKey:
        self.trouble("wrap", context)
        if kek in self.unfit:
            raise Denial("no", cause=self.unfit[kek], kms_code="Unfit")
        self.wraps += 1
        nonce = os.urandom(12)
        return WrappedKey(kek, nonce + AESGCM(self.keys[kek.locator]).encrypt(nonce, key, serialise(context)))

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> UnwrappedKey:
        with self._lock:
            self.unwraps.append(dict(context))
        self.trouble("unwrap", context)
        try:
            gcm = AESGCM(self.keys[wrapped.kek.locator])
            key = gcm.decrypt(wrapped.ciphertext[:12], wrapped.ciphertext[12:], serialise(context))
        except (InvalidTag, ValueError):
            raise WrapMismatch("no match") from None
        self.after_unwrap()
        return UnwrappedKey(key, self.server_time, self.proved_ago)

    def describe(self, kek: Kek) -> KekDescription:
        if not kek.versioned:
            return KekDescription(kek, True, "Enabled")
        found = self.versions[-1 - self.stale] if kek == VAULT_KEK else kek
        self.trouble("describe", {"kms-arn": found.locator})
        made = float(self.versions.index(found))
        cause = self.unfit.get(found, "")
        return KekDescription(found, not cause, cause or "enabled", made, cause)

    def branch_unwraps(self) -> int:
        """Unwraps of branch keys so far, the row MAC key's left out."""
        return sum("branch-key-id" in context for context in self.unwraps)


class ScriptedConnector:
    """A KeyConnector to a `ScriptedKms`; ``report`` is what examinations find."""

    def __init__(self, kms: ScriptedKms) -> None:
        self.kms = kms
        self.accesses: list[KeyAccess] = []
        self.report = Report((Check("round_trip", Result.PASS, "what was wrapped comes back"),))

    def connect(self, access: KeyAccess) -> KeyProvider:
        self.accesses.append(access)
        return self.kms

    def examine(self, access: KeyAccess, context: Mapping[str, str]) -> Report:
        self.accesses.append(access)
        return self.report

    def setup_kit(self, tenant_id: str, external_id: str, entra_tenant: str = "") -> Mapping[str, Any]:
        return {"identity": "scripted", "documents": {}, "steps": []}


class ShakyTenantStore(MemoryTenantStore):
    """A tenant store that can fall silent, for everything or for writes."""

    def __init__(self) -> None:
        super().__init__()
        self.silent = False
        self.unwritable = False
        self.spoil = False
        self.reads = 0

    def read(self, tenant_id: str, name: str) -> Document | None:
        self.reads += name == RECORD
        if self.silent:
            raise StoreUnavailable("the store does not answer")
        document = super().read(tenant_id, name)
        if self.spoil and document is not None and name == RECORD:
            return replace(document, body={**document.body, "state": "purple"})
        return document

    def write(self, tenant_id: str, name: str, body: Mapping[str, Any], *, expected_revision: int) -> Document:
        if self.unwritable:
            raise StoreUnavailable("the store takes nothing")
        return super().write(tenant_id, name, body, expected_revision=expected_revision)


class ShakyKeyStore(MemoryKeyStore):
    """A key store that can fall silent, counts reads, and whose reads can be tampered with."""

    def __init__(self) -> None:
        super().__init__()
        self.silent = False
        self.reads: list[str] = []
        self.tamper: Callable[[str, StoredRow | None], StoredRow | None] = lambda row_type, stored: stored

    def read(self, branch_key_id: str, row_type: str) -> StoredRow | None:
        self.reads.append(row_type)
        if self.silent:
            raise StoreUnavailable("the store does not answer")
        return self.tamper(row_type, super().read(branch_key_id, row_type))


class RecordedEvents:
    """Keeps events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []

    def emit(self, event_type: str, subject: str, data: Mapping[str, Any]) -> None:
        self.events.append((event_type, subject, dict(data)))

    def types(self) -> Sequence[str]:
        return [event_type for event_type, _, _ in self.events]


class MemorySigner:
    """Signs with a key in memory; ``silent`` does not."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.silent = False

    def sign(self, payload: Mapping[str, Any]) -> str:
        if self.silent:
            raise Silence("the signing key does not answer")
        head = _base64url(json.dumps({"alg": "EdDSA", "kid": "memory"}).encode())
        signed = f"{head}.{_base64url(json.dumps(dict(payload)).encode())}"
        return f"{signed}.{_base64url(self._private.sign(signed.encode()))}"

    def jwks(self) -> Mapping[str, Any]:
        x = _base64url(self._private.public_key().public_bytes_raw())
        return {"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "memory", "x": x}]}


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class World:
    """The application and everything a test can disturb."""

    policy: KeyPolicy = field(default_factory=KeyPolicy)
    config: Config | None = None
    clock: FakeClock = field(default_factory=FakeClock)
    kms: ScriptedKms = field(default_factory=ScriptedKms)
    tenants: ShakyTenantStore = field(default_factory=ShakyTenantStore)
    keys: ShakyKeyStore = field(default_factory=ShakyKeyStore)
    audit_log: MemoryAuditLog = field(default_factory=MemoryAuditLog)
    events: RecordedEvents = field(default_factory=RecordedEvents)
    signer: MemorySigner = field(default_factory=MemorySigner)

    def __post_init__(self) -> None:
        self.connector = ScriptedConnector(self.kms)
        self.app = self.process()

    def process(self) -> Application:
        """Another process over the same stores and KMS, with caches of its own."""
        leaves = Leaves(
            clock=self.clock,
            key_store=self.keys,
            tenant_store=self.tenants,
            audit_log=self.audit_log,
            signer=self.signer,
            events=self.events,
            platform=self.kms,
            platform_kek=PLATFORM,
            connectors={"local": self.connector, "azure_key_vault": self.connector},
        )
        config = self.config or Config(policy=self.policy)
        offerings: Offerings = {"default": frozenset({"local", "azure_key_vault"}), "basic": frozenset()}
        return assemble(replace(config, offerings=offerings), leaves)

    def tenant(self, tenant_id: str = "acme") -> TenantRecord:
        """Create a tenant."""
        record, _ = self.app.tenants.create(tenant_id)
        return record

    def change(self, tenant_id: str = "acme", **fields: Any) -> TenantRecord:
        """Rewrite a tenant's record as another process would."""
        records = self.app.records
        found = records.read(tenant_id)
        assert found is not None
        record = replace(found[0], **fields)
        records.write(record, expected_revision=found[1])
        return record

    def walk_to(self, *states: State, tenant_id: str = "acme") -> None:
        """Take a tenant through states."""
        for state in states:
            self.change(tenant_id, state=state)

    def encrypt(self, plaintext: bytes = b"secret", context: Mapping[str, str] | None = None) -> bytes:
        return self.app.encryption.encrypt("acme", plaintext, context or {})

    def decrypt(self, message: bytes, context: Mapping[str, str] | None = None) -> bytes:
        return self.app.encryption.decrypt("acme", message, context or {})


def caller(tenant_id: str | None = "acme", *scopes: str, subject: str = "alice") -> Caller:
    """A caller with given scopes, or with every scope of a tenant's own."""
    granted = frozenset(scopes) or frozenset(Permission) - {Permission.PLATFORM_OPERATE}
    return Caller(subject, "test", tenant_id, frozenset(granted), request_id="req-1")


OPERATOR = Caller("operator", "test", None, frozenset({Permission.PLATFORM_OPERATE}), request_id="req-0")
