"""The form of copies of audit chains: what is written is read again, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.audit import AuditEntry
from core.domain.audit_copies import ChainCopy
from core.errors import InvalidRequest
from tests.domain.strategies import mutated, usual

ENTRY = AuditEntry(
    chain="acme",
    sequence=1,
    time="2027-01-31T12:00:00.000000Z",
    action="key.suspend",
    subject="alice",
    outcome="ok",
    details={"why": "incident 4711", "from": ["ż", None, {"y": True}], "n": 1.5},
    hash="ab" * 32,
)
COPY = ChainCopy("acme", (ENTRY, replace(ENTRY, sequence=2, previous="ab" * 32)), "e30.e30.c2ln")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
TEXT = st.text(max_size=8)
ENTRIES = st.builds(
    AuditEntry,
    chain=TEXT,
    sequence=st.integers(),
    time=TEXT,
    action=TEXT,
    subject=TEXT,
    outcome=TEXT,
    details=st.dictionaries(TEXT, JSON, max_size=3),
    previous=TEXT,
    hash=TEXT,
)
COPIES = st.builds(ChainCopy, TEXT, st.lists(ENTRIES, max_size=4).map(tuple), TEXT)


@usual
@given(COPIES)
def test_what_is_written_is_read_again(copy: ChainCopy) -> None:
    line = copy.to_line()
    assert ChainCopy.from_line(line) == copy
    assert ChainCopy.from_line(line + "\n") == copy
    assert "\n" not in line
    assert line.isascii()


def test_the_line_is_as_documented() -> None:
    assert json.loads(COPY.to_line()) == {
        "chain": "acme",
        "entries": [asdict(entry) for entry in COPY.entries],
        "checkpoint": "e30.e30.c2ln",
    }


def test_an_empty_chain_has_a_line_as_well() -> None:
    empty = ChainCopy("acme", (), "")
    assert ChainCopy.from_line(empty.to_line()) == empty


def body(**changes: Any) -> str:
    return json.dumps({**json.loads(COPY.to_line()), **changes})


def without(name: str) -> str:
    found = json.loads(COPY.to_line())
    del found[name]
    return json.dumps(found)


def entry(**changes: Any) -> str:
    return body(entries=[{**asdict(ENTRY), **changes}])


def entry_without(name: str) -> str:
    return body(entries=[{key: value for key, value in asdict(ENTRY).items() if key != name}])


OTHER_TYPES: dict[str, list[Any]] = {
    "sequence": ["1", 1.0, True, None, [1]],
    "details": [None, [], "{}", 7],
    **{
        field.name: [None, 7, True, ["x"], {}]
        for field in fields(AuditEntry)
        if field.name not in ("sequence", "details")
    },
}
NO_TEXT: list[Any] = [None, 7, ["acme"], {}]
NO_LIST: list[Any] = [None, 7, "", {}, {"0": {}}]
NO_ENTRY: list[Any] = [None, 7, "x", [], {}]
MALFORMED = {
    "nothing": "",
    "blank": " \n",
    "no JSON": "chain=acme",
    "half a line": COPY.to_line()[:-1],
    "two lines in one": COPY.to_line() * 2,
    "a byte order mark": "\ufeff" + COPY.to_line(),
    "null": "null",
    "a number": "7",
    "a text": '"chain"',
    "a list": "[]",
    "an empty object": "{}",
    "too deep": '{"chain":' + "[" * 100_000,
    "too deep in details": entry(details={}).replace('"details": {}', '"details": ' + '{"a":' * 100_000),
    "a number that is too long": "9" * 5000,
    **{f"without {name}": without(name) for name in ("chain", "entries", "checkpoint")},
    **{f"chain {value!r}": body(chain=value) for value in NO_TEXT},
    **{f"checkpoint {value!r}": body(checkpoint=value) for value in NO_TEXT},
    **{f"entries {value!r}": body(entries=value) for value in NO_LIST},
    **{f"an entry {value!r}": body(entries=[value]) for value in NO_ENTRY},
    "a second entry that is none": body(entries=[asdict(ENTRY), None]),
    "an entry with more": entry(more=1),
    **{
        f"an entry without {name}": entry_without(name)
        for name in ("chain", "sequence", "time", "action", "subject", "outcome")
    },
    **{
        f"an entry whose {name} is {value!r}": entry(**{name: value})
        for name, values in OTHER_TYPES.items()
        for value in values
    },
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(case: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        ChainCopy.from_line(MALFORMED[case])
    assert type(refused.value) is InvalidRequest
    assert refused.value.detail == "a line is no copy of an audit chain"


def test_every_field_of_an_entry_is_listed_here() -> None:
    assert set(OTHER_TYPES) == {field.name for field in fields(AuditEntry)}


@usual
@given(JSON | st.fixed_dictionaries({"chain": JSON, "entries": st.lists(JSON, max_size=2), "checkpoint": JSON}))
def test_any_json_is_a_copy_or_refused(value: Any) -> None:
    try:
        found = ChainCopy.from_line(json.dumps(value))
    except InvalidRequest:
        return
    assert (found.chain, list(found.entries), found.checkpoint) == (value["chain"], [], value["checkpoint"])


@usual
@given(mutated(COPY.to_line().encode()))
def test_a_line_that_was_tampered_with_is_a_copy_or_refused(line: bytes) -> None:
    """Whether it is true is for the service to say; here it is of the declared types."""
    try:
        found = ChainCopy.from_line(line.decode(errors="replace"))
    except InvalidRequest:
        return
    assert ChainCopy.from_line(found.to_line()) == found


def test_what_is_signed_and_long_is_not_shown() -> None:
    """Whoever logs a copy logs neither the tenant's whole history nor what looks like a token."""
    assert repr(ChainCopy("acme", (), "eyJhbGciOiJFZERTQSJ9.e30.c2ln")) == "ChainCopy(chain='acme')"
