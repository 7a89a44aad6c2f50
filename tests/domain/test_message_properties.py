"""No message that was changed, cut, rearranged or spliced opens, in any reader; crafted ones only as they should."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.message import DataKey, encrypt
from core.domain.message_header import parse_header
from tests.domain.crafting import OTHER_KEY, Craft
from tests.domain.readers import cold, every, lenient, new_key, pieces, refused, stream, strict, whole
from tests.domain.strategies import mutated, thorough

KEY = new_key()
SMALL = [pytest.param(size, id=f"{size} bytes") for size in (0, 5, 16, 17, 40, 48)]
"""No bytes, one frame, one full frame, two frames, three frames, three full frames."""
TEXT = bytes(range(48))


@pytest.mark.parametrize("size", SMALL)
def test_every_single_bit_flip_is_refused(size: int) -> None:
    data, readers = encrypt(KEY, TEXT[:size]), every(KEY)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        refused(readers, bytes(flipped), f"bit {bit}")


@pytest.mark.parametrize("size", SMALL)
def test_every_truncation_is_refused(size: int) -> None:
    data, readers = encrypt(KEY, TEXT[:size]), every(KEY)
    for length in range(len(data)):
        refused(readers, data[:length], f"the first {length} bytes")
        refused(readers, data[len(data) - length :], f"the last {length} bytes")


@pytest.mark.parametrize("size", SMALL)
def test_every_byte_more_or_less_is_refused(size: int) -> None:
    data, readers = encrypt(KEY, TEXT[:size]), every(KEY)
    for at in range(len(data) + 1):
        for byte in {0, 0xFF, data[at - 1]}:
            refused(readers, data[:at] + bytes([byte]) + data[at:], f"{byte} at {at}")
        if at < len(data):
            refused(readers, data[:at] + data[at + 1 :], f"without byte {at}")


@pytest.mark.parametrize("size", SMALL)
def test_nothing_may_follow_the_end(size: int) -> None:
    data, readers = encrypt(KEY, TEXT[:size]), every(KEY)
    parts = pieces(data)
    for tail in (b"\x00", b"\xff" * 4, bytes(16), bytes(40), parts.frames[-1], parts.frames[0], data, bytes(1 << 17)):
        refused(readers, data + tail, tail[:50])


@pytest.mark.parametrize("size", [40, 48])
def test_frames_hold_only_in_their_order(size: int) -> None:
    data, readers = encrypt(KEY, TEXT[:size]), every(KEY)
    parts = pieces(data)
    assert parts.joined() == data
    assert len(parts.frames) == 3
    for count in range(6):
        for order in itertools.product(parts.frames, repeat=count):
            if order != parts.frames:
                refused(readers, parts.header + b"".join(order), f"{count} frames")


def _spliced(one: bytes, other: bytes) -> Iterator[bytes]:
    # Message id, section, commitment, tag and each frame, from either message.
    cuts = []
    for data in (one, other):
        header, frames = parse_header(data), pieces(data).frames
        end = len(header.authenticated)
        cuts.append([data[:35], header.section, data[end - 32 : end], header.tag, *frames])
    for choice in itertools.product(range(2), repeat=len(cuts[0])):
        yield b"".join(cuts[which][n] for n, which in enumerate(choice))


def test_no_splice_of_two_messages_of_one_data_key_opens() -> None:
    one, other = encrypt(KEY, TEXT[:40]), encrypt(KEY, TEXT[8:])
    readers, seen = every(KEY), set(_spliced(one, other))
    assert {one, other} < seen
    for data in seen - {one, other}:
        refused(readers, data)


def test_no_splice_with_another_section_of_the_same_data_key_opens() -> None:
    other_keys = [new_key(context=b"\x00\x01\x00\x09tenant_id\x00\x04evil"), new_key(24)]
    one = encrypt(KEY, TEXT[:40])
    for other_key, size in zip(other_keys, (40, 64), strict=True):
        other = encrypt(other_key, bytes(size))
        for data in {*_spliced(one, other)} - {one, other}:
            refused({**every(KEY), "other": whole(other_key)}, data)


def test_a_regular_frame_does_not_pass_for_a_final_one_nor_the_other_way_round() -> None:
    data = encrypt(KEY, TEXT)
    header, (first, second, last) = pieces(data).header, pieces(data).frames
    demoted = [b"\xff" * 4 + frame[:16] + (16).to_bytes(4) + frame[16:] for frame in (first, second)]
    promoted = last[4:20] + last[24:]
    empty = Craft(message_id=data[3:35]).final(4, b"")
    for frames in (
        (demoted[0],),
        (first, demoted[1]),
        (first, second, promoted),
        (first, second, promoted, last),
        (first, second, promoted, empty),
    ):
        refused(every(KEY), header + b"".join(frames))


CRAFT = Craft()
FIRST, SECOND = CRAFT.regular(1, TEXT[:16]), CRAFT.regular(2, TEXT[16:32])
OTHER_IV = b"another IV.."


@pytest.mark.parametrize(
    ("body", "plaintext"),
    [
        pytest.param(CRAFT.final(1, b"x", OTHER_IV), b"x", id="IV of the final frame"),
        pytest.param(FIRST + CRAFT.final(2, b"x", OTHER_IV), TEXT[:16] + b"x", id="IV of a later final frame"),
        pytest.param(
            CRAFT.regular(1, TEXT[:16], OTHER_IV) + CRAFT.final(2, b"x"), TEXT[:16] + b"x", id="IV of a frame"
        ),
        pytest.param(FIRST + CRAFT.final(2, b""), TEXT[:16], id="empty final frame after a full one"),
        pytest.param(FIRST + SECOND + CRAFT.final(3, b""), TEXT[:32], id="empty final frame after two"),
    ],
)
def test_what_others_write_is_for_the_foreign_reader_only(body: bytes, plaintext: bytes) -> None:
    data = CRAFT.header() + body
    refused(strict(KEY), data)
    assert lenient()(data) == plaintext


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="no frame"),
        pytest.param(FIRST, id="no final frame"),
        pytest.param(FIRST + SECOND, id="two frames and no final one"),
        pytest.param(CRAFT.final(0, b"x"), id="numbers from 0"),
        pytest.param(CRAFT.final(2, b"x"), id="numbers from 2"),
        pytest.param(FIRST + CRAFT.final(1, b"x"), id="a number twice"),
        pytest.param(FIRST + CRAFT.final(3, b"x"), id="a number left out"),
        pytest.param(CRAFT.regular(0, TEXT[:16]) + CRAFT.final(1, b"x"), id="a frame 0"),
        pytest.param(CRAFT.final(1, TEXT[:17]), id="final frame over the frame length"),
        pytest.param(CRAFT.final(1, TEXT), id="final frame as long as three"),
        pytest.param(FIRST + CRAFT.final(2, TEXT[:17]), id="later final frame over the frame length"),
        pytest.param(CRAFT.final(1, b"xy", length=1), id="length too small"),
        pytest.param(CRAFT.final(1, b"xy", length=3), id="length too large"),
        pytest.param(CRAFT.final(1, b"x", length=0xFFFFFFFF), id="length of 4 GiB"),
        pytest.param(FIRST + CRAFT.final(2, b"xy", length=1), id="later length too small"),
        pytest.param(CRAFT.final(1, b"x") + CRAFT.final(2, b"y"), id="two final frames"),
        pytest.param(CRAFT.final(1, TEXT[:16]) + CRAFT.final(2, b""), id="an empty frame after the final one"),
        pytest.param(CRAFT.regular(1, TEXT[:15]) + CRAFT.final(2, b"x"), id="a short regular frame"),
        pytest.param(CRAFT.block(b"x"), id="an unframed body"),
    ],
)
def test_the_holder_of_a_key_cannot_write_what_has_no_place_in_the_format(body: bytes) -> None:
    refused(every(KEY), CRAFT.header() + body)


def test_crafted_messages_are_otherwise_right() -> None:
    for body, plaintext in (
        (CRAFT.final(1, b""), b""),
        (CRAFT.final(1, TEXT[:16]), TEXT[:16]),
        (FIRST + SECOND + CRAFT.final(3, TEXT[32:]), TEXT),
    ):
        for read in every(KEY).values():
            assert read(CRAFT.header() + body) == plaintext


def test_another_data_key_opens_nothing() -> None:
    for size in (0, 5, 40):
        data = encrypt(KEY, TEXT[:size])
        other = DataKey(OTHER_KEY, KEY.section, 16)
        refused(
            {
                "whole": whole(other),
                "cold": cold(OTHER_KEY),
                "stream": stream(OTHER_KEY),
                "foreign": lenient(OTHER_KEY),
            },
            data,
        )


@thorough
@given(
    st.sampled_from([encrypt(KEY, TEXT[:size]) for size in (0, 5, 16, 40, 48)]).flatmap(
        lambda d: st.tuples(st.just(d), mutated(d))
    )
)
def test_changed_messages_are_refused(case: tuple[bytes, bytes]) -> None:
    original, changed = case
    if changed != original:
        refused(every(KEY), changed)
