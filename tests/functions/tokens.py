"""Issuers and tokens for tests: right ones, and every kind of wrong one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from functions.identity import Issuer, key_set

ISSUER = "https://login.test"
AUDIENCE = "keystead"
NOW = int(time.time())
"""When the tests were loaded; tokens are good for hours, however long the run takes."""
SCOPES = "data:encrypt data:decrypt data:keys key:read key:manage audit:read"


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def ed_key(name: str = "") -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def jwks() -> dict[str, Any]:
    """The test issuer's public keys: kids r, e and o."""
    found = {
        "r": RSAAlgorithm.to_jwk(rsa_key().public_key(), as_dict=True),
        "e": ECAlgorithm.to_jwk(ec_key().public_key(), as_dict=True),
        "o": OKPAlgorithm.to_jwk(ed_key().public_key(), as_dict=True),
    }
    return {"keys": [{**jwk, "kid": kid} for kid, jwk in found.items()]}


def issuer(tenants: frozenset[str] | None = None, *, platform: bool = True, name: str = ISSUER) -> Issuer:
    return Issuer(name, AUDIENCE, key_set(jwks()), tenants, platform)


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims; a change to None leaves one out."""
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "app",
        "iat": NOW,
        "exp": NOW + 12 * 3600,
        "tenant_id": "acme",
        "scope": SCOPES,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def mint(kid: str | None = "o", algorithm: str = "EdDSA", key: Any = None, **changes: Any) -> str:
    """A token signed by the test issuer's key `kid` unless told otherwise."""
    signing: Any = key or {"r": rsa_key(), "e": ec_key()}.get(kid or "", ed_key())
    # Below jwt.encode, which refuses to make some of the wrong ones.
    payload = json.dumps(claims(**changes)).encode()
    return jwt.PyJWS().encode(payload, signing, algorithm=algorithm, headers={"kid": kid} if kid else None)


def assemble(header: dict[str, Any], body: dict[str, Any], signature: bytes = b"") -> str:
    """A compact JWS of any header and signature."""
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in (header, body)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in [*parts, signature])


def hs256_with_public_key() -> str:
    """The classic confusion: HMAC keyed with the public key's PEM, under the RSA key's kid."""
    pem = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    unsigned = assemble({"alg": "HS256", "typ": "JWT", "kid": "r"}, claims())[:-1]
    tag = hmac.new(pem, unsigned.encode(), hashlib.sha256).digest()
    return f"{unsigned}.{base64.urlsafe_b64encode(tag).rstrip(b'=').decode()}"


def tampered() -> str:
    """A good token whose claims were changed after signing."""
    header, _, signature = mint().split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims(tenant_id="other")).encode()).rstrip(b"=").decode()
    return f"{header}.{body}.{signature}"


def bearer(token: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {token}")
