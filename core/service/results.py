"""What the service's operations return: plain values for the hosts to encode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.domain.states import State
from core.domain.tenants import KeyPolicy


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
        policy: The tenant's knobs.
        bounds: Published worst cases in seconds: ``kms_answers``, ``kms_silent``, ``kill_switch``.
        warnings: Sentences; empty if all is well.
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
