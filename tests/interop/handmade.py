"""Messages of suite 0x0478 that no writer here produces, made by hand from the specification."""

from __future__ import annotations

from collections.abc import Mapping
from struct import pack

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.domain import frames
from core.domain.context import serialise
from core.domain.encrypted_data_key import EncryptedDataKey
from core.domain.message import DataKey, encrypt
from core.domain.message_keys import derive, prepare

PLAINTEXT = b"made by hand, in frames of sixteen bytes"
FRAME_LENGTH = 16


def unsorted_context(data_key: bytes, edk: EncryptedDataKey, context: Mapping[str, str]) -> bytes:
    """A message whose header holds the context in descending order.

    The EDK is bound to the canonical order all the same; the header tag covers the bytes as they stand.
    """
    pairs = sorted(((key.encode(), value.encode()) for key, value in context.items()), reverse=True)
    stored = pack(">H", len(pairs)) + b"".join(pack(">H", len(part)) + part for pair in pairs for part in pair)
    assert sorted(stored) == sorted(serialise(context))
    assert stored != serialise(context)
    return encrypt(DataKey.wrapped(data_key, edk, stored, frame_length=FRAME_LENGTH), PLAINTEXT)


def other_ivs(data_key: bytes, edk: EncryptedDataKey, context: Mapping[str, str]) -> bytes:
    """A message whose frames carry IVs that are not their numbers."""
    message = encrypt(DataKey.wrapped(data_key, edk, serialise(context), frame_length=FRAME_LENGTH), PLAINTEXT)
    regular, last = divmod(len(PLAINTEXT) - 1, FRAME_LENGTH)
    last += 1
    body = regular * (FRAME_LENGTH + frames.REGULAR_OVERHEAD) + last + frames.FINAL_OVERHEAD
    message_id = message[3:35]
    gcm = AESGCM(derive(message_id, prepare(data_key))[0])
    out = [message[:-body]]
    for number in range(1, regular + 2):
        final = number == regular + 1
        plain = PLAINTEXT[(number - 1) * FRAME_LENGTH :][:FRAME_LENGTH]
        iv = pack(">QI", 0xFEED, 100 - number)
        aad = (frames.final_aad if final else frames.regular_aad)(message_id, number, len(plain))
        head = frames.ENDFRAME + pack(">I", number) + iv + pack(">I", len(plain)) if final else pack(">I", number) + iv
        out.append(head + gcm.encrypt(iv, plain, aad))
    return b"".join(out)
