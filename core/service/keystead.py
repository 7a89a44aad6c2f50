"""The service's public operations: what every host offers, each through the one gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from core.domain.audit import AuditEntry
from core.domain.audit_copies import ChainCopy
from core.domain.tenants import SYSTEM, TenantRecord, check_tenant_id
from core.errors import InvalidRequest, KeysteadError, ProviderSignal, ServiceFault, StoreUnavailable
from core.service.access import Caller, Op, Operation
from core.service.key_operations import KeyOperations
from core.service.results import (
    DataKeyGrant,
    DecryptItem,
    EncryptItem,
    Health,
)
from core.service.revocation.store_restores import AfterRestore

MAX_BATCH = 100
T = TypeVar("T")


class Keystead(KeyOperations):
    """All public operations. Each raises `KeysteadError`s that callers may see, `AccessDenied` among them.

    Args:
        parts: The services behind the operations.
    """

    def admit(self, caller: Caller, operation: Operation, tenant_id: str | None) -> None:
        """Refuse a caller before its request is read; the operation itself checks again. See `AccessGate.admit`."""
        self._parts.gate.admit(caller, operation, tenant_id)

    def time_left(self, seconds: float) -> AbstractContextManager[None]:
        """Keep what this thread does inside the block within a host's remaining time; see `KmsBudget.within`."""
        return self._parts.budget.within(seconds)

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

    def store_restored(self, caller: Caller, chain: str, copy: ChainCopy | None = None) -> AfterRestore:
        """Put a tenant, or the operator's chain, in order after a restore; see `StoreRestores`."""
        tenant_id = None if chain == SYSTEM else check_tenant_id(chain)
        gate, restores = self._parts.gate, self._parts.store_restores
        gate.admit(caller, Op.STORE_RESTORED, tenant_id)
        # The gate tells of failures in the very chain that is to be put back: nothing could be, after that.
        try:
            back = restores.put_back(chain, copy)
        except KeysteadError as error:
            if tenant_id is not None:
                held = restores.hold(tenant_id, caller.subject, end_receipts=True) is not None
                how = "a key of its own is in hold all the same" if held else "its key could NOT be put into hold"
                error.hint = f"{how}; run this again with a copy that holds, before the service starts"
            raise
        with gate.enter(caller, Op.STORE_RESTORED, tenant_id) as facts:
            return restores.order(chain, caller.subject, copy, back, facts)

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
