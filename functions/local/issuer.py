"""Makes tokens on the local host: an Ed25519 key in the data directory, trusted by the service that runs there."""

from __future__ import annotations

import os
import stat
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from tempfile import mkstemp
from typing import Any
from uuid import uuid4

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from core.errors import InvalidRequest
from functions.identity import MAX_LIFETIME, MAX_TOKEN, Issuer, Refused, key_set, read_caller
from functions.settings import SettingsError

ISSUER = "keystead-local"
AUDIENCE = "keystead"
KEY_FILE = "token-issuer.pem"
DEFAULT_LIFETIME = 3600


class LocalIssuer:
    """Mints tokens, and tells the service how to verify them.

    Args:
        key: The signing key.
        clock: Wall clock, in seconds since the epoch.
    """

    def __init__(self, key: Ed25519PrivateKey, *, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock
        x = _base64url(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        # RFC 7638: the thumbprint is over exactly these members, in this order.
        thumbprint = sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
        self._jwk = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": _base64url(thumbprint), "alg": "EdDSA"}

    @classmethod
    def open(cls, data_dir: Path, *, clock: Callable[[], float] = time.time) -> LocalIssuer:
        """Load the key of a data directory, making directory and key on first use. Safe for processes at once.

        Args:
            data_dir: The data directory.
            clock: Wall clock.

        Raises:
            SettingsError: The key cannot be read or written, or others may read it.
        """
        path = data_dir / KEY_FILE
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                _create(path)
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise SettingsError(f"others may read {KEY_FILE} in the data directory", hint=f"chmod 600 {path}")
            key = load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise SettingsError(f"the data directory cannot be used: {error.strerror}", hint="KEYSTEAD_DATA") from None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise SettingsError(f"{KEY_FILE} in the data directory is no key", hint="remove it for a new one") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise SettingsError(f"{KEY_FILE} in the data directory is another kind of key")
        return cls(key, clock=clock)

    @classmethod
    def ephemeral(cls, *, clock: Callable[[], float] = time.time) -> LocalIssuer:
        """An issuer whose key is nowhere else."""
        return cls(Ed25519PrivateKey.generate(), clock=clock)

    def mint(
        self, subject: str, *, tenant_id: str | None, scopes: Iterable[str], lifetime: float = DEFAULT_LIFETIME
    ) -> str:
        """Make a token.

        Args:
            subject: Who it is for.
            tenant_id: The tenant it acts on; None for the platform's own.
            scopes: Permissions.
            lifetime: Seconds, at most a day.

        Raises:
            InvalidRequest: The lifetime is out of range, or the service would refuse the token.
        """
        if not 0 < lifetime <= MAX_LIFETIME:
            raise InvalidRequest(f"a token is valid for 1 to {MAX_LIFETIME} seconds")
        now = int(self._clock())
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": now,
            "exp": now + int(lifetime),
            "jti": uuid4().hex,
            "scope": " ".join(sorted(scopes)),
        }
        if tenant_id is not None:
            claims["tenant_id"] = tenant_id
        try:
            read_caller(claims, self.trusted())
        except Refused as refused:
            raise InvalidRequest(f"such a token would be refused: {refused}") from None
        token = jwt.encode(claims, self._key, algorithm="EdDSA", headers={"kid": self._jwk["kid"]})
        if len(token) > MAX_TOKEN:
            raise InvalidRequest(f"such a token would be refused: it is longer than {MAX_TOKEN} characters")
        return token

    def jwks(self) -> Mapping[str, Any]:
        """The public key as a JWK set."""
        return {"keys": [dict(self._jwk)]}

    def trusted(self) -> Issuer:
        """How `functions.identity` is to trust it: for all tenants and the platform."""
        return Issuer(ISSUER, AUDIENCE, key_set(self.jwks()), tenants=None, platform=True)


def _create(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    handle, name = mkstemp(dir=path.parent, prefix=f".{KEY_FILE}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        # A link fails where another process was first; its key is then the key.
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
