"""Writes messages field by field, well formed or not, always authenticated by the holder of the data key.

Shares no code with core.domain: HKDF is cryptography's, every label and length is spelled out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from struct import pack

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HEADER_IV = bytes(12)
VERSION_ID = "e9ce18a3-edb5-4272-9f86-1cacb7997ff6"
BRANCH_KEY_ID = "0b5e8c66-3f8a-4f3e-9d62-6a4c1d7f2b10"
CONTEXT = {"tenant_id": "acme"}
CONTEXT_BYTES = b"\x00\x01\x00\x09tenant_id\x00\x04acme"
PLAIN_KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
EDK = (b"aws-kms-hierarchy", BRANCH_KEY_ID.encode(), bytes(28) + bytes.fromhex(VERSION_ID.replace("-", "")) + bytes(48))


def message_keys(message_id: bytes, data_key: bytes) -> tuple[bytes, bytes]:
    """Encryption key and commitment."""
    derive = [HKDF(SHA512(), 32, message_id, info) for info in (b"\x04\x78DERIVEKEY", b"COMMITKEY")]
    return derive[0].derive(data_key), derive[1].derive(data_key)


def field(data: bytes) -> bytes:
    """Two bytes of length and the data."""
    return pack(">H", len(data)) + data


@dataclass(frozen=True)
class Craft:
    """What to put into a message; `None` stands for the right value."""

    data_key: bytes = PLAIN_KEY
    message_id: bytes = b"\x07" * 32
    prefix: bytes = b"\x02\x04\x78"
    context: bytes = CONTEXT_BYTES
    edks: Sequence[tuple[bytes, bytes, bytes]] = (EDK,)
    edk_count: int | None = None
    content_type: int = 2
    frame_length: int = 16
    commitment: bytes | None = None

    def but(self, **changes: object) -> Craft:
        """The same with other values."""
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def gcm(self) -> AESGCM:
        """The cipher of the message."""
        return AESGCM(message_keys(self.message_id, self.data_key)[0])

    def authenticated(self) -> bytes:
        """The header without its tag."""
        count = len(self.edks) if self.edk_count is None else self.edk_count
        commitment = message_keys(self.message_id, self.data_key)[1] if self.commitment is None else self.commitment
        return b"".join(
            (
                self.prefix,
                self.message_id,
                field(self.context),
                pack(">H", count),
                *(field(part) for edk in self.edks for part in edk),
                pack(">BI", self.content_type, self.frame_length),
                commitment,
            )
        )

    def header(self) -> bytes:
        """The header with its tag."""
        head = self.authenticated()
        return head + self.gcm.encrypt(HEADER_IV, b"", head)

    def regular(self, number: int, plaintext: bytes, iv: bytes | None = None) -> bytes:
        """A regular frame."""
        iv = pack(">QI", 0, number) if iv is None else iv
        aad = self.message_id + b"AWSKMSEncryptionClient Frame" + pack(">IQ", number, len(plaintext))
        return pack(">I", number) + iv + self.gcm.encrypt(iv, plaintext, aad)

    def final(self, number: int, plaintext: bytes, iv: bytes | None = None, length: int | None = None) -> bytes:
        """A final frame."""
        iv = pack(">QI", 0, number) if iv is None else iv
        aad = self.message_id + b"AWSKMSEncryptionClient Final Frame" + pack(">IQ", number, len(plaintext))
        sealed = self.gcm.encrypt(iv, plaintext, aad)
        return b"\xff" * 4 + pack(">I", number) + iv + pack(">I", len(plaintext) if length is None else length) + sealed

    def block(self, plaintext: bytes, iv: bytes = HEADER_IV[:11] + b"\x01", length: int | None = None) -> bytes:
        """An unframed body."""
        aad = self.message_id + b"AWSKMSEncryptionClient Single Block" + pack(">IQ", 1, len(plaintext))
        written = len(plaintext) if length is None else length
        return iv + pack(">Q", written) + self.gcm.encrypt(iv, plaintext, aad)


def unframed() -> Craft:
    """The start of an unframed message."""
    return Craft(content_type=1, frame_length=0)
