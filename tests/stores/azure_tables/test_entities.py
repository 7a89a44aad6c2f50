"""Texts and bytes in pieces, what an entity remembers of its writes, and how large it may be."""

from __future__ import annotations

from typing import Any

import pytest
from azure.data.tables import EdmType, EntityProperty

from core.errors import InternalError
from core.stores.azure_tables.entities import (
    KEPT,
    bytes_of,
    check_size,
    integer_of,
    made_by,
    pieces,
    text_of,
    writes_of,
    writes_with,
)

TEXT, BYTES = 32 * 1024, 64 * 1024


@pytest.mark.parametrize(
    ("length", "count"), [(0, 1), (1, 1), (TEXT, 1), (TEXT + 1, 2), (3 * TEXT, 3), (100 * TEXT + 1, 101)]
)
def test_texts(length: int, count: int) -> None:
    text = ("0123456789abcdef" * (length // 16 + 1))[:length]
    found = pieces("body", text)
    assert list(found) == [f"body{number}" for number in range(count)]
    assert all(len(piece) <= TEXT for piece in found.values())
    assert text_of({"RowKey": "x", "bodyguard": "y", **dict(reversed(found.items()))}, "body") == text


@pytest.mark.parametrize(("length", "count"), [(0, 1), (BYTES, 1), (BYTES + 1, 2), (100 * BYTES + 1, 101)])
def test_bytes(length: int, count: int) -> None:
    content = (bytes(range(251)) * (length // 251 + 1))[:length]
    found = pieces("enc", content)
    assert len(found) == count
    assert bytes_of(found, "enc") == content


@pytest.mark.parametrize(
    ("entity", "text"),
    [
        ({}, None),
        ({"t1": "b"}, None),
        ({"t0": "a", "t2": "c"}, None),
        ({"t0": "a", "t1": b"b"}, None),
        ({"t0": "a", "t01": "b"}, None),
        ({"t0": 7}, None),
        ({"t": "a"}, None),
        ({"t0": "", "t1": ""}, ""),
    ],
    ids=str,
)
def test_texts_of_another_form(entity: dict[str, Any], text: str | None) -> None:
    assert text_of(entity, "t") == text


@pytest.mark.parametrize(
    ("entity", "content"),
    [({}, None), ({"b0": "text"}, b""), ({"b1": b"x"}, b""), ({"b0": b"x", "b1": 7}, b""), ({"b0": b"x"}, b"x")],
    ids=str,
)
def test_bytes_of_another_form(entity: dict[str, Any], content: bytes | None) -> None:
    assert bytes_of(entity, "b") == content


def test_a_text_that_is_not_ascii_is_none_of_ours() -> None:
    with pytest.raises(InternalError):
        pieces("body", "é")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (EntityProperty(2**40, EdmType.INT64), 2**40),
        (7, 7),
        (EntityProperty("7", EdmType.INT64), None),
        (True, None),
        (1.0, None),
        ("7", None),
        (None, None),
    ],
    ids=str,
)
def test_numbers(value: object, number: int | None) -> None:
    assert integer_of({"n": value}, "n") == number


def remembering(count: int, *more: str) -> dict[str, str]:
    """An entity as many writes have left it, the newest of them named by what follows."""
    entity: dict[str, str] = {}
    for write_id in [*(f"w{number}" for number in range(count)), *more]:
        entity = {"writes": writes_with(entity, write_id)}
    return entity


def test_an_entity_remembers_its_last_writes() -> None:
    assert writes_of(remembering(3)) == ["w2", "w1", "w0"]
    assert writes_of(remembering(KEPT + 4))[-1] == "w4"
    assert len(writes_of(remembering(100))) == KEPT
    assert writes_of(None) == writes_of({}) == writes_of({"writes": 7}) == []


@pytest.mark.parametrize(
    ("before", "after", "made"),
    [
        (None, remembering(0, "ours"), True),
        (None, remembering(0, "ours", *map(str, range(KEPT - 1))), True),
        (None, remembering(0, "ours", *map(str, range(KEPT))), None),
        (None, None, False),
        (None, remembering(3), False),
        (None, remembering(KEPT), None),
        (remembering(1), remembering(1, "ours"), True),
        (remembering(1), remembering(1), False),
        (remembering(1), remembering(1, *map(str, range(KEPT - 1))), False),
        (remembering(1), remembering(1, *map(str, range(KEPT))), None),
        (remembering(40), remembering(40, "x"), False),
        (remembering(1), {}, None),
        (remembering(1), None, None),
        ({}, remembering(2), False),
        ({}, remembering(0, "ours"), True),
    ],
)
def test_whether_ours_was_made(before: dict[str, str] | None, after: dict[str, str] | None, made: bool | None) -> None:
    assert made_by("ours", before, after) is made


@pytest.mark.parametrize(
    ("largest", "larger"),
    [("x" * 499_000, "x" * 501_000), (bytes(749_000), bytes(751_000))],
    ids=["text, two bytes a character", "bytes, as Base64"],
)
def test_the_largest_entity(largest: str | bytes, larger: str | bytes) -> None:
    assert check_size({"PartitionKey": "p", "RowKey": "r", **pieces("x", largest)}) <= 1_010_000
    with pytest.raises(InternalError, match="1 MB"):
        check_size({"PartitionKey": "p", "RowKey": "r", **pieces("x", larger)})


def test_what_json_escapes_counts_in_a_request() -> None:
    assert check_size({"x": '"\\' * 1000}) - check_size({"x": "xx" * 1000}) == 2000
