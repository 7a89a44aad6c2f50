"""The encryption context has one encoding per mapping, and callers may not set what the service sets."""

from __future__ import annotations

from itertools import combinations, permutations
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.domain.context import (
    MAX_PAIRS,
    MAX_PART,
    MAX_SERIALISED,
    check_caller_context,
    message_context,
    parse,
    require_context,
    serialise,
)
from core.errors import ContextMismatch, InvalidRequest, MessageInvalid
from tests.domain.crafting import CONTEXT, CONTEXT_BYTES, field
from tests.domain.strategies import callers_contexts, contexts, mutated, structural_contexts, thorough, usual

LONE_SURROGATE = "\ud800"
ALIKE = [
    {},
    {"": ""},
    {"a": ""},
    {"": "a"},
    {"a": "bc"},
    {"ab": "c"},
    {"abc": ""},
    {"": "abc"},
    {"a": "b", "c": ""},
    {"a": "", "bc": ""},
    {"a": "", "b": "c"},
    {"a": "b", "": "c"},
    {"a": "\x00\x01b\x00\x01c"},
    {"a": "\x00\x01b", "c": ""},
    {"a": "b", "c": "d"},
    {"a": "d", "c": "b"},
    {"a": "b\x00\x01c\x00\x01d"},
    {"\u00e4": ""},
    {"a\u0308": ""},
    {"A": ""},
]
"""Mappings whose parts, joined without their lengths, are alike."""


def test_known_bytes() -> None:
    assert serialise({}) == b""
    assert serialise(CONTEXT) == CONTEXT_BYTES
    assert serialise({"zß": "ünï", "tenant_id": "acme"}).hex() == (
        "0002000974656e616e745f6964000461636d6500037ac39f0005c3bc6ec3af"
    )


def test_keys_are_sorted_by_their_bytes_not_by_their_code_units() -> None:
    # As UTF-16 the second key would come first.
    assert [*parse(serialise({"\U00010000": "", "\uffff": ""}))] == ["\uffff", "\U00010000"]


def test_mappings_that_look_alike_have_different_bytes() -> None:
    for one, other in combinations(ALIKE, 2):
        assert serialise(one) != serialise(other), (one, other)


@thorough
@given(structural_contexts, structural_contexts)
def test_equal_bytes_mean_equal_mappings(one: dict[str, str], other: dict[str, str]) -> None:
    assert (serialise(one) == serialise(other)) == (one == other)


@usual
@given(contexts, st.randoms(use_true_random=False))
def test_parse_reverses_serialise_in_any_insertion_order(context: dict[str, str], random: Random) -> None:
    items = list(context.items())
    random.shuffle(items)
    assert serialise(dict(items)) == serialise(context)
    assert parse(serialise(context)) == context


def _accepted_only_if_canonical(data: bytes) -> None:
    try:
        context = parse(data)
    except MessageInvalid:
        return
    assert serialise(context) == data


@thorough
@given(contexts.map(serialise).flatmap(mutated))
def test_accepted_bytes_are_the_one_encoding(data: bytes) -> None:
    _accepted_only_if_canonical(data)


@thorough
@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda tail: b"\x00\x01\x00\x01" + tail))
def test_any_bytes_are_canonical_or_refused(data: bytes) -> None:
    _accepted_only_if_canonical(data)


@usual
@given(st.binary(max_size=60))
def test_the_lenient_reader_refuses_with_the_same_error(data: bytes) -> None:
    try:
        context = parse(data, canonical=False)
    except MessageInvalid:
        return
    assert len(serialise(context)) == len(data)


def test_only_one_order_is_canonical() -> None:
    pairs = [field(key) + field(b"v") for key in (b"a", b"b", b"bb")]
    accepted = []
    for order in permutations(pairs):
        data = b"\x00\x03" + b"".join(order)
        assert parse(data, canonical=False) == {"a": "v", "b": "v", "bb": "v"}
        try:
            parse(data)
        except MessageInvalid:
            continue
        accepted.append(list(order))
    assert accepted == [pairs]


@pytest.mark.parametrize(
    "data",
    {
        "one byte": b"\x00",
        "a count of zero": b"\x00\x00",
        "a count over what follows": b"\xff\xff" + field(b"a") + field(b"b"),
        "a count under what follows": b"\x00\x01" + field(b"a") + field(b"b") + field(b"c") + field(b"d"),
        "a key cut short": b"\x00\x01\x00\x05abc" + bytes(2),
        "a value cut short": b"\x00\x01" + field(b"a") + b"\x00\x02b",
        "a length cut short": b"\x00\x01" + field(b"abc") + b"\x00",
        "a byte left over": CONTEXT_BYTES + b"\x00",
        "a key twice": b"\x00\x02" + (field(b"a") + field(b"b")) * 2,
        "bytes that are not UTF-8": b"\x00\x01" + field(b"\xff") + field(b"b"),
        "UTF-8 longer than needed": b"\x00\x01" + field(b"\xc1\xa1") + field(b"b"),
        "an encoded surrogate": b"\x00\x01" + field(b"a") + field(b"\xed\xa0\x80"),
        "more than the format holds": b"\x00\x02"
        + (field(b"a") + field(b"b" * 40000))
        + (field(b"b") * 2 + b"c" * 40000),
    }.items(),
    ids=lambda case: case[0],
)
@pytest.mark.parametrize("canonical", [True, False])
def test_malformed_bytes_are_refused(data: tuple[str, bytes], canonical: bool) -> None:
    with pytest.raises(MessageInvalid):
        parse(data[1], canonical=canonical)


def test_more_than_the_format_holds_is_refused_by_both_ways() -> None:
    longest = {"k": "v" * (0xFFFF - 2 - 4 - 1)}
    assert len(serialise(longest)) == 0xFFFF
    assert parse(serialise(longest)) == longest
    for context in ({"k": "v" * (0xFFFF - 6)}, {"k": "v" * 0x10000}, {str(n): "" for n in range(0x10000)}):
        with pytest.raises(InvalidRequest):
            serialise(context)
    halves = field(b"a") + field(b"v" * 0xFFFF) + field(b"b") + field(b"v" * 0xFFFF)
    with pytest.raises(MessageInvalid):
        parse(b"\x00\x02" + halves)


@pytest.mark.parametrize("context", [{LONE_SURROGATE: "a"}, {"a": LONE_SURROGATE}])
def test_lone_surrogates_are_the_callers_error(context: dict[str, str]) -> None:
    for refuse in (serialise, check_caller_context):
        with pytest.raises(InvalidRequest, match="surrogates"):
            refuse(context)


@pytest.mark.parametrize(
    "key", ["", "tenant_id", "aws-crypto-", "aws-crypto-public-key", "keystead-", "keystead-use", "keystead-x"]
)
def test_reserved_keys_are_refused(key: str) -> None:
    with pytest.raises(InvalidRequest, match=r"reserved|empty"):
        check_caller_context({"fine": "x", key: "x"})


@pytest.mark.parametrize(
    "key", ["Tenant_id", "tenant_id ", "tenant", "aws-crypto", "keystead", "x-keystead-use", "\x00"]
)
def test_keys_beside_the_reserved_ones_are_free(key: str) -> None:
    check_caller_context({key: ""})


def test_limits() -> None:
    check_caller_context({})
    check_caller_context({str(n): "" for n in range(MAX_PAIRS)})
    check_caller_context({"k" * MAX_PART: "é" * (MAX_PART // 2)})
    for context in (
        {str(n): "" for n in range(MAX_PAIRS + 1)},
        {"k" * (MAX_PART + 1): ""},
        {"k": "é" * (MAX_PART // 2) + "e"},
        {str(n): "v" * MAX_PART for n in range(8)},
    ):
        with pytest.raises(InvalidRequest):
            check_caller_context(context)


def test_the_largest_context_of_a_caller_fits_with_our_own_pairs() -> None:
    context = {str(n): "v" * MAX_PART for n in range(7)}
    context["last"] = "v" * (MAX_SERIALISED - 256 - len(serialise(context)) - 4 - 4)
    assert len(serialise(context)) == MAX_SERIALISED - 256
    check_caller_context(context)
    with pytest.raises(InvalidRequest):
        check_caller_context({**context, "last": context["last"] + "v"})
    assert len(serialise(message_context("t" * 63, context, use="caller"))) <= MAX_SERIALISED


def test_message_context_adds_our_pairs_and_leaves_the_callers_alone() -> None:
    given_context = {"app": "crm"}
    assert message_context("acme", given_context) == {"app": "crm", "tenant_id": "acme"}
    assert message_context("acme", given_context, use="caller") == {
        "app": "crm",
        "tenant_id": "acme",
        "keystead-use": "caller",
    }
    assert given_context == {"app": "crm"}


@usual
@given(callers_contexts, contexts)
@example({"app": "crm"}, {"app": "crm", "tenant_id": "acme"})
@example({"app": "crm"}, {})
def test_a_context_is_required_exactly(found: dict[str, str], expected: dict[str, str]) -> None:
    for use in (None, "caller"):
        in_message = message_context("acme", found, use=use)
        require_context(in_message, "acme", found)
        if expected != found:
            with pytest.raises(ContextMismatch):
                require_context(in_message, "acme", expected)
        with pytest.raises(MessageInvalid):
            require_context(in_message, "other", found)


def test_a_message_without_a_tenant_is_nobodys() -> None:
    for tenant in ("", "acme"):
        with pytest.raises(MessageInvalid):
            require_context({"app": "crm"}, tenant, {"app": "crm"})
    with pytest.raises(ContextMismatch):
        require_context(CONTEXT, "acme", CONTEXT)
