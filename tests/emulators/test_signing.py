"""Keys that sign: what they sign, against the library below, and whom they refuse."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from functions.emulators.faults import Fault
from functions.emulators.kms import LOCAL_ACCOUNT, KmsEmulator
from tests.emulators.conftest import Connect
from tests.emulators.worlds import World, open_to, policy, refused, statement, trust

EC: dict[str, Any] = {"spec": "ECC_NIST_P256", "usage": "SIGN_VERIFY", "rotation": False}
DIGEST = hashlib.sha256(b"statement").digest()


@pytest.fixture
def arn(world: World) -> str:
    return world.key(open_to(), **EC)


def sign(client: Any, arn: str, **given: Any) -> Any:
    asked = {"Message": DIGEST, "MessageType": "DIGEST", "SigningAlgorithm": "ECDSA_SHA_256", **given}
    return client.sign(KeyId=arn, **asked)


def public(client: Any, arn: str) -> Any:
    return load_der_public_key(client.get_public_key(KeyId=arn)["PublicKey"])


@pytest.mark.parametrize("over_the_wire", [False, True])
@pytest.mark.parametrize(
    ("spec", "algorithm", "hashing"),
    [
        ("ECC_NIST_P256", "ECDSA_SHA_256", SHA256()),
        ("ECC_NIST_P384", "ECDSA_SHA_384", SHA384()),
        ("ECC_NIST_P521", "ECDSA_SHA_512", SHA512()),
    ],
)
def test_others_verify_what_it_signs(
    world: World, connect: Connect, over_the_wire: bool, spec: str, algorithm: str, hashing: HashAlgorithm
) -> None:
    client = connect() if over_the_wire else world.kms
    arn = world.key(open_to(), **{**EC, "spec": spec})
    key = public(client, arn)
    assert isinstance(key, EllipticCurvePublicKey)
    digest = hashlib.new(hashing.name, b"statement").digest()
    for given in ({"Message": b"statement", "MessageType": "RAW"}, {"Message": digest}):
        answer = sign(client, arn, SigningAlgorithm=algorithm, **given)
        assert (answer["KeyId"], answer["SigningAlgorithm"]) == (arn, algorithm)
        key.verify(answer["Signature"], b"statement", ECDSA(hashing))
        with pytest.raises(InvalidSignature):
            key.verify(answer["Signature"], b"another", ECDSA(hashing))


def test_what_is_told_of_a_key(world: World, arn: str) -> None:
    told = world.kms.get_public_key(KeyId=arn)
    assert (told["KeyId"], told["KeySpec"], told["KeyUsage"]) == (arn, "ECC_NIST_P256", "SIGN_VERIFY")
    assert told["SigningAlgorithms"] == ["ECDSA_SHA_256"]
    described = world.kms.describe_key(KeyId=arn)["KeyMetadata"]
    assert described["SigningAlgorithms"] == ["ECDSA_SHA_256"]
    assert "EncryptionAlgorithms" not in described
    rsa = world.key(open_to(), **{**EC, "spec": "RSA_2048"})
    assert isinstance(public(world.kms, rsa), RSAPublicKey)
    assert len(world.kms.describe_key(KeyId=rsa)["KeyMetadata"]["SigningAlgorithms"]) == 6


def test_it_is_made_by_a_request(world: World) -> None:
    made = world.kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    assert (made["KeySpec"], made["KeyUsage"], made["AWSAccountId"]) == ("ECC_NIST_P256", "SIGN_VERIFY", LOCAL_ACCOUNT)
    assert sign(world.kms, made["Arn"])["Signature"]


@pytest.mark.parametrize(
    "given",
    [
        {"KeySpec": "ECC_NIST_P256"},
        {"KeySpec": "ECC_NIST_P256", "KeyUsage": "ENCRYPT_DECRYPT"},
        {"KeyUsage": "SIGN_VERIFY"},
        {"KeySpec": "RSA_2048", "KeyUsage": "KEY_AGREEMENT"},
    ],
)
def test_a_key_that_cannot_be_for_this(world: World, given: dict[str, str]) -> None:
    refused("ValidationException", lambda: world.kms.create_key(**given))


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another algorithm": ({}, {"SigningAlgorithm": "ECDSA_SHA_384"}, "InvalidKeyUsageException"),
    "an RSA key": ({"spec": "RSA_2048"}, {}, "InvalidKeyUsageException"),
    "RSA": ({"spec": "RSA_2048"}, {"SigningAlgorithm": "RSASSA_PSS_SHA_256"}, "UnsupportedOperationException"),
    "for agreement": ({"usage": "KEY_AGREEMENT"}, {}, "InvalidKeyUsageException"),
    "symmetric": ({"spec": "SYMMETRIC_DEFAULT", "usage": "ENCRYPT_DECRYPT"}, {}, "InvalidKeyUsageException"),
    "no digest": ({}, {"Message": DIGEST + b"x"}, "ValidationException"),
    "too long": ({}, {"Message": b"x" * 4097, "MessageType": "RAW"}, "ValidationException"),
    "another type": ({}, {"MessageType": "EXTERNAL_MU"}, "ValidationException"),
    "dry run": ({}, {"DryRun": True}, "DryRunOperationException"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_signed(world: World, case: str) -> None:
    made, given, code = CASES[case]
    arn = world.key(open_to(), **{**EC, **made})
    refused(code, lambda: sign(world.kms, arn, **given))


def test_a_symmetric_key_has_no_public_half(world: World) -> None:
    refused("UnsupportedOperationException", lambda: world.kms.get_public_key(KeyId=world.key(open_to())))


STATES: dict[str, tuple[Callable[[KmsEmulator, str], object], str]] = {
    "disabled": (lambda e, arn: e.disable_key(arn), "DisabledException"),
    "deletion": (lambda e, arn: e.schedule_key_deletion(arn), "KMSInvalidStateException"),
    "creating": (lambda e, arn: e.set_key_state(arn, "Creating"), "KMSInvalidStateException"),
    "deleted": (lambda e, arn: e.delete_key(arn), "NotFoundException"),
}


@pytest.mark.parametrize("case", STATES)
def test_states_in_which_it_is_not_used(world: World, arn: str, case: str) -> None:
    act, code = STATES[case]
    act(world.emulator, arn)
    refused(code, lambda: sign(world.kms, arn))
    refused(code, lambda: world.kms.get_public_key(KeyId=arn))


def test_permissions(world: World, arn: str) -> None:
    account = f"arn:aws:iam::{LOCAL_ACCOUNT}:root"
    condition = {"StringEquals": {"kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:MessageType": "DIGEST"}}
    world.emulator.put_key_policy(arn, policy(statement(account, "kms:Sign", condition)))
    assert sign(world.kms, arn)["Signature"]
    refused("AccessDeniedException", lambda: sign(world.kms, arn, Message=b"x", MessageType="RAW"))
    refused("AccessDeniedException", lambda: world.kms.get_public_key(KeyId=arn))
    world.emulator.put_key_policy(arn, policy(statement(account, "kms:GetPublicKey")))
    assert public(world.kms, arn)
    refused("AccessDeniedException", lambda: sign(world.kms, arn))
    world.emulator.put_key_policy(arn, policy(statement("arn:aws:iam::111122223333:user/admin", "kms:*")))
    refused("AccessDeniedException", lambda: sign(world.kms, arn))
    world.customer.create_grant(
        KeyId=arn, GranteePrincipal="arn:aws:iam::999999999999:role/keystead", Operations=["Sign", "GetPublicKey"]
    )
    assert sign(world.kms, arn)["Signature"]
    assert public(world.kms, arn)


@pytest.mark.parametrize("over_the_wire", [False, True])
def test_answers_of_another_key_on_order(world: World, connect: Connect, arn: str, over_the_wire: bool) -> None:
    client = connect() if over_the_wire else world.kms
    key = public(client, arn)
    world.emulator.add_fault(Fault("Sign", corrupt="signature", times=1))
    with pytest.raises(InvalidSignature):
        key.verify(sign(client, arn)["Signature"], b"statement", ECDSA(SHA256()))
    world.emulator.add_fault(Fault("GetPublicKey", corrupt="public_key", times=1))
    assert public(client, arn) != key
    assert public(client, arn) == key


def test_a_saved_key_is_the_same_key(world: World, arn: str, tmp_path: Path) -> None:
    key, revision = public(world.kms, arn), world.emulator.revision
    sign(world.kms, arn)
    assert world.emulator.revision == revision, "nothing was changed that would have to be saved"
    world.emulator.create_role("arn:aws:iam::111122223333:role/r", trust())
    world.emulator.save(tmp_path / "data")
    again = KmsEmulator.load(tmp_path / "data", lambda: world.time)
    client = again.client("kms", "keystead-local")
    assert public(client, arn) == key
    key.verify(sign(client, arn)["Signature"], b"statement", ECDSA(SHA256()))


def test_the_record_names_key_and_operation(world: World, arn: str) -> None:
    sign(world.kms, arn)
    refused("InvalidKeyUsageException", lambda: sign(world.kms, arn, SigningAlgorithm="ECDSA_SHA_512"))
    found = [(call.operation, call.key_arn, call.outcome_code) for call in world.emulator.calls]
    assert found == [("Sign", arn, ""), ("Sign", arn, "InvalidKeyUsageException")]
