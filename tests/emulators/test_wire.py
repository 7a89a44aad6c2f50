"""Real boto3 clients against the server: every operation, every check of who calls, and how it ends."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable

import pytest
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from functions.emulators.kms import LOCAL_ACCESS_KEY_ID, LOCAL_PRINCIPAL
from functions.emulators.wire import EmulatorServer, serve
from tests.emulators.conftest import Connect
from tests.emulators.worlds import CONTEXT, CUSTOMER_KEY, ROLE, World, open_to, policy, refused, statement, trust

ALLOW = {"byok": policy(statement(None, "kms:*"))}


def test_every_operation(world: World, connect: Connect) -> None:
    kms = connect(key=CUSTOMER_KEY, secret="secret")
    arn = kms.create_key(Description="über")["KeyMetadata"]["Arn"]
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["CreationDate"].timestamp() == world.time
    assert [key["KeyArn"] for key in kms.list_keys()["Keys"]] == [arn]
    blob = kms.encrypt(KeyId=arn, Plaintext=b"\0\xff", EncryptionContext={"ü": "é"})["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext={"ü": "é"})["Plaintext"] == b"\0\xff"
    made = kms.generate_data_key(KeyId=arn, KeySpec="AES_256", EncryptionContext=CONTEXT)
    kms.generate_data_key_without_plaintext(KeyId=arn, NumberOfBytes=32)
    pair = kms.generate_data_key_pair(KeyId=arn, KeyPairSpec="ECC_NIST_P256", EncryptionContext=CONTEXT)
    private = kms.decrypt(CiphertextBlob=pair["PrivateKeyCiphertextBlob"], EncryptionContext=CONTEXT)["Plaintext"]
    assert private == pair["PrivateKeyPlaintext"]
    assert load_der_public_key(pair["PublicKey"]) == load_der_private_key(private, None).public_key()
    sealed = kms.generate_data_key_pair_without_plaintext(KeyId=arn, KeyPairSpec="RSA_2048")
    assert "PrivateKeyPlaintext" not in sealed
    again = kms.re_encrypt(CiphertextBlob=blob, SourceEncryptionContext={"ü": "é"}, DestinationKeyId=arn)
    assert kms.decrypt(CiphertextBlob=again["CiphertextBlob"])["Plaintext"] == b"\0\xff"
    kms.enable_key_rotation(KeyId=arn, RotationPeriodInDays=90)
    assert kms.get_key_rotation_status(KeyId=arn)["RotationPeriodInDays"] == 90
    kms.rotate_key_on_demand(KeyId=arn)
    opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert opened["Plaintext"] == made["Plaintext"]
    kms.disable_key_rotation(KeyId=arn)
    grant = kms.create_grant(KeyId=arn, GranteePrincipal=LOCAL_PRINCIPAL, Operations=["Decrypt"])
    assert kms.list_grants(KeyId=arn)["Grants"][0]["GrantId"] == grant["GrantId"]
    kms.revoke_grant(KeyId=arn, GrantId=grant["GrantId"])
    kms.put_key_policy(KeyId=arn, Policy=kms.get_key_policy(KeyId=arn)["Policy"])
    kms.disable_key(KeyId=arn)
    with pytest.raises(kms.exceptions.DisabledException):
        kms.decrypt(CiphertextBlob=blob)
    kms.enable_key(KeyId=arn)
    kms.schedule_key_deletion(KeyId=arn)
    with pytest.raises(kms.exceptions.KMSInvalidStateException):
        kms.decrypt(CiphertextBlob=blob)
    kms.cancel_key_deletion(KeyId=arn)
    refused("UnknownOperationException", kms.list_aliases)


def test_a_session_over_the_wire(world: World, connect: Connect) -> None:
    arn = world.emulator.create_key()
    world.emulator.create_role(ROLE, trust(condition={"StringEquals": {"sts:ExternalId": "x&<1"}}), ALLOW)
    world.emulator.update_trust_policy(ROLE, trust(condition={"StringEquals": {"sts:ExternalId": "x:/1"}}))
    sts = connect("sts")
    denied = refused("AccessDenied", lambda: sts.assume_role(RoleArn=ROLE, RoleSessionName="s1"))
    assert denied.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    found = sts.assume_role(RoleArn=ROLE, RoleSessionName="s1", ExternalId="x:/1", DurationSeconds=900)["Credentials"]
    assert found["Expiration"].timestamp() == world.time + 900
    key, secret, token = found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]
    kms = connect("kms", key, secret, token)
    kms.encrypt(KeyId=arn, Plaintext=b"x")
    assert connect("sts", key, secret, token).get_caller_identity()["Arn"].endswith("assumed-role/byok/s1")
    for wrong in (None, token[:-1], f"{token}x"):
        refused("UnrecognizedClientException", lambda wrong=wrong: connect("kms", key, secret, wrong).list_keys())  # type: ignore[misc]
    refused("InvalidClientTokenId", lambda: connect("sts", key, secret, "x").get_caller_identity())
    world.time += 900
    refused("ExpiredTokenException", lambda: kms.encrypt(KeyId=arn, Plaintext=b"x"))
    refused("ExpiredToken", lambda: connect("sts", key, secret, token).get_caller_identity())


def test_who_is_not_who_they_say(connect: Connect) -> None:
    refused("InvalidSignatureException", lambda: connect(secret="wrong").list_keys())
    refused("SignatureDoesNotMatch", lambda: connect("sts", secret="wrong").get_caller_identity())
    refused("UnrecognizedClientException", lambda: connect(key="nobody").list_keys())
    refused("InvalidClientTokenId", lambda: connect("sts", key="nobody").get_caller_identity())


def send(server: EmulatorServer, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def signed(server: EmulatorServer, body: bytes = b"{}", service: str = "kms") -> dict[str, str]:
    """The headers that a client would send."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    headers = {"X-Amz-Target": "TrentService.ListKeys", "Content-Type": "application/x-amz-json-1.1"}
    request = AWSRequest("POST", f"{server.url}/", headers=headers, data=body)
    SigV4Auth(Credentials(LOCAL_ACCESS_KEY_ID, "keystead-local-secret"), service, "eu-central-1").add_auth(request)
    return {**dict(request.headers.items()), "Host": f"127.0.0.1:{server.port}"}


Change = Callable[[dict[str, str]], dict[str, str]]
CHANGES: dict[str, tuple[Change, bytes, str]] = {
    "none": (lambda h: h, b"{}", ""),
    "another body": (lambda h: h, b'{"Limit":1}', "InvalidSignatureException"),
    "another operation": (
        lambda h: {**h, "X-Amz-Target": "TrentService.CreateKey"},
        b"{}",
        "InvalidSignatureException",
    ),
    "another date": (
        lambda h: {
            **h,
            "X-Amz-Date": f"{h['X-Amz-Date'][:9]}{'000000' if '000000' not in h['X-Amz-Date'] else '000001'}Z",
        },
        b"{}",
        "InvalidSignatureException",
    ),
    "another Region": (
        lambda h: {**h, "Authorization": h["Authorization"].replace("eu-central-1", "eu-west-1")},
        b"{}",
        "InvalidSignatureException",
    ),
    "a claimed hash of the body": (
        lambda h: {**h, "X-Amz-Content-SHA256": "0" * 64},
        b"{}",
        "InvalidSignatureException",
    ),
    "no signature": (
        lambda h: {k: v for k, v in h.items() if k != "Authorization"},
        b"{}",
        "MissingAuthenticationTokenException",
    ),
    "half a signature": (
        lambda h: {**h, "Authorization": h["Authorization"][:-1]},
        b"{}",
        "IncompleteSignatureException",
    ),
    "no date": (
        lambda h: {k: v for k, v in h.items() if k != "X-Amz-Date"},
        b"{}",
        "IncompleteSignatureException",
    ),
    "no host signed": (
        lambda h: {**h, "Authorization": h["Authorization"].replace("host;", "")},
        b"{}",
        "InvalidSignatureException",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_was_not_signed_is_refused(server: EmulatorServer, case: str) -> None:
    change, body, code = CHANGES[case]
    status, text = send(server, "POST", "/", body, change(signed(server)))
    assert status == (400 if code else 200), text
    assert code in text


def test_a_signature_for_another_service_is_refused(server: EmulatorServer) -> None:
    assert "InvalidSignatureException" in send(server, "POST", "/", b"{}", signed(server, service="dynamodb"))[1]


def test_a_body_that_cannot_be_read_is_refused(server: EmulatorServer) -> None:
    for body in (b"{", b"[]", b"\xff", b'{"Plaintext": "?"}', b'{"Plaintext": 5}'):
        status, text = send(server, "POST", "/", body, signed(server, body))
        assert (status, "SerializationException" in text) == (400, True)


def test_a_date_too_far_from_the_clock_is_refused_where_the_clock_is_real(world: World) -> None:
    with serve(world.emulator, max_age=300) as server:
        assert "InvalidSignatureException" in send(server, "POST", "/", b"{}", signed(server))[1]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:4599"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:4599"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_web_pages_are_refused(server: EmulatorServer, headers: dict[str, str], status: int) -> None:
    for method, path in (("GET", "/_emulator/keys"), ("POST", "/_emulator/clear-faults")):
        assert send(server, method, path, b"{}", headers)[0] == status
    if status == 403:
        assert send(server, "POST", "/", b"{}", {**signed(server), **headers})[0] == 403


def test_paths_and_lengths(server: EmulatorServer) -> None:
    assert send(server, "GET", "/", b"", {})[0] == 404
    assert send(server, "POST", "/other", b"", {})[0] == 404
    assert send(server, "POST", "/", b"", {"Content-Length": "x"})[0] == 400
    assert send(server, "POST", "/", b"", {"Content-Length": "99999999"})[0] == 413
    assert send(server, "POST", "/", b"", {"Content-Length": "9" * 5000})[0] == 400
    assert send(server, "POST", "/", b"", {"Content-Length": "\u0661".encode().decode("latin-1")})[0] == 400
    assert send(server, "PUT", "/", b"", {})[0] == 501


def test_the_answers_tell_the_emulators_time(world: World, connect: Connect) -> None:
    world.emulator.skew = 3600.0
    metadata = connect("sts").get_caller_identity()["ResponseMetadata"]
    assert metadata["HTTPHeaders"]["date"] == "Fri, 15 Jan 2027 09:00:00 GMT"
    assert world.sts.get_caller_identity()["ResponseMetadata"]["HTTPHeaders"]["date"] == "Fri, 15 Jan 2027 09:00:00 GMT"
    assert len(metadata["RequestId"]) == 32


def test_many_threads_share_the_server(world: World, connect: Connect) -> None:
    arn, kms, wrong = world.key(open_to()), connect(), []

    def work(number: int) -> None:
        for turn in range(10):
            text = f"{number}/{turn}".encode()
            blob = kms.encrypt(KeyId=arn, Plaintext=text, EncryptionContext={"n": str(number)})["CiphertextBlob"]
            found = kms.decrypt(CiphertextBlob=blob, EncryptionContext={"n": str(number)})["Plaintext"]
            if found != text:
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sum(call.outcome_code == "" for call in world.emulator.calls) == 160


def test_closing_ends_connections_and_frees_the_port(world: World, connect: Connect, server: EmulatorServer) -> None:
    kms = connect()
    kms.list_keys()
    server.close()
    server.close()
    with pytest.raises((EndpointConnectionError, ConnectionClosedError)):
        kms.list_keys()
    with socket.create_server(("127.0.0.1", server.port)):
        pass
    with serve(world.emulator, server.port):
        kms.list_keys()


def test_a_port_that_is_taken_is_refused(world: World, server: EmulatorServer) -> None:
    with pytest.raises(OSError, match="in use"):
        serve(world.emulator, server.port)
