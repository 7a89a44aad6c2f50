"""Official messages that no reader of ours opens, and what the caller is told to do about it."""

from __future__ import annotations

import pytest
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import Algorithm

from core.domain.context import message_context
from core.domain.message_header import parse_header
from core.domain.streaming import decrypt_stream
from core.errors import MessageInvalid
from tests.interop.conftest import STEADY
from tests.interop.exchange import Exchange, Trickle
from tests.interop.official import COMMITTED, SIGNED

COMMITTED_BY_NAME = "ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY"
"""The suite's name in the official clients' documentation."""
NOT_COMMITTING = [
    Algorithm.AES_256_GCM_IV12_TAG16,
    Algorithm.AES_256_GCM_IV12_TAG16_HKDF_SHA256,
    Algorithm.AES_256_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384,
]


def refusals(exchange: Exchange, message: bytes) -> list[MessageInvalid]:
    """What every way into our readers says."""

    def never(_header: object) -> bytes:
        raise AssertionError("no key may be asked for")

    decrypt, out = exchange.app.encryption.decrypt, []
    for read in (
        lambda: decrypt(STEADY, message, {}),
        lambda: decrypt(STEADY, message, {}, foreign=True),
        lambda: parse_header(message),
        lambda: parse_header(message, foreign=True),
        lambda: decrypt_stream(Trickle(message), Sink(), never),
    ):
        with pytest.raises(MessageInvalid) as refused:
            read()
        out.append(refused.value)
    return out


class Sink:
    """Must stay empty."""

    def write(self, data: bytes, /) -> object:
        raise AssertionError("nothing may be released")


def test_the_names_are_those_of_the_suite() -> None:
    assert COMMITTED.algorithm_id == 0x0478
    assert SIGNED.algorithm_id == 0x0578
    assert f"ALG_{COMMITTED.name}" == COMMITTED_BY_NAME


@pytest.mark.parametrize("chosen", [SIGNED, None], ids=["asked-for", "by-default"])
def test_signed_messages_are_refused_with_the_setting_that_helps(exchange: Exchange, chosen: Algorithm | None) -> None:
    message, header = exchange.official.client.encrypt(
        source=b"x",
        keyring=exchange.keyring(STEADY),
        encryption_context=message_context(STEADY, {}),
        **({"algorithm": chosen} if chosen else {}),
    )
    assert header.algorithm is SIGNED
    for refusal in refusals(exchange, bytes(message)):
        assert "0x0578" in refusal.detail
        assert COMMITTED_BY_NAME in str(refusal.hint)
        assert "0x0478" in str(refusal.hint)


@pytest.mark.parametrize("suite", NOT_COMMITTING, ids=lambda suite: str(suite.name))
def test_messages_that_do_not_commit_to_their_key_are_refused(exchange: Exchange, suite: Algorithm) -> None:
    lax = EncryptionSDKClient(commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT)
    message, _ = lax.encrypt(
        source=b"x",
        keyring=exchange.keyring(STEADY),
        encryption_context=message_context(STEADY, {}),
        algorithm=suite,
    )
    assert bytes(message)[:1] == b"\x01"
    for refusal in refusals(exchange, bytes(message)):
        assert "version 1" in refusal.detail
        assert COMMITTED_BY_NAME in str(refusal.hint)


def test_frames_longer_than_we_read_are_refused(exchange: Exchange) -> None:
    message = exchange.official.encrypt(
        exchange.keyring(STEADY), b"x", message_context(STEADY, {}), frame_length=(1 << 20) + 128
    )
    assert all("frame length" in refusal.detail for refusal in refusals(exchange, message))


@pytest.mark.parametrize("start", [b"", b"\x02", b"\x02\x04\x78", b"\x03\x04\x78", b"\x02\x04\x79", b"AYADeA=="])
def test_what_is_no_message_at_all_is_refused(exchange: Exchange, start: bytes) -> None:
    refusals(exchange, start)
