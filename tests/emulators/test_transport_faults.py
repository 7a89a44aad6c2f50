"""Faults of answers and connections: a real client over the wire and one in process meet the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from functions.emulators.aws_errors import STATUS
from functions.emulators.faults import Fault
from tests.emulators.conftest import Connect
from tests.emulators.worlds import ROLE, World, open_to, refused

CODES = sorted(
    {
        *("AccessDeniedException", "DisabledException", "KMSInvalidStateException", "NotFoundException"),
        *("InvalidGrantTokenException", "InvalidKeyUsageException", "InvalidArnException"),
        *("UnsupportedOperationException", "KeyUnavailableException", "DependencyTimeoutException"),
        *("KMSInternalException", "ThrottlingException", "LimitExceededException", "InvalidCiphertextException"),
        *("IncorrectKeyException", "ExpiredTokenException", "UnrecognizedClientException"),
        *("InvalidSignatureException", "MissingAuthenticationTokenException", "SomethingNewException"),
    }
)


@pytest.mark.parametrize("code", CODES)
def test_a_refusal_on_order_is_the_same_in_process_and_over_the_wire(world: World, connect: Connect, code: str) -> None:
    arn = world.key()
    world.emulator.add_fault(Fault("DescribeKey", code=code, message="on order"))
    found = []
    for client in (world.kms, connect()):
        error = refused(code, lambda client=client: client.describe_key(KeyId=arn))  # type: ignore[misc]
        assert error.response["Error"]["Message"] == "on order"
        found.append((type(error).__name__, error.response["ResponseMetadata"]["HTTPStatusCode"]))
    assert found[0] == found[1]
    assert found[0][1] == STATUS.get(code, 400)


def test_faults_of_sts(world: World, connect: Connect) -> None:
    world.emulator.add_fault(Fault("AssumeRole", code="RegionDisabledException"))
    for client in (world.sts, connect("sts")):
        error = refused(
            "RegionDisabledException",
            lambda client=client: client.assume_role(RoleArn=ROLE, RoleSessionName="s1"),  # type: ignore[misc]
        )
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403


BROKEN: dict[str, tuple[Fault, type[Exception]]] = {
    "reset": (Fault(reset=True), ConnectionClosedError),
    "lost": (Fault(lost=True), ConnectionClosedError),
    "hang": (Fault(hang=True), ReadTimeoutError),
    "bytes": (Fault(corrupt="bytes"), UnicodeDecodeError),
    "a proxy's 403": (Fault(body=b"<html>Forbidden</html>", status=403), ClientError),
    "a proxy's 502": (Fault(body=b"<html>Bad gateway</html>", status=502), ClientError),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_transport_is_the_same_in_process_and_over_the_wire(world: World, connect: Connect, case: str) -> None:
    fault, kind = BROKEN[case]
    arn = world.key(open_to())
    world.emulator.add_fault(fault)
    errors = []
    for client in (world.kms, connect(read_timeout=0.2)):
        with pytest.raises(kind) as caught:
            client.encrypt(KeyId=arn, Plaintext=b"x")
        errors.append(caught.value)
    if isinstance(errors[0], ClientError) and isinstance(errors[1], ClientError):
        assert errors[0].response["Error"] == errors[1].response["Error"]
        assert errors[0].response["Error"]["Code"] == str(fault.status)
    acted = [call.outcome_code for call in world.emulator.calls]
    assert acted == [fault.outcome if not fault.acts_first else ""] * 2


WRONG: dict[str, tuple[Fault, Callable[[dict[str, Any], str], bool]]] = {
    "truncated": (Fault(corrupt="truncated"), lambda answer, arn: "Plaintext" not in answer and "KeyId" not in answer),
    "no plaintext": (
        Fault(corrupt="no_plaintext"),
        lambda answer, arn: "Plaintext" not in answer and answer["KeyId"] == arn,
    ),
    "no ciphertext": (
        Fault(corrupt="no_ciphertext"),
        lambda answer, arn: "CiphertextBlob" not in answer and len(answer["Plaintext"]) == 32,
    ),
    "another key": (Fault(corrupt="other_key_id"), lambda answer, arn: answer["KeyId"] == f"{arn[:-12]}{'0' * 12}"),
    "length": (Fault(corrupt="plaintext_length"), lambda answer, arn: len(answer["Plaintext"]) == 33),
    "a proxy's 200": (Fault(body=b"<html>Login</html>"), lambda answer, arn: {*answer} == {"ResponseMetadata"}),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_damaged_200_is_the_same_in_process_and_over_the_wire(world: World, connect: Connect, case: str) -> None:
    fault, holds = WRONG[case]
    arn = world.key(open_to())
    world.emulator.add_fault(fault)
    for client in (world.kms, connect()):
        assert holds(client.generate_data_key(KeyId=arn, KeySpec="AES_256"), arn)


def test_what_hangs_is_let_go_when_faults_are_cleared(world: World, connect: Connect) -> None:
    arn, ended = world.key(open_to()), threading.Event()
    world.emulator.add_fault(Fault("Encrypt", hang=True, times=1))

    def work() -> None:
        with pytest.raises(ConnectionClosedError):
            connect().encrypt(KeyId=arn, Plaintext=b"x")
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not world.emulator.calls:
        thread.join(0.01)
    assert not ended.is_set()
    world.emulator.clear_faults()
    assert ended.wait(10)
    thread.join()


def test_latency_passes_before_the_call_is_carried_out(world: World, connect: Connect) -> None:
    arn = world.key(open_to())
    world.emulator.add_fault(Fault("DescribeKey", latency=0.01))
    connect().describe_key(KeyId=arn)
    assert world.slept == [], "over the wire it is real time"
    world.kms.describe_key(KeyId=arn)
    assert world.slept == [0.01]
    world.emulator.sleep = lambda _seconds: world.emulator.disable_key(arn)
    assert world.kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "Disabled"
