"""A façade whose answers are known in advance, for tests that compare bytes or need a façade that breaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from core.domain.audit import AuditEntry
from core.domain.states import State
from core.domain.tenants import KeyPolicy, TenantRecord
from core.errors import AccessDenied, KeysteadError, MessageInvalid
from core.service.access import Caller, Operation, allowed
from core.service.keystead import Keystead
from core.service.results import DataKeyGrant, DecryptItem, EncryptItem, Health, KeyStatus, Rotation

WHEN = "2026-01-02T03:04:05.000000Z"
UUID_A = "11111111-2222-4333-8444-555555555555"


def record(tenant_id: str, display_name: str = "") -> TenantRecord:
    """A tenant's record with fixed times."""
    return TenantRecord(tenant_id, UUID_A, "local:platform", since=WHEN, created=WHEN, display_name=display_name)


class FakeKeystead:
    """Answers everything, authorises at admission only, "encrypts" by a prefix, and remembers its callers."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []
        self.breaks: Exception | None = None
        self.overhead = b"sealed:"

    def as_keystead(self) -> Keystead:
        """Itself, in the type that the handler takes."""
        return cast(Keystead, self)

    def _note(self, caller: Caller) -> None:
        self.callers.append(caller)
        if self.breaks is not None:
            raise self.breaks

    def admit(self, caller: Caller, operation: Operation, tenant_id: str | None) -> None:
        if not allowed(caller, operation, tenant_id):
            raise AccessDenied("the token does not allow this")

    def create_tenant(self, caller: Caller, tenant_id: str, *, display_name: str = "") -> tuple[TenantRecord, bool]:
        self._note(caller)
        return record(tenant_id, display_name), True

    def list_tenants(self, caller: Caller, *, after: str = "", limit: int = 100) -> Sequence[TenantRecord]:
        self._note(caller)
        return [record(name) for name in ("acme", "beta", "gamma") if name > after][:limit]

    def show_tenant(self, caller: Caller, tenant_id: str) -> TenantRecord:
        self._note(caller)
        return record(tenant_id)

    def key_status(self, caller: Caller, tenant_id: str) -> KeyStatus:
        self._note(caller)
        return KeyStatus(
            tenant_id=tenant_id,
            state=State.PLATFORM,
            cause="",
            since=WHEN,
            wording="fine",
            remedy="",
            provider="local",
            kek="local:platform",
            platform_key=True,
            branch_key_id=UUID_A,
            active_version=UUID_A,
            active_sequence=1,
            active_created=WHEN,
            versions=1,
            rotation_due=WHEN,
            policy=KeyPolicy(),
            bounds={"kms_answers": 60.0},
            warnings=("none really",),
        )

    def rotate(self, caller: Caller, tenant_id: str) -> Rotation:
        self._note(caller)
        return Rotation(tenant_id, UUID_A, UUID_A, 2, WHEN)

    def encrypt(self, caller: Caller, tenant_id: str, plaintext: bytes, context: Mapping[str, str]) -> bytes:
        self._note(caller)
        return self.overhead + plaintext

    def decrypt(
        self, caller: Caller, tenant_id: str, message: bytes, context: Mapping[str, str], *, foreign: bool = False
    ) -> bytes:
        self._note(caller)
        if not message.startswith(self.overhead):
            raise MessageInvalid("not a message of the fake")
        return message.removeprefix(self.overhead)

    def encrypt_many(self, caller: Caller, tenant_id: str, items: Sequence[EncryptItem]) -> list[bytes | KeysteadError]:
        return [self.encrypt(caller, tenant_id, item.plaintext, item.context) for item in items]

    def decrypt_many(self, caller: Caller, tenant_id: str, items: Sequence[DecryptItem]) -> list[bytes | KeysteadError]:
        out: list[bytes | KeysteadError] = []
        for item in items:
            try:
                out.append(self.decrypt(caller, tenant_id, item.message, item.context))
            except KeysteadError as error:
                out.append(error)
        return out

    def new_data_key(self, caller: Caller, tenant_id: str, context: Mapping[str, str]) -> DataKeyGrant:
        self._note(caller)
        return DataKeyGrant(bytes(32), b"edk", {**context, "tenant_id": tenant_id})

    def open_data_key(
        self, caller: Caller, tenant_id: str, encrypted_data_key: bytes, context: Mapping[str, str]
    ) -> bytes:
        self._note(caller)
        return bytes(32)

    def audit_entries(
        self, caller: Caller, tenant_id: str, *, after: int = 0, limit: int = 100
    ) -> Sequence[AuditEntry]:
        self._note(caller)
        return [AuditEntry(tenant_id, after + 1, WHEN, "tenant.create", "op", "ok", {"n": 1})][:limit]

    def audit_checkpoints(self, caller: Caller, tenant_id: str) -> Sequence[str]:
        self._note(caller)
        return ["a.b.c"]

    def health(self) -> Health:
        return Health(ok=self.breaks is None, checks={"store": "ok"})

    def jwks(self) -> Mapping[str, Any]:
        return {"keys": []}
