"""A lenient reader for messages of suite 0x0478 that other writers made.

It accepts what the official clients produce and our own reader refuses: several EDKs, a context in any order, IVs as
written, an empty final frame after full ones, an unframed body. Authentication is the same. Reachable only by an
explicit flag; never used for messages of our own.
"""

from __future__ import annotations

from io import BytesIO
from struct import unpack

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.domain import frames
from core.domain.message_header import MAX_FOREIGN_HEADER, TAG_BYTES, UNFRAMED, Header, parse_header
from core.domain.streaming import BufferedSource, OpenKey, Progress, Sink, Source, _no_progress, open_body
from core.errors import MessageInvalid

MAX_UNFRAMED = 64 << 20
"""Bytes of an unframed body that we read; it has one tag, so it must be held whole."""


def decrypt_foreign_stream(source: Source, sink: Sink, open_key: OpenKey, progress: Progress = _no_progress) -> int:
    """Decrypt a message of suite 0x0478 of any writer from a stream.

    Args:
        source: The message.
        sink: Takes plaintext; not to be published before this returns.
        open_key: Gives the data key for the header, choosing among its EDKs.
        progress: Told of plaintext bytes done.

    Returns:
        Bytes of plaintext written.

    Raises:
        MessageInvalid: Anything about the message does not hold; part of the plaintext may have been written.
    """
    reader = BufferedSource(source)
    header = parse_header(reader.peek(MAX_FOREIGN_HEADER), foreign=True)
    reader.take(header.size)
    gcm = open_body(header, open_key(header))
    if header.content_type == UNFRAMED:
        plaintext = _single_block(reader, header, gcm)
        sink.write(plaintext)
        progress(len(plaintext))
        return len(plaintext)
    number, total = 0, 0
    while True:
        number += 1
        mark = reader.take(4)
        final = mark == frames.ENDFRAME
        written = reader.take(4) if final else mark
        if int.from_bytes(written) != number:
            raise MessageInvalid(f"frame {number} of the message is not where it should be")
        iv = reader.take(12)
        length = int.from_bytes(reader.take(4)) if final else header.frame_length
        if length > header.frame_length:
            raise MessageInvalid("the message's final frame has a wrong length")
        aad = (frames.final_aad if final else frames.regular_aad)(header.message_id, number, length)
        sealed = reader.take(length + TAG_BYTES)
        if final and reader.peek(1):
            raise MessageInvalid("the message has bytes after its end")
        sink.write(_open(gcm, iv, sealed, aad, number))
        progress(length)
        total += length
        if final:
            return total


def decrypt_foreign(message: bytes, open_key: OpenKey) -> bytes:
    """Decrypt a whole message of suite 0x0478 of any writer.

    Raises:
        MessageInvalid: Anything about the message does not hold.
    """
    out = BytesIO()
    decrypt_foreign_stream(BytesIO(message), out, open_key)
    return out.getvalue()


def _single_block(reader: BufferedSource, header: Header, gcm: AESGCM) -> bytes:
    iv = reader.take(12)
    (length,) = unpack(">Q", reader.take(8))
    if length > MAX_UNFRAMED:
        raise MessageInvalid(f"the message's unframed body is over {MAX_UNFRAMED} bytes")
    sealed = reader.take(length + TAG_BYTES)
    if reader.peek(1):
        raise MessageInvalid("the message has bytes after its end")
    return _open(gcm, iv, sealed, frames.single_block_aad(header.message_id, length), 1)


def _open(gcm: AESGCM, iv: bytes, sealed: bytes, aad: bytes, number: int) -> bytes:
    try:
        return gcm.decrypt(iv, sealed, aad)
    except InvalidTag:
        raise MessageInvalid(f"frame {number} of the message is damaged") from None
