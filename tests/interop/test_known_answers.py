"""Every value of tests/vectors/esdk-known-answers.json, which independent implementations agree on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.domain import frames, message, message_keys
from core.domain.branch_keys import VERSION_PREFIX, BranchKeyRow
from core.domain.context import parse, serialise
from core.domain.encrypted_data_key import (
    EncryptedDataKey,
    WrappingKeys,
    parse_serialised,
    unwrap_data_key,
    wrap_data_key,
)
from core.domain.foreign import decrypt_foreign
from core.domain.kek import Kek
from core.domain.message import DataKey
from core.domain.message_header import Header, parse_header
from core.domain.streaming import decrypt_stream, encrypt_stream
from core.errors import MessageInvalid
from tests.interop.exchange import LOGICAL_NAME, Exchange
from tests.interop.moto_kms import MotoKms
from tests.interop.official import Official
from tests.interop.rows import hv1_item

FILE = Path(__file__).parent.parent / "vectors" / "esdk-known-answers.json"
KNOWN = json.loads(FILE.read_text(encoding="utf-8"))
TEXT = {"branch_key_id", "branch_key_version", "encryption_context"}
HEX = {name: bytes.fromhex(value) for name, value in KNOWN.items() if name not in TEXT}
CONTEXT: dict[str, str] = KNOWN["encryption_context"]
MESSAGES = {
    # name: (plaintext, frame length)
    "message_hello_frame4096": (b"hello", 4096),
    "message_empty_frame4096": (b"", 4096),
    "message_pt40_frame16": (HEX["plaintext40"], 16),
    "message_pt32_frame16": (HEX["plaintext40"][:32], 16),
}
EVERY_MESSAGE = pytest.mark.parametrize("name", MESSAGES)


def edk() -> EncryptedDataKey:
    return parse_serialised(HEX["edk_serialized"])


def data_key(name: str) -> DataKey:
    return DataKey.wrapped(HEX["data_key"], edk(), HEX["ec_serialized"], frame_length=MESSAGES[name][1])


def open_key(header: Header) -> bytes:
    return unwrap_data_key(HEX["branch_key"], header.edks[0], serialise(header.context))


def test_no_value_is_left_out() -> None:
    """A value that is added to the file must be added here."""
    used = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in KNOWN if f'"{name}"' not in used] == []
    assert {name for name in KNOWN if name.startswith("message_")} == {*MESSAGES, "message_id"}


def test_context() -> None:
    assert serialise(CONTEXT) == HEX["ec_serialized"]
    assert parse(HEX["ec_serialized"]) == CONTEXT


def test_wrapping_key() -> None:
    assert WrappingKeys(HEX["branch_key"])._wrapping_key(HEX["salt"]) == HEX["derived_wrapping_key"]


def test_encrypted_data_key_read() -> None:
    found = edk()
    assert found.ciphertext == HEX["edk_ciphertext"]
    assert (found.branch_key_id, found.version_id) == (KNOWN["branch_key_id"], KNOWN["branch_key_version"])
    assert found.ciphertext[:28] == HEX["salt"] + HEX["edk_iv"]
    assert found.serialise() == HEX["edk_serialized"]
    assert unwrap_data_key(HEX["branch_key"], found, HEX["ec_serialized"]) == HEX["data_key"]


def test_encrypted_data_key_written(monkeypatch: pytest.MonkeyPatch) -> None:
    given = iter((HEX["salt"] + HEX["edk_iv"],))
    monkeypatch.setattr("os.urandom", lambda _size: next(given))
    made = wrap_data_key(
        HEX["branch_key"], KNOWN["branch_key_id"], KNOWN["branch_key_version"], HEX["data_key"], HEX["ec_serialized"]
    )
    assert made.serialise() == HEX["edk_serialized"]


def test_encrypted_data_key_binds_the_known_bytes() -> None:
    wrapped = HEX["edk_ciphertext"][44:]
    gcm = AESGCM(HEX["derived_wrapping_key"])
    assert gcm.decrypt(HEX["edk_iv"], wrapped, HEX["edk_aad"]) == HEX["data_key"]
    with pytest.raises(InvalidTag):
        gcm.decrypt(HEX["edk_iv"], wrapped, HEX["edk_aad"] + b"\x00")


def test_message_keys() -> None:
    derived = message_keys.derive(HEX["message_id"], message_keys.prepare(HEX["data_key"]))
    assert derived == (HEX["data_encryption_key"], HEX["commit_key"])


def test_frame_aad() -> None:
    assert frames.final_aad(HEX["message_id"], 1, 5) == HEX["frame1_final_aad_len5"]


@EVERY_MESSAGE
def test_header(name: str) -> None:
    header = parse_header(HEX[name])
    assert header.message_id == HEX["message_id"]
    assert header.context == CONTEXT
    assert header.edks == (edk(),)
    assert header.commitment == HEX["commit_key"]
    assert header.frame_length == MESSAGES[name][1]
    AESGCM(HEX["data_encryption_key"]).decrypt(bytes(12), header.tag, header.authenticated)


@EVERY_MESSAGE
def test_written_whole_and_streamed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plaintext, streamed = MESSAGES[name][0], BytesIO()
    monkeypatch.setattr("core.domain.message.urandom", lambda _size: HEX["message_id"])
    monkeypatch.setattr("os.urandom", lambda _size: HEX["message_id"])
    assert message.encrypt(data_key(name), plaintext) == HEX[name]
    encrypt_stream(data_key(name), BytesIO(plaintext), streamed)
    assert streamed.getvalue() == HEX[name]


@EVERY_MESSAGE
def test_read_by_every_reader(name: str) -> None:
    plaintext, streamed = MESSAGES[name][0], BytesIO()
    assert message.decrypt(data_key(name), HEX[name]) == plaintext
    assert decrypt_foreign(HEX[name], open_key) == plaintext
    decrypt_stream(BytesIO(HEX[name]), streamed, open_key)
    assert streamed.getvalue() == plaintext


@EVERY_MESSAGE
def test_no_byte_of_them_may_differ(name: str) -> None:
    for position in range(len(HEX[name])):
        changed = bytearray(HEX[name])
        changed[position] ^= 1
        for read in (lambda m: decrypt_stream(BytesIO(m), BytesIO(), open_key), lambda m: decrypt_foreign(m, open_key)):
            with pytest.raises(MessageInvalid):
                read(bytes(changed))


@pytest.fixture
def known_keyring(exchange: Exchange) -> Iterator[Any]:
    """A hierarchical keyring of the official client over a table that holds the known branch key."""
    row = BranchKeyRow(
        branch_key_id=KNOWN["branch_key_id"],
        type=VERSION_PREFIX + KNOWN["branch_key_version"],
        version=None,
        kek=Kek(exchange.kms_arn),
        create_time="2026-01-01T00:00:00.000000Z",
        tenant_id="acme",
        enc=b"",
    )
    wrapped = MotoKms(exchange.cloud.kms).wrap(row.kek, HEX["branch_key"], row.kms_context(LOGICAL_NAME))
    exchange.cloud.new_table("known")
    exchange.cloud.dynamodb.put_item(TableName="known", Item=hv1_item(replace(row, enc=wrapped.ciphertext)))
    yield Official(exchange.cloud, "known", LOGICAL_NAME, exchange.kms_arn).hierarchical(KNOWN["branch_key_id"])
    exchange.cloud.dynamodb.delete_table(TableName="known")


def test_the_official_client_reads_them(exchange: Exchange, known_keyring: Any) -> None:
    for name, (plaintext, _) in MESSAGES.items():
        assert exchange.official.decrypt(known_keyring, HEX[name]) == (plaintext, CONTEXT)
