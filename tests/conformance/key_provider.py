"""What every KeyProvider must do. Subclass; set the attributes in an autouse fixture; say how to withdraw and more."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import pytest

from core.domain.kek import KEY_BYTES, Kek, UnwrappedKey, WrappedKey
from core.errors import Denial, InternalError, KeysteadError, Silence, WrapMismatch
from core.ports import KeyProvider

KEY = bytes(range(100, 100 + KEY_BYTES))
CONTEXT = {"tenant_id": "acme", "branch-key-id": "bk-1", "type": "branch:ACTIVE"}

# Pairs of contexts that an encoding without lengths, or one that folds or sorts wrongly, would confuse.
CONFUSABLE: Mapping[str, tuple[dict[str, str], dict[str, str]]] = {
    "emptied": (CONTEXT, {}),
    "given where none was": ({}, CONTEXT),
    "pair missing": (CONTEXT, {"tenant_id": "acme", "type": "branch:ACTIVE"}),
    "pair extra": (CONTEXT, {**CONTEXT, "x": "y"}),
    "empty pair extra": (CONTEXT, {**CONTEXT, "": ""}),
    "value changed": (CONTEXT, {**CONTEXT, "tenant_id": "acmf"}),
    "value cut": (CONTEXT, {**CONTEXT, "tenant_id": "acm"}),
    "value emptied": (CONTEXT, {**CONTEXT, "tenant_id": ""}),
    "value grown by a zero": (CONTEXT, {**CONTEXT, "tenant_id": "acme\0"}),
    "letter case": (CONTEXT, {**CONTEXT, "tenant_id": "Acme"}),
    "key and value joined elsewhere": ({"ab": "c"}, {"a": "bc"}),
    "pairs joined elsewhere": ({"a": "b", "c": "d"}, {"a": "bc", "": "d"}),
    "two pairs as one": ({"a": "b", "c": "d"}, {"a": "bcd"}),
    "two pairs as one with lengths": ({"a": "b", "c": "d"}, {"a": "b\0\1c\0\1d"}),
    "key for value": ({"a": "b"}, {"b": "a"}),
    "values swapped": ({"a": "1", "b": "2"}, {"a": "2", "b": "1"}),
    "separators in values": ({"a": "1,b=2"}, {"a": "1", "b": "2"}),
    "Unicode composition": ({"name": "\u00e9"}, {"name": "e\u0301"}),
}

DAMAGES: Mapping[str, Callable[[bytes], bytes]] = {
    "first bit": lambda data: bytes([data[0] ^ 0x80]) + data[1:],
    "last bit": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "a bit in the middle": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :]
    ),
    "first byte cut": lambda data: data[1:],
    "last byte cut": lambda data: data[:-1],
    "grown in front": lambda data: b"\0" + data,
    "grown behind": lambda data: data + b"\0",
    "twice": lambda data: data + data,
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "all zero": lambda data: bytes(len(data)),
}


@dataclass(frozen=True)
class Withdrawal:
    """One way a KEK's owner takes it away.

    Attributes:
        cause: What the denial must name.
        withdraw: Does it, to the suite's ``kek``.
        reinstate: Takes it back; None where nobody can.
    """

    cause: str
    withdraw: Callable[[], None]
    reinstate: Callable[[], None] | None


class KeyProviderContract:
    """The suite.

    Attributes:
        provider: Under test.
        kek: A KEK that may be used.
        other_kek: Another.
        missing_kek: Names no KEK.
    """

    provider: KeyProvider
    kek: Kek
    other_kek: Kek
    missing_kek: Kek

    def withdrawals(self) -> Sequence[Withdrawal]:
        """Every way to withdraw ``kek``, the final ones last."""
        raise NotImplementedError

    def silence(self) -> None:
        """Have the KMS not answer from now on."""
        raise NotImplementedError

    def refuses(self, error: type[KeysteadError], wrapped: WrappedKey, context: Mapping[str, str]) -> KeysteadError:
        """The error of an unwrap that must fail; it tells nothing of the key."""
        with pytest.raises(KeysteadError) as raised:
            self.provider.unwrap(wrapped, context)
        assert type(raised.value) is error
        told = f"{raised.value!r} {raised.value.detail} {raised.value.hint}"
        assert KEY.hex() not in told
        assert repr(KEY)[2:-1] not in told
        return raised.value

    @pytest.mark.parametrize("context", [CONTEXT, {}, {"ключ": "値 \U0001f511"}, {"a": ""}], ids=ascii)
    def test_round_trip(self, context: dict[str, str]) -> None:
        wrapped = self.provider.wrap(self.kek, KEY, context)
        assert self.provider.unwrap(wrapped, context).key == KEY

    def test_the_order_of_pairs_does_not_matter(self) -> None:
        wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        for pairs in permutations(CONTEXT.items()):
            assert self.provider.unwrap(wrapped, dict(pairs)).key == KEY

    def test_the_wrapped_key_names_its_kek(self) -> None:
        assert self.provider.wrap(self.kek, KEY, CONTEXT).kek == self.kek

    def test_two_wraps_differ(self) -> None:
        assert len({self.provider.wrap(self.kek, KEY, CONTEXT).ciphertext for _ in range(20)}) == 20

    def test_the_key_does_not_stand_in_the_ciphertext(self) -> None:
        ciphertext = self.provider.wrap(self.kek, KEY, CONTEXT).ciphertext
        pieces = [KEY[start : start + 8] for start in range(len(KEY) - 7)]
        assert not [piece for piece in pieces if piece in ciphertext or piece[::-1] in ciphertext]

    @pytest.mark.parametrize(("bound", "given"), CONFUSABLE.values(), ids=CONFUSABLE)
    def test_another_context_is_refused(self, bound: dict[str, str], given: dict[str, str]) -> None:
        for one, other in ((bound, given), (given, bound)):
            wrapped = self.provider.wrap(self.kek, KEY, one)
            self.refuses(WrapMismatch, wrapped, other)
            assert self.provider.unwrap(wrapped, one).key == KEY

    def test_another_kek_is_refused(self) -> None:
        wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        self.refuses(WrapMismatch, replace(wrapped, kek=self.other_kek), CONTEXT)

    @pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
    def test_damaged_bytes_are_refused(self, damage: Callable[[bytes], bytes]) -> None:
        wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        damaged = damage(wrapped.ciphertext)
        assert damaged != wrapped.ciphertext
        self.refuses(WrapMismatch, replace(wrapped, ciphertext=damaged), CONTEXT)

    def test_two_wrapped_keys_cannot_be_mixed(self) -> None:
        one, other = (self.provider.wrap(self.kek, KEY, CONTEXT).ciphertext for _ in range(2))
        for cut in (12, len(one) // 2, len(one) - 16):
            self.refuses(WrapMismatch, WrappedKey(self.kek, one[:cut] + other[cut:]), CONTEXT)

    @pytest.mark.parametrize("length", [0, 16, KEY_BYTES - 1, KEY_BYTES + 1, 2 * KEY_BYTES])
    def test_a_key_of_another_length_is_not_wrapped(self, length: int) -> None:
        with pytest.raises(InternalError):
            self.provider.wrap(self.kek, os.urandom(length), CONTEXT)

    def test_a_context_that_is_not_unicode(self) -> None:
        wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        broken = {**CONTEXT, "x": "\udc80"}
        with pytest.raises(InternalError):
            self.provider.wrap(self.kek, KEY, broken)
        self.refuses(WrapMismatch, wrapped, broken)

    def test_a_missing_kek_is_a_denial(self) -> None:
        wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        denial = self.refuses(Denial, replace(wrapped, kek=self.missing_kek), CONTEXT)
        assert isinstance(denial, Denial)
        assert denial.cause == "not_found"
        for use in (
            lambda: self.provider.wrap(self.missing_kek, KEY, CONTEXT),
            lambda: self.provider.describe(self.missing_kek),
        ):
            with pytest.raises(Denial) as raised:
                use()
            assert raised.value.cause == "not_found"

    def test_a_withdrawn_kek_fails_closed_both_ways_and_comes_back(self) -> None:
        wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        withdrawals = self.withdrawals()
        assert any(withdrawal.reinstate for withdrawal in withdrawals)
        for withdrawal in withdrawals:
            withdrawal.withdraw()
            for _ in range(2):
                denial = self.refuses(Denial, wrapped, CONTEXT)
                assert isinstance(denial, Denial)
                assert denial.cause == withdrawal.cause
                assert denial.kms_code
                with pytest.raises(Denial) as raised:
                    self.provider.wrap(self.kek, KEY, CONTEXT)
                assert raised.value.cause == withdrawal.cause
            described = self.provider.describe(self.kek)
            assert (described.kek, described.enabled) == (self.kek, False)
            assert described.detail
            if withdrawal.reinstate is not None:
                withdrawal.reinstate()
                assert self.provider.unwrap(wrapped, CONTEXT).key == KEY
                again = self.provider.wrap(self.kek, KEY, CONTEXT)
                assert self.provider.unwrap(again, CONTEXT).key == KEY
                assert self.provider.describe(self.kek).enabled

    def test_a_withdrawn_kek_is_a_denial_even_for_damaged_bytes(self) -> None:
        """An answer about the bytes would mean that the key was used."""
        wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        self.withdrawals()[0].withdraw()
        self.refuses(Denial, replace(wrapped, ciphertext=wrapped.ciphertext[:-1]), CONTEXT)
        self.refuses(Denial, wrapped, {})

    def test_withdrawing_one_kek_leaves_another_alone(self) -> None:
        wrapped = self.provider.wrap(self.other_kek, KEY, CONTEXT)
        self.withdrawals()[0].withdraw()
        assert self.provider.unwrap(wrapped, CONTEXT).key == KEY
        assert self.provider.describe(self.other_kek).enabled

    def test_silence_is_never_a_denial(self) -> None:
        wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        self.silence()
        self.refuses(Silence, wrapped, CONTEXT)
        with pytest.raises(Silence):
            self.provider.wrap(self.kek, KEY, CONTEXT)
        with pytest.raises(Silence):
            self.provider.describe(self.kek)

    def test_describe(self) -> None:
        for kek in (self.kek, self.other_kek):
            described = self.provider.describe(kek)
            assert (described.kek, described.enabled) == (kek, True)
            assert described.detail

    def test_repr_hides_keys(self) -> None:
        wrapped = self.provider.wrap(self.kek, KEY, CONTEXT)
        unwrapped = self.provider.unwrap(wrapped, CONTEXT)
        assert isinstance(unwrapped, UnwrappedKey)
        for shown in (repr(wrapped), repr(unwrapped), repr(self.provider), str(unwrapped)):
            for secret in (KEY, wrapped.ciphertext):
                assert repr(secret)[2:-1] not in shown
                assert secret.hex() not in shown
