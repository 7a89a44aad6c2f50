"""Messages as whole buffers: encrypt and decrypt with a data key at hand.

An AWS Encryption SDK message, format version 2, suite 0x0478: header (`message_header`), header tag, frames (`frames`).
Nothing is returned unless the commitment, the header tag and every frame hold and nothing follows the final frame.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from hmac import compare_digest
from io import BytesIO
from os import urandom
from struct import Struct, pack
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.domain import frames
from core.domain.encrypted_data_key import CIPHERTEXT_BYTES, PROVIDER_ID, EncryptedDataKey, bound_to
from core.domain.message_header import (
    FRAMED,
    MAX_FRAME_LENGTH,
    PREFIX,
    SECTION_START,
    TAG_BYTES,
    section_bytes,
)
from core.domain.message_keys import COMMITMENT_BYTES, MESSAGE_ID_BYTES, derive, prepare
from core.errors import InvalidRequest, MessageInvalid

DEFAULT_FRAME_LENGTH = 64 * 1024
_OWN_SECTION_END = SECTION_START + 2 + 2 + 2 + 17 + 2 + 36 + 2 + 92 + 1 + 4
"""Where the frame length ends in a header of ours with an empty context; our branch key ids are UUIDs."""
_FINAL_FIRST = frames.ENDFRAME + pack(">I", 1) + frames.frame_iv(1)
_FINAL_FIRST_AAD = frames.FINAL_AAD + pack(">I", 1)
_FIRST_IV = frames.frame_iv(1)
_HEADER_IV = frames.HEADER_IV
_VIEW_FROM = 8 * 1024
"""Bytes from which a view is cheaper than a copy."""


class DataKey:
    """A data key with the header section that all messages under it share.

    Args:
        key: 32 bytes.
        section: The section (`message_header.section_bytes`), which holds the same key, wrapped.
        frame_length: Bytes of plaintext per frame, as the section says.
    """

    __slots__ = ("frame_length", "prepared", "read", "section", "section_end")

    def __init__(self, key: bytes, section: bytes, frame_length: int) -> None:
        self.prepared = prepare(key)
        self.section = section
        self.section_end = SECTION_START + len(section)
        self.frame_length = frame_length
        self.read = _layout(len(section)).unpack_from
        """Gives the parts of a message that `_layout` names."""

    @classmethod
    def wrapped(
        cls, key: bytes, edk: EncryptedDataKey, context: bytes, *, frame_length: int = DEFAULT_FRAME_LENGTH
    ) -> DataKey:
        """A data key for new messages.

        Args:
            key: 32 bytes.
            edk: The same key, wrapped.
            context: Canonical bytes of the message context.
            frame_length: Bytes of plaintext per frame.
        """
        return cls(key, section_bytes(context, edk, frame_length), frame_length)

    def __repr__(self) -> str:
        return "<DataKey>"


@lru_cache(maxsize=256)
def _layout(section: int) -> Struct:
    # Of a message with a section of so many bytes: message id, commitment and header tag; then, if it has only one
    # frame, what that begins with: its mark, number and IV, and its length. Reading all at once is faster than slicing.
    return Struct(f">{len(PREFIX)}x{MESSAGE_ID_BYTES}s{section}x{COMMITMENT_BYTES}s{TAG_BYTES}s{len(_FINAL_FIRST)}sI")


class SectionTemplate:
    """What the header sections of one context and branch key have in common: all but the data key's ciphertext.

    Reading by it is the strict reader's rule turned round: a message of ours can have only one section, ciphertext and
    frame length apart, so its bytes are compared with that one instead of being parsed.

    Args:
        context: Canonical bytes of the message context.
        branch_key_id: A UUID as text.
        frame_length: Bytes of plaintext per frame of new messages.
    """

    __slots__ = ("_length", "_prefix", "_tail", "bound", "branch_key_id", "context", "frame_length")

    def __init__(self, context: bytes, branch_key_id: str, frame_length: int) -> None:
        edk = EncryptedDataKey(PROVIDER_ID, branch_key_id.encode(), bytes(CIPHERTEXT_BYTES))
        section = section_bytes(context, edk, frame_length)
        self._prefix = section[: -CIPHERTEXT_BYTES - 5]
        self._tail = section[-5:]
        self._length = len(section)
        self.bound = bound_to(branch_key_id)
        self.branch_key_id = branch_key_id
        self.context = context
        self.frame_length = frame_length

    def fill(self, ciphertext: bytes) -> bytes:
        """The section that carries a wrapped data key."""
        return self._prefix + ciphertext + self._tail

    def read(self, section: bytes) -> tuple[bytes, int] | None:
        """Ciphertext and frame length of a section of this form; None for any other."""
        if len(section) != self._length or not section.startswith(self._prefix) or section[-5] != FRAMED:
            return None
        frame_length = int.from_bytes(section[-4:])
        if not 1 <= frame_length <= MAX_FRAME_LENGTH:
            return None
        return section[len(self._prefix) : -5], frame_length


def encrypt(key: DataKey, plaintext: bytes) -> bytes:
    """Encrypt a value into a message.

    Args:
        key: The data key; the message carries its EDK and context.
        plaintext: Any length the frames can number.

    Raises:
        InvalidRequest: The plaintext needs more frames than a message can have.
    """
    message_id = urandom(32)
    encryption_key, commitment = derive(message_id, key.prepared)
    head = PREFIX + message_id + key.section + commitment
    gcm = AESGCM(encryption_key)
    length = len(plaintext)
    if length > key.frame_length:
        return _encrypt_frames(gcm, message_id, head, key.frame_length, plaintext)
    return b"".join(
        (
            head,
            gcm.encrypt(_HEADER_IV, b"", head),
            _FINAL_FIRST,
            length.to_bytes(4),
            gcm.encrypt(_FIRST_IV, plaintext, message_id + _FINAL_FIRST_AAD + length.to_bytes(8)),
        )
    )


def _encrypt_frames(gcm: AESGCM, message_id: bytes, head: bytes, frame_length: int, plaintext: bytes) -> bytes:
    length = len(plaintext)
    regular = (length - 1) // frame_length
    if regular >= frames.MAX_FRAMES:
        raise InvalidRequest("the plaintext is longer than a message can be", hint="use a larger frame length")
    prefix = head + gcm.encrypt(_HEADER_IV, b"", head)
    source, out = memoryview(plaintext), _sized_buffer(len(prefix) + length + regular * 32 + frames.FINAL_OVERHEAD)
    view = out.getbuffer()
    position = len(prefix)
    view[:position] = prefix
    aad = message_id + frames.FRAME_AAD
    for number in range(1, regular + 1):
        iv = frames.frame_iv(number)
        start = (number - 1) * frame_length
        body = position + 16
        end = body + frame_length + TAG_BYTES
        view[position:body] = pack(">I", number) + iv
        gcm.encrypt_into(
            iv, source[start : start + frame_length], aad + pack(">IQ", number, frame_length), view[body:end]
        )
        position = end
    number = regular + 1
    iv, rest = frames.frame_iv(number), length - regular * frame_length
    body = position + frames.FINAL_PREFIX
    view[position:body] = frames.ENDFRAME + pack(">I", number) + iv + pack(">I", rest)
    gcm.encrypt_into(iv, source[length - rest :], frames.final_aad(message_id, number, rest), view[body:])
    view.release()
    return out.getvalue()


def _sized_buffer(size: int) -> BytesIO:
    # BytesIO hands its buffer out as bytes without a copy; a bytearray would be copied once more.
    out = BytesIO()
    out.seek(size - 1)
    out.write(b"\0")
    return out


def own_section(message: bytes) -> bytes:
    """The header section of a message, if it is one of ours: the key under which a cache knows its data key.

    Of any other message some bytes or none; they match no cached section.
    """
    if len(message) < 37:
        return b""
    return message[35 : (message[35] << 8) + message[36] + _OWN_SECTION_END]


def decrypt(key: DataKey, message: bytes) -> bytes:
    """Decrypt a whole message of our own making.

    Args:
        key: The data key; its ``section`` stands in the message after the message id.
        message: The message.

    Raises:
        MessageInvalid: Anything about the message does not hold.
    """
    try:
        read = key.read
        message_id, committed, tag, begin, declared = read(message)
    except struct.error:
        _refuse_length()
    encryption_key, commitment = derive(message_id, key.prepared)
    if not compare_digest(commitment, committed):
        raise MessageInvalid("the message does not commit to its data key")
    # The tag covers the header from its first byte: version, suite and section need no comparison of their own.
    gcm, head_end = AESGCM(encryption_key), key.section_end + COMMITMENT_BYTES
    try:
        gcm.decrypt(_HEADER_IV, tag, message[:head_end])
    except InvalidTag:
        raise MessageInvalid("the message header is damaged") from None
    body = head_end + TAG_BYTES
    start = body + frames.FINAL_PREFIX
    length = len(message) - start - TAG_BYTES
    if length > key.frame_length:
        return _decrypt_frames(gcm, message_id, key.frame_length, memoryview(message)[body:])
    if length != declared or begin != _FINAL_FIRST:
        _refuse_length()
    try:
        return gcm.decrypt(
            _FIRST_IV,
            message[start:] if length < _VIEW_FROM else memoryview(message)[start:],
            message_id + _FINAL_FIRST_AAD + length.to_bytes(8),
        )
    except InvalidTag:
        raise MessageInvalid("frame 1 of the message is damaged") from None


def _refuse_length() -> NoReturn:
    raise MessageInvalid("the message is cut short, or has bytes after its end")


def _decrypt_frames(gcm: AESGCM, message_id: bytes, frame_length: int, body: memoryview) -> bytes:
    # A message of several frames has one valid length split: full regular frames, then a final frame that is not empty.
    step = frame_length + frames.REGULAR_OVERHEAD
    regular, final = divmod(len(body) - frames.FINAL_OVERHEAD - 1, step)
    last = final + 1
    if regular < 1 or last > frame_length:
        _refuse_length()
    out = _sized_buffer(regular * frame_length + last)
    view = out.getbuffer()
    aad = message_id + frames.FRAME_AAD
    number = 0
    try:
        for number in range(1, regular + 1):
            at = (number - 1) * step
            iv = frames.frame_iv(number)
            if body[at : at + 16] != pack(">I", number) + iv:
                raise MessageInvalid(f"frame {number} of the message is not where it should be")
            start = (number - 1) * frame_length
            gcm.decrypt_into(
                iv,
                body[at + 16 : at + step],
                aad + pack(">IQ", number, frame_length),
                view[start : start + frame_length],
            )
        at, number = regular * step, regular + 1
        iv = frames.frame_iv(number)
        if body[at : at + frames.FINAL_PREFIX] != frames.ENDFRAME + pack(">I", number) + iv + pack(">I", last):
            raise MessageInvalid("the message's final frame is not where it should be")
        gcm.decrypt_into(
            iv,
            body[at + frames.FINAL_PREFIX :],
            frames.final_aad(message_id, number, last),
            view[regular * frame_length :],
        )
    except InvalidTag:
        raise MessageInvalid(f"frame {number} of the message is damaged") from None
    finally:
        view.release()
    return out.getvalue()
