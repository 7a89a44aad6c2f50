"""The service's public operations: what every host offers, each through the one gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from core.domain.audit import AuditEntry
from core.domain.checks import Report
from core.domain.key_target import KeyTarget
from core.domain.tenants import SYSTEM, TenantRecord, check_tenant_id
from core.errors import InvalidRequest, KeysteadError, ProviderSignal, ServiceFault, StoreUnavailable
from core.ports import AuditLog, Signer, TenantStore
from core.service.access import AccessGate, Caller, Op, Operation
from core.service.audit import AuditTrail
from core.service.encryption import EncryptionService
from core.service.handed_out_keys import HandedOutKeys
from core.service.key_configuration import KeyConfiguration
from core.service.key_exports import KeyExports
from core.service.results import (
    DataKeyGrant,
    DecryptItem,
    EncryptItem,
    Health,
    KeyConfigured,
    KeyExport,
    KeyStatus,
    Rotation,
    SetupKit,
)
from core.service.rotation import RotationService
from core.service.setup_kits import Consent, SetupKits
from core.service.status import StatusService, with_found
from core.service.tenants import Tenants

MAX_BATCH = 100
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the operations are made of."""

    gate: AccessGate
    tenants: Tenants
    encryption: EncryptionService
    handed_out: HandedOutKeys
    rotation: RotationService
    status: StatusService
    key_configuration: KeyConfiguration
    setup_kits: SetupKits
    key_exports: KeyExports
    audit: AuditTrail
    signer: Signer
    tenant_store: TenantStore
    audit_log: AuditLog


class Keystead:
    """All public operations. Each raises `KeysteadError`s that callers may see, `AccessDenied` among them.

    Args:
        parts: The services behind the operations.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def admit(self, caller: Caller, operation: Operation, tenant_id: str | None) -> None:
        """Refuse a caller before its request is read; the operation itself checks again. See `AccessGate.admit`."""
        self._parts.gate.admit(caller, operation, tenant_id)

    def create_tenant(self, caller: Caller, tenant_id: str, *, display_name: str = "") -> tuple[TenantRecord, bool]:
        """Create a tenant, or find that it exists; see `Tenants.create`."""
        with self._parts.gate.enter(caller, Op.TENANT_CREATE, check_tenant_id(tenant_id)) as facts:
            record, facts["created"] = self._parts.tenants.create(tenant_id, display_name)
            return record, facts["created"]

    def list_tenants(self, caller: Caller, *, after: str = "", limit: int = 100) -> Sequence[TenantRecord]:
        """A page of tenants; see `Tenants.page`."""
        with self._parts.gate.enter(caller, Op.TENANT_LIST, None):
            return self._parts.tenants.page(after, limit)

    def show_tenant(self, caller: Caller, tenant_id: str) -> TenantRecord:
        """One tenant; see `Tenants.read`."""
        with self._parts.gate.enter(caller, Op.TENANT_SHOW, tenant_id):
            return self._parts.tenants.read(tenant_id)

    def key_status(self, caller: Caller, tenant_id: str) -> KeyStatus:
        """Status of a tenant's key; see `StatusService.status`."""
        with self._parts.gate.enter(caller, Op.KEY_STATUS, tenant_id):
            return self._parts.status.status(tenant_id)

    def update_tenant(
        self,
        caller: Caller,
        tenant_id: str,
        *,
        display_name: str | None = None,
        offering: str | None = None,
        accept_unbound_policy: bool | None = None,
    ) -> TenantRecord:
        """Change what the operator knows of a tenant; see `Tenants.update`."""
        with self._parts.gate.enter(caller, Op.TENANT_UPDATE, check_tenant_id(tenant_id)) as facts:
            changes = {
                "display_name": display_name,
                "offering": offering,
                "unbound_policy_accepted": accept_unbound_policy,
            }
            changes = {name: value for name, value in changes.items() if value is not None}
            facts.update(changes)
            return self._parts.tenants.update(tenant_id, **changes)

    def validate_key(self, caller: Caller, tenant_id: str, target: KeyTarget) -> Report:
        """Examine a key without changing anything; see `KeyConfiguration.validate`."""
        with self._parts.gate.enter(caller, Op.KEY_VALIDATE, tenant_id) as facts:
            facts.update(kek=target.locator)
            report = self._parts.key_configuration.validate(tenant_id, target)
            facts.update(passed=report.ok, failed=[check.name for check in report.failed()])
            return report

    def configure_key(self, caller: Caller, tenant_id: str, target: KeyTarget) -> KeyConfigured:
        """Put a tenant under a KEK of its own, or under another; see `KeyConfiguration.configure`."""
        with self._parts.gate.enter(caller, Op.KEY_CONFIGURE, tenant_id) as facts:
            facts.update(kek=target.locator, role_arn=target.role_arn, entra_tenant=target.entra_tenant)
            facts.update(activation=target.activation)
            report = self._parts.key_configuration.configure(tenant_id, target, facts)
            return KeyConfigured(report, self._parts.status.status(tenant_id))

    def revert_key(self, caller: Caller, tenant_id: str) -> KeyStatus:
        """Cancel a scheduled KEK, or go back to the platform's; see `KeyConfiguration.revert`."""
        with self._parts.gate.enter(caller, Op.KEY_REVERT, tenant_id) as facts:
            self._parts.key_configuration.revert(tenant_id, facts)
            return self._parts.status.status(tenant_id)

    def check_key(self, caller: Caller, tenant_id: str) -> KeyStatus:
        """Do what is due for a tenant's key; see `KeyConfiguration.check`."""
        with self._parts.gate.enter(caller, Op.KEY_CHECK, check_tenant_id(tenant_id)) as facts:
            self._parts.key_configuration.check(tenant_id, facts)
            return with_found(self._parts.status.status(tenant_id), facts)

    def key_setup(self, caller: Caller, tenant_id: str, provider: str, entra_tenant: str = "") -> SetupKit:
        """What the tenant does in its own cloud; see `SetupKits.kit`."""
        with self._parts.gate.enter(caller, Op.KEY_SETUP, tenant_id):
            return self._parts.setup_kits.kit(tenant_id, provider, entra_tenant)

    def azure_consent(self, state: str, entra_tenant: str, *, consented: bool) -> Consent:
        """What to tell an administrator whom Entra sends back; see `SetupKits.consent`. Open to all."""
        return self._parts.setup_kits.consent(state, entra_tenant, consented=consented)

    def key_export(self, caller: Caller, tenant_id: str) -> KeyExport:
        """Everything needed to read messages without this service; see `KeyExports.export`."""
        with self._parts.gate.enter(caller, Op.KEY_EXPORT, tenant_id) as facts:
            export = self._parts.key_exports.export(tenant_id)
            facts.update(rows=len(export.items))
            return export

    def rotate(self, caller: Caller, tenant_id: str) -> Rotation:
        """Rotate a tenant's branch key; see `RotationService.rotate`."""
        with self._parts.gate.enter(caller, Op.KEY_ROTATE, tenant_id) as facts:
            rotation = self._parts.rotation.rotate(tenant_id)
            facts.update(version=rotation.version, sequence=rotation.sequence)
            return rotation

    def encrypt(self, caller: Caller, tenant_id: str, plaintext: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypt one value; see `EncryptionService.encrypt`."""
        with self._parts.gate.enter(caller, Op.ENCRYPT, tenant_id) as facts:
            facts.update(items=1, bytes=len(plaintext))
            return self._parts.encryption.encrypt(tenant_id, plaintext, context)

    def decrypt(
        self, caller: Caller, tenant_id: str, message: bytes, context: Mapping[str, str], *, foreign: bool = False
    ) -> bytes:
        """Decrypt one message; see `EncryptionService.decrypt`."""
        with self._parts.gate.enter(caller, Op.DECRYPT, tenant_id) as facts:
            facts.update(items=1, bytes=len(message))
            return self._parts.encryption.decrypt(tenant_id, message, context, foreign=foreign)

    def encrypt_many(self, caller: Caller, tenant_id: str, items: Sequence[EncryptItem]) -> list[bytes | KeysteadError]:
        """Encrypt up to 100 values; an item's failure takes its place in the results, our own fault fails all.

        Raises:
            InvalidRequest: No item, or too many.
        """
        encrypt = self._parts.encryption.encrypt
        with self._parts.gate.enter(caller, Op.ENCRYPT, tenant_id) as facts:
            facts.update(items=len(items), bytes=sum(len(item.plaintext) for item in items))
            results = _each(items, lambda item: encrypt(tenant_id, item.plaintext, item.context))
            facts["failed"] = sum(isinstance(result, KeysteadError) for result in results)
            return results

    def decrypt_many(self, caller: Caller, tenant_id: str, items: Sequence[DecryptItem]) -> list[bytes | KeysteadError]:
        """Decrypt up to 100 messages; an item's failure takes its place in the results, our own fault fails all.

        Raises:
            InvalidRequest: No item, or too many.
        """
        decrypt = self._parts.encryption.decrypt
        with self._parts.gate.enter(caller, Op.DECRYPT, tenant_id) as facts:
            facts.update(items=len(items), bytes=sum(len(item.message) for item in items))
            results = _each(items, lambda item: decrypt(tenant_id, item.message, item.context, foreign=item.foreign))
            facts["failed"] = sum(isinstance(result, KeysteadError) for result in results)
            return results

    def new_data_key(self, caller: Caller, tenant_id: str, context: Mapping[str, str]) -> DataKeyGrant:
        """Hand out a data key; see `HandedOutKeys.grant`."""
        with self._parts.gate.enter(caller, Op.DATA_KEY_GRANT, tenant_id):
            return self._parts.handed_out.grant(tenant_id, context)

    def open_data_key(
        self, caller: Caller, tenant_id: str, encrypted_data_key: bytes, context: Mapping[str, str]
    ) -> bytes:
        """Open a handed-out data key; see `HandedOutKeys.open`."""
        with self._parts.gate.enter(caller, Op.DATA_KEY_OPEN, tenant_id):
            return self._parts.handed_out.open(tenant_id, encrypted_data_key, context)

    def audit_entries(
        self, caller: Caller, tenant_id: str, *, after: int = 0, limit: int = 100
    ) -> Sequence[AuditEntry]:
        """A page of a tenant's audit chain; see `AuditTrail.read`."""
        with self._parts.gate.enter(caller, Op.AUDIT_READ, tenant_id):
            self._parts.tenants.read(tenant_id)
            return self._parts.audit.read(tenant_id, after=after, limit=limit)

    def audit_checkpoints(self, caller: Caller, tenant_id: str) -> Sequence[str]:
        """Signed checkpoints of a tenant's audit chain, oldest first; see `AuditTrail.checkpoints`."""
        with self._parts.gate.enter(caller, Op.AUDIT_CHECKPOINTS, tenant_id):
            self._parts.tenants.read(tenant_id)
            return self._parts.audit.checkpoints(tenant_id)

    def health(self) -> Health:
        """Whether the stores answer. Open to all; tells no more than that."""
        checks = {
            "tenant_store": _probe(lambda: self._parts.tenant_store.read(SYSTEM, "health")),
            "audit_log": _probe(lambda: self._parts.audit_log.head(SYSTEM)),
        }
        return Health(all(result == "ok" for result in checks.values()), checks)

    def jwks(self) -> Mapping[str, Any]:
        """The keys that verify this service's signed statements. Open to all.

        Raises:
            StoreUnavailable: They cannot be read now.
        """
        try:
            return self._parts.signer.jwks()
        except ProviderSignal:
            raise StoreUnavailable("the signing keys cannot be read now") from None


def _each(items: Sequence[T], act: Callable[[T], bytes]) -> list[bytes | KeysteadError]:
    if not 1 <= len(items) <= MAX_BATCH:
        raise InvalidRequest(f"a batch holds 1 to {MAX_BATCH} items")
    results: list[bytes | KeysteadError] = []
    for item in items:
        try:
            results.append(act(item))
        except ServiceFault:
            raise
        except KeysteadError as error:
            results.append(error)
    return results


def _probe(call: Callable[[], object]) -> str:
    try:
        call()
    except KeysteadError as error:
        return error.code
    return "ok"
