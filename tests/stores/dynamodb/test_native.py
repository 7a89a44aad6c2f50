"""Branch key items in DynamoDB's own form, and what is read from items of another form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.stores._items import MAC_PREFIX, fence_item, row_items
from core.stores.dynamodb.native import from_native, integer_or_text, to_native
from tests.samples import new_version

MAC_TYPE = f"{MAC_PREFIX}branch:ACTIVE"


def test_what_is_written_is_read_back() -> None:
    for row in new_version("bk", 1):
        for item in (*row_items(row), fence_item(7)):
            found = from_native(to_native("bk", item, "write"))
            assert (found.type, found.enc) == (item.type, item.enc)
            assert json.loads(found.attributes) == json.loads(item.attributes)


def test_only_our_own_items_tell_which_write_they_are_of() -> None:
    version, _ = new_version("bk", 1)
    row, mac = row_items(version)
    assert "write_id" not in to_native("bk", row, "write")
    for item in (mac, fence_item(1)):
        assert to_native("bk", item, "write")["write_id"] == {"S": "write"}
    planted = from_native({**to_native("bk", row, "write"), "write_id": {"S": "x"}})
    assert "write_id" in json.loads(planted.attributes), "in a row it is an attribute too many"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"N": "7"}, 7),
        ({"N": "-7"}, -7),
        ({"N": "9" * 38}, 10**38 - 1),
        ({"N": "1.0"}, None),
        ({"N": "1E2"}, None),
        ({"N": "\u0661"}, None),
        ({"N": ""}, None),
        ({"N": 7}, None),
        ({"S": ""}, ""),
        ({"S": "7"}, "7"),
        ({"S": 7}, None),
        ({"BOOL": True}, None),
        ({"NULL": True}, None),
        ({"B": b"x"}, None),
        ({"SS": ["x"]}, None),
        ({}, None),
        (None, None),
    ],
    ids=str,
)
def test_numbers_and_texts(value: Any, expected: object) -> None:
    assert integer_or_text(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [({"B": bytes(2)}, "0000"), ({"S": "00" * 32}, None), ({"N": "7"}, None), ({"BS": [bytes(32)]}, None)],
    ids=str,
)
def test_a_tag_is_bytes(value: dict[str, Any], expected: str | None) -> None:
    found = from_native({"branch-key-id": {"S": "bk"}, "type": {"S": MAC_TYPE}, "tag": value})
    assert json.loads(found.attributes) == {"tag": expected}


@pytest.mark.parametrize("value", [{"S": "text"}, {"NULL": True}, {"BS": [b"x"]}], ids=str)
def test_a_wrapped_key_that_is_not_bytes_is_an_attribute_too_many(value: dict[str, Any]) -> None:
    found = from_native({"branch-key-id": {"S": "bk"}, "type": {"S": "branch:ACTIVE"}, "enc": value})
    assert found.enc is None
    assert "enc" in json.loads(found.attributes)
