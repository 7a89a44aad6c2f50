"""Which calls a fault befalls, and what the record says."""

from __future__ import annotations

import pytest

from functions.emulators.faults import Fault, Faults, fault_from
from functions.emulators.kms import LOCAL_ACCESS_KEY_ID, LOCAL_PRINCIPAL, Call
from tests.emulators.worlds import CONTEXT, CUSTOMER, CUSTOMER_KEY, ROLE, World, code_of, open_to, refused


def outcomes(world: World, arn: str, count: int) -> list[str]:
    return [code_of(lambda: world.kms.describe_key(KeyId=arn)) for _ in range(count)]


def test_times_and_after(world: World) -> None:
    arn = world.key()
    world.emulator.add_fault(Fault("DescribeKey", code="ThrottlingException", times=2, after=1))
    assert outcomes(world, arn, 5) == ["", "ThrottlingException", "ThrottlingException", "", ""]
    world.emulator.add_fault(Fault(code="KMSInternalException"))
    assert outcomes(world, arn, 3) == ["KMSInternalException"] * 3
    world.emulator.clear_faults()
    assert outcomes(world, arn, 1) == [""]


def test_a_fault_keeps_to_its_operation_key_and_principal(world: World) -> None:
    arn, other = world.key(open_to("*")), world.key(open_to("*"))
    world.emulator.add_fault(Fault("Encrypt", code="A"))
    world.emulator.add_fault(Fault("DescribeKey", code="B", key_arn=other))
    world.emulator.add_fault(Fault("DescribeKey", code="C", principal_arn=CUSTOMER))
    world.emulator.add_fault(Fault("AssumeRole", code="D", key_arn=ROLE))
    assert code_of(lambda: world.kms.encrypt(KeyId=arn, Plaintext=b"x")) == "A"
    assert outcomes(world, arn, 1) == [""]
    assert outcomes(world, other, 1) == ["B"]
    assert code_of(lambda: world.customer.describe_key(KeyId=arn)) == "C"
    assert code_of(lambda: world.sts.assume_role(RoleArn=ROLE, RoleSessionName="s1")) == "D"
    assert code_of(lambda: world.sts.assume_role(RoleArn=f"{ROLE}2", RoleSessionName="s1")) == "AccessDenied"


def test_a_fault_finds_the_key_of_a_ciphertext(world: World) -> None:
    arn, other = world.key(open_to()), world.key(open_to())
    blobs = [world.kms.encrypt(KeyId=a, Plaintext=b"x")["CiphertextBlob"] for a in (arn, other)]
    world.emulator.add_fault(Fault("Decrypt", code="KMSInternalException", key_arn=arn))
    refused("KMSInternalException", lambda: world.kms.decrypt(CiphertextBlob=blobs[0]))
    assert world.kms.decrypt(CiphertextBlob=blobs[1])["Plaintext"] == b"x"


def test_the_record_of_calls(world: World) -> None:
    arn = world.key()
    world.kms.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=CONTEXT)
    refused("AccessDeniedException", lambda: world.customer.describe_key(KeyId=arn))
    refused("UnrecognizedClientException", lambda: world.emulator.client("kms", "nobody").list_keys())
    world.sts.get_caller_identity()
    here = "eu-central-1"
    assert world.emulator.calls == [
        Call("Encrypt", LOCAL_PRINCIPAL, arn, CONTEXT, LOCAL_ACCESS_KEY_ID, "", here, "kms"),
        Call("DescribeKey", CUSTOMER, arn, {}, CUSTOMER_KEY, "AccessDeniedException", here, "kms"),
        Call("ListKeys", "", "", {}, "nobody", "UnrecognizedClientException", here, "kms"),
        Call("GetCallerIdentity", LOCAL_PRINCIPAL, "", {}, LOCAL_ACCESS_KEY_ID, "", here, "sts"),
    ]
    world.emulator.clear_calls()
    assert world.emulator.calls == []


def test_secrets_are_in_no_representation(world: World) -> None:
    world.key()
    shown = repr(world.emulator.identities) + repr(world.emulator.ring)
    assert "keystead-local" in shown
    assert "keystead-local-secret" not in shown
    assert "backing" not in shown


@pytest.mark.parametrize(
    "body", [{"no": 1}, {"operation": 5}, {"times": "2"}, {"latency": -1}, {"corrupt": "all"}, {"key_arn": 5}]
)
def test_malformed_faults(body: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        fault_from(body)


def test_there_is_an_end_to_faults() -> None:
    faults = Faults()
    for _ in range(1000):
        faults.add(Fault())
    with pytest.raises(ValueError, match="too many"):
        faults.add(Fault())
