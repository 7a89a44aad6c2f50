"""Signs with an Ed25519 key in a file of this machine; retired keys stay in the key set so old signatures verify.

``signing-keys.json`` is ``{"format": "keystead-signing-keys-1", "active": {"d": ..., "x": ...}, "retired": [{"x": ...},
...]}``, newest retired key first, values in base64url (RFC 8037). A retired key's private half is not kept.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.errors import Silence, StoreCorrupt, StoreUnavailable
from core.providers._jws import (
    ED25519_BYTES,
    EDDSA,
    base64url,
    ed25519_jwk,
    encoded,
    key_set,
    public_jwks,
    unsigned,
)
from core.providers._private_files import Directory, make_directory, opened, silences

FILE = "signing-keys.json"
_FORMAT = "keystead-signing-keys-1"
_MOST_READ = 64 * 1024
_DAMAGED, _RESTORE = "the signing key's file is damaged", f"restore {FILE} from a backup"


@dataclass(frozen=True, slots=True)
class _Keys:
    """The active private key, and every public key, the active one first; 32 raw bytes each."""

    private: bytes = field(repr=False)
    public: tuple[bytes, ...]


class LocalSigner:
    """`core.ports.Signer` with EdDSA (RFC 8037). Safe to use from many threads and processes.

    The file is read at every call: a key rotated by another process is used at once.

    Args:
        directory: Where the key file is, 0700; both are made where they are missing.
        read_only: Make and change nothing, sign nothing, whoever owns the file: for auditors, who need `jwks` only.
            To them the file is evidence: its faults are `StoreCorrupt` and `StoreUnavailable`, found when it is read.
        retired: Public JWKs of former signing keys that were not in this file; they stay in the key set.

    Raises:
        Silence: The directory or the file cannot be used, is damaged, or could be reached by others.
        InvalidRequest: A retired key is none.
    """

    def __init__(self, directory: Path, *, read_only: bool = False, retired: Sequence[Mapping[str, Any]] = ()) -> None:
        self._directory = directory
        self._read_only = read_only
        self._retired = public_jwks(retired)
        if read_only:
            return
        with silences():
            make_directory(directory)
            with opened(directory, exclusive=True) as open_directory:
                try:
                    _load(open_directory)
                except FileNotFoundError:
                    open_directory.create(FILE, _encode(_generate(())))

    def sign(self, payload: Mapping[str, Any]) -> str:
        """See `core.ports.Signer.sign`.

        Raises:
            Silence: The key file cannot be used.
            InternalError: The payload is not a JSON object.
            StoreUnavailable: The signer is read only.
        """
        self._check_writable()
        body = encoded(payload)
        keys = self._read()
        signed = unsigned(EDDSA, thumbprint(keys.public[0]), body)
        signature = Ed25519PrivateKey.from_private_bytes(keys.private).sign(signed.encode())
        return f"{signed}.{base64url(signature)}"

    def jwks(self) -> Mapping[str, Any]:
        """See `core.ports.Signer.jwks`. The active key comes first, then retired ones, newest first.

        Raises:
            Silence: The key file cannot be used.
            StoreCorrupt, StoreUnavailable: Instead, where the signer is read only.
        """
        active, *own = (ed25519_jwk(public) for public in self._read().public)
        return key_set(active, [*own, *self._retired])

    def rotate(self) -> str:
        """Sign with a new key from now on; the old one's private half is destroyed, its public half kept.

        Returns:
            The new key's ``kid``.

        Raises:
            Silence: The key file cannot be used.
            StoreUnavailable: The signer is read only.
        """
        self._check_writable()
        with silences(), opened(self._directory, exclusive=True) as directory:
            keys = _generate(_load(directory).public)
            directory.replace(FILE, _encode(keys))
            # A writer that was killed may have left a copy of the old private key.
            directory.sweep(FILE)
        return thumbprint(keys.public[0])

    def _check_writable(self) -> None:
        if self._read_only:
            raise StoreUnavailable("the signing keys were opened to be read only")

    def _read(self) -> _Keys:
        if self._read_only:
            return _load_as_evidence(self._directory / FILE)
        with silences(), opened(self._directory) as directory:
            return _load(directory)


def thumbprint(public: bytes) -> str:
    """The ``kid`` of an Ed25519 public key: its JWK thumbprint (RFC 7638, RFC 8037 appendix A.3).

    Args:
        public: 32 raw bytes.
    """
    return ed25519_jwk(public)["kid"]


def _generate(retired: tuple[bytes, ...]) -> _Keys:
    private = Ed25519PrivateKey.generate()
    return _Keys(private.private_bytes_raw(), (private.public_key().public_bytes_raw(), *retired))


def _encode(keys: _Keys) -> bytes:
    active, *retired = (base64url(public) for public in keys.public)
    body = {
        "format": _FORMAT,
        "active": {"d": base64url(keys.private), "x": active},
        "retired": [{"x": public} for public in retired],
    }
    return json.dumps(body).encode()


def _load(directory: Directory) -> _Keys:
    keys = _parse(directory.read(FILE))
    if keys is None:
        raise Silence(_DAMAGED, hint=_RESTORE)
    return keys


def _load_as_evidence(path: Path) -> _Keys:
    try:
        with path.open("rb") as file:
            keys = _parse(file.read(_MOST_READ))
    except OSError as error:
        raise StoreUnavailable(f"the signing key's file cannot be read: {error.strerror}") from None
    if keys is None:
        raise StoreCorrupt(_DAMAGED, hint=_RESTORE)
    return keys


def _parse(data: bytes) -> _Keys | None:
    try:
        body = json.loads(data)
        private = _raw_key(body["active"]["d"])
        public = tuple(_raw_key(key["x"]) for key in [body["active"], *body["retired"]])
        derived = Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
        if body["format"] == _FORMAT and public[0] == derived:
            return _Keys(private, public)
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    return None


def _raw_key(text: str) -> bytes:
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(raw) != ED25519_BYTES:
        raise ValueError("not an Ed25519 key")
    return raw
