"""Verifies compact JWS statements (RFC 7515) against a JWK set, offline: EdDSA (Ed25519) and ES256."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from core.errors import InvalidRequest


def verify(compact: str, jwks: Mapping[str, Any]) -> dict[str, Any]:
    """Verify a statement and give its payload.

    Args:
        compact: ``header.payload.signature``, base64url.
        jwks: A JWK set; the key is chosen by ``kid``, and its own ``alg`` must be the header's.

    Raises:
        InvalidRequest: Malformed, unknown key, or a wrong signature; the message tells which.
    """
    try:
        head, payload, tail = compact.split(".")
        header = json.loads(_decode(head))
        if "crit" in header:  # an extension that must be understood; none is (RFC 7515, 4.1.11)
            raise ValueError("critical extension")
        kid, algorithm = header["kid"], header["alg"]
        signed, signature = f"{head}.{payload}".encode(), _decode(tail)
        body = json.loads(_decode(payload))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidRequest("the signed statement is malformed") from None
    try:
        key = next(k for k in jwks["keys"] if k["kid"] == kid and k["alg"] == algorithm)
    except (KeyError, TypeError, StopIteration):
        hint = "the set must hold the key that signed it, which may be retired by now; or it is not this service's"
        raise InvalidRequest("the key that the signed statement names is not in this key set", hint=hint) from None
    try:
        _check(key, signed, signature)
    except (ValueError, KeyError, TypeError, AttributeError, InvalidSignature):
        raise InvalidRequest("the signed statement was changed after it was signed, or forged") from None
    if not isinstance(body, dict):
        raise InvalidRequest("the signed statement's payload is not an object")
    return body


def _check(key: Mapping[str, str], signed: bytes, signature: bytes) -> None:
    if key["alg"] == "EdDSA" and key["kty"] == "OKP" and key["crv"] == "Ed25519":
        Ed25519PublicKey.from_public_bytes(_decode(key["x"])).verify(signature, signed)
    elif key["alg"] == "ES256" and key["kty"] == "EC" and key["crv"] == "P-256" and len(signature) == 64:
        x, y, r, s = (int.from_bytes(b) for b in (_decode(key["x"]), _decode(key["y"]), signature[:32], signature[32:]))
        public = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
        public.verify(encode_dss_signature(r, s), signed, ECDSA(SHA256()))
    else:
        raise ValueError("unknown algorithm")


def _decode(text: str) -> bytes:
    # The decoder skips what is not in its alphabet and ignores leftover bits; a statement has one valid spelling.
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if urlsafe_b64encode(data).rstrip(b"=") != text.encode():
        raise ValueError("not base64url in its one valid form")
    return data
