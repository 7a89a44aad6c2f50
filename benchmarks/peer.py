"""The official AWS Encryption SDK: hierarchical keyring over in-process moto, with and without its caching manager.

It is given every advantage: branch keys come from the keyring's cache (neither DynamoDB nor KMS is asked while the
clock runs), the materials manager is made once, the frame length is ours, and the suite is the unsigned one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aws_encryption_sdk import CachingCryptoMaterialsManager, LocalCryptoMaterialsCache
from aws_encryption_sdk.materials_managers.mpl.cmm import CryptoMaterialsManagerFromMPL

from benchmarks.ours import FRAME_LENGTH, PAIRS, TENANT
from benchmarks.race import Batch, Contender
from core.domain.context import message_context
from tests.interop.official import COMMITTED, Official, cloud

CACHING, HIERARCHICAL = "official SDK, caching CMM", "official SDK, hierarchical keyring"
CONTEXT = message_context(TENANT, PAIRS)


class Peer:
    """The official client in two set-ups.

    Args:
        official: The client over its account.
    """

    def __init__(self, official: Official) -> None:
        self._client = official.client
        keyring = official.hierarchical(official.create_branch_key())
        self._fresh = official.manager(keyring)
        self._caching = CachingCryptoMaterialsManager(
            cache=LocalCryptoMaterialsCache(100),
            max_age=3600.0,
            backing_materials_manager=CryptoMaterialsManagerFromMPL(official.manager(keyring)),
        )

    def encrypting(self, plaintexts: Sequence[bytes]) -> list[Contender]:
        """Both set-ups encrypting."""
        return [
            Contender(CACHING, self._encrypt(self._caching), plaintexts),
            Contender(HIERARCHICAL, self._encrypt(self._fresh), plaintexts),
        ]

    def decrypting(self, plaintexts: Sequence[bytes]) -> list[Contender]:
        """Both set-ups decrypting what they encrypted."""
        out = []
        for name, manager in ((CACHING, self._caching), (HIERARCHICAL, self._fresh)):
            messages = []
            for plaintext in plaintexts:
                message = self._message(manager, plaintext)
                if self._client.decrypt(source=message, materials_manager=manager)[0] != plaintext:
                    raise RuntimeError("an official message does not decrypt to what was encrypted")
                messages.append(message)
            out.append(Contender(name, self._decrypt(manager), messages))
        return out

    def _message(self, manager: Any, plaintext: bytes) -> bytes:
        message, _ = self._client.encrypt(
            source=plaintext,
            materials_manager=manager,
            encryption_context=CONTEXT,
            algorithm=COMMITTED,
            frame_length=FRAME_LENGTH,
        )
        return bytes(message)

    def _encrypt(self, manager: Any) -> Batch:
        encrypt = self._client.encrypt

        def batch(plaintexts: Sequence[bytes]) -> None:
            for plaintext in plaintexts:
                encrypt(
                    source=plaintext,
                    materials_manager=manager,
                    encryption_context=CONTEXT,
                    algorithm=COMMITTED,
                    frame_length=FRAME_LENGTH,
                )

        return batch

    def _decrypt(self, manager: Any) -> Batch:
        decrypt = self._client.decrypt

        def batch(messages: Sequence[bytes]) -> None:
            for message in messages:
                decrypt(source=message, materials_manager=manager)

        return batch


@contextmanager
def peer() -> Iterator[Peer]:
    """The official client over an account that lives as long as the block."""
    with cloud() as account:
        account.new_table("benchmark")
        yield Peer(Official(account, "benchmark", "benchmark", account.new_key()))
