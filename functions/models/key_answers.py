"""Answers about a tenant's key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from functions.models.answers import Check
from functions.models.base import Model


class Policy(Model):
    """What a tenant may tune."""

    lease: float = Field(description="Seconds a cached branch key serves after its unwrap was asked for")
    outage_grace: float = Field(description="Seconds it serves if renewal meets silence")
    rotation_days: int = Field(description="Days after which a new branch key version is made")
    fallback: str = Field(
        description="`platform`: new data goes under the platform's key while the tenant's cannot be reached; or empty"
    )
    approval: str = Field(description="`second_person`: what weakens the tenant's control takes two people; or empty")


class PendingKey(Model):
    """A key that is scheduled."""

    kek: str
    role_arn: str
    entra_tenant: str
    nickname: str
    activation: str = Field(description="UTC, ISO 8601")
    reversible: bool


class Move(Model):
    """A change of key under way."""

    moving_from: str
    moving_to: str
    rewrapped: int = Field(description="Branch key versions that lie under the new key")
    total: int


class StateChange(Model):
    """A change of a key's state."""

    id: str = Field(description="Random; who hears of a change twice knows by it")
    at: str = Field(description="UTC, ISO 8601")
    before: str
    after: str
    signal: str = Field(description="What led to it, such as `denied`, `confirmed` or `granted`")
    cause: str = Field(description="Of a denial, such as `disabled` or `policy`; or empty")
    kek: str = Field(description="The key it is about, with its version where the provider's keys have versions")
    request_id: str = Field(
        description="The KMS's id of the request it hangs on, or empty: the tenant's log has it too"
    )
    by: str = Field(description="Subject of who ordered it, or empty where nobody did")


class KeyStatus(Model):
    """Status of a tenant's key."""

    tenant_id: str
    state: str
    cause: str
    since: str = Field(description="UTC, ISO 8601")
    wording: str
    remedy: str
    provider: str
    kek: str
    platform_key: bool
    branch_key_id: str
    active_version: str
    active_sequence: int
    active_created: str
    versions: int
    rotation_due: str
    policy: Policy
    bounds: Mapping[str, float] = Field(description="Published worst cases in seconds")
    warnings: Sequence[str]
    nickname: str = Field(description="The tenant's name for its key, or empty")
    role_arn: str = Field(description="AWS: the role through which it is reached, or empty")
    entra_tenant: str = Field(description="Azure: id of the Entra tenant that the vault belongs to, or empty")
    kek_version: str = Field(
        description="Where the provider's keys have versions: the one that new data keys hang on; else empty"
    )
    kek_versions: Sequence[str] = Field(
        description="Likewise: every version of the tenant's keys that stored rows still name. They must stay enabled"
    )
    reversible: bool = Field(description="Whether going back to the platform's key is possible")
    exclusive_from: str = Field(
        description="UTC: from when on no backup holds a row under the former key; empty if none ever did, or while a "
        "change is under way"
    )
    pending: PendingKey | None = Field(description="What comes into force at its activation date")
    move: Move | None = Field(description="How far a change of key has got")
    unreadable_versions: int = Field(description="Versions that wait under a former key which refuses")
    may_read: bool = Field(description="Whether data may be decrypted in this state")
    may_write: bool = Field(description="Whether data may be encrypted in this state")
    first_denial: str = Field(description="UTC: when the KMS first refused, while a withdrawal lasts; else empty")
    confirmed: str = Field(description="Likewise: when the refusal was confirmed")
    kms_code: str = Field(description="Likewise: the KMS's own code of the first refusal")
    request_id: str = Field(description="Likewise: the KMS's id of the request that it refused first")
    receipt: str = Field(description="Likewise: id of the receipt, once it is issued")
    falls_back: bool = Field(description="Whether new data goes under the platform's key for now")
    checked: str = Field(description="UTC: when a scheduled check last asked the key, or empty")
    timeline: Sequence[StateChange] = Field(description="The latest changes of state, oldest first")


class Report(Model):
    """An examination of a key, in the order its checks were made."""

    ok: bool = Field(description="Whether the key may be put to use: no check failed or is outstanding")
    checks: Sequence[Check]


class KeyConfigured(Model):
    """What configuring a key did."""

    checks: Sequence[Check] = Field(description="The examination it passed; empty where a change was only finished")
    key: KeyStatus


class ReceiptEntry(Model):
    """A receipt of a withdrawal, as it is listed. Instants are UTC, ISO 8601."""

    id: str
    issued: str = Field(description="When it was signed")
    kek: str = Field(description="The key that was withdrawn, with its version where there are versions")
    cause: str = Field(description="What the KMS's refusal amounts to, such as `disabled` or `policy`")
    first_denial: str = Field(description="When the KMS first refused")
    confirmed: str = Field(description="When the refusal was confirmed")
    not_served_after: str = Field(description="From when on nothing of the tenant's data was served")
    reinstated: str = Field(description="When the key served again, or empty")
    holds_until: str = Field(
        description="That, less what clocks may differ: until then the statement holds for sure; or empty"
    )


class ReceiptList(Model):
    """Every receipt of a tenant, the newest last."""

    receipts: Sequence[ReceiptEntry]


class Receipt(ReceiptEntry):
    """A receipt with the signed statement."""

    statement: str = Field(description="Compact JWS; keys at /.well-known/jwks.json")


class SetupStep(Model):
    """One thing to do."""

    title: str
    text: str
    commands: Sequence[str] = Field(description="For a shell with the AWS CLI or the Azure CLI")


class SetupKit(Model):
    """What a tenant does in its own cloud to let this service use a key."""

    tenant_id: str
    provider: str
    external_id: str = Field(
        description="AWS: what this service presents when it assumes the tenant's role. Azure: what the key carries in "
        "its tag `keystead-proof`"
    )
    identity: str = Field(description="Whom the tenant lets in. AWS: an ARN. Azure: the application")
    documents: Mapping[str, Any] = Field(description="JSON documents by name, such as policies")
    steps: Sequence[SetupStep]


class Consent(Model):
    """What came back from an administrator's consent. A browser brought it, so it proves nothing; nothing changed."""

    tenant_id: str
    entra_tenant: str = Field(description="The Entra tenant whose administrator was asked, or empty if it is not told")
    consented: bool = Field(description="Whether the administrator let this service's application in")
    next: str = Field(description="What to do now")


class KeyExport(Model):
    """A tenant's branch key rows, wrapped as they are stored."""

    tenant_id: str
    table_name: str = Field(description="The logical key store name; part of every wrap")
    kek: str
    branch_key_ids: Sequence[str] = Field(description="The primary first")
    items: Sequence[Mapping[str, Any]] = Field(description="Items of the AWS branch key store, in DynamoDB's JSON")


class Rotation(Model):
    """A new ACTIVE branch key version."""

    tenant_id: str
    branch_key_id: str
    version: str
    sequence: int
    created: str
