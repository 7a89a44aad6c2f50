"""Ids as keys: any id, no two alike, in what both services take."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InternalError
from core.stores.azure_tables.names import key_of, name_of

LONG = 200


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("acme-1", "acme-1"),
        ("_system", "_system"),
        ("branch:ACTIVE", "branch:ACTIVE"),
        ("a b", "a=20b"),
        ("/\\#?", "=2F=5C=23=3F"),
        ("\x00\x1f\x7f", "=00=1F=7F"),
        ("\x9f", "=C2=9F"),
        ("'", "=27"),
        ("%41", "=2541"),
        ("=41", "=3D41"),
        ("é", "=C3=A9"),
        ("e\u0301", "e=CC=81"),
        ("\U0001f600", "=F0=9F=98=80"),
        ("x" * LONG, "x" * LONG),
    ],
    ids=ascii,
)
def test_keys(name: str, key: str) -> None:
    assert key_of(name) == key
    assert name_of(key) == name


@pytest.mark.parametrize("name", ["x" * (LONG + 1), "é" * 67, "x" * 100_000])
def test_an_id_too_long_is_found_but_not_read_back(name: str) -> None:
    key = key_of(name)
    assert re.fullmatch("=~[0-9a-f]{64}", key)
    assert key != key_of(name + "x")
    assert name_of(key) is None


@pytest.mark.parametrize("name", ["", "\ud800", "x\udc80"], ids=ascii)
def test_what_is_no_id(name: str) -> None:
    with pytest.raises(InternalError):
        key_of(name)


@pytest.mark.parametrize("key", ["", "=", "=4", "=41", "=2f", "=C3", "=80", "a b", "a/b", "=~x", "x" * 201, "=00" * 67])
def test_a_key_that_stands_for_no_id(key: str) -> None:
    assert name_of(key) is None


@given(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=80))
def test_no_two_ids_share_a_key(one: str, other: str) -> None:
    keys = key_of(one), key_of(other)
    assert (keys[0] == keys[1]) is (one == other)
    for name, key in zip((one, other), keys, strict=True):
        assert re.fullmatch("[A-Za-z0-9.:_=~-]{1,200}", key)
        assert name_of(key) in (name, None)
