"""Signs by ES256 with a private key that a KMS holds: one call for each statement, checked before it is given out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from hashlib import sha256
from typing import Any, Protocol

from core.providers._jws import ES256, P256Key, base64url, encoded, key_set, public_jwks, unsigned


class Asking(Protocol):
    """One operation's way to the KMS. Both methods raise `Denial` and `Silence`."""

    def public_key(self) -> P256Key:
        """The key's public half."""
        ...

    def sign(self, digest: bytes, verifies: Callable[[bytes], bool]) -> bytes:
        """Sign a digest.

        Args:
            digest: SHA-256.
            verifies: Whether a signature is the key's; one that is not counts as no answer.

        Returns:
            r and s, 32 bytes each.
        """
        ...


class Es256Signer(ABC):
    """`core.ports.Signer` with ES256. Thread-safe; does no I/O until it is used.

    The public key is asked for once and kept: the KMS never gives another one for the same key.

    Args:
        retired: Public JWKs of former signing keys, newest first; they stay in the key set.

    Raises:
        InvalidRequest: One of these is none.
    """

    def __init__(self, retired: Sequence[Mapping[str, Any]] = ()) -> None:
        self._retired = public_jwks(retired)
        self._kept: P256Key | None = None

    @abstractmethod
    def _asking(self) -> AbstractContextManager[Asking]:
        """Begin an operation.

        Raises:
            Silence: No time is left for one.
        """

    def sign(self, payload: Mapping[str, Any]) -> str:
        """See `core.ports.Signer.sign`.

        Raises:
            Denial, Silence: As there. `Silence` also if what came is not this key's signature.
            InternalError: The payload is not a JSON object.
        """
        body = encoded(payload)
        with self._asking() as kms:
            key = self._known(kms)
            text = unsigned(ES256, key.kid, body)
            signed = text.encode()

            def verifies(signature: bytes) -> bool:
                good = key.verifies(signed, signature)
                if not good:
                    self._kept = None  # perhaps it is the public key that came wrong: the next call asks for it again
                return good

            return f"{text}.{base64url(kms.sign(sha256(signed).digest(), verifies))}"

    def jwks(self) -> Mapping[str, Any]:
        """See `core.ports.Signer.jwks`. The active key comes first, then retired ones as they were given.

        Raises:
            Denial, Silence: The public key was not asked for before, and cannot be had now.
        """
        key = self._kept
        if key is None:
            with self._asking() as kms:
                key = self._known(kms)
        return key_set(key.jwk, self._retired)

    def _known(self, kms: Asking) -> P256Key:
        key = self._kept
        if key is None:
            key = self._kept = kms.public_key()
        return key
