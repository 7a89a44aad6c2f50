"""Wraps keys under KEKs that lie in files of this machine: the platform key of the embedded default, and tests.

Layout of wrapped bytes: ``nonce(12) || AES-256-GCM(key)(32) || tag(16)``, with a label and the canonical context as
associated data. The KEK's file is read at every call, so that a KEK disabled by another process is refused at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.domain.context import serialise
from core.domain.kek import KEY_BYTES, Kek, KekDescription, UnwrappedKey, WrappedKey
from core.errors import InternalError, InvalidRequest, WrapMismatch
from core.providers._local_keks import KekFile, KekState, load
from core.providers._private_files import opened, silences

_LABEL = b"keystead local wrap v1\n"
_NONCE_BYTES = 12
_WRAPPED_BYTES = _NONCE_BYTES + KEY_BYTES + 16


class LocalKeyProvider:
    """`core.ports.KeyProvider` over a directory of KEK files.

    Args:
        directory: Where the files are: 0700, ours, and so is every file (0600). `core.providers.local_kms` makes both.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def wrap(self, kek: Kek, key: bytes, context: Mapping[str, str]) -> WrappedKey:
        """See `core.ports.KeyProvider.wrap`.

        Raises:
            Denial: There is no such KEK, or it is disabled, deleted or waiting for deletion.
            Silence: Its file cannot be read, is damaged, or could be reached by others.
            InternalError: The key is not 32 bytes, or the context cannot be serialised.
        """
        if len(key) != KEY_BYTES:
            raise InternalError(f"a key to be wrapped has {KEY_BYTES} bytes")
        try:
            data = _LABEL + serialise(context)
        except InvalidRequest as error:
            raise InternalError("the context of a key to be wrapped cannot be serialised") from error
        nonce = os.urandom(_NONCE_BYTES)
        return WrappedKey(kek, nonce + AESGCM(self._load(kek).usable_key()).encrypt(nonce, key, data))

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> UnwrappedKey:
        """See `core.ports.KeyProvider.unwrap`.

        Raises:
            WrapMismatch: Bytes, KEK and context do not belong together.
            Denial, Silence: As in `wrap`.
        """
        aead = AESGCM(self._load(wrapped.kek).usable_key())
        nonce, sealed = wrapped.ciphertext[:_NONCE_BYTES], wrapped.ciphertext[_NONCE_BYTES:]
        if len(wrapped.ciphertext) == _WRAPPED_BYTES:
            try:
                return UnwrappedKey(aead.decrypt(nonce, sealed, _LABEL + serialise(context)))
            except (InvalidTag, InvalidRequest):
                pass
        raise WrapMismatch("wrapped bytes, KEK and context do not belong together")

    def describe(self, kek: Kek) -> KekDescription:
        """See `core.ports.KeyProvider.describe`.

        Raises:
            Denial: There is no such KEK.
            Silence: As in `wrap`.
        """
        found = self._load(kek)
        return KekDescription(kek, enabled=found.state is KekState.ENABLED, detail=found.state.value)

    def _load(self, kek: Kek) -> KekFile:
        with silences(), opened(self._directory) as directory:
            return load(directory, kek)
