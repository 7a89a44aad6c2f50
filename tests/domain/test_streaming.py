"""Streams give what whole buffers give, in constant memory, and are loud when the message ends before its end."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from io import BytesIO
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain import foreign
from core.domain.message import DEFAULT_FRAME_LENGTH, DataKey, decrypt, encrypt
from core.domain.message_header import Header, parse_header
from core.domain.streaming import BufferedSource, decrypt_stream, encrypt_stream, read_fully
from core.errors import ContextMismatch, MessageInvalid
from tests.domain.crafting import PLAIN_KEY, Craft, field
from tests.domain.readers import cold, new_key, pieces
from tests.domain.strategies import usual

MIB = 1 << 20
TEXT = bytes(range(200))


class Drip:
    """A source whose reads are short, in sizes that repeat."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._left = BytesIO(data)
        self._sizes: Iterator[int] = cycle(sizes)

    def read(self, size: int, /) -> bytes:
        """At most as many bytes as it is the turn of."""
        return self._left.read(min(size, next(self._sizes)))


class Zeros:
    """So many zero bytes, none of them kept."""

    def __init__(self, size: int) -> None:
        self._left, self._some = size, bytes(DEFAULT_FRAME_LENGTH)

    def read(self, size: int, /) -> bytes:
        """At most ``size`` zero bytes."""
        data = self._some[: min(size, self._left)]
        self._left -= len(data)
        return data


class Counter:
    """A sink that keeps nothing but the number of bytes."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes, /) -> None:
        """Count."""
        self.size += len(data)


def open_key(_header: Header) -> bytes:
    """The data key of every message here."""
    return PLAIN_KEY


def streamed(data: bytes, sizes: list[int]) -> bytes:
    """What the stream makes of a message that drips in."""
    out, done = BytesIO(), list[int]()
    size = decrypt_stream(Drip(data, sizes), out, open_key, done.append)
    assert sum(done) == size == len(out.getvalue())
    return out.getvalue()


def written(key: DataKey, plaintext: bytes, sizes: list[int]) -> bytes:
    """The message that the stream makes of a plaintext that drips in."""
    out, done = BytesIO(), list[int]()
    assert encrypt_stream(key, Drip(plaintext, sizes), out, done.append) == sum(done) == len(plaintext)
    return out.getvalue()


drips = st.lists(st.integers(1, 70), min_size=1, max_size=5)


@usual
@given(st.binary(max_size=200), st.integers(1, 70), drips)
def test_streams_and_whole_buffers_read_each_other(plaintext: bytes, frame_length: int, sizes: list[int]) -> None:
    key = new_key(frame_length)
    data = written(key, plaintext, sizes)
    assert len(data) == len(encrypt(key, plaintext))
    assert decrypt(key, data) == plaintext
    assert streamed(encrypt(key, plaintext), sizes) == plaintext


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 31, 32, 33, 200])
def test_both_write_the_same_bytes(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.domain.message.urandom", bytes)
    monkeypatch.setattr("os.urandom", bytes)
    for drip in range(1, 20):
        assert written(new_key(), TEXT[:size], [drip]) == encrypt(new_key(), TEXT[:size])


def test_a_header_longer_than_the_first_read() -> None:
    context = b"\x00\x01" + field(b"k") + field(b"v" * 8000)
    key = new_key(context=context)
    data = encrypt(key, TEXT)
    for sizes in ([1], [3, 1000], [8191], [1 << 20]):
        assert streamed(data, sizes) == TEXT
    large = Craft(context=b"\x00\x01" + field(b"k") + field(b"v" * 60000))
    out = BytesIO()
    foreign.decrypt_foreign_stream(Drip(large.header() + large.final(1, b"x"), [7]), out, open_key)
    assert out.getvalue() == b"x"


@pytest.mark.parametrize("drip", [1, 7, 1000])
def test_a_truncated_stream_raises_after_the_whole_frames_before_the_cut(drip: int) -> None:
    data = encrypt(new_key(), TEXT[:40])
    start = parse_header(data).size
    for length in range(len(data)):
        out, done = BytesIO(), list[int]()
        with pytest.raises(MessageInvalid):
            decrypt_stream(Drip(data[:length], [drip]), out, open_key, done.append)
        whole_frames = max(0, (length - start) // 48)
        assert out.getvalue() == TEXT[: 16 * whole_frames]
        assert sum(done) == len(out.getvalue())


@pytest.mark.parametrize("size", [0, 5, 16, 17, 40])
def test_bytes_after_the_end_are_refused_before_the_last_frame_is_released(size: int) -> None:
    data = encrypt(new_key(), TEXT[:size])
    for tail in (b"\x00", pieces(data).frames[-1], bytes(100_000)):
        for read in (decrypt_stream, foreign.decrypt_foreign_stream):
            out = BytesIO()
            with pytest.raises(MessageInvalid, match="after its end"):
                read(Drip(data + tail, [11, 1]), out, open_key)
            assert len(out.getvalue()) <= max(0, size - 1)


def test_a_frame_that_does_not_hold_is_never_released() -> None:
    data = encrypt(new_key(), TEXT[:48])
    start = parse_header(data).size
    for frame in range(3):
        damaged = bytearray(data)
        damaged[start + 48 * frame + 30] ^= 1
        out = BytesIO()
        with pytest.raises(MessageInvalid, match=f"frame {frame + 1} "):
            decrypt_stream(BytesIO(damaged), out, open_key)
        assert out.getvalue() == TEXT[: 16 * frame]


def test_nothing_is_written_before_the_key_is_given() -> None:
    def no_key(header: Header) -> bytes:
        assert header.context == {"tenant_id": "acme"}
        raise ContextMismatch("another")

    data = encrypt(new_key(), TEXT)
    for read in (decrypt_stream, foreign.decrypt_foreign_stream):
        out = BytesIO()
        with pytest.raises(ContextMismatch):
            read(BytesIO(data), out, no_key)
        assert out.getvalue() == b""


def peak() -> int:
    """Most bytes held since tracing began."""
    return tracemalloc.get_traced_memory()[1]


def test_constant_memory(tmp_path: Path) -> None:
    size, path, key = 64 * MIB, tmp_path / "message", new_key(DEFAULT_FRAME_LENGTH)
    tracemalloc.start()
    try:
        with path.open("wb") as out:
            assert encrypt_stream(key, Zeros(size), out) == size
        assert peak() < 2 * MIB
        for read in (decrypt_stream, foreign.decrypt_foreign_stream):
            tracemalloc.reset_peak()
            sink = Counter()
            with path.open("rb") as source:
                assert read(source, sink, open_key) == size == sink.size
            assert peak() < 2 * MIB
    finally:
        tracemalloc.stop()


def test_a_hostile_frame_length_costs_one_frame_of_the_largest_size_at_most() -> None:
    # The holder of a data key can authenticate any length; the message itself stays short.
    craft = Craft(frame_length=MIB)
    body = craft.final(1, b"x", length=0xFFFFFFFF)
    tracemalloc.start()
    try:
        for data in (craft.header() + body, craft.header() + craft.regular(1, b"x")):
            for read in (decrypt_stream, foreign.decrypt_foreign_stream):
                with pytest.raises(MessageInvalid):
                    read(Drip(data, [4096]), Counter(), open_key)
            with pytest.raises(MessageInvalid):
                cold()(data)
        assert peak() < 2 * MIB
    finally:
        tracemalloc.stop()


@usual
@given(st.binary(max_size=100), st.integers(0, 120), drips)
def test_read_fully_reads_fewer_bytes_only_at_the_end(data: bytes, size: int, sizes: list[int]) -> None:
    assert read_fully(Drip(data, sizes), size) == data[:size]


@usual
@given(st.binary(max_size=100), st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=12), drips)
def test_a_buffered_source_takes_what_it_shows(data: bytes, steps: list[tuple[bool, int]], sizes: list[int]) -> None:
    reader, at = BufferedSource(Drip(data, sizes)), 0
    for take, size in steps:
        expected = data[at : at + size]
        if not take:
            assert reader.peek(size) == expected
        elif len(expected) == size:
            assert reader.take(size) == expected
            at += size
        else:
            with pytest.raises(MessageInvalid, match="cut short"):
                reader.take(size)
            return


def test_the_default_progress_is_silent() -> None:
    out = BytesIO()
    assert encrypt_stream(new_key(), BytesIO(b"x"), out) == 1
    assert decrypt_stream(BytesIO(out.getvalue()), Counter(), open_key) == 1


def test_a_large_random_stream_comes_back() -> None:
    plaintext = os.urandom(3 * DEFAULT_FRAME_LENGTH + 7)
    data = written(new_key(DEFAULT_FRAME_LENGTH), plaintext, [10_000, 3])
    assert streamed(data, [70_000]) == plaintext
