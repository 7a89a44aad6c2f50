"""Keystead as measured: an application built by `core.bootstrap` with the embedded defaults, nothing switched off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.race import Batch, Contender
from core.bootstrap import Application, Config, build
from core.domain.message import own_section
from core.service.encryption import CacheLimits

TENANT = "acme"
PAIRS = {"purpose": "benchmark"}
FRAME_LENGTH = 64 * 1024
CACHED, FRESH = "keystead, cached data key", "keystead, fresh data key"


class Keystead:
    """Two applications over one data directory: one with the default caches, one that makes every data key anew.

    The second lets a data key encrypt one message, and remembers one for decrypting: inputs that name another data key
    each time are always opened anew. Branch keys, leases and states are kept as usual by both.

    Args:
        data_dir: Keys and store, on disk.
    """

    def __init__(self, data_dir: Path) -> None:
        self._cached = build(Config(data_dir=data_dir, frame_length=FRAME_LENGTH))
        self._cached.tenants.create(TENANT)
        limits = CacheLimits(entries=1, messages=1)
        self._fresh = build(Config(data_dir=data_dir, frame_length=FRAME_LENGTH, cache=limits))

    def close(self) -> None:
        """Let go of the stores."""
        self._cached.close()
        self._fresh.close()

    def encrypting(self, plaintexts: Sequence[bytes]) -> list[Contender]:
        """Both ways to encrypt."""
        return [
            Contender(CACHED, _encrypting(self._cached), plaintexts),
            Contender(FRESH, _encrypting(self._fresh), plaintexts),
        ]

    def decrypting(self, plaintexts: Sequence[bytes]) -> list[Contender]:
        """Both ways to decrypt messages of these plaintexts: all under one data key, and each under its own."""
        shared, own = (
            [app.encryption.encrypt(TENANT, plaintext, PAIRS) for plaintext in plaintexts]
            for app in (self._cached, self._fresh)
        )
        if len({own_section(message) for message in shared}) != 1:
            raise RuntimeError("the messages to decrypt with a cached data key have several")
        if len({own_section(message) for message in own}) != len(own) or len(own) < 2:
            raise RuntimeError("the messages to decrypt with fresh data keys share some")
        for app, messages in ((self._cached, shared), (self._fresh, own)):
            for plaintext, message in zip(plaintexts, messages, strict=True):
                if app.encryption.decrypt(TENANT, message, PAIRS) != plaintext:
                    raise RuntimeError("a message does not decrypt to what was encrypted")
        return [
            Contender(CACHED, _decrypting(self._cached), shared),
            Contender(FRESH, _decrypting(self._fresh), own),
        ]


def _encrypting(app: Application) -> Batch:
    encrypt = app.encryption.encrypt

    def batch(plaintexts: Sequence[bytes]) -> None:
        for plaintext in plaintexts:
            encrypt(TENANT, plaintext, PAIRS)

    return batch


def _decrypting(app: Application) -> Batch:
    decrypt = app.encryption.decrypt

    def batch(messages: Sequence[bytes]) -> None:
        for message in messages:
            decrypt(TENANT, message, PAIRS)

    return batch
