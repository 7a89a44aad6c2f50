"""What a key says of itself, and whether it may be used for wrapping and unwrapping now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from core.domain.vaults import VaultKey
from core.providers.azure_key_vault.base64url import unbase64url
from core.providers.azure_key_vault.calls import Answer
from core.providers.azure_key_vault.operations import A256KW, RSA_OAEP_256, identifier

RSA_BITS = (2048, 3072, 4096)
WRAPPED_BYTES = 80
"""Bytes that go into a wrap: the context's digest and the key."""
_AES_KW_BYTES = WRAPPED_BYTES + 8


class Obstacle(NamedTuple):
    """Why a key may not be used now.

    Attributes:
        cause: As in `core.errors.Denial`.
        seen: In a few words.
    """

    cause: str
    seen: str


class Algorithm(NamedTuple):
    """How a key wraps.

    Attributes:
        name: As the service names it.
        size: Bytes that a wrap of `WRAPPED_BYTES` gives.
    """

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class KeyAttributes:
    """One version of a key.

    Attributes:
        version: Which.
        type: As the service names it: ``RSA``, ``RSA-HSM``, ``oct-HSM``, ``EC`` ...
        bits: Of an RSA modulus; 0 for other types, and where it is not told.
        operations: What it permits.
        enabled: Whether it may be used at all.
        not_before: Seconds since the epoch from when on it wraps, or None.
        expires: From when on it does not wrap any longer, or None.
        made: When it was made, in seconds since the epoch.
        now: The service's own wall clock when it told this; where it told no time, ours.
        recovery_words: Of its recovery level, such as ``Recoverable`` and ``Purgeable``; none if that is not told.
        recoverable_days: Days for which it could be recovered once deleted; None if that is not told.
    """

    version: VaultKey
    type: str
    bits: int
    operations: frozenset[str]
    enabled: bool
    not_before: int | None
    expires: int | None
    made: int
    now: float
    recovery_words: frozenset[str]
    recoverable_days: int | None

    @classmethod
    def of(cls, answer: Answer, wall: Callable[[], float]) -> KeyAttributes:
        """Read an accepted answer to `core.providers.azure_key_vault.operations.get_key`.

        Args:
            answer: It.
            wall: Our own clock, in seconds since the epoch: the answers of a Managed HSM have no date.
        """
        key, attributes = answer.body["key"], answer.body["attributes"]
        level, days = attributes.get("recoveryLevel"), attributes.get("recoverableDays")
        return cls(
            version=identifier(key["kid"]),
            type=key["kty"],
            bits=_bits(key.get("n")),
            operations=frozenset(key.get("key_ops", ())),
            enabled=attributes["enabled"],
            not_before=attributes.get("nbf"),
            expires=attributes.get("exp"),
            made=attributes["created"],
            now=wall() if answer.server_time is None else answer.server_time,
            recovery_words=frozenset(level.split("+")) if isinstance(level, str) else frozenset(),
            recoverable_days=days if type(days) is int else None,
        )

    @property
    def algorithm(self) -> Algorithm | None:
        """How it wraps; None where it cannot."""
        if self.type in ("RSA", "RSA-HSM") and self.bits in RSA_BITS:
            return Algorithm(RSA_OAEP_256, self.bits // 8)
        return Algorithm(A256KW, _AES_KW_BYTES) if self.type == "oct-HSM" else None

    @property
    def obstacle(self) -> Obstacle | None:
        """What stands against a wrap now, the weightiest first; None if nothing does."""
        if not self.enabled:
            return Obstacle("disabled", "disabled")
        if self.not_before is not None and self.not_before > self.now:
            return Obstacle("not_yet_valid", "not yet valid")
        if self.expires is not None and self.expires <= self.now:
            return Obstacle("expired", "expired")
        if "wrapKey" not in self.operations:
            return Obstacle("wrap_not_permitted", "wrapKey not permitted")
        if "unwrapKey" not in self.operations:
            return Obstacle("policy", "unwrapKey not permitted")
        if self.algorithm is None:
            return Obstacle("wrap_not_permitted", f"a key of type {self.type} with {self.bits or 'unknown'} bits")
        return None


def algorithm_for(ciphertext: bytes) -> str:
    """How bytes were wrapped, told by their number: RSA gives 256, 384 or 512 of them, AES-KW gives 88.

    A key's type does not change from one use to the next, and asking for it would double the calls. For bytes of any
    other number the service has the last word, so that a key that was withdrawn still says so.
    """
    return A256KW if len(ciphertext) <= 2 * _AES_KW_BYTES else RSA_OAEP_256


def _bits(modulus: object) -> int:
    try:
        return int.from_bytes(unbase64url(modulus), "big").bit_length() if isinstance(modulus, str) else 0
    except ValueError:
        return 0
