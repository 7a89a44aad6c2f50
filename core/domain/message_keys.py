"""Keys derived from a data key: HKDF-SHA512 with key commitment, suite 0x0478.

Sources: AWS Encryption SDK specification, ``framework/transitive-requirements.md`` and ``algorithm-suites.md``; HKDF is
RFC 5869, HMAC is RFC 2104. HMAC is written out over SHA-512 because the two outputs share one key: its padded block is
hashed once and the state copied, which no HKDF class offers, and this derivation is most of a small message's cost.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from importlib import import_module
from typing import Protocol


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...
    def copy(self) -> _Hash: ...


class _Sha512(Protocol):
    def __call__(self, data: bytes = b"", /) -> _Hash: ...


def _sha512_for_short_inputs() -> _Sha512:
    # CPython's own SHA-512 starts up faster than OpenSSL's behind hashlib: a fifth of this derivation.
    own: _Sha512
    with suppress(ImportError, AttributeError):
        own = import_module("_sha2").sha512
        return own
    with suppress(ImportError, AttributeError):  # up to Python 3.11
        own = import_module("_sha512").sha512
        return own
    return hashlib.sha512


sha512 = _sha512_for_short_inputs()
SUITE = b"\x04\x78"
MESSAGE_ID_BYTES = 32
COMMITMENT_BYTES = 32
_INNER = bytes(x ^ 0x36 for x in range(256))
_OUTER = bytes(x ^ 0x5C for x in range(256))
_INNER_96, _OUTER_96 = b"\x36" * 96, b"\x5c" * 96
_INNER_64, _OUTER_64 = b"\x36" * 64, b"\x5c" * 64
_DERIVE_INFO = SUITE + b"DERIVEKEY\x01"
_COMMIT_INFO = b"COMMITKEY\x01"


def prepare(data_key: bytes) -> bytes:
    """Give a data key in the form `derive` takes; done once per data key.

    Args:
        data_key: 32 bytes.
    """
    return _INNER_96 + data_key


def derive(message_id: bytes, prepared: bytes) -> tuple[bytes, bytes]:
    """Derive a message's encryption key and commitment.

    Args:
        message_id: 32 bytes; the HKDF salt.
        prepared: What `prepare` gave for the data key.

    Returns:
        Encryption key and commitment, 32 bytes each.
    """
    inner = sha512(message_id.translate(_INNER) + prepared)
    prk = sha512(message_id.translate(_OUTER) + _OUTER_96 + inner.digest()).digest()
    inner_key = sha512(prk.translate(_INNER) + _INNER_64)
    inner_commit = inner_key.copy()
    inner_key.update(_DERIVE_INFO)
    inner_commit.update(_COMMIT_INFO)
    outer_key = sha512(prk.translate(_OUTER) + _OUTER_64)
    outer_commit = outer_key.copy()
    outer_key.update(inner_key.digest())
    outer_commit.update(inner_commit.digest())
    return outer_key.digest()[:32], outer_commit.digest()[:32]
