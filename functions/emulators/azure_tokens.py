"""The tokens that the emulated Entra signs, and what reads them."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.types import Options

from core.domain.vaults import CLOUDS, CloudName
from functions.emulators.keyvault_material import base64url

TOKEN_SECONDS = 3600
ISSUERS: Mapping[CloudName, str] = {
    "public": "https://sts.windows.net",
    "china": "https://sts.chinacloudapi.cn",
    "usgovernment": "https://sts.windows.net",
}
"""Who issues the tokens for vaults, in front of the tenant's id."""
UNCHECKED: Options = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
"""For a decoder that is to check the signature only: the clock here is the emulator's."""


def issuer(cloud: CloudName, tenant: str) -> str:
    """Issuer of the tokens for vaults."""
    return f"{ISSUERS[cloud]}/{tenant}/"


def identity_issuer(cloud: CloudName, tenant: str) -> str:
    """Issuer of a managed identity's assertion."""
    return f"https://{CLOUDS[cloud].authority}/{tenant}/v2.0"


def object_id(client_id: str, tenant: str) -> str:
    """The object that stands for an application, or a managed identity, in a directory."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{client_id}@{tenant}"))


class Signer:
    """Entra's signing key.

    Args:
        private: RSA, 2048 bits or more.
    """

    def __init__(self, private: RSAPrivateKey) -> None:
        self.private = private
        der = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.key_id = base64url(hashlib.sha256(der).digest()[:20])

    def access_token(
        self, *, cloud: CloudName, tenant: str, client_id: str, resource: str, now: float, by_assertion: bool
    ) -> str:
        """A token with which an application calls a resource."""
        subject = object_id(client_id, tenant)
        return self.sign(
            {
                "aud": resource,
                "iss": issuer(cloud, tenant),
                "tid": tenant,
                "ver": "1.0",
                "idtyp": "app",
                "appid": client_id,
                "appidacr": "2" if by_assertion else "1",
                "oid": subject,
                "sub": subject,
                "iat": int(now),
                "nbf": int(now),
                "exp": int(now) + TOKEN_SECONDS,
            }
        )

    def identity_token(self, *, cloud: CloudName, tenant: str, client_id: str, resource: str, now: float) -> str:
        """A managed identity's token."""
        subject = object_id(client_id, tenant)
        return self.sign(
            {
                "aud": resource,
                "iss": identity_issuer(cloud, tenant),
                "tid": tenant,
                "ver": "2.0",
                "azp": client_id,
                "oid": subject,
                "sub": subject,
                "iat": int(now),
                "nbf": int(now),
                "exp": int(now) + 24 * TOKEN_SECONDS,
            }
        )

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token with these claims, and an id of its own."""
        unique = {"uti": secrets.token_urlsafe(16), **claims}
        return jwt.encode(unique, self.private, "RS256", {"kid": self.key_id, "x5t": self.key_id})

    def read(self, token: str) -> dict[str, Any]:
        """The claims of a token that this key signed; what they say is not checked.

        Raises:
            jwt.PyJWTError: It did not.
        """
        found: dict[str, Any] = jwt.decode(
            token, self.private.public_key(), ["RS256"], options={**UNCHECKED, "require": ["aud", "iss", "exp", "tid"]}
        )
        return found

    def public_jwk(self) -> dict[str, str]:
        """What others check signatures with."""
        numbers = self.private.public_key().public_numbers()
        modulus, exponent = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big"), numbers.e.to_bytes(3, "big")
        return {
            "kty": "RSA",
            "use": "sig",
            "kid": self.key_id,
            "x5t": self.key_id,
            "n": base64url(modulus),
            "e": base64url(exponent),
        }
