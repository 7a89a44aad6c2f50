"""The four ways to read a message, each given the right data key whatever the message says: the harder test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import pytest

from core.domain import foreign, message, streaming
from core.domain.context import parse
from core.domain.encrypted_data_key import EncryptedDataKey
from core.domain.message import DataKey
from core.domain.message_header import parse_header
from core.errors import MessageInvalid
from tests.domain.crafting import CONTEXT_BYTES, EDK, PLAIN_KEY

Reader = Callable[[bytes], bytes]


def new_key(
    frame_length: int = 16,
    *,
    context: bytes = CONTEXT_BYTES,
    key: bytes = PLAIN_KEY,
    edk: EncryptedDataKey | None = None,
) -> DataKey:
    """A data key; its EDK need not open, the readers here are told the key."""
    parse(context)
    return DataKey.wrapped(key, edk or EncryptedDataKey(*EDK), context, frame_length=frame_length)


def whole(key: DataKey) -> Reader:
    """The warm path: a data key found by the header section that it was cached under."""
    return lambda data: message.decrypt(key, data)


def cold(plain: bytes = PLAIN_KEY) -> Reader:
    """The cold path: the header is read first."""

    def read(data: bytes) -> bytes:
        header = parse_header(data)
        key = DataKey(plain, header.section, header.frame_length)
        return message.decrypt(key, data)

    return read


def stream(plain: bytes = PLAIN_KEY) -> Reader:
    """The stream, as whoever publishes only after its end sees it."""

    def read(data: bytes) -> bytes:
        out = BytesIO()
        streaming.decrypt_stream(BytesIO(data), out, lambda _header: plain)
        return out.getvalue()

    return read


def lenient(plain: bytes = PLAIN_KEY) -> Reader:
    """The reader of foreign messages."""
    return lambda data: foreign.decrypt_foreign(data, lambda _header: plain)


def strict(key: DataKey) -> dict[str, Reader]:
    """The readers of our own messages."""
    return {"whole": whole(key), "cold": cold(), "stream": stream()}


def every(key: DataKey) -> dict[str, Reader]:
    """All readers."""
    return {**strict(key), "foreign": lenient()}


def refused(readers: dict[str, Reader], data: bytes, what: object = "") -> None:
    """Every reader refuses, with the one error that says so."""
    for name, read in readers.items():
        try:
            plaintext = read(data)
        except MessageInvalid:
            continue
        pytest.fail(f"{name} accepted {what}: {plaintext!r}")


@dataclass(frozen=True)
class Pieces:
    """A message of frames of 16 bytes, cut into its parts."""

    header: bytes
    frames: tuple[bytes, ...]

    def joined(self) -> bytes:
        """The message."""
        return self.header + b"".join(self.frames)


def pieces(data: bytes) -> Pieces:
    """Cut a message."""
    header = parse_header(data)
    body, step = data[header.size :], header.frame_length + 32
    regular = (len(body) - 41) // step
    frames = [body[n * step : (n + 1) * step] for n in range(regular)]
    return Pieces(data[: header.size], (*frames, body[regular * step :]))
