"""The control API, as another process uses it; and what is kept in a file."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from functions.emulators.control import POSTS, control
from functions.emulators.kms import LOCAL_ACCESS_KEY_ID, LOCAL_PRINCIPAL, KmsEmulator
from functions.emulators.wire import EmulatorServer
from tests.emulators.conftest import Connect
from tests.emulators.test_wire import send
from tests.emulators.worlds import CONTEXT, ROLE, World, bound, code_of, open_to, policy, statement, trust


def post(world: World, request: str, /, **body: Any) -> dict[str, Any]:
    status, answer = control(world.emulator, request, json.dumps(body).encode())
    assert status == 200, answer
    found = json.loads(answer)
    assert isinstance(found, dict)
    return found


def get(world: World, name: str) -> Any:
    status, answer = control(world.emulator, name, None)
    assert status == 200
    return json.loads(answer)[name]


def state(world: World, arn: str) -> str:
    return str(next(key["KeyState"] for key in get(world, "keys") if key["Arn"] == arn))


def test_a_key_through_its_life(world: World) -> None:
    arn = post(world, "create-key", policy=bound(), region="eu-west-1", account="444455556666", rotation=False)["arn"]
    assert arn.startswith("arn:aws:kms:eu-west-1:444455556666:key/")
    assert get(world, "keys")[0]["RotationEnabled"] is False
    for name, expected in [
        ("disable-key", "Disabled"),
        ("enable-key", "Enabled"),
        ("schedule-key-deletion", "PendingDeletion"),
        ("cancel-key-deletion", "Disabled"),
        ("enable-key", "Enabled"),
        ("rotate-key", "Enabled"),
        ("expire-material", "PendingImport"),
    ]:
        assert post(world, name, arn=arn)["arn"] == arn
        assert state(world, arn) == expected
    post(world, "set-key-state", arn=arn, state="Unavailable")
    assert state(world, arn) == "Unavailable"
    post(world, "delete-key", arn=arn)
    assert get(world, "keys") == []


def test_policies_roles_and_principals(world: World) -> None:
    arn = post(world, "create-key")["arn"]
    assert code_of(lambda: world.kms.describe_key(KeyId=arn)) == "AccessDeniedException"
    post(world, "put-key-policy", arn=arn, policy=open_to())
    assert code_of(lambda: world.kms.describe_key(KeyId=arn)) == ""
    post(world, "create-role", arn=ROLE, trust_policy=trust(), policies={})
    own = post(world, "create-key")["arn"]
    session = world.assume()
    assert code_of(lambda: session.describe_key(KeyId=own)) == "AccessDeniedException"
    post(world, "put-role-policy", arn=ROLE, name="use", policy=policy(statement(None, "kms:*")))
    assert code_of(lambda: session.describe_key(KeyId=own)) == ""
    post(world, "update-trust-policy", arn=ROLE, trust_policy=trust(f"{LOCAL_PRINCIPAL}2"))
    assert code_of(world.assume) == "AccessDenied"
    post(world, "delete-role", arn=ROLE)
    assert code_of(lambda: session.describe_key(KeyId=own)) == "AccessDeniedException"
    post(world, "add-principal", access_key_id="a", secret_access_key="s", arn=f"{LOCAL_PRINCIPAL}3")
    assert code_of(world.emulator.client("kms", "a").list_keys) == ""


def test_faults_calls_and_time(world: World) -> None:
    arn = world.key()
    post(world, "fault", operation="DescribeKey", code="ThrottlingException", times=1)
    assert code_of(lambda: world.kms.describe_key(KeyId=arn)) == "ThrottlingException"
    post(world, "fault", operation="DescribeKey", body="<html>", status=502)
    assert code_of(lambda: world.kms.describe_key(KeyId=arn)) == "502"
    post(world, "clear-faults")
    assert code_of(lambda: world.kms.describe_key(KeyId=arn)) == ""
    assert [(call["operation"], call["outcome_code"]) for call in get(world, "calls")] == [
        ("DescribeKey", "ThrottlingException"),
        ("DescribeKey", "body"),
        ("DescribeKey", ""),
    ]
    post(world, "skew", seconds=5)
    assert world.emulator.skew == 5


@pytest.mark.parametrize(
    ("name", "body", "status", "code"),
    [
        ("no-such-thing", b"{}", 404, "NotFound"),
        ("no-such-thing", None, 404, "NotFound"),
        ("create-key", b"{", 400, "ValidationException"),
        ("create-key", b"[]", 400, "ValidationException"),
        ("create-key", b'{"colour": "red"}', 400, "ValidationException"),
        ("create-key", b'{"account": "1"}', 400, "ValidationException"),
        ("create-key", b'{"region": "eu/1"}', 400, "ValidationException"),
        ("create-key", b'{"policy": {}}', 400, "MalformedPolicyDocumentException"),
        ("create-role", b'{"arn": "arn:aws:iam::1:role/a"}', 400, "ValidationException"),
        ("disable-key", b"{}", 400, "ValidationException"),
        ("disable-key", b'{"arn": 5}', 400, "ValidationException"),
        ("disable-key", b'{"arn": "arn:none"}', 404, "NotFoundException"),
        ("delete-role", b'{"arn": "arn:none"}', 404, "NoSuchEntity"),
        ("schedule-key-deletion", b'{"arn": "arn:none", "days": 1}', 400, "ValidationException"),
        ("fault", b'{"corrupt": "all"}', 400, "ValidationException"),
        ("fault", b'{"latency": Infinity}', 400, "ValidationException"),
        ("fault", b'{"latency": NaN}', 400, "ValidationException"),
        ("fault", b'{"latency": -1}', 400, "ValidationException"),
        *(
            ("skew", b'{"seconds": %s}' % seconds, 400, "ValidationException")
            for seconds in (b"NaN", b"Infinity", b"-1e999", b"1e12", b"9" * 400)
        ),
        ("set-key-state", b'{"arn": "arn:none", "state": "Broken"}', 400, "ValidationException"),
    ],
)
def test_refusals(world: World, name: str, body: bytes | None, status: int, code: str) -> None:
    found, answer = control(world.emulator, name, body)
    assert (found, json.loads(answer)["code"]) == (status, code)


def test_every_post_answers_to_an_empty_body(world: World) -> None:
    for name in POSTS:
        assert control(world.emulator, name, b"")[0] in (200, 400)


def test_over_http(world: World, server: EmulatorServer, connect: Connect) -> None:
    body = json.dumps({"policy": open_to()}).encode()
    status, text = send(server, "POST", "/_emulator/create-key", body, {})
    arn = json.loads(text)["arn"]
    assert status == 200
    assert connect().describe_key(KeyId=arn)["KeyMetadata"]["Arn"] == arn
    assert json.loads(send(server, "GET", "/_emulator/keys", b"", {})[1])["keys"][0]["Arn"] == arn
    assert send(server, "GET", "/_emulator/health", b"", {})[0] == 200
    assert send(server, "POST", "/_emulator/disable-key", b'{"arn": "arn:none"}', {})[0] == 404


def test_what_is_saved_comes_back(world: World, tmp_path: Path) -> None:
    path = tmp_path / "kms.json"
    arn = world.key(open_to(), custom_key_store_id="cks-1")
    scheduled = world.key()
    world.emulator.schedule_key_deletion(scheduled, days=7)
    old = world.kms.encrypt(KeyId=arn, Plaintext=b"old", EncryptionContext=CONTEXT)["CiphertextBlob"]
    world.emulator.rotate_key(arn)
    new = world.kms.encrypt(KeyId=arn, Plaintext=b"new", EncryptionContext=CONTEXT)["CiphertextBlob"]
    world.kms.create_grant(KeyId=arn, GranteePrincipal=ROLE, Operations=["Decrypt"])
    world.emulator.create_role(ROLE, trust(), {"a": policy(statement(None, "kms:*"))})
    answer = world.sts.assume_role(
        RoleArn=ROLE, RoleSessionName="s1", Policy=json.dumps(policy(statement(None, "kms:Decrypt")))
    )
    world.emulator.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [*tmp_path.iterdir()] == [path]

    again = KmsEmulator.load(path, lambda: world.time)
    kms = again.client("kms", LOCAL_ACCESS_KEY_ID)
    assert kms.decrypt(CiphertextBlob=old, EncryptionContext=CONTEXT)["Plaintext"] == b"old"
    assert kms.decrypt(CiphertextBlob=new, EncryptionContext=CONTEXT)["Plaintext"] == b"new"
    for one in (arn, scheduled):
        described = [client.describe_key(KeyId=one)["KeyMetadata"] for client in (world.kms, kms)]
        assert described[0] == described[1]
    session = again.client("kms", answer["Credentials"]["AccessKeyId"])
    assert session.decrypt(CiphertextBlob=new, EncryptionContext=CONTEXT)["Plaintext"] == b"new"
    assert code_of(lambda: session.describe_key(KeyId=arn)) == "AccessDeniedException"
    world.time += 3600
    assert code_of(lambda: session.decrypt(CiphertextBlob=new)) == "ExpiredTokenException"
    again.save(path)
    assert KmsEmulator.load(path, lambda: world.time).key(arn).backing == world.emulator.key(arn).backing


def test_only_changes_are_saved(world: World) -> None:
    kms = world.customer
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    before = world.emulator.revision
    kms.encrypt(KeyId=arn, Plaintext=b"x")
    kms.describe_key(KeyId=arn)
    assert world.emulator.revision == before
    kms.disable_key(KeyId=arn)
    assert world.emulator.revision == before + 1


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "other"}', '{"format": "keystead-kms-emulator-1"}'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kms.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="no data file of the emulator"):
        KmsEmulator.load(path, lambda: 0)
