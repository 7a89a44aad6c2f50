"""Encrypted data keys (EDKs) in the layout of the AWS KMS hierarchical keyring.

``provider id "aws-kms-hierarchy" | provider info = branch key id | ciphertext`` with the ciphertext, 92 bytes::

    salt 16 | IV 12 | branch key version UUID 16 | AES-256-GCM(data key) 32 | tag 16

The wrapping key comes from the branch key by SP 800-108 in counter mode, HMAC-SHA256, one block. Source: AWS Encryption
SDK specification, ``framework/aws-kms/aws-kms-hierarchical-keyring.md``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from struct import pack

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.domain.branch_keys import is_version_id, version_bytes, version_text
from core.errors import MessageInvalid

PROVIDER_ID = b"aws-kms-hierarchy"
CIPHERTEXT_BYTES = 92
MAX_PROVIDER_INFO = 255
_KDF_PREFIX = b"\x00\x00\x00\x01" + PROVIDER_ID + b"\x00"
_KDF_SUFFIX = b"\x00\x00\x01\x00"


@dataclass(frozen=True, slots=True)
class EncryptedDataKey:
    """One EDK as it stands in a message header.

    Attributes:
        provider_id: Bytes naming the keyring that wrote it.
        provider_info: For ours, the branch key id.
        ciphertext: For ours, 92 bytes.
    """

    provider_id: bytes
    provider_info: bytes
    ciphertext: bytes

    @property
    def is_hierarchical(self) -> bool:
        """Whether it has the layout this module reads."""
        return (
            self.provider_id == PROVIDER_ID
            and len(self.ciphertext) == CIPHERTEXT_BYTES
            and len(self.provider_info) <= MAX_PROVIDER_INFO
        )

    @property
    def branch_key_id(self) -> str:
        """The branch key id it names; ids that are not ASCII never match one of ours."""
        return self.provider_info.decode("ascii", "replace")

    @property
    def version_id(self) -> str:
        """The branch key version's UUID as text."""
        return version_of(self.ciphertext)

    def serialise(self) -> bytes:
        """Its bytes in a header."""
        return b"".join(
            pack(">H", len(part)) + part for part in (self.provider_id, self.provider_info, self.ciphertext)
        )


class WrappingKeys:
    """The wrapping keys of one branch key: wraps and unwraps data keys.

    Args:
        branch_key: 32 bytes. Only hash states that follow from it are kept.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, branch_key: bytes) -> None:
        block = branch_key.ljust(sha256().block_size, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block) + _KDF_PREFIX)
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def __repr__(self) -> str:
        return "<WrappingKeys>"

    def wrap(self, bound: bytes, version: bytes, data_key: bytes, context: bytes) -> bytes:
        """Wrap a data key.

        Args:
            bound: What `bound_to` gave for the branch key id.
            version: The branch key version's UUID, 16 bytes.
            data_key: 32 bytes.
            context: The message's canonical context bytes.

        Returns:
            An EDK's ciphertext, 92 bytes.
        """
        salt_and_iv = os.urandom(28)
        gcm = AESGCM(self._wrapping_key(salt_and_iv[:16]))
        return salt_and_iv + version + gcm.encrypt(salt_and_iv[16:], data_key, bound + version + context)

    def unwrap(self, bound: bytes, ciphertext: bytes, context: bytes) -> bytes:
        """Unwrap a data key.

        Args:
            bound: What `bound_to` gave for the branch key id.
            ciphertext: An EDK's, 92 bytes, that names this branch key's version.
            context: The message's context in canonical bytes, whatever order the message has it in.

        Returns:
            32 bytes.

        Raises:
            MessageInvalid: The EDK was not made by this branch key for this context.
        """
        gcm = AESGCM(self._wrapping_key(ciphertext[:16]))
        try:
            return gcm.decrypt(ciphertext[16:28], ciphertext[44:], bound + ciphertext[28:44] + context)
        except InvalidTag:
            raise MessageInvalid("the message's data key does not open: damaged, or made for another context") from None

    def _wrapping_key(self, salt: bytes) -> bytes:
        # HMAC-SHA256, whose padded key and constant prefix are hashed once per branch key.
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(salt + _KDF_SUFFIX)
        outer.update(inner.digest())
        return outer.digest()


def bound_to(branch_key_id: str) -> bytes:
    """What every EDK of a branch key authenticates first: the keyring's name and the branch key id."""
    return PROVIDER_ID + branch_key_id.encode()


def wrap_data_key(
    branch_key: bytes, branch_key_id: str, version_id: str, data_key: bytes, context: bytes
) -> EncryptedDataKey:
    """Wrap a data key under a branch key version.

    Args:
        branch_key: 32 bytes.
        branch_key_id: As stored in the row.
        version_id: The version's UUID as text.
        data_key: 32 bytes.
        context: The message's canonical context bytes.
    """
    wrapping, version = WrappingKeys(branch_key), version_bytes(version_id)
    ciphertext = wrapping.wrap(bound_to(branch_key_id), version, data_key, context)
    return EncryptedDataKey(PROVIDER_ID, branch_key_id.encode(), ciphertext)


def unwrap_data_key(branch_key: bytes, edk: EncryptedDataKey, context: bytes) -> bytes:
    """Unwrap a data key.

    Args:
        branch_key: 32 bytes, of the version that the EDK names.
        edk: A hierarchical EDK.
        context: The message's context in canonical bytes, whatever order the message has it in.

    Returns:
        32 bytes.

    Raises:
        MessageInvalid: The EDK was not made by this branch key for this context.
    """
    return WrappingKeys(branch_key).unwrap(PROVIDER_ID + edk.provider_info, edk.ciphertext, context)


def version_of(ciphertext: bytes) -> str:
    """The branch key version an EDK's ciphertext names, as UUID text."""
    return version_text(ciphertext[28:44])


def parse_serialised(data: bytes) -> EncryptedDataKey:
    """Read one serialised hierarchical EDK, nothing around it.

    Raises:
        MessageInvalid: It is anything else.
    """
    parts, position = [], 0
    for _ in range(3):
        length = int.from_bytes(data[position : position + 2])
        parts.append(data[position + 2 : position + 2 + length])
        position += 2 + length
    edk = EncryptedDataKey(*parts)
    if position != len(data) or edk.serialise() != data or not edk.is_hierarchical or not is_version_id(edk.version_id):
        raise MessageInvalid("not an encrypted data key of this service")
    return edk
