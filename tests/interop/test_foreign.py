"""What other writers of suite 0x0478 may produce and our own never do: read on request, refused otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from struct import pack

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.domain import message as messages
from core.domain.context import message_context, serialise
from core.domain.encrypted_data_key import EncryptedDataKey, wrap_data_key
from core.domain.foreign import decrypt_foreign
from core.domain.message import DataKey
from core.domain.message_header import UNFRAMED, Header, parse_header
from core.errors import MessageInvalid
from tests.interop import handmade
from tests.interop.conftest import STEADY
from tests.interop.exchange import SIZES, Case, Exchange
from tests.interop.official import COMMITTED

NAMESPACE, NAME = "tests", "a raw key"
PAIRS = {"app": "orders", "zone": "north"}
FULL = message_context(STEADY, PAIRS)
RAW_KEY = bytes(range(32))


def raw_aes_unwrap(edk: EncryptedDataKey, context: Mapping[str, str]) -> bytes:
    """Open an EDK of a raw AES keyring (specification, framework/raw-aes-keyring.md)."""
    prefix = NAME.encode() + pack(">II", 128, 12)
    assert edk.provider_id == NAMESPACE.encode()
    assert edk.provider_info[:-12] == prefix
    return AESGCM(RAW_KEY).decrypt(edk.provider_info[-12:], edk.ciphertext, serialise(context))


def raw_aes_wrap(data_key: bytes, context: Mapping[str, str]) -> EncryptedDataKey:
    """Make an EDK as a raw AES keyring does."""
    iv = os.urandom(12)
    info = NAME.encode() + pack(">II", 128, 12) + iv
    return EncryptedDataKey(NAMESPACE.encode(), info, AESGCM(RAW_KEY).encrypt(iv, data_key, serialise(context)))


def open_raw(header: Header) -> bytes:
    return raw_aes_unwrap(header.edks[0], header.context)


def strictly(exchange: Exchange, message: bytes) -> bytes:
    return exchange.app.encryption.decrypt(STEADY, message, PAIRS)


def leniently(exchange: Exchange, message: bytes) -> bytes:
    return exchange.app.encryption.decrypt(STEADY, message, PAIRS, foreign=True)


@pytest.mark.parametrize("frame_length", [4096, 65536, 0])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("context", [{}, PAIRS, {"ключ": "値"}], ids=["empty", "simple", "non-ascii"])
def test_messages_of_a_raw_aes_keyring(
    exchange: Exchange, size: int, frame_length: int, context: dict[str, str]
) -> None:
    official, plaintext = exchange.official, Case(size, 4096, "empty").plaintext
    keyring = official.raw_aes(NAMESPACE, NAME, RAW_KEY)
    theirs = official.encrypt(keyring, plaintext, context, frame_length=frame_length)
    assert decrypt_foreign(theirs, open_raw) == plaintext
    with pytest.raises(MessageInvalid):
        parse_header(theirs)


@pytest.mark.parametrize("size", SIZES)
def test_the_official_client_reads_our_body_under_a_raw_aes_edk(exchange: Exchange, size: int) -> None:
    official, plaintext, data_key = exchange.official, Case(size, 4096, "empty").plaintext, os.urandom(32)
    key = DataKey.wrapped(data_key, raw_aes_wrap(data_key, PAIRS), serialise(PAIRS), frame_length=4096)
    keyring = official.raw_aes(NAMESPACE, NAME, RAW_KEY)
    assert official.decrypt(keyring, messages.encrypt(key, plaintext)) == (plaintext, PAIRS)


@pytest.mark.parametrize("size", SIZES)
def test_unframed_messages_are_for_the_foreign_reader_only(exchange: Exchange, size: int) -> None:
    plaintext = Case(size, 4096, "empty").plaintext
    theirs = exchange.official.encrypt(exchange.keyring(STEADY), plaintext, FULL, frame_length=0)
    assert parse_header(theirs, foreign=True).content_type == UNFRAMED
    assert leniently(exchange, theirs) == plaintext
    with pytest.raises(MessageInvalid, match="not framed") as refused:
        strictly(exchange, theirs)
    assert "foreign" in str(refused.value.hint)


@pytest.mark.parametrize("ours_first", [True, False])
def test_several_data_keys_are_for_the_foreign_reader_only(exchange: Exchange, ours_first: bool) -> None:
    official = exchange.official
    hierarchical, raw = exchange.keyring(STEADY), official.raw_aes(NAMESPACE, NAME, RAW_KEY)
    keyring = official.multi(hierarchical, raw) if ours_first else official.multi(raw, hierarchical)
    theirs = official.encrypt(keyring, b"for two readers", FULL)
    assert len(parse_header(theirs, foreign=True).edks) == 2
    assert leniently(exchange, theirs) == b"for two readers"
    with pytest.raises(MessageInvalid, match="more than are allowed"):
        strictly(exchange, theirs)


def test_more_data_keys_than_are_tried_are_refused(exchange: Exchange) -> None:
    official = exchange.official
    raw = [official.raw_aes(NAMESPACE, f"{NAME} {n}", RAW_KEY) for n in range(8)]
    theirs = official.encrypt(official.multi(exchange.keyring(STEADY), *raw), b"for nine readers", FULL)
    with pytest.raises(MessageInvalid, match="more than are allowed"):
        leniently(exchange, theirs)


def test_another_tenants_branch_key_is_not_tried(exchange: Exchange) -> None:
    """The context says it is this tenant's; the EDK names the branch key of another one."""
    theirs = exchange.official.encrypt(exchange.keyring("rotated"), b"x", FULL)
    for read in (strictly, leniently):
        with pytest.raises(MessageInvalid, match="branch key of this tenant"):
            read(exchange, theirs)


def test_pairs_that_are_authenticated_but_not_stored_are_refused(exchange: Exchange) -> None:
    """Without the pair nobody can open the data key; our service has no way to be told one."""
    official, manager = exchange.official, exchange.official.requiring(exchange.keyring(STEADY), "zone")
    message, _ = official.client.encrypt(source=b"x", materials_manager=manager, encryption_context=FULL)
    for read in (strictly, leniently):
        with pytest.raises(MessageInvalid):
            read(exchange, bytes(message))
    committed, _ = official.client.encrypt(
        source=b"x", materials_manager=manager, encryption_context=FULL, algorithm=COMMITTED
    )
    stored = {key: value for key, value in PAIRS.items() if key != "zone"}
    for foreign in (False, True):
        with pytest.raises(MessageInvalid, match="data key does not open"):
            exchange.app.encryption.decrypt(STEADY, bytes(committed), stored, foreign=foreign)


def own_edk(exchange: Exchange, data_key: bytes) -> EncryptedDataKey:
    branch_key = exchange.branch_key(STEADY)
    return wrap_data_key(branch_key.key, branch_key.branch_key_id, branch_key.version_id, data_key, serialise(FULL))


FORMS: dict[str, tuple[Callable[[bytes, EncryptedDataKey, Mapping[str, str]], bytes], str]] = {
    # name: (how it is made, what our strict reader says)
    "context out of order": (handmade.unsorted_context, "not in canonical order"),
    "frames with other IVs": (handmade.other_ivs, "frame 1 of the message is not where it should be"),
}


@pytest.mark.parametrize("form", FORMS)
def test_handmade_forms_are_for_the_foreign_reader_only(exchange: Exchange, form: str) -> None:
    make, refusal = FORMS[form]
    data_key = os.urandom(32)
    message = make(data_key, own_edk(exchange, data_key), FULL)
    assert leniently(exchange, message) == handmade.PLAINTEXT
    assert exchange.official.decrypt(exchange.keyring(STEADY), message) == (handmade.PLAINTEXT, FULL)
    with pytest.raises(MessageInvalid, match=refusal):
        strictly(exchange, message)


def test_bytes_after_the_end_are_refused_though_the_official_client_takes_them(exchange: Exchange) -> None:
    message = exchange.ours(STEADY, Case(100, 65536, "empty")) + b"\x00"
    assert exchange.official.decrypt(exchange.keyring(STEADY), message)[0] == Case(100, 65536, "empty").plaintext
    for foreign in (False, True):
        with pytest.raises(MessageInvalid):
            exchange.app.encryption.decrypt(STEADY, message, {}, foreign=foreign)
