"""The lenient reader takes what other writers of suite 0x0478 may write, and nothing that does not authenticate."""

from __future__ import annotations

import json
import tracemalloc
from io import BytesIO
from itertools import product
from pathlib import Path
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain import foreign
from core.domain.context import serialise
from core.domain.encrypted_data_key import unwrap_data_key
from core.domain.foreign import decrypt_foreign, decrypt_foreign_stream
from core.domain.message_header import Header, parse_header
from core.errors import MessageInvalid
from tests.domain import crafting
from tests.domain.crafting import EDK, OTHER_KEY, PLAIN_KEY, Craft, field, unframed
from tests.domain.readers import lenient, new_key, refused, strict
from tests.domain.strategies import mutated, thorough

KNOWN = json.loads((Path(__file__).parent.parent / "vectors" / "esdk-known-answers.json").read_text())
RAW_EDK = (b"namespace", b"key name" + pack(">II", 128, 12) + bytes(12), bytes(48))
UNSORTED = b"\x00\x02" + field(b"tenant_id") + field(b"acme") + field(b"app") + field(b"crm")
TEXT = bytes(range(64))
FRAMED = Craft()
IVS = [b"\x00" * 11 + b"\x09", b"\xff" * 12, b"twelve bytes", b"12 others..."]


def framed(craft: Craft, size: int) -> bytes:
    """A message in frames of 16 bytes as the official clients write it: with an empty final frame if need be."""
    full, rest = divmod(size, 16)
    body = [craft.regular(n + 1, TEXT[16 * n : 16 * n + 16], IVS[n % 4]) for n in range(full)]
    return craft.header() + b"".join(body) + craft.final(full + 1, TEXT[16 * full : 16 * full + rest], IVS[3])


MESSAGES = {
    "frames with an empty final one": (framed(FRAMED, 32), TEXT[:32]),
    "frames with IVs as written": (framed(FRAMED, 40), TEXT[:40]),
    "no bytes": (framed(FRAMED, 0), b""),
    "several data keys": (framed(Craft(edks=(RAW_EDK, EDK, RAW_EDK)), 20), TEXT[:20]),
    "unsorted context": (framed(Craft(context=UNSORTED), 20), TEXT[:20]),
    "unframed": (unframed().header() + unframed().block(TEXT), TEXT),
    "unframed with another IV": (unframed().header() + unframed().block(TEXT, IVS[2]), TEXT),
    "unframed and empty": (unframed().header() + unframed().block(b""), b""),
}
every_message = pytest.mark.parametrize(("data", "plaintext"), MESSAGES.values(), ids=MESSAGES)
READER = {"foreign": lenient()}


@every_message
def test_it_is_read_here_and_nowhere_else(data: bytes, plaintext: bytes) -> None:
    assert lenient()(data) == plaintext
    if plaintext:  # an empty framed message by chance has the one form of ours, but for its IV
        refused(strict(new_key()), data)


@every_message
def test_every_single_bit_flip_is_refused(data: bytes, plaintext: bytes) -> None:
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        refused(READER, bytes(flipped), f"bit {bit} of {plaintext!r}")


@every_message
def test_every_truncation_and_every_byte_more_is_refused(data: bytes, plaintext: bytes) -> None:
    for at in range(len(data)):
        refused(READER, data[:at], f"the first {at} bytes of {plaintext!r}")
        for byte in {0, 0xFF, data[at]}:
            refused(READER, data[:at] + bytes([byte]) + data[at:], f"{byte} at {at}")
    for tail in (b"\x00", b"\xff" * 40, data):
        refused(READER, data + tail)


@thorough
@given(st.sampled_from(list(MESSAGES.values())).flatmap(lambda m: st.tuples(st.just(m[0]), mutated(m[0]))))
def test_changed_messages_are_refused(case: tuple[bytes, bytes]) -> None:
    original, changed = case
    if changed != original:
        refused(READER, changed)


def test_frames_hold_only_in_their_order() -> None:
    frames = (
        FRAMED.regular(1, TEXT[:16], IVS[0]),
        FRAMED.regular(2, TEXT[16:32], IVS[1]),
        FRAMED.final(3, b"", IVS[2]),
    )
    for count in range(5):
        for order in product(frames, repeat=count):
            if order != frames:
                refused(READER, FRAMED.header() + b"".join(order))


@pytest.mark.parametrize("craft", [FRAMED, unframed()])
def test_the_commitment_and_the_header_tag_are_enforced(craft: Craft) -> None:
    body = craft.block(TEXT) if craft.content_type == 1 else craft.final(1, TEXT[:9])
    other = crafting.message_keys(craft.message_id, OTHER_KEY)[1]
    with pytest.raises(MessageInvalid, match="commit"):
        lenient()(craft.but(commitment=other).header() + body)
    with pytest.raises(MessageInvalid, match="commit"):
        lenient(OTHER_KEY)(craft.header() + body)
    with pytest.raises(MessageInvalid, match="header is damaged"):
        lenient()(craft.authenticated() + bytes(16) + body)


@pytest.mark.parametrize("length", [0, 63, 65, foreign.MAX_UNFRAMED, 1 << 32, 1 << 63, (1 << 64) - 1])
def test_the_length_of_an_unframed_body_is_bounded_and_exact(length: int) -> None:
    data = unframed().header() + unframed().block(TEXT, length=length)
    tracemalloc.start()
    try:
        for read in (lenient(), lambda d: decrypt_foreign_stream(BytesIO(d), BytesIO(), lambda _header: PLAIN_KEY)):
            with pytest.raises(MessageInvalid):
                read(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_the_longest_unframed_body(monkeypatch: pytest.MonkeyPatch) -> None:
    data = unframed().header() + unframed().block(TEXT)
    monkeypatch.setattr(foreign, "MAX_UNFRAMED", len(TEXT))
    assert lenient()(data) == TEXT
    monkeypatch.setattr(foreign, "MAX_UNFRAMED", len(TEXT) - 1)
    with pytest.raises(MessageInvalid, match="unframed body is over 63 bytes"):
        lenient()(data)


def test_progress_adds_up() -> None:
    for data, plaintext in MESSAGES.values():
        done: list[int] = []
        size = decrypt_foreign_stream(BytesIO(data), BytesIO(), lambda _header: PLAIN_KEY, done.append)
        assert size == sum(done) == len(plaintext)


def test_the_opener_chooses_among_the_data_keys() -> None:
    def choose(header: Header) -> bytes:
        assert [edk.is_hierarchical for edk in header.edks] == [False, True, False]
        return PLAIN_KEY

    data, plaintext = MESSAGES["several data keys"]
    assert decrypt_foreign(data, choose) == plaintext


def test_an_unsorted_context_is_bound_to_the_data_key_in_its_sorted_form() -> None:
    header = parse_header(MESSAGES["unsorted context"][0], foreign=True)
    assert header.context_bytes == UNSORTED
    assert serialise(header.context) == b"\x00\x02" + field(b"app") + field(b"crm") + field(b"tenant_id") + field(
        b"acme"
    )


@pytest.mark.parametrize(
    ("name", "plaintext"),
    [
        ("message_hello_frame4096", b"hello"),
        ("message_empty_frame4096", b""),
        ("message_pt40_frame16", bytes.fromhex(KNOWN["plaintext40"])),
        ("message_pt32_frame16", bytes.fromhex(KNOWN["plaintext40"])[:32]),
    ],
)
def test_the_known_answers_are_read(name: str, plaintext: bytes) -> None:
    def open_key(header: Header) -> bytes:
        branch_key = bytes.fromhex(KNOWN["branch_key"])
        return unwrap_data_key(branch_key, header.edks[0], serialise(header.context))

    assert decrypt_foreign(bytes.fromhex(KNOWN[name]), open_key) == plaintext
