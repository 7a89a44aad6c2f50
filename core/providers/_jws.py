"""Compact JWS statements (RFC 7515) as this service writes them, and the JWKs (RFC 7517) that verify them."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from core.errors import InternalError, InvalidRequest

EDDSA, ES256 = "EdDSA", "ES256"
ED25519_BYTES = 32
P256_BYTES = 32
"""Bytes of a coordinate, and of either half of a signature."""


def encoded(payload: Mapping[str, Any]) -> bytes:
    """A payload's JSON.

    Raises:
        InternalError: It is not a JSON object.
    """
    try:
        return json.dumps(dict(payload), separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        raise InternalError("a payload to be signed is not a JSON object") from None


def unsigned(algorithm: str, kid: str, payload: bytes) -> str:
    """A statement without its signature, which is over this text."""
    header = json.dumps({"alg": algorithm, "kid": kid}, separators=(",", ":")).encode()
    return f"{base64url(header)}.{base64url(payload)}"


def base64url(data: bytes) -> str:
    """Bytes in base64url, without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unbase64url(text: str) -> bytes:
    """The bytes of a text in base64url.

    Raises:
        ValueError, TypeError, AttributeError: It is not the one text for these bytes.
    """
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64url(data) != text:
        raise ValueError("not base64url in its one valid form")
    return data


def ed25519_jwk(public: bytes) -> dict[str, str]:
    """The JWK of an Ed25519 public key (RFC 8037).

    Args:
        public: 32 raw bytes.

    Raises:
        ValueError: They are not 32.
    """
    if len(public) != ED25519_BYTES:
        raise ValueError("not an Ed25519 key")
    return _named({"kty": "OKP", "crv": "Ed25519", "x": base64url(public)}, EDDSA)


@dataclass(frozen=True, slots=True)
class P256Key:
    """A public key for ES256 (RFC 7518, 3.4).

    Attributes:
        key: On the curve P-256.
    """

    key: EllipticCurvePublicKey

    @classmethod
    def of_der(cls, der: bytes) -> P256Key:
        """Read a SubjectPublicKeyInfo.

        Raises:
            ValueError: It is not one of a key on P-256.
        """
        found = load_der_public_key(der)
        if not isinstance(found, EllipticCurvePublicKey) or not isinstance(found.curve, SECP256R1):
            raise ValueError("not a P-256 key")
        return cls(found)

    @classmethod
    def of_point(cls, x: str, y: str) -> P256Key:
        """Read the coordinates of a JWK.

        Raises:
            ValueError, TypeError, AttributeError: They are not those of a point on P-256.
        """
        numbers = [int.from_bytes(unbase64url(text)) for text in (x, y)]
        return cls(EllipticCurvePublicNumbers(numbers[0], numbers[1], SECP256R1()).public_key())

    @property
    def jwk(self) -> dict[str, str]:
        """Its JWK."""
        point = self.key.public_numbers()
        x, y = (base64url(number.to_bytes(P256_BYTES)) for number in (point.x, point.y))
        return _named({"kty": "EC", "crv": "P-256", "x": x, "y": y}, ES256)

    @property
    def kid(self) -> str:
        """Its JWK thumbprint."""
        return self.jwk["kid"]

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Whether a signature is this key's over these bytes.

        Args:
            signed: What was signed.
            signature: r and s, 32 bytes each.
        """
        if len(signature) != 2 * P256_BYTES:
            return False
        r, s = (int.from_bytes(half) for half in (signature[:P256_BYTES], signature[P256_BYTES:]))
        try:
            self.key.verify(encode_dss_signature(r, s), signed, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


def raw_signature(der: bytes) -> bytes:
    """An ECDSA signature on P-256 as a JWS has it: r and s, 32 bytes each.

    Raises:
        ValueError: It is not one in DER.
    """
    try:
        return b"".join(number.to_bytes(P256_BYTES) for number in decode_dss_signature(der))
    except OverflowError:
        raise ValueError("not a signature on P-256") from None


def public_jwks(keys: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, str], ...]:
    """Public keys of statements signed before, as they are published.

    Args:
        keys: JWKs of Ed25519 and P-256 keys.

    Raises:
        InvalidRequest: One is no such key, is named otherwise than by its thumbprint, or has its private half in it.
    """
    return tuple(map(_public_jwk, keys))


def key_set(active: Mapping[str, str], retired: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """A JWK set: the active key, then retired ones, each once."""
    found = {active["kid"]: active}
    for key in retired:
        found.setdefault(key["kid"], key)
    return {"keys": [*found.values()]}


def _public_jwk(key: Mapping[str, Any]) -> Mapping[str, str]:
    hint = "copy the keys as GET /.well-known/jwks.json gives them"
    if "d" in key:
        raise InvalidRequest("a retired signing key is given with its private half", hint=hint)
    kind = (key.get("kty"), key.get("crv"))
    try:
        if kind == ("OKP", "Ed25519"):
            found = ed25519_jwk(unbase64url(key["x"]))
        elif kind == ("EC", "P-256"):
            found = P256Key.of_point(key["x"], key["y"]).jwk
        else:
            raise ValueError("another kind of key")
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InvalidRequest("a retired signing key is not an Ed25519 or P-256 public key", hint=hint) from None
    if any(key.get(member, found[member]) != found[member] for member in ("kid", "alg", "use")):
        raise InvalidRequest("a retired signing key's kid, alg or use does not belong to it", hint=hint)
    return found


def _named(members: Mapping[str, str], algorithm: str) -> dict[str, str]:
    # The kid is the thumbprint of RFC 7638: the members that make the key, in order of their names.
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
    return {**members, "kid": base64url(sha256(canonical).digest()), "use": "sig", "alg": algorithm}
