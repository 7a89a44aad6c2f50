"""The streaming writer and readers against the official client, and messages without any context at all."""

from __future__ import annotations

from io import BytesIO

import pytest

from core.domain import message as messages
from core.domain.context import USE_CALLER, message_context, serialise
from core.domain.encrypted_data_key import parse_serialised
from core.domain.foreign import decrypt_foreign, decrypt_foreign_stream
from core.domain.message import DataKey
from core.domain.message_header import Header, parse_header
from core.domain.streaming import decrypt_stream, encrypt_stream
from core.errors import MessageInvalid
from core.service.access import Caller, Permission
from tests.interop.conftest import STEADY
from tests.interop.exchange import CASES, CONTEXTS, FRAME_LENGTHS, SIZES, Case, Exchange, Trickle
from tests.interop.official import COMMITTED

EVERY_SIZE = pytest.mark.parametrize("size", SIZES)
EVERY_FRAME_LENGTH = pytest.mark.parametrize("frame_length", FRAME_LENGTHS)


def open_with(exchange: Exchange, header: Header) -> bytes:
    return exchange.open_key(STEADY, header)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_official_client_reads_what_we_stream(exchange: Exchange, case: Case) -> None:
    key = exchange.data_key(STEADY, message_context(STEADY, case.context), case.frame_length)
    written = BytesIO()
    assert encrypt_stream(key, Trickle(case.plaintext), written) == case.size
    source = BytesIO(written.getvalue())
    with exchange.official.client.stream(mode="d", source=source, keyring=exchange.keyring(STEADY)) as reader:
        assert b"".join(reader) == case.plaintext


@pytest.mark.parametrize("case", CASES, ids=str)
def test_we_stream_what_the_official_client_streamed(exchange: Exchange, case: Case) -> None:
    with exchange.official.client.stream(
        mode="e",
        source=BytesIO(case.plaintext),
        keyring=exchange.keyring(STEADY),
        encryption_context=message_context(STEADY, case.context),
        frame_length=case.frame_length,
        algorithm=COMMITTED,
    ) as writer:
        message = b"".join(writer)
    plaintext = BytesIO()
    assert decrypt_foreign_stream(Trickle(message), plaintext, lambda header: open_with(exchange, header)) == case.size
    assert plaintext.getvalue() == case.plaintext
    strict = BytesIO()
    if case.ends_in_an_empty_frame:
        with pytest.raises(MessageInvalid, match="final frame has a wrong length"):
            decrypt_stream(Trickle(message), strict, lambda header: open_with(exchange, header))
    else:
        assert decrypt_stream(Trickle(message), strict, lambda header: open_with(exchange, header)) == case.size
        assert strict.getvalue() == case.plaintext


@EVERY_FRAME_LENGTH
@EVERY_SIZE
def test_messages_without_any_context_go_both_ways(exchange: Exchange, size: int, frame_length: int) -> None:
    """Our service always writes a tenant_id; the format allows an empty context, which takes no bytes at all."""
    case, keyring = Case(size, frame_length, "empty"), exchange.keyring(STEADY)
    key = exchange.data_key(STEADY, {}, frame_length)
    assert exchange.official.decrypt(keyring, messages.encrypt(key, case.plaintext)) == (case.plaintext, {})

    theirs = exchange.official.encrypt(keyring, case.plaintext, {}, frame_length=frame_length)
    assert parse_header(theirs).context_bytes == b""
    assert decrypt_foreign(theirs, lambda header: open_with(exchange, header)) == case.plaintext
    if not case.ends_in_an_empty_frame:
        assert messages.decrypt(opened(exchange, theirs), theirs) == case.plaintext


def opened(exchange: Exchange, message: bytes) -> DataKey:
    """The data key of a message in the form the strict whole-buffer reader takes."""
    header = parse_header(message)
    return DataKey(open_with(exchange, header), header.section, header.frame_length)


def test_the_service_refuses_a_message_without_its_tenant(exchange: Exchange) -> None:
    theirs = exchange.official.encrypt(exchange.keyring(STEADY), b"x", {})
    with pytest.raises(MessageInvalid, match="does not belong to this tenant"):
        exchange.app.encryption.decrypt(STEADY, theirs, {}, foreign=True)


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
def test_messages_under_a_handed_out_data_key(exchange: Exchange, context: dict[str, str]) -> None:
    """What a caller encrypts locally under a data key of ours is an ordinary message too."""
    caller = Caller("tester", "tests", STEADY, frozenset({Permission.DATA_KEYS}))
    grant = exchange.app.keystead.new_data_key(caller, STEADY, context)
    edk = parse_serialised(grant.encrypted_data_key)
    message = messages.encrypt(DataKey.wrapped(grant.data_key, edk, serialise(grant.context)), b"local")
    plaintext, found = exchange.official.decrypt(exchange.keyring(STEADY), message)
    assert plaintext == b"local"
    assert found == message_context(STEADY, context, use=USE_CALLER)
