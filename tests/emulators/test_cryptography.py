"""What ciphertexts hold together, and what limits there are."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulators.worlds import CONTEXT, World, open_to, refused


@pytest.fixture
def arn(world: World) -> str:
    return world.key(open_to())


def encrypt(world: World, arn: str, plaintext: bytes = b"payload", context: dict[str, str] | None = None) -> bytes:
    answer = world.kms.encrypt(
        KeyId=arn, Plaintext=plaintext, EncryptionContext=CONTEXT if context is None else context
    )
    assert (answer["KeyId"], answer["EncryptionAlgorithm"]) == (arn, "SYMMETRIC_DEFAULT")
    return bytes(answer["CiphertextBlob"])


def test_every_changed_byte_is_refused(world: World, arn: str) -> None:
    blob = encrypt(world, arn)
    for position in range(len(blob)):
        broken = blob[:position] + bytes([blob[position] ^ 1]) + blob[position + 1 :]
        with pytest.raises(ClientError) as caught:
            world.kms.decrypt(KeyId=arn, CiphertextBlob=broken, EncryptionContext=CONTEXT)
        assert caught.value.response["Error"]["Code"] in ("InvalidCiphertextException", "IncorrectKeyException")
    for length in range(1, len(blob)):
        refused(
            "InvalidCiphertextException",
            lambda length=length: world.kms.decrypt(CiphertextBlob=blob[:length], EncryptionContext=CONTEXT),  # type: ignore[misc]
        )


@pytest.mark.parametrize("context", [{}, {"tenant_id": "b"}, {**CONTEXT, "a": "b"}, {"Tenant_id": "acme"}])
def test_another_context_is_refused(world: World, arn: str, context: dict[str, str]) -> None:
    blob = encrypt(world, arn)
    refused("InvalidCiphertextException", lambda: world.kms.decrypt(CiphertextBlob=blob, EncryptionContext=context))


def test_the_order_of_pairs_does_not_matter_and_no_context_is_an_empty_one(world: World, arn: str) -> None:
    blob = encrypt(world, arn, context={"a": "1", "b": "2"})
    assert world.kms.decrypt(CiphertextBlob=blob, EncryptionContext={"b": "2", "a": "1"})["Plaintext"] == b"payload"
    bare = encrypt(world, arn, context={})
    assert world.kms.decrypt(CiphertextBlob=bare)["Plaintext"] == b"payload"


def test_a_named_key_must_be_the_ciphertexts(world: World, arn: str) -> None:
    other, blob = world.key(open_to()), encrypt(world, arn)
    assert world.kms.decrypt(KeyId=arn, CiphertextBlob=blob, EncryptionContext=CONTEXT)["KeyId"] == arn
    refused(
        "IncorrectKeyException",
        lambda: world.kms.decrypt(KeyId=other, CiphertextBlob=blob, EncryptionContext=CONTEXT),
    )
    refused(
        "IncorrectKeyException",
        lambda: world.kms.re_encrypt(
            SourceKeyId=other, CiphertextBlob=blob, SourceEncryptionContext=CONTEXT, DestinationKeyId=arn
        ),
    )


def test_lengths(world: World, arn: str) -> None:
    blob = encrypt(world, arn, b"p" * 4096)
    assert len(blob) <= 6144
    assert world.kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"] == b"p" * 4096
    refused("ValidationException", lambda: encrypt(world, arn, b"p" * 4097))
    refused("ValidationException", lambda: world.kms.decrypt(CiphertextBlob=b"c" * 6145))
    refused("ValidationException", lambda: encrypt(world, arn, context={"a": "b" * 8192}))
    refused("ValidationException", lambda: encrypt(world, arn, b""))


@pytest.mark.parametrize(("given", "size"), [({"KeySpec": "AES_256"}, 32), ({"KeySpec": "AES_128"}, 16)])
def test_data_keys(world: World, arn: str, given: dict[str, Any], size: int) -> None:
    for spec in (given, {"NumberOfBytes": size}):
        answer = world.kms.generate_data_key(KeyId=arn, EncryptionContext=CONTEXT, **spec)
        assert len(answer["Plaintext"]) == size
        opened = world.kms.decrypt(CiphertextBlob=answer["CiphertextBlob"], EncryptionContext=CONTEXT)
        assert opened["Plaintext"] == answer["Plaintext"]
        without = world.kms.generate_data_key_without_plaintext(KeyId=arn, EncryptionContext=CONTEXT, **spec)
        assert "Plaintext" not in without
        opened = world.kms.decrypt(CiphertextBlob=without["CiphertextBlob"], EncryptionContext=CONTEXT)
        assert len(opened["Plaintext"]) == size


@pytest.mark.parametrize(
    "given", [{}, {"KeySpec": "AES_256", "NumberOfBytes": 32}, {"NumberOfBytes": 1025}, {"KeySpec": "AES_512"}]
)
def test_a_data_key_needs_one_size(world: World, arn: str, given: dict[str, Any]) -> None:
    refused("ValidationException", lambda: world.kms.generate_data_key(KeyId=arn, **given))


def test_re_encrypt_changes_key_and_context(world: World, arn: str) -> None:
    other, blob = world.key(open_to()), encrypt(world, arn)
    answer = world.kms.re_encrypt(
        CiphertextBlob=blob,
        SourceEncryptionContext=CONTEXT,
        DestinationKeyId=other,
        DestinationEncryptionContext={"new": "1"},
    )
    assert (answer["SourceKeyId"], answer["KeyId"]) == (arn, other)
    opened = world.kms.decrypt(KeyId=other, CiphertextBlob=answer["CiphertextBlob"], EncryptionContext={"new": "1"})
    assert opened["Plaintext"] == b"payload"


def test_rotation_on_demand_keeps_old_ciphertexts_readable(world: World, arn: str) -> None:
    old = encrypt(world, arn)
    # A cross-account caller cannot rotate; the key's owner does.
    refused("AccessDeniedException", lambda: world.kms.rotate_key_on_demand(KeyId=arn))
    world.emulator.rotate_key(arn)
    new = encrypt(world, arn)
    assert {world.kms.decrypt(CiphertextBlob=b, EncryptionContext=CONTEXT)["Plaintext"] for b in (old, new)} == {
        b"payload"
    }
    assert len(world.emulator.key(arn).backing) == 2
    materials = world.kms.describe_key(KeyId=arn)["KeyMetadata"]["CurrentKeyMaterialId"]
    assert materials == world.kms.generate_data_key(KeyId=arn, KeySpec="AES_256")["KeyMaterialId"]


def test_the_owner_rotates_on_demand_25_times(world: World) -> None:
    arn = world.customer.create_key()["KeyMetadata"]["Arn"]
    old = world.customer.encrypt(KeyId=arn, Plaintext=b"x")["CiphertextBlob"]
    for _ in range(25):
        world.customer.rotate_key_on_demand(KeyId=arn)
    refused("LimitExceededException", lambda: world.customer.rotate_key_on_demand(KeyId=arn))
    assert world.customer.decrypt(CiphertextBlob=old)["Plaintext"] == b"x"


def test_a_dry_run_tells_permission_and_does_nothing(world: World, arn: str) -> None:
    blob = encrypt(world, arn)
    for call in (
        lambda: world.kms.encrypt(KeyId=arn, Plaintext=b"x", DryRun=True),
        lambda: world.kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT, DryRun=True),
        lambda: world.kms.generate_data_key(KeyId=arn, KeySpec="AES_256", DryRun=True),
        lambda: world.kms.generate_data_key_without_plaintext(KeyId=arn, KeySpec="AES_256", DryRun=True),
        lambda: world.kms.re_encrypt(
            CiphertextBlob=blob, SourceEncryptionContext=CONTEXT, DestinationKeyId=arn, DryRun=True
        ),
        lambda: world.kms.create_grant(
            KeyId=arn, GranteePrincipal="arn:aws:iam::1:role/a", Operations=["Decrypt"], DryRun=True
        ),
    ):
        refused("DryRunOperationException", call)
    assert world.kms.list_grants(KeyId=arn)["Grants"] == []
    denied = world.key()
    refused("AccessDeniedException", lambda: world.kms.encrypt(KeyId=denied, Plaintext=b"x", DryRun=True))


def test_an_asymmetric_algorithm_is_not_a_symmetric_keys(world: World, arn: str) -> None:
    refused(
        "InvalidKeyUsageException",
        lambda: world.kms.encrypt(KeyId=arn, Plaintext=b"x", EncryptionAlgorithm="RSAES_OAEP_SHA_256"),
    )


def test_modelled_exceptions_are_the_ones_a_real_client_raises(world: World, arn: str) -> None:
    world.emulator.disable_key(arn)
    with pytest.raises(world.kms.exceptions.DisabledException):
        encrypt(world, arn)
