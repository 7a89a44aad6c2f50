"""A row's MAC covers every field with its length, and what the KMS is told of a row is exactly what is stored."""

from __future__ import annotations

import hmac
from dataclasses import fields, replace
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.branch_keys import ACTIVE, VERSION_PREFIX, BranchKeyRow, RowMac, is_version_id, row_mac
from core.domain.kek import Kek

KEY = bytes(range(32))
TABLE = "keystead-branch-keys"
VERSION = f"{VERSION_PREFIX}7b3c3f3e-6f0e-4b0e-9d3a-2f6c5f0f1a11"
ROW = BranchKeyRow(
    branch_key_id="5f0d6f0a-4a51-4ad8-9f9a-0d6b1a2c3d4e",
    type=ACTIVE,
    version=VERSION,
    kek=Kek("local:platform"),
    create_time="2026-01-31T12:00:00.000000Z",
    tenant_id="acme",
    enc=bytes(range(60)),
)
CHANGES: dict[str, list[Any]] = {
    "branch_key_id": ["5f0d6f0a-4a51-4ad8-9f9a-0d6b1a2c3d4f", ""],
    "type": [VERSION],
    "version": [f"{VERSION_PREFIX}7b3c3f3e-6f0e-4b0e-9d3a-2f6c5f0f1a12", None],
    "kek": [Kek("local:platforn"), Kek("")],
    "create_time": ["2026-01-31T12:00:00.000001Z"],
    "tenant_id": ["acmf", "acm", "acme "],
    "enc": [bytes(60), bytes(range(59)), bytes(range(61)), b""],
}


def tag(row: BranchKeyRow, *, key: bytes = KEY, table: str = TABLE, revision: int = 3, sequence: int = 5) -> bytes:
    """The tag of a row's MAC."""
    return row_mac(key, table, row, revision, sequence).tag


def test_every_field_is_listed_here() -> None:
    assert {field.name for field in fields(BranchKeyRow)} == set(CHANGES)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in CHANGES.items() for value in values])
def test_a_change_of_any_field_changes_the_tag(name: str, value: Any) -> None:
    assert tag(replace(ROW, **{name: value})) != tag(ROW)


@pytest.mark.parametrize("position", range(60))
def test_a_change_of_any_byte_of_the_wrapped_key_changes_the_tag(position: int) -> None:
    enc = bytearray(ROW.enc)
    enc[position] ^= 1
    assert tag(replace(ROW, enc=bytes(enc))) != tag(ROW)


def test_a_change_of_anything_around_the_row_changes_the_tag() -> None:
    tags = [
        tag(ROW),
        tag(ROW, key=bytes(32)),
        tag(ROW, table="keystead-branch-key"),
        tag(ROW, revision=4),
        tag(ROW, sequence=6),
        tag(ROW, revision=5, sequence=3),
    ]
    assert len(set(tags)) == len(tags)


def test_the_tag_is_as_documented() -> None:
    """The layout is frozen: stored rows carry it."""
    parts = [TABLE, ROW.branch_key_id, ACTIVE, VERSION, "local:platform", ROW.create_time, "acme"]
    data = b"keystead branch key row v1" + (3).to_bytes(8, "big") + (5).to_bytes(8, "big")
    for part in [*(text.encode() for text in parts), ROW.enc]:
        data += len(part).to_bytes(4, "big") + part
    found = row_mac(KEY, TABLE, ROW, 3, 5)
    assert found == RowMac(3, 5, hmac.digest(KEY, data, sha256))
    assert len(found.tag) == 32


TEXT = st.text(max_size=6)
ROWS = st.builds(
    BranchKeyRow,
    branch_key_id=TEXT,
    type=TEXT,
    version=TEXT,
    kek=st.builds(Kek, TEXT),
    create_time=TEXT,
    tenant_id=TEXT,
    enc=st.binary(max_size=6),
)
NUMBERS = st.integers(0, 2**64 - 1)


@given(TEXT, ROWS, NUMBERS, NUMBERS, TEXT, ROWS, NUMBERS, NUMBERS)
def test_two_rows_have_one_tag_only_if_they_are_the_same(
    table: str, row: BranchKeyRow, revision: int, sequence: int, table2: str, row2: BranchKeyRow, rev2: int, seq2: int
) -> None:
    same = (table, row, revision, sequence) == (table2, row2, rev2, seq2)
    one, other = row_mac(KEY, table, row, revision, sequence), row_mac(KEY, table2, row2, rev2, seq2)
    assert (one.tag == other.tag) == same


ORDER = ["branch_key_id", "type", "version", "kek", "create_time", "tenant_id"]


@given(ROWS, st.integers(0, len(ORDER) - 2), st.integers(1, 5))
def test_text_cannot_be_moved_between_fields(row: BranchKeyRow, index: int, cut: int) -> None:
    """Joining the fields without their lengths would let this pass."""

    def text(name: str) -> str:
        value = getattr(row, name)
        return value.locator if isinstance(value, Kek) else str(value)

    def field(name: str, value: str) -> Any:
        return Kek(value) if name == "kek" else value

    name, after = ORDER[index], ORDER[index + 1]
    moved = replace(row, **{name: field(name, text(name)[:-cut]), after: field(after, text(name)[-cut:] + text(after))})
    assert (tag(moved) == tag(row)) == (not text(name))


@given(ROWS, st.integers(1, 5))
def test_bytes_cannot_be_moved_into_the_wrapped_key(row: BranchKeyRow, cut: int) -> None:
    moved = replace(row, tenant_id=row.tenant_id[:-cut], enc=row.tenant_id[-cut:].encode() + row.enc)
    assert (tag(moved) == tag(row)) == (not row.tenant_id)


def test_attributes_are_those_of_hv_1_and_the_tenant() -> None:
    expected = {
        "branch-key-id": ROW.branch_key_id,
        "type": ACTIVE,
        "version": VERSION,
        "create-time": ROW.create_time,
        "hierarchy-version": "1",
        "kms-arn": "local:platform",
        "tenant_id": "acme",
    }
    assert ROW.attributes() == expected
    del expected["version"]
    assert replace(ROW, type=VERSION, version=None).attributes() == {**expected, "type": VERSION}
    assert ROW.kms_context(TABLE) == {**ROW.attributes(), "tablename": TABLE}


def test_the_version_id_is_the_same_in_both_rows() -> None:
    uuid = VERSION.removeprefix(VERSION_PREFIX)
    assert ROW.version_id == uuid
    assert replace(ROW, type=VERSION, version=None).version_id == uuid


def test_repr_hides_wrapped_key_and_tag() -> None:
    shown = repr(ROW) + repr(row_mac(KEY, TABLE, ROW, 3, 5))
    assert "enc=" not in shown
    assert "tag=" not in shown


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (str(uuid4()), True),
        (str(uuid4()).upper(), False),
        (f"{{{uuid4()}}}", False),
        (uuid4().hex, False),
        (f"urn:uuid:{uuid4()}", False),
        ("", False),
        ("7b3c3f3e-6f0e-4b0e-9d3a-2f6c5f0f1a1", False),
        ("zb3c3f3e-6f0e-4b0e-9d3a-2f6c5f0f1a11", False),
    ],
    ids=["canonical", "upper case", "braces", "no hyphens", "urn", "empty", "short", "not hex"],
)
def test_a_version_id_has_one_form(text: str, is_one: bool) -> None:
    assert is_version_id(text) is is_one
