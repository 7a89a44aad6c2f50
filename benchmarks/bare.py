"""The floor: AES-256-GCM of `cryptography` with a prebuilt object, a fresh nonce, and ``nonce || ciphertext``."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.ours import PAIRS, TENANT
from benchmarks.race import Contender
from core.domain.context import message_context, serialise

BARE = "bare AES-256-GCM"
BARE_IN_PLACE = "bare AES-256-GCM, decrypting in place"

_gcm = AESGCM(os.urandom(32))
_aad = serialise(message_context(TENANT, PAIRS))


def encrypting(plaintexts: Sequence[bytes]) -> list[Contender]:
    """What a program without envelope encryption would do to encrypt."""
    return [Contender(BARE, _encrypt, plaintexts)]


def decrypting(plaintexts: Sequence[bytes]) -> list[Contender]:
    """The reverse: by slicing, as `encrypt` joins, and by a view, which spares a copy of large values."""
    sealed = []
    for plaintext in plaintexts:
        nonce = os.urandom(12)
        sealed.append(nonce + _gcm.encrypt(nonce, plaintext, _aad))
    return [Contender(BARE, _decrypt, sealed), Contender(BARE_IN_PLACE, _decrypt_in_place, sealed)]


def _encrypt(plaintexts: Sequence[bytes]) -> None:
    for plaintext in plaintexts:
        nonce = os.urandom(12)
        nonce + _gcm.encrypt(nonce, plaintext, _aad)


def _decrypt(sealed: Sequence[bytes]) -> None:
    for value in sealed:
        _gcm.decrypt(value[:12], value[12:], _aad)


def _decrypt_in_place(sealed: Sequence[bytes]) -> None:
    for value in sealed:
        _gcm.decrypt(value[:12], memoryview(value)[12:], _aad)
