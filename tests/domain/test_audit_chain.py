"""An entry's hash covers every field, so that no edit goes unseen."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.audit import EMPTY_HEAD, GENESIS, AuditEntry

ENTRY = AuditEntry(
    chain="acme",
    sequence=7,
    time="2026-01-31T12:00:00.000000Z",
    action="tenant.create",
    subject="operator",
    outcome="ok",
    details={"a": 1, "b": ["x", None], "ż": {"y": True}},
    previous="ab" * 32,
)
CHANGES: dict[str, list[Any]] = {
    "chain": ["acmf", ""],
    "sequence": [8, 0, 77],
    "time": ["2026-01-31T12:00:00.000001Z"],
    "action": ["tenant.created"],
    "subject": ["operator2"],
    "outcome": ["access_denied"],
    "details": [{}, {"a": 2}, {"a": 1, "b": ["x"]}, {"a": "1", "b": ["x", None], "ż": {"y": True}}],
    "previous": [GENESIS, "ab" * 31 + "ac"],
}


def test_every_field_but_the_hash_itself_is_listed_here() -> None:
    assert {field.name for field in fields(AuditEntry)} == {*CHANGES, "hash"}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in CHANGES.items() for value in values])
def test_a_change_of_any_field_changes_the_hash(name: str, value: Any) -> None:
    assert replace(ENTRY, **{name: value}).computed_hash() != ENTRY.computed_hash()


def test_the_hash_does_not_cover_itself() -> None:
    assert replace(ENTRY, hash="x").computed_hash() == ENTRY.computed_hash()


def test_the_hash_is_as_documented() -> None:
    body = {
        "action": "tenant.create",
        "chain": "acme",
        "details": {"a": 1, "b": ["x", None], "ż": {"y": True}},
        "outcome": "ok",
        "previous": "ab" * 32,
        "sequence": 7,
        "subject": "operator",
        "time": "2026-01-31T12:00:00.000000Z",
    }
    text = json.dumps(body, separators=(",", ":"))
    assert "\\u017c" in text
    assert ENTRY.computed_hash() == sha256(f"keystead audit entry v1\n{text}".encode()).hexdigest()


def test_the_order_of_details_does_not_matter() -> None:
    backwards = dict(reversed(list(ENTRY.details.items())))
    assert replace(ENTRY, details=backwards).computed_hash() == ENTRY.computed_hash()


def test_an_empty_chain_ends_in_nothing() -> None:
    assert (EMPTY_HEAD.sequence, EMPTY_HEAD.hash) == (0, "0" * 64)


TEXT = st.text(max_size=8)
ENTRIES = st.builds(
    AuditEntry,
    chain=TEXT,
    sequence=st.integers(),
    time=TEXT,
    action=TEXT,
    subject=TEXT,
    outcome=TEXT,
    details=st.dictionaries(TEXT, TEXT | st.integers() | st.booleans() | st.none(), max_size=3),
    previous=TEXT,
)


@given(ENTRIES, ENTRIES)
def test_two_entries_hash_alike_only_if_they_are_the_same(one: AuditEntry, other: AuditEntry) -> None:
    same = json.dumps(one.body(), sort_keys=True) == json.dumps(other.body(), sort_keys=True)
    assert (one.computed_hash() == other.computed_hash()) == same


@given(ENTRIES, st.sampled_from(["chain", "time", "action", "subject", "outcome"]), st.integers(1, 7))
def test_text_cannot_be_moved_between_fields(entry: AuditEntry, name: str, cut: int) -> None:
    """Joining the fields without marking their ends would let this pass."""
    names = ["chain", "time", "action", "subject", "outcome", "previous"]
    after = names[names.index(name) + 1]
    text = getattr(entry, name)
    moved = replace(entry, **{name: text[:-cut], after: text[-cut:] + getattr(entry, after)})
    assert (moved.computed_hash() == entry.computed_hash()) == (not text)
