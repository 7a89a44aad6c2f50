"""A façade whose answers are known in advance, for tests that compare bytes or need a façade that breaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from core.domain.audit import AuditEntry
from core.domain.checks import Check, Report, Result
from core.domain.key_policy import KeyPolicy, PolicyChange
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.domain.tenants import TenantRecord
from core.domain.withdrawals import StateChange
from core.errors import AccessDenied, KeysteadError, MessageInvalid, NotFound
from core.service.access import Caller, Operation, allowed
from core.service.keystead import Keystead
from core.service.results import (
    DataKeyGrant,
    DecryptItem,
    EncryptItem,
    Health,
    KeyConfigured,
    KeyExport,
    KeyStatus,
    MoveProgress,
    Receipt,
    ReceiptEntry,
    Rotation,
    SetupKit,
)
from core.service.setup_kits import Consent

WHEN = "2026-01-02T03:04:05.000000Z"
UUID_A = "11111111-2222-4333-8444-555555555555"
ARN = f"arn:aws:kms:eu-central-1:111122223333:key/{UUID_A}"
ROLE = "arn:aws:iam::111122223333:role/keystead"
VAULT, ENTRA = "https://acme-kv.vault.azure.net", "11112222-3333-4444-5555-666677778888"
KEY_ID = f"{VAULT}/keys/kek"
KEY_VERSION = f"{KEY_ID}/{'0123456789abcdef' * 2}"
TARGET = KeyTarget(ARN, ROLE, "production", WHEN, reversible=True)
REPORT = Report(
    (
        Check("reachable", Result.PASS, "the key answered"),
        Check("rotation", Result.WARN, "yearly rotation is off", "Turn it on."),
    )
)
DENIED = StateChange("change-1", WHEN, "active", "hold", "denied", cause="disabled", kek=ARN, request_id="kms-1", by="")
RECEIPT = ReceiptEntry("receipt-1", WHEN, ARN, "disabled", WHEN, WHEN, WHEN, reinstated="")


def record(tenant_id: str, display_name: str = "") -> TenantRecord:
    """A tenant's record with fixed times."""
    return TenantRecord(tenant_id, UUID_A, "local:platform", since=WHEN, created=WHEN, display_name=display_name)


class FakeKeystead:
    """Answers everything, authorises at admission only, "encrypts" by a prefix, and remembers its callers."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []
        self.breaks: Exception | None = None
        self.overhead = b"sealed:"
        self.targets: list[KeyTarget] = []
        self.setups: list[tuple[str, str]] = []
        self.consents: list[tuple[str, str, bool]] = []
        self.changes: dict[str, object] = {}
        self.policy_changes: list[PolicyChange] = []
        self.reasons: list[str] = []
        self.asked_for: list[str] = []

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

    def update_tenant(
        self,
        caller: Caller,
        tenant_id: str,
        *,
        display_name: str | None = None,
        offering: str | None = None,
        accept_unbound_policy: bool | None = None,
    ) -> TenantRecord:
        self._note(caller)
        self.changes = {"display_name": display_name, "offering": offering, "accepted": accept_unbound_policy}
        return replace(record(tenant_id, display_name or ""), offering=offering or "default")

    def configure_key(self, caller: Caller, tenant_id: str, target: KeyTarget) -> KeyConfigured:
        self.targets.append(target)
        return KeyConfigured(REPORT, self.key_status(caller, tenant_id))

    def validate_key(self, caller: Caller, tenant_id: str, target: KeyTarget) -> Report:
        self._note(caller)
        self.targets.append(target)
        return REPORT

    def revert_key(self, caller: Caller, tenant_id: str) -> KeyStatus:
        return self.key_status(caller, tenant_id)

    def check_key(self, caller: Caller, tenant_id: str) -> KeyStatus:
        return replace(self.key_status(caller, tenant_id), pending=None, move=None)

    def set_policy(self, caller: Caller, tenant_id: str, changes: PolicyChange) -> KeyStatus:
        self.policy_changes.append(changes)
        found = self.key_status(caller, tenant_id)
        return replace(found, policy=changes.apply(found.policy))

    def suspend_key(self, caller: Caller, tenant_id: str, reason: str = "") -> KeyStatus:
        self.reasons.append(reason)
        return replace(
            self.key_status(caller, tenant_id), state=State.SUSPENDED, may_read=False, may_write=False, cause="by hand"
        )

    def resume_key(self, caller: Caller, tenant_id: str) -> KeyStatus:
        return replace(self.key_status(caller, tenant_id), state=State.ACTIVE)

    def list_receipts(self, caller: Caller, tenant_id: str) -> Sequence[ReceiptEntry]:
        self._note(caller)
        return (RECEIPT, replace(RECEIPT, id="receipt-2", reinstated=WHEN))

    def receipt(self, caller: Caller, tenant_id: str, receipt_id: str) -> Receipt:
        self._note(caller)
        self.asked_for.append(receipt_id)
        if receipt_id == "nobody-s":
            raise NotFound("there is no such receipt")
        return Receipt(replace(RECEIPT, id=receipt_id), "e30.e30.c2ln")

    def key_setup(self, caller: Caller, tenant_id: str, provider: str, entra_tenant: str = "") -> SetupKit:
        self._note(caller)
        self.setups.append((provider, entra_tenant))
        step = {"title": "Set the key's policy", "text": "It names us.", "commands": ["aws kms put-key-policy"]}
        return SetupKit(tenant_id, provider, "keystead-x", ROLE, {"key_policy": {"Version": "2012-10-17"}}, (step,))

    def azure_consent(self, state: str, entra_tenant: str, *, consented: bool) -> Consent:
        self.consents.append((state, entra_tenant, consented))
        return Consent("acme", ENTRA, consented, "go on")

    def key_export(self, caller: Caller, tenant_id: str) -> KeyExport:
        self._note(caller)
        item = {"branch-key-id": {"S": UUID_A}, "enc": {"B": "AAAA"}}
        return KeyExport(tenant_id, "table", ARN, (UUID_A,), (item,))

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
            nickname="production",
            role_arn=ROLE,
            entra_tenant=ENTRA,
            kek_version=KEY_VERSION,
            kek_versions=(KEY_VERSION,),
            reversible=True,
            exclusive_from=WHEN,
            pending=TARGET,
            move=MoveProgress("local:platform", ARN, 1, 3),
            unreadable_versions=2,
            may_read=True,
            may_write=False,
            first_denial=WHEN,
            confirmed=WHEN,
            kms_code="DisabledException",
            request_id="kms-1",
            receipt=RECEIPT.id,
            falls_back=True,
            checked=WHEN,
            timeline=(DENIED,),
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
