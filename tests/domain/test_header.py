"""Headers are read without a key, refused with one error, and bounded before anything is allocated."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.context import MAX_SERIALISED
from core.domain.encrypted_data_key import EncryptedDataKey
from core.domain.message import encrypt
from core.domain.message_header import (
    MAX_FOREIGN_EDKS,
    MAX_FOREIGN_HEADER,
    MAX_FRAME_LENGTH,
    MAX_HEADER,
    parse_header,
    section_bytes,
)
from core.errors import InvalidRequest, MessageInvalid
from tests.domain.crafting import CONTEXT, CONTEXT_BYTES, EDK, Craft, field, unframed
from tests.domain.readers import new_key
from tests.domain.strategies import mutated, thorough

RAW_EDK = (b"namespace", b"key name", b"x" * 48)
UNSORTED = b"\x00\x02" + field(b"b") + field(b"1") + field(b"a") + field(b"2")
TWO = (EDK, RAW_EDK)


def large_context(size: int) -> bytes:
    """A canonical context of one pair and so many bytes."""
    return b"\x00\x01" + field(b"k") + field(b"v" * (size - 7))


def test_every_field_is_read() -> None:
    craft = Craft(frame_length=4096)
    header = parse_header(craft.header() + b"body")
    assert header.message_id == craft.message_id
    assert header.context == CONTEXT
    assert header.context_bytes == CONTEXT_BYTES
    assert [(e.provider_id, e.provider_info, e.ciphertext) for e in header.edks] == [EDK]
    assert (header.content_type, header.frame_length) == (2, 4096)
    assert header.authenticated == craft.authenticated()
    assert header.authenticated + header.tag == craft.header()
    assert header.commitment == header.authenticated[-32:]
    assert header.size == len(craft.header())
    assert header.section == header.authenticated[35:-32]
    assert parse_header(memoryview(craft.header())) == header
    assert parse_header(craft.header(), foreign=True) == header


def test_the_section_of_a_data_key_is_the_section_of_its_messages() -> None:
    key = new_key()
    assert (
        parse_header(encrypt(key, b"")).section
        == key.section
        == section_bytes(CONTEXT_BYTES, EncryptedDataKey(*EDK), 16)
    )


@pytest.mark.parametrize("frame_length", [-1, 0, MAX_FRAME_LENGTH + 1, 1 << 32])
def test_no_data_key_writes_frames_that_the_reader_refuses(frame_length: int) -> None:
    with pytest.raises(InvalidRequest):
        new_key(frame_length)
    assert new_key(MAX_FRAME_LENGTH).frame_length == MAX_FRAME_LENGTH


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize("craft", [Craft(), Craft(context=b""), Craft(edks=TWO), unframed()])
def test_every_truncation_is_refused(craft: Craft, foreign: bool) -> None:
    header = craft.header()
    for size in range(len(header)):
        with pytest.raises(MessageInvalid):
            parse_header(header[:size], foreign=foreign)


@pytest.mark.parametrize("foreign", [False, True])
@thorough
@given(data=st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(b"\x02\x04\x78".__add__)))
def test_random_bytes_give_no_other_error(foreign: bool, data: bytes) -> None:
    with pytest.raises(MessageInvalid):
        parse_header(data, foreign=foreign)


@pytest.mark.parametrize("foreign", [False, True])
@thorough
@given(data=st.sampled_from((Craft().header(), Craft(edks=TWO, context=UNSORTED).header())).flatmap(mutated))
def test_what_is_read_covers_its_bytes_and_no_other_error_is_raised(foreign: bool, data: bytes) -> None:
    try:
        header = parse_header(data, foreign=foreign)
    except MessageInvalid:
        return
    assert header.authenticated + header.tag == data[: header.size]
    edks = b"".join(edk.serialise() for edk in header.edks)
    assert header.section == (
        field(header.context_bytes)
        + pack(">H", len(header.edks))
        + edks
        + pack(">BI", header.content_type, header.frame_length)
    )


@pytest.mark.parametrize(
    ("craft", "strict", "foreign"),
    [
        pytest.param(Craft(), True, True, id="ours"),
        pytest.param(Craft(context=b""), True, True, id="empty context"),
        pytest.param(Craft(frame_length=1), True, True, id="smallest frame"),
        pytest.param(Craft(frame_length=MAX_FRAME_LENGTH), True, True, id="largest frame"),
        pytest.param(Craft(context=large_context(MAX_SERIALISED)), True, True, id="largest context"),
        pytest.param(Craft(edks=TWO), False, True, id="two data keys"),
        pytest.param(Craft(edks=(RAW_EDK,)), False, True, id="data key of another keyring"),
        pytest.param(Craft(edks=((EDK[0], EDK[1], EDK[2][:-1]),)), False, True, id="data key one byte short"),
        pytest.param(Craft(edks=((EDK[0], b"x" * 256, EDK[2]),)), False, True, id="long provider info"),
        pytest.param(Craft(context=UNSORTED), False, True, id="unsorted context"),
        pytest.param(unframed(), False, True, id="unframed"),
        pytest.param(Craft(context=large_context(MAX_SERIALISED + 1)), False, True, id="context over our limit"),
        pytest.param(Craft(context=large_context(0xFFFF)), False, True, id="largest context of the format"),
        pytest.param(Craft(edks=(RAW_EDK,) * MAX_FOREIGN_EDKS), False, True, id="most data keys"),
        pytest.param(Craft(edks=(RAW_EDK,) * (MAX_FOREIGN_EDKS + 1)), False, False, id="too many data keys"),
        pytest.param(Craft(edks=()), False, False, id="no data key"),
        pytest.param(Craft(frame_length=0), False, False, id="frames of no bytes"),
        pytest.param(Craft(frame_length=MAX_FRAME_LENGTH + 1), False, False, id="frame too long"),
        pytest.param(Craft(frame_length=0xFFFFFFFF), False, False, id="longest frame of the format"),
        pytest.param(Craft(content_type=1), False, False, id="unframed with a frame length"),
        pytest.param(Craft(content_type=0), False, False, id="content type 0"),
        pytest.param(Craft(content_type=3), False, False, id="content type 3"),
        pytest.param(Craft(context=b"\x00\x00"), False, False, id="a context of no pairs"),
        pytest.param(Craft(context=b"\x00\x02" + (field(b"a") + field(b"b")) * 2), False, False, id="a key twice"),
    ],
)
def test_what_each_reader_accepts(craft: Craft, strict: bool, foreign: bool) -> None:
    for lenient, accepted in ((False, strict), (True, foreign)):
        if accepted:
            assert parse_header(craft.header(), foreign=lenient).size == len(craft.header())
        else:
            with pytest.raises(MessageInvalid):
                parse_header(craft.header(), foreign=lenient)


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize(
    ("prefix", "told"),
    [
        (b"\x02\x05\x78", "0x0578"),
        (b"\x01\x80\x00", "version 1"),
        (b"\x01\x04\x78", "version 1"),
        (b"\x01", "version 1"),
    ],
)
def test_other_writers_hear_which_algorithm_to_set(prefix: bytes, told: str, foreign: bool) -> None:
    with pytest.raises(MessageInvalid, match=told) as caught:
        parse_header(prefix + Craft().header()[3:], foreign=foreign)
    assert caught.value.hint
    assert "ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY (0x0478" in caught.value.hint


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize(
    "prefix", [b"", b"\x02", b"\x02\x04", b"\x02\x04\x79", b"\x02\x01\x78", b"\x03\x04\x78", b"PK\x03"]
)
def test_anything_else_is_not_a_message(prefix: bytes, foreign: bool) -> None:
    for data in (prefix, prefix and prefix + Craft().header()[3:]):
        with pytest.raises(MessageInvalid, match="not a message"):
            parse_header(data, foreign=foreign)


def peak_of(action: Callable[[], object]) -> int:
    """Most bytes that Python held while an action ran which must refuse."""
    tracemalloc.start()
    try:
        with pytest.raises(MessageInvalid):
            action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


_START = b"\x02\x04\x78" + bytes(32)
_JUNK = bytes(b"\xff" * (4 << 20))


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize("junk", [b"", _JUNK], ids=["alone", "followed by 4 MiB"])
@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(_START + b"\xff\xff", id="context of 65535 bytes"),
        pytest.param(_START + b"\xff\xff\xff\xff", id="context of 65535 pairs"),
        pytest.param(_START + bytes(2) + b"\xff\xff", id="65535 data keys"),
        pytest.param(_START + bytes(2) + b"\xff\xff" + bytes(6 * 0xFFFF), id="65535 data keys of no bytes"),
        pytest.param(_START + bytes(2) + b"\x00\x08" + b"\xff\xff", id="data key of 65535 bytes"),
        pytest.param(
            _START + bytes(2) + b"\x00\x08" + (field(b"x" * 0xFFFF)) * 23, id="all data keys as long as can be"
        ),
        pytest.param(Craft(frame_length=0xFFFFFFFF).header(), id="frame of 4 GiB"),
        pytest.param(Craft(frame_length=0).header(), id="frame of no bytes"),
        pytest.param(Craft(content_type=1, frame_length=0xFFFFFFFF).header(), id="unframed and 4 GiB"),
    ],
)
def test_hostile_lengths_cost_no_memory(hostile: bytes, junk: bytes, foreign: bool) -> None:
    data = hostile + junk
    limit = 4 * MAX_FOREIGN_HEADER if foreign else 4 * MAX_HEADER
    assert peak_of(lambda: parse_header(data, foreign=foreign)) < limit
