"""What the service's answers about a tenant's key hold, as typed values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.client.policies import Policy, policy
from core.client.values import Fields
from core.client.withdrawals import StateChange, state_change


@dataclass(frozen=True, slots=True)
class PendingKey:
    """A KEK that comes into force at its activation date (UTC); otherwise as in `KeyStatus`."""

    kek: str
    role_arn: str
    nickname: str
    activation: str
    reversible: bool
    entra_tenant: str


@dataclass(frozen=True, slots=True)
class Move:
    """A change of KEK under way: from, to, and how many of all branch key versions lie under the new one."""

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
        bounds: Published worst cases in seconds: ``kms_answers``, ``kms_silent``, ``kill_switch``.
        warnings: Sentences; empty if all is well.
        nickname: The tenant's name for its KEK, or "".
        role_arn: AWS: the role through which it is reached, or "".
        entra_tenant: Azure: id of the Entra tenant that the vault belongs to, or "".
        kek_version: Where the provider's keys have versions: the one that new data keys hang on; else "".
        kek_versions: Likewise: every version of the tenant's KEKs that rows still name. They must stay enabled.
        reversible: Whether going back to the platform's key is possible.
        exclusive_from: UTC: from when on no backup holds a row under the former KEK; "" if none ever did, or while a
            change is under way.
        pending: What comes into force at its activation date, or None.
        move: How far a change of KEK has got, or None.
        unreadable_versions: Versions that wait under a former KEK which refuses.
        policy: What the tenant tuned.
        may_read: Whether data may be decrypted in this state.
        may_write: Whether data may be encrypted in this state.
        first_denial: Of the withdrawal under way: when the KMS first refused, UTC; else "".
        confirmed: Likewise: when the refusal was confirmed.
        kms_code: Likewise: the KMS's own code.
        request_id: Likewise: the KMS's id of the request that it refused.
        receipt: Likewise: id of the receipt, once it is issued.
        falls_back: Whether new data goes under the platform's key for now, by the tenant's choice.
        checked: When a scheduled check last asked the key, UTC, or "".
        timeline: The latest changes of state, oldest first.
    """

    tenant_id: str
    state: str
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
    bounds: Mapping[str, float]
    warnings: tuple[str, ...]
    nickname: str
    role_arn: str
    entra_tenant: str
    kek_version: str
    kek_versions: tuple[str, ...]
    reversible: bool
    exclusive_from: str
    pending: PendingKey | None
    move: Move | None
    unreadable_versions: int
    policy: Policy
    may_read: bool
    may_write: bool
    first_denial: str
    confirmed: str
    kms_code: str
    request_id: str
    receipt: str
    falls_back: bool
    checked: str
    timeline: tuple[StateChange, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """One check of an examination.

    Attributes:
        name: Stable, such as ``tenant_bound``.
        result: ``pass``, ``warn``, ``fail`` or ``skip``.
        observed: What was seen.
        remedy: What to do about it, or "".
    """

    name: str
    result: str
    observed: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Report:
    """An examination of a key: whether it may be put to use, and the checks in the order they were made."""

    ok: bool
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class KeyConfigured:
    """What configuring a key did: the examination it passed, empty where a change was only finished, and its status."""

    checks: tuple[Check, ...]
    key: KeyStatus


@dataclass(frozen=True, slots=True)
class Rotation:
    """A new ACTIVE version of a branch key: its UUID, its number, and when it was made (UTC)."""

    tenant_id: str
    branch_key_id: str
    version: str
    sequence: int
    created: str


def rotation(fields: Fields) -> Rotation:
    """Read a rotation's result.

    Raises:
        UnexpectedAnswer: A member is missing.
    """
    return Rotation(
        fields.get("tenant_id", str),
        fields.get("branch_key_id", str),
        fields.get("version", str),
        fields.get("sequence", int),
        fields.get("created", str),
    )


_STATUS_TEXTS = (
    "tenant_id",
    "state",
    "cause",
    "since",
    "wording",
    "remedy",
    "provider",
    "kek",
    "branch_key_id",
    "active_version",
    "active_created",
    "rotation_due",
    "nickname",
    "role_arn",
    "entra_tenant",
    "kek_version",
    "exclusive_from",
    "first_denial",
    "confirmed",
    "kms_code",
    "request_id",
    "receipt",
    "checked",
)


def key_status(fields: Fields) -> KeyStatus:
    """Read the status of a key.

    Raises:
        UnexpectedAnswer: A member is missing.
    """
    return KeyStatus(
        **{name: fields.get(name, str) for name in _STATUS_TEXTS},
        platform_key=fields.get("platform_key", bool),
        active_sequence=fields.get("active_sequence", int),
        versions=fields.get("versions", int),
        bounds=fields.pairs("bounds", float),
        warnings=fields.texts("warnings"),
        kek_versions=fields.texts("kek_versions"),
        reversible=fields.get("reversible", bool),
        pending=fields.inner("pending", _pending),
        move=fields.inner("move", _move),
        unreadable_versions=fields.get("unreadable_versions", int),
        policy=policy(Fields(fields.get("policy", dict))),
        may_read=fields.get("may_read", bool),
        may_write=fields.get("may_write", bool),
        falls_back=fields.get("falls_back", bool),
        timeline=fields.items("timeline", state_change),
    )


def _pending(fields: Fields) -> PendingKey:
    texts = ("kek", "role_arn", "nickname", "activation", "entra_tenant")
    return PendingKey(**{name: fields.get(name, str) for name in texts}, reversible=fields.get("reversible", bool))


def _move(fields: Fields) -> Move:
    return Move(
        fields.get("moving_from", str),
        fields.get("moving_to", str),
        fields.get("rewrapped", int),
        fields.get("total", int),
    )


def _check(fields: Fields) -> Check:
    return Check(*(fields.get(name, str) for name in ("name", "result", "observed", "remedy")))


def report(fields: Fields) -> Report:
    """Read an examination.

    Raises:
        UnexpectedAnswer: A member is missing.
    """
    return Report(fields.get("ok", bool), fields.items("checks", _check))


def key_configured(fields: Fields) -> KeyConfigured:
    """Read what configuring a key did.

    Raises:
        UnexpectedAnswer: A member is missing.
    """
    return KeyConfigured(fields.items("checks", _check), key_status(Fields(fields.get("key", dict))))
