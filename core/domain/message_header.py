"""Message headers, format version 2, suite 0x0478. Read before any key is known, so everything here is untrusted.

::

    version 02 | suite 04 78 | message id 32 | AAD length u16 | AAD (context) | EDK count u16 | EDKs
    | content type 01 unframed, 02 framed | frame length u32 | commitment 32 | header tag 16

An EDK is three fields of ``u16 length || bytes``. All integers are big-endian. Source: AWS Encryption SDK
specification, ``data-format/message-header.md``. Lengths are bounded before anything is sliced by them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from struct import pack, unpack_from

from core.domain import context as contexts
from core.domain.encrypted_data_key import EncryptedDataKey
from core.domain.message_keys import COMMITMENT_BYTES, MESSAGE_ID_BYTES, SUITE
from core.errors import InvalidRequest, MessageInvalid

VERSION = b"\x02"
PREFIX = VERSION + SUITE
SECTION_START = len(PREFIX) + MESSAGE_ID_BYTES
FRAMED, UNFRAMED = 2, 1
TAG_BYTES = 16
MAX_FRAME_LENGTH = 1 << 20
"""Bytes of plaintext per frame that we write or read."""
MAX_HEADER = 16 * 1024
"""Bytes of a header of our own making, with room to spare."""
MAX_FOREIGN_HEADER = 192 * 1024
MAX_FOREIGN_EDKS = 8


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed header; nothing in it is authenticated yet.

    Attributes:
        message_id: 32 bytes.
        context: The stored encryption context.
        context_bytes: The context as it stands in the message.
        edks: Encrypted data keys, in order.
        content_type: `FRAMED` or `UNFRAMED`.
        frame_length: Bytes of plaintext per regular frame; 0 if unframed.
        commitment: 32 bytes.
        tag: 16 bytes.
        authenticated: The bytes the tag covers.
        section: The bytes shared by all messages of one data key: context, EDKs, content type, frame length.
    """

    message_id: bytes
    context: Mapping[str, str]
    context_bytes: bytes
    edks: tuple[EncryptedDataKey, ...]
    content_type: int
    frame_length: int
    commitment: bytes
    tag: bytes
    authenticated: bytes
    section: bytes

    @property
    def size(self) -> int:
        """Bytes of the whole header; the body starts there."""
        return len(self.authenticated) + TAG_BYTES


def section_bytes(context: bytes, edk: EncryptedDataKey, frame_length: int) -> bytes:
    """The part of a header that all messages under one data key share.

    Args:
        context: Canonical context bytes.
        edk: The data key, wrapped.
        frame_length: Bytes of plaintext per frame.

    Raises:
        InvalidRequest: Frames that no reader of ours would accept.
    """
    if not 1 <= frame_length <= MAX_FRAME_LENGTH:
        raise InvalidRequest(f"a frame holds 1 to {MAX_FRAME_LENGTH} bytes of plaintext")
    return b"".join(
        (pack(">H", len(context)), context, b"\x00\x01", edk.serialise(), bytes([FRAMED]), pack(">I", frame_length))
    )


def parse_header(data: bytes | memoryview, *, foreign: bool = False) -> Header:
    """Read the header at the start of a message. Needs no key and proves nothing.

    Args:
        data: The message, or at least its first `MAX_HEADER` (foreign: `MAX_FOREIGN_HEADER`) bytes.
        foreign: Accept what other writers of suite 0x0478 produce: several EDKs, a context in any order, an
            unframed body. Off for our own messages, which have one valid form.

    Raises:
        MessageInvalid: Not such a header.
    """
    limit = MAX_FOREIGN_HEADER if foreign else MAX_HEADER
    head = bytes(data[:limit])
    _check_prefix(head)
    try:
        (aad_length,) = unpack_from(">H", head, SECTION_START)
        if not foreign and aad_length > contexts.MAX_SERIALISED:
            raise MessageInvalid("the encryption context in the message is over the limit")
        position = SECTION_START + 2 + aad_length
        context_bytes = head[SECTION_START + 2 : position]
        (edk_count,) = unpack_from(">H", head, position)
        if not 1 <= edk_count <= (MAX_FOREIGN_EDKS if foreign else 1):
            raise MessageInvalid("the message has no encrypted data key, or more than are allowed")
        position += 2
        edks = []
        for _ in range(edk_count):
            parts = []
            for _ in range(3):
                (length,) = unpack_from(">H", head, position)
                position += 2
                parts.append(head[position : position + length])
                position += length
            edks.append(EncryptedDataKey(*parts))
        content_type, frame_length = unpack_from(">BI", head, position)
    except struct.error:
        raise MessageInvalid("the message header is cut short or over the size limit") from None
    position += 5
    end = position + COMMITMENT_BYTES
    if len(head) < end + TAG_BYTES:
        raise MessageInvalid("the message header is cut short or over the size limit")
    _check_content(content_type, frame_length, foreign=foreign)
    if not foreign and not edks[0].is_hierarchical:
        raise MessageInvalid("the message's data key was not wrapped by this service")
    return Header(
        message_id=head[len(PREFIX) : SECTION_START],
        context=contexts.parse(context_bytes, canonical=not foreign),
        context_bytes=context_bytes,
        edks=tuple(edks),
        content_type=content_type,
        frame_length=frame_length,
        commitment=head[position:end],
        tag=head[end : end + TAG_BYTES],
        authenticated=head[:end],
        section=head[SECTION_START:position],
    )


def _check_prefix(head: bytes) -> None:
    if head[:3] == PREFIX:
        return
    if head[:3] == VERSION + b"\x05\x78":
        raise MessageInvalid(
            "the message is signed (algorithm suite 0x0578); only suite 0x0478 is read",
            hint="write with the algorithm suite ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY (0x0478, no signature)",
        )
    if head[:1] == b"\x01":
        raise MessageInvalid(
            "the message has format version 1, which does not commit to its key",
            hint="write with the algorithm suite ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY (0x0478)",
        )
    raise MessageInvalid("not a message: it does not start with format version 2 and algorithm suite 0x0478")


def _check_content(content_type: int, frame_length: int, *, foreign: bool) -> None:
    if content_type == UNFRAMED and foreign:
        if frame_length:
            raise MessageInvalid("an unframed message must not have a frame length")
    elif content_type != FRAMED:
        raise MessageInvalid("the message body is not framed", hint="foreign messages need the foreign flag")
    elif not 1 <= frame_length <= MAX_FRAME_LENGTH:
        raise MessageInvalid(f"the message's frame length is not between 1 and {MAX_FRAME_LENGTH} bytes")
