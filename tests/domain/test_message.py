"""Whole messages: what is written, what is drawn, and what decrypt does with bytes it should never have been given."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from core.domain import frames, message, message_keys, streaming
from core.domain.context import serialise
from core.domain.encrypted_data_key import EncryptedDataKey
from core.domain.message import DataKey, decrypt, encrypt, own_section
from core.domain.message_header import parse_header
from core.errors import InvalidRequest, MessageInvalid
from tests.domain import crafting, gcm_collision, readers
from tests.domain.crafting import BRANCH_KEY_ID, CONTEXT_BYTES, EDK, OTHER_KEY, PLAIN_KEY, Craft
from tests.domain.readers import new_key
from tests.domain.strategies import thorough, usual

FRAME_LENGTHS = [1, 2, 15, 16, 17, 4096, 65536]
START = 35


def sizes(frame_length: int) -> list[int]:
    """Sizes around the boundaries of frames, few enough frames to be quick."""
    around = {n * frame_length + d for n in (0, 1, 2, 3, 7) for d in (-1, 0, 1)}
    return sorted(size for size in around | {0, 1} if size >= 0)


@pytest.mark.parametrize("frame_length", FRAME_LENGTHS)
def test_round_trip_and_size_around_the_boundaries(frame_length: int) -> None:
    key = new_key(frame_length)
    for size in sizes(frame_length):
        plaintext = os.urandom(size)
        data = encrypt(key, plaintext)
        regular = max(0, (size - 1) // frame_length)
        assert len(data) - size == 247 + len(BRANCH_KEY_ID) + len(CONTEXT_BYTES) + 32 * regular
        for name, read in readers.every(key).items():
            assert read(data) == plaintext, (name, size)


@pytest.mark.parametrize("context", [{}, {"tenant_id": "acme"}, {"tenant_id": "acme", "zß": "ünï", "": "\x00"}])
@pytest.mark.parametrize("branch_key_id", ["tenant-acme", BRANCH_KEY_ID])
def test_size_with_other_contexts_and_ids(context: dict[str, str], branch_key_id: str) -> None:
    edk = EncryptedDataKey(EDK[0], branch_key_id.encode(), EDK[2])
    parts = [part.encode() for pair in context.items() for part in pair]
    key = new_key(context=serialise(context), edk=edk)
    expected = 247 + len(branch_key_id) + (2 + sum(2 + len(part) for part in parts) if parts else 0) + 10
    assert len(encrypt(key, bytes(10))) == expected


@pytest.mark.parametrize("size", [0, 16, 40, 48])
def test_the_bytes_written_are_those_of_the_format(size: int) -> None:
    data = encrypt(new_key(), bytes(size))
    craft = Craft(message_id=data[3:35])
    regular = max(0, (size - 1) // 16)
    body = [craft.regular(n, bytes(16)) for n in range(1, regular + 1)]
    assert data == craft.header() + b"".join(body) + craft.final(regular + 1, bytes(size - 16 * regular))


@usual
@given(st.binary(max_size=200), st.integers(1, 40))
def test_round_trip(plaintext: bytes, frame_length: int) -> None:
    key = new_key(frame_length)
    data = encrypt(key, plaintext)
    for read in readers.every(key).values():
        assert read(data) == plaintext


@pytest.mark.parametrize("size", [0, 16, 17, 100_000])
def test_what_comes_back_is_bytes(size: int) -> None:
    key = new_key()
    data = encrypt(key, bytes(size))
    assert type(data) is bytes
    assert all(type(read(data)) is bytes for read in readers.every(key).values())


def test_every_message_draws_its_own_id_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[bytes] = []

    def urandom(size: int) -> bytes:
        drawn.append(os.getrandom(size))
        return drawn[-1]

    key = new_key()
    monkeypatch.setattr(message, "urandom", urandom)
    monkeypatch.setattr("os.urandom", urandom)
    for number in range(1, 51):
        if number % 2:
            data = encrypt(key, bytes(number))
        else:
            out = BytesIO()
            streaming.encrypt_stream(key, BytesIO(bytes(number)), out)
            data = out.getvalue()
        assert len(drawn) == number
        assert data[3:35] == drawn[-1]
    assert len(set(drawn)) == 50


def test_keys_are_derived_as_by_hkdf() -> None:
    for _ in range(20):
        message_id, key = os.urandom(32), os.urandom(32)
        assert message_keys.derive(message_id, message_keys.prepare(key)) == crafting.message_keys(message_id, key)


def test_keys_are_derived_alike_without_the_fast_sha512(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> Any:
        raise ImportError

    expected = message_keys.derive(bytes(32), message_keys.prepare(PLAIN_KEY))
    monkeypatch.setattr(message_keys, "import_module", missing)
    slower = message_keys._sha512_for_short_inputs()
    assert slower is not message_keys.sha512
    monkeypatch.setattr(message_keys, "sha512", slower)
    assert message_keys.derive(bytes(32), message_keys.prepare(PLAIN_KEY)) == expected


def test_a_message_of_too_many_frames_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_FRAMES", 3)
    key = new_key(1)
    assert decrypt(key, encrypt(key, b"123")) == b"123"
    for write in (encrypt, lambda k, p: streaming.encrypt_stream(k, BytesIO(p), BytesIO())):
        with pytest.raises(InvalidRequest, match="longer than a message"):
            write(key, b"1234")


def test_own_section_finds_ours_and_only_ours() -> None:
    key = new_key()
    data = encrypt(key, b"x")
    assert own_section(data) == key.section == parse_header(data).section
    assert own_section(data[: START + len(key.section)]) == key.section
    for size in range(START + len(key.section)):
        assert own_section(data[:size]) != key.section


@thorough
@given(st.data())
def test_decrypt_is_safe_with_any_bytes(data: st.DataObject) -> None:
    key = new_key()
    good = encrypt(key, bytes(40))
    header = parse_header(good).size
    start = data.draw(st.sampled_from((0, 3, START, key.section_end, key.section_end + 32, header, header + 16)))
    hostile = good[:start] + data.draw(st.binary(max_size=160))
    with pytest.raises(MessageInvalid):
        decrypt(key, hostile)


def test_decrypt_is_safe_with_every_length() -> None:
    key = new_key()
    for size in range(500):
        for filler in (b"\x00", b"\xff"):
            with pytest.raises(MessageInvalid):
                decrypt(key, filler * size)
            section_only = (b"\x02\x04\x78" + bytes(32) + key.section + filler * 200)[:size]
            with pytest.raises(MessageInvalid):
                decrypt(key, section_only)


def swapped() -> bytes:
    """A message that commits to another key, right in everything else."""
    craft = Craft()
    other = craft.but(commitment=crafting.message_keys(craft.message_id, OTHER_KEY)[1])
    return other.header() + other.final(1, b"text")


@pytest.mark.parametrize("reader", ["whole", "cold", "stream", "foreign"])
def test_the_commitment_is_compared_before_any_use_of_the_cipher(reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []

    class Counted:
        def __init__(self, key: bytes) -> None:
            used.append("key")
            self._gcm = AESGCM(key)

        def __getattr__(self, name: str) -> Callable[..., Any]:
            used.append(name)
            method: Callable[..., Any] = getattr(self._gcm, name)
            return method

    key = new_key()
    read = readers.every(key)[reader]
    good, bad = Craft().header() + Craft().final(1, b"text"), swapped()
    for module in (message, streaming):
        monkeypatch.setattr(module, "AESGCM", Counted)
    with pytest.raises(MessageInvalid, match="commit"):
        read(bad)
    assert used == []
    assert read(good) == b"text"
    assert used == ["key", "decrypt", "decrypt"]


def test_every_bit_of_the_commitment_counts() -> None:
    # The tag is made for the wrong commitment too, so that nothing else can refuse the message.
    craft, readings = Craft(), readers.every(new_key())
    right = crafting.message_keys(craft.message_id, PLAIN_KEY)[1]
    for bit in range(256):
        wrong = (int.from_bytes(right) ^ 1 << bit).to_bytes(32)
        data = craft.but(commitment=wrong).header() + craft.final(1, b"text")
        for read in readings.values():
            with pytest.raises(MessageInvalid, match="commit"):
                read(data)


@pytest.mark.parametrize("committed", [0, 1])
def test_a_message_that_authenticates_under_two_keys_opens_under_the_one_it_commits_to(committed: int) -> None:
    plain = (PLAIN_KEY, OTHER_KEY)
    craft = Craft(frame_length=64)
    derived = [crafting.message_keys(craft.message_id, key) for key in plain]
    encryption = (derived[0][0], derived[1][0])
    craft = craft.but(commitment=derived[committed][1])
    head = craft.authenticated()
    free = -(-(head.index(EDK[2])) // 16) * 16  # a whole block inside the wrapped key, which no one asks to open here
    head = gcm_collision.collide_authenticated(encryption, bytes(12), head, free)
    tag = AESGCM(encryption[0]).encrypt(bytes(12), b"", head)
    iv = frames.frame_iv(1)
    aad = frames.final_aad(craft.message_id, 1, 48)
    ciphertext, frame_tag = gcm_collision.collide_ciphertext(
        encryption, iv, b"two meanings of one ciphertext" + bytes(18), aad
    )
    data = head + tag + craft.final(1, bytes(48))[:24] + ciphertext + frame_tag

    meanings = []
    for key in encryption:  # without the commitment, both would be accepted
        assert AESGCM(key).decrypt(bytes(12), tag, head) == b""
        meanings.append(AESGCM(key).decrypt(iv, ciphertext + frame_tag, aad))
    assert meanings[0] != meanings[1]

    header = parse_header(data)
    for index, key in enumerate(plain):
        warm = DataKey.wrapped(key, header.edks[0], CONTEXT_BYTES, frame_length=64)
        assert warm.section == header.section
        for read in (readers.whole(warm), readers.cold(key), readers.stream(key), readers.lenient(key)):
            if index == committed:
                assert read(data) == meanings[index]
            else:
                with pytest.raises(MessageInvalid, match="commit"):
                    read(data)
