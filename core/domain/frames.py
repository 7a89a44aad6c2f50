"""Frames of a message body.

::

    regular  u32 number | IV 12 | ciphertext, frame length bytes | tag 16
    final    ff ff ff ff | u32 number | IV 12 | u32 length | ciphertext | tag 16

Numbers count from 1; our IV is the number in 12 bytes. Each frame authenticates message id, kind, number and plaintext
length. Source: AWS Encryption SDK specification, ``data-format/message-body.md`` and ``message-body-aad.md``.
"""

from __future__ import annotations

from struct import pack

ENDFRAME = b"\xff\xff\xff\xff"
FRAME_AAD = b"AWSKMSEncryptionClient Frame"
FINAL_AAD = b"AWSKMSEncryptionClient Final Frame"
SINGLE_BLOCK_AAD = b"AWSKMSEncryptionClient Single Block"
HEADER_IV = bytes(12)
TAG_BYTES = 16
REGULAR_OVERHEAD = 4 + 12 + TAG_BYTES
FINAL_PREFIX = 4 + 4 + 12 + 4
FINAL_OVERHEAD = FINAL_PREFIX + TAG_BYTES
MAX_FRAMES = 0xFFFFFFFF


def frame_iv(number: int) -> bytes:
    """The IV of a frame we write."""
    return pack(">QI", 0, number)


def regular_aad(message_id: bytes, number: int, length: int) -> bytes:
    """What a regular frame authenticates beside its plaintext of ``length`` bytes."""
    return message_id + FRAME_AAD + pack(">IQ", number, length)


def final_aad(message_id: bytes, number: int, length: int) -> bytes:
    """What the final frame authenticates beside its plaintext of ``length`` bytes."""
    return message_id + FINAL_AAD + pack(">IQ", number, length)


def single_block_aad(message_id: bytes, length: int) -> bytes:
    """What an unframed body authenticates beside its plaintext of ``length`` bytes."""
    return message_id + SINGLE_BLOCK_AAD + pack(">IQ", 1, length)
