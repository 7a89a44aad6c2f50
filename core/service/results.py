"""What the service's operations return: plain values for the hosts to encode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.domain.checks import Report
from core.domain.key_policy import KeyPolicy
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.domain.withdrawals import StateChange


@dataclass(frozen=True, slots=True)
class MoveProgress:
    """How far a change of KEK has got.

    Attributes:
        moving_from: Locator of the former KEK.
        moving_to: Locator of the new one.
        rewrapped: Branch key versions that lie under the new KEK.
        total: Branch key versions there are.
    """

    moving_from: str
    moving_to: str
    rewrapped: int
    total: int


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """Status of a tenant's key.

    Attributes:
        tenant_id: The tenant.
        state: State of its key.
        cause: Why, or "".
        since: UTC time of the last change of state, ISO 8601.
        wording: The state in one sentence.
        remedy: What ends it, or "".
        provider: ``local``, ``aws_kms`` or ``azure_key_vault``.
        kek: The KEK's locator.
        platform_key: Whether that is the platform's own KEK.
        branch_key_id: The branch key new data is encrypted under.
        active_version: UUID of its ACTIVE version.
        active_sequence: Number of that version, from 1.
        active_created: When it was made, UTC.
        versions: How many versions are readable.
        rotation_due: When the next version is due, UTC, ISO 8601.
        nickname: The tenant's name for its KEK, or "".
        role_arn: AWS: the role through which it is reached, or "".
        entra_tenant: Azure: id of the Entra tenant that the vault belongs to, or "".
        kek_version: Where the provider's keys have versions: the one that new data keys hang on; else "".
        kek_versions: Likewise: every version of the tenant's KEKs that rows still name. They must stay enabled.
        reversible: Whether going back to the platform's key is possible.
        exclusive_from: UTC: from when on no backup holds a row under the former KEK; "" if none ever did, or while
            rows are still being rewrapped.
        pending: What comes into force at its activation date, or None.
        move: How far a change of KEK has got, or None.
        unreadable_versions: Versions that wait under a former KEK which refuses; they are readable when it returns.
        policy: The tenant's knobs.
        bounds: Published worst cases in seconds: ``kms_answers``, ``kms_silent``, ``kill_switch``.
        warnings: Sentences; empty if all is well.
        may_read: Whether data may be decrypted in this state.
        may_write: Whether data may be encrypted in this state.
        first_denial: Of the withdrawal under way: when the KMS first refused, UTC; else "".
        confirmed: Likewise: when the refusal was confirmed.
        kms_code: Likewise: the KMS's own code.
        request_id: Likewise: the KMS's id of the request that it refused.
        receipt: Likewise: id of the receipt, once it is issued.
        falls_back: Whether new data goes under the platform's key for now, by the tenant's choice.
        checked: When the key was last asked by a scheduled check, UTC, or "".
        timeline: The latest changes of state, oldest first.
    """

    tenant_id: str
    state: State
    cause: str
    since: str
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
    policy: KeyPolicy
    bounds: Mapping[str, float]
    warnings: tuple[str, ...] = ()
    nickname: str = ""
    role_arn: str = ""
    entra_tenant: str = ""
    kek_version: str = ""
    kek_versions: tuple[str, ...] = ()
    reversible: bool = False
    exclusive_from: str = ""
    pending: KeyTarget | None = None
    move: MoveProgress | None = None
    unreadable_versions: int = 0
    may_read: bool = True
    may_write: bool = True
    first_denial: str = ""
    confirmed: str = ""
    kms_code: str = ""
    request_id: str = ""
    receipt: str = ""
    falls_back: bool = False
    checked: str = ""
    timeline: tuple[StateChange, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiptEntry:
    """One receipt of a withdrawal, as listed. Instants UTC, ISO 8601.

    Attributes:
        id: Random.
        issued: When it was signed.
        kek: Locator of the KEK that was withdrawn, with its version where there are versions.
        cause: As in `core.errors.Denial`.
        first_denial: When the KMS first refused.
        confirmed: When the refusal was confirmed.
        not_served_after: From when on nothing was served.
        reinstated: When the key served again, or "".
        holds_until: That, less what clocks may differ: until then the statement holds for sure; or "".
    """

    id: str
    issued: str
    kek: str
    cause: str
    first_denial: str
    confirmed: str
    not_served_after: str
    reinstated: str = ""
    holds_until: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt: how it is listed, and the statement itself, a compact JWS."""

    entry: ReceiptEntry
    statement: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyConfigured:
    """What configuring a key did: the examination it passed, and the key's status since."""

    report: Report
    status: KeyStatus


@dataclass(frozen=True, slots=True)
class SetupKit:
    """What a tenant does in its own cloud to let this service use a key.

    Attributes:
        tenant_id: The tenant that the policies are bound to.
        provider: The cloud.
        external_id: What AssumeRole presents for this tenant.
        identity: Whom the policies name.
        documents: JSON documents by name.
        steps: In order; each with ``title``, ``text`` and ``commands``.
    """

    tenant_id: str
    provider: str
    external_id: str
    identity: str
    documents: Mapping[str, Any]
    steps: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class KeyExport:
    """A tenant's branch key rows, wrapped as they are stored, for reading messages without this service.

    Attributes:
        tenant_id: The tenant.
        table_name: The logical key store name; part of every row's wrap.
        kek: Locator of the KEK in force.
        branch_key_ids: Whose rows these are, the primary first.
        items: hv-1 items in DynamoDB's JSON.
    """

    tenant_id: str
    table_name: str
    kek: str
    branch_key_ids: tuple[str, ...]
    items: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation's result: the new ACTIVE version's UUID, its number, and when it was made (UTC)."""

    tenant_id: str
    branch_key_id: str
    version: str
    sequence: int
    created: str


@dataclass(frozen=True, slots=True)
class DataKeyGrant:
    """A data key handed out to a caller.

    Attributes:
        data_key: 32 plain bytes. The service keeps no copy and never uses it.
        encrypted_data_key: The serialised EDK to put into messages and to send back for opening.
        context: The whole context the key is bound to, reserved pairs included.
    """

    data_key: bytes = field(repr=False)
    encrypted_data_key: bytes
    context: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EncryptItem:
    """One plaintext of a batch and the caller's context pairs."""

    plaintext: bytes = field(repr=False)
    context: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DecryptItem:
    """One message of a batch, the caller's context pairs, and whether it may be of foreign making."""

    message: bytes = field(repr=False)
    context: Mapping[str, str]
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the service can serve: ``ok`` and, per dependency, ``ok`` or an error code."""

    ok: bool
    checks: Mapping[str, str]
