"""Messages as streams, in constant memory.

`decrypt_stream` writes plaintext frame by frame, each authenticated, before the end of the message is known. Whoever
publishes the output must do so only after it has returned (`core.client.files` does): a truncated message raises after
part of its plaintext was written.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hmac import compare_digest
from struct import pack
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.domain import frames, message_keys
from core.domain.message import DataKey
from core.domain.message_header import MAX_HEADER, PREFIX, TAG_BYTES, Header, parse_header
from core.errors import InvalidRequest, MessageInvalid

Progress = Callable[[int], None]
"""Called with the number of plaintext bytes done since the last call."""
OpenKey = Callable[[Header], bytes]
"""Gives the 32-byte data key for a header, or raises MessageInvalid."""


class Source(Protocol):
    """Something to read bytes from; short reads are fine, b"" is the end."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes."""
        ...


class Sink(Protocol):
    """Something to write bytes to."""

    def write(self, data: bytes, /) -> object:
        """Take all of ``data``."""
        ...


def _no_progress(_done: int) -> None:
    return None


def read_fully(source: Source, size: int) -> bytes:
    """Read ``size`` bytes, fewer only at the end of the source."""
    data = source.read(size)
    if len(data) == size or not data:
        return data
    parts, have = [data], len(data)
    while have < size and (data := source.read(size - have)):
        parts.append(data)
        have += len(data)
    return b"".join(parts)


def encrypt_stream(key: DataKey, source: Source, sink: Sink, progress: Progress = _no_progress) -> int:
    """Encrypt a stream into a message.

    Args:
        key: The data key.
        source: Plaintext.
        sink: Takes the message.
        progress: Told of plaintext bytes done.

    Returns:
        Bytes of plaintext read.

    Raises:
        InvalidRequest: The plaintext needs more frames than a message can have.
    """
    message_id = os.urandom(32)
    encryption_key, commitment = message_keys.derive(message_id, key.prepared)
    head = PREFIX + message_id + key.section + commitment
    gcm = AESGCM(encryption_key)
    sink.write(head + gcm.encrypt(frames.HEADER_IV, b"", head))
    number, total = 1, 0
    chunk = read_fully(source, key.frame_length)
    while len(chunk) == key.frame_length and (following := read_fully(source, key.frame_length)):
        if number >= frames.MAX_FRAMES:
            raise InvalidRequest("the plaintext is longer than a message can be", hint="use a larger frame length")
        iv = frames.frame_iv(number)
        sink.write(pack(">I", number) + iv)
        sink.write(gcm.encrypt(iv, chunk, frames.regular_aad(message_id, number, len(chunk))))
        total += len(chunk)
        progress(len(chunk))
        number += 1
        chunk = following
    iv = frames.frame_iv(number)
    sink.write(frames.ENDFRAME + pack(">I", number) + iv + pack(">I", len(chunk)))
    sink.write(gcm.encrypt(iv, chunk, frames.final_aad(message_id, number, len(chunk))))
    progress(len(chunk))
    return total + len(chunk)


def decrypt_stream(source: Source, sink: Sink, open_key: OpenKey, progress: Progress = _no_progress) -> int:
    """Decrypt a message of our own making from a stream.

    Args:
        source: The message.
        sink: Takes plaintext; not to be published before this returns.
        open_key: Gives the data key for the header.
        progress: Told of plaintext bytes done.

    Returns:
        Bytes of plaintext written.

    Raises:
        MessageInvalid: Anything about the message does not hold; part of the plaintext may have been written.
    """
    reader = BufferedSource(source)
    header = parse_header(reader.peek(MAX_HEADER))
    reader.take(header.size)
    gcm = open_body(header, open_key(header))
    number, total = 0, 0
    while True:
        number += 1
        iv = frames.frame_iv(number)
        mark = reader.take(4)
        if mark == frames.ENDFRAME:
            return total + _final_frame(reader, sink, header, gcm, number, progress)
        if mark + reader.take(12) != pack(">I", number) + iv:
            raise MessageInvalid(f"frame {number} of the message is not where it should be")
        sealed = reader.take(header.frame_length + TAG_BYTES)
        total += header.frame_length
        _release(gcm, sink, iv, sealed, frames.regular_aad(header.message_id, number, header.frame_length), number)
        progress(header.frame_length)


def _final_frame(
    reader: BufferedSource, sink: Sink, header: Header, gcm: AESGCM, number: int, progress: Progress
) -> int:
    iv = frames.frame_iv(number)
    if reader.take(16) != pack(">I", number) + iv:
        raise MessageInvalid("the message's final frame is not where it should be")
    length = int.from_bytes(reader.take(4))
    if length > header.frame_length or (length == 0 and number > 1):
        raise MessageInvalid("the message's final frame has a wrong length")
    sealed = reader.take(length + TAG_BYTES)
    if reader.peek(1):
        raise MessageInvalid("the message has bytes after its end")
    _release(gcm, sink, iv, sealed, frames.final_aad(header.message_id, number, length), number)
    progress(length)
    return length


def open_body(header: Header, data_key: bytes) -> AESGCM:
    """Check a header against its data key: commitment first, in constant time, then the header tag.

    Returns:
        The cipher for the body.

    Raises:
        MessageInvalid: One of the two does not hold.
    """
    encryption_key, commitment = message_keys.derive(header.message_id, message_keys.prepare(data_key))
    if not compare_digest(commitment, header.commitment):
        raise MessageInvalid("the message does not commit to its data key")
    gcm = AESGCM(encryption_key)
    try:
        gcm.decrypt(frames.HEADER_IV, header.tag, header.authenticated)
    except InvalidTag:
        raise MessageInvalid("the message header is damaged") from None
    return gcm


def _release(gcm: AESGCM, sink: Sink, iv: bytes, sealed: bytes, aad: bytes, number: int) -> None:
    try:
        plaintext = gcm.decrypt(iv, sealed, aad)
    except InvalidTag:
        raise MessageInvalid(f"frame {number} of the message is damaged") from None
    sink.write(plaintext)


class BufferedSource:
    """Reads exact amounts from a source, with a look ahead.

    Args:
        source: Where the bytes come from.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._ahead = b""

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer at the end, without taking them."""
        if len(self._ahead) < size:
            self._ahead += read_fully(self._source, size - len(self._ahead))
        return self._ahead[:size]

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes.

        Raises:
            MessageInvalid: There are fewer.
        """
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            if len(data) < size:
                data += read_fully(self._source, size - len(data))
        else:
            data = read_fully(self._source, size)
        if len(data) != size:
            raise MessageInvalid("the message is cut short")
        return data
