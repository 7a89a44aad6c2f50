"""Wrapped data keys open under the branch key, version and context they were made for; key bytes are never shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode
from hypothesis import given
from hypothesis import strategies as st

from core.domain.branch_keys import BranchKeyRow, RowMac, StoredRow
from core.domain.encrypted_data_key import (
    PROVIDER_ID,
    EncryptedDataKey,
    parse_serialised,
    unwrap_data_key,
    wrap_data_key,
)
from core.domain.kek import Kek, UnwrappedKey, WrappedKey
from core.domain.message import DataKey
from core.errors import InvalidRequest, MessageInvalid
from tests.domain.crafting import BRANCH_KEY_ID, CONTEXT_BYTES, EDK, VERSION_ID
from tests.domain.strategies import mutated, thorough, usual

KNOWN = json.loads((Path(__file__).parent.parent / "vectors" / "esdk-known-answers.json").read_text())
BRANCH_KEY = bytes(range(100, 132))
DATA_KEY = bytes(range(200, 232))


def wrapped(context: bytes = CONTEXT_BYTES) -> EncryptedDataKey:
    """A data key under the branch key."""
    return wrap_data_key(BRANCH_KEY, BRANCH_KEY_ID, VERSION_ID, DATA_KEY, context)


def test_the_known_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {28: bytes.fromhex(KNOWN["salt"] + KNOWN["edk_iv"])}
    monkeypatch.setattr("os.urandom", drawn.__getitem__)
    branch_key, data_key = bytes.fromhex(KNOWN["branch_key"]), bytes.fromhex(KNOWN["data_key"])
    context = bytes.fromhex(KNOWN["ec_serialized"])
    edk = wrap_data_key(branch_key, KNOWN["branch_key_id"], KNOWN["branch_key_version"], data_key, context)
    assert edk.ciphertext.hex() == KNOWN["edk_ciphertext"]
    assert edk.serialise().hex() == KNOWN["edk_serialized"]
    assert unwrap_data_key(branch_key, edk, context) == data_key
    assert parse_serialised(edk.serialise()) == edk


@usual
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.uuids(), st.binary(max_size=40))
def test_the_layout_spelled_out_again(branch_key: bytes, data_key: bytes, version: UUID, context: bytes) -> None:
    edk = wrap_data_key(branch_key, BRANCH_KEY_ID, str(version), data_key, context)
    salt, iv, uuid, sealed = (edk.ciphertext[a:b] for a, b in ((0, 16), (16, 28), (28, 44), (44, 92)))
    kdf = KBKDFHMAC(
        SHA256(),
        Mode.CounterMode,
        length=32,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=b"aws-kms-hierarchy",
        context=salt,
        fixed=None,
    )
    aad = b"aws-kms-hierarchy" + BRANCH_KEY_ID.encode() + version.bytes + context
    assert AESGCM(kdf.derive(branch_key)).decrypt(iv, sealed, aad) == data_key
    assert uuid == version.bytes
    assert len(edk.ciphertext) == 92
    assert (edk.branch_key_id, edk.version_id, edk.is_hierarchical) == (BRANCH_KEY_ID, str(version), True)
    assert unwrap_data_key(branch_key, edk, context) == data_key


def test_every_wrap_draws_its_own_salt_and_iv() -> None:
    made = [wrapped().ciphertext for _ in range(100)]
    assert len({ciphertext[:16] for ciphertext in made}) == len({ciphertext[16:28] for ciphertext in made}) == 100


def test_every_part_is_bound() -> None:
    edk = wrapped()
    assert unwrap_data_key(BRANCH_KEY, edk, CONTEXT_BYTES) == DATA_KEY
    another = uuid4()
    cases = {
        "branch key": (bytes(32), edk, CONTEXT_BYTES),
        "context": (BRANCH_KEY, edk, CONTEXT_BYTES.replace(b"acme", b"evil")),
        "no context": (BRANCH_KEY, edk, b""),
        "context and more": (BRANCH_KEY, edk, CONTEXT_BYTES + b"\x00"),
        "branch key id": (BRANCH_KEY, replace(edk, provider_info=str(another).encode()), CONTEXT_BYTES),
        "version": (
            BRANCH_KEY,
            replace(edk, ciphertext=edk.ciphertext[:28] + another.bytes + edk.ciphertext[44:]),
            CONTEXT_BYTES,
        ),
    }
    for bit in range(8 * 92):
        flipped = bytearray(edk.ciphertext)
        flipped[bit // 8] ^= 1 << bit % 8
        cases[f"bit {bit}"] = (BRANCH_KEY, replace(edk, ciphertext=bytes(flipped)), CONTEXT_BYTES)
    for name, case in cases.items():
        with pytest.raises(MessageInvalid):
            pytest.fail(f"another {name} opened it: {unwrap_data_key(*case)!r}")


@thorough
@given(st.just(EncryptedDataKey(*EDK).serialise()).flatmap(mutated) | st.binary(max_size=200))
def test_one_serialised_form_is_read(data: bytes) -> None:
    try:
        edk = parse_serialised(data)
    except MessageInvalid:
        return
    assert edk.serialise() == data
    assert edk.is_hierarchical


def test_other_serialised_forms_are_refused() -> None:
    good = EncryptedDataKey(*EDK).serialise()
    assert parse_serialised(good) == EncryptedDataKey(*EDK)
    others = [good[:size] for size in range(len(good))]
    others += [good + b"\x00", good * 2, b"\x00\x01" + good]
    for changes in (
        {"provider_id": b"aws-kms"},
        {"provider_id": PROVIDER_ID + b"x"},
        {"provider_info": b"x" * 256},
        {"ciphertext": EDK[2][:-1]},
        {"ciphertext": EDK[2] + b"x"},
    ):
        others.append(replace(EncryptedDataKey(*EDK), **changes).serialise())
    for data in others:
        with pytest.raises(MessageInvalid):
            parse_serialised(data)


@pytest.mark.parametrize("info", [BRANCH_KEY_ID.encode() + b"\xff", "ключ".encode(), b"\xff" * 36])
def test_a_branch_key_id_that_is_not_ascii_matches_none_of_ours(info: bytes) -> None:
    found = EncryptedDataKey(PROVIDER_ID, info, EDK[2]).branch_key_id
    assert not found.isascii()


CANARY = b"canary-canary-canary-canary-cana"


def test_key_bytes_are_never_shown() -> None:
    kek = Kek("local:platform")
    row = BranchKeyRow("id", "branch:ACTIVE", None, kek, "now", "acme", CANARY)
    mac = RowMac(1, 1, CANARY)
    holders = [
        DataKey.wrapped(CANARY, EncryptedDataKey(*EDK), CONTEXT_BYTES),
        WrappedKey(kek, CANARY),
        UnwrappedKey(CANARY, 1.0),
        row,
        mac,
        StoredRow(row, mac),
    ]
    for holder in holders:
        for shown in (repr(holder), str(holder), f"{holder}", f"{[holder]}"):
            assert "canary" not in shown
            assert CANARY.hex() not in shown
    # Nor in what the readers of damaged keys say.
    with pytest.raises(MessageInvalid) as caught:
        unwrap_data_key(CANARY, wrapped(), CONTEXT_BYTES)
    assert "canary" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.hint}"


@pytest.mark.parametrize(
    ("locator", "provider"),
    [
        ("local:platform", "local"),
        ("arn:aws:kms:eu-central-1:111122223333:key/1", "aws_kms"),
        ("https://vault.vault.azure.net/keys/k/1", "azure_key_vault"),
    ],
)
def test_a_kek_is_reached_by_the_provider_its_locator_names(locator: str, provider: str) -> None:
    assert Kek(locator).provider == provider
    assert str(Kek(locator)) == locator


@pytest.mark.parametrize("locator", ["", "local", "LOCAL:x", "http://vault", "alias/key", " arn:x"])
def test_other_locators_name_no_provider(locator: str) -> None:
    with pytest.raises(InvalidRequest):
        _ = Kek(locator).provider
