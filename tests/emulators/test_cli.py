"""``keystead emulator``: the commands against a running emulator, and the program that runs one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import click
import pytest
from click.testing import CliRunner, Result

from core.errors import InvalidRequest, NotFound, Unavailable
from core.providers.aws_kms.setup_kit import setup_kit
from functions.cli.emulator import emulator
from functions.emulators.kms import LOCAL_ACCESS_KEY_ID, LOCAL_PRINCIPAL, LOCAL_SECRET_ACCESS_KEY
from functions.emulators.wire import EmulatorServer
from tests.emulators.worlds import CONTEXT, World, bound, code_of, open_to

Run = Callable[..., Result]


@pytest.fixture
def run(server: EmulatorServer) -> Run:
    def run(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(emulator, [*arguments, "--url", server.url], input=stdin)

    return run


def ok(result: Result) -> str:
    assert result.exception is None, result.exception
    assert result.exit_code == 0
    return result.output.strip()


def test_a_customers_hands(run: Run, world: World, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(bound()))
    arn = ok(run("create-key", "--policy", str(file)))
    assert re.fullmatch(r"arn:aws:kms:eu-central-1:111122223333:key/[0-9a-f-]{36}", arn)

    def used() -> str:
        return code_of(lambda: world.kms.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=CONTEXT))

    assert used() == ""
    for command, code in [
        (["disable-key", arn], "DisabledException"),
        (["enable-key", arn], ""),
        (["schedule-deletion", arn, "--days", "7"], "KMSInvalidStateException"),
        (["cancel-deletion", arn], "DisabledException"),
        (["enable-key", arn], ""),
    ]:
        assert ok(run(*command)) == ""
        assert used() == code
    assert ok(run("put-policy", arn, "--policy", "-", stdin=json.dumps(open_to("999999999998")))) == ""
    assert used() == "AccessDeniedException"
    assert ok(run("keys")) == f"{arn}  Enabled"
    assert json.loads(ok(run("keys", "--json")))["Arn"] == arn


def test_account_region_and_a_policy_from_stdin(run: Run) -> None:
    where = ["--account", "444455556666", "--region", "eu-west-1"]
    arn = ok(run("create-key", "--policy", "-", *where, stdin=json.dumps(open_to())))
    assert arn.startswith("arn:aws:kms:eu-west-1:444455556666:key/")


def client(url: str, access_key_id: str, secret: str, service: str = "kms") -> Any:
    return boto3.client(
        service,
        region_name="eu-central-1",
        endpoint_url=url,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret,
    )


def test_a_user_of_the_customers_account(run: Run, server: EmulatorServer) -> None:
    arn = ok(run("create-key"))

    def added(*options: str) -> Any:
        printed = ok(run("add-user", *options))
        found = re.fullmatch(
            r"export AWS_ACCESS_KEY_ID=(AKIA[0-9A-F]{16})\nexport AWS_SECRET_ACCESS_KEY=([\w-]{40})", printed
        )
        assert found, printed
        return found

    first, again = added(), added()
    assert first[1] != again[1]
    assert first[2] != again[2]
    other = added("--arn", "arn:aws:iam::444455556666:user/desk/officer")
    for user, code in [(first, ""), (again, ""), (other, "AccessDeniedException")]:
        kms = client(server.url, user[1], user[2])
        assert code_of(partial(kms.encrypt, KeyId=arn, Plaintext=b"x")) == code
        kms.close()
    sts = client(server.url, other[1], other[2], "sts")
    assert sts.get_caller_identity()["Arn"] == "arn:aws:iam::444455556666:user/desk/officer"
    sts.close()


def test_a_role_from_a_setup_kit(run: Run, server: EmulatorServer, tmp_path: Path) -> None:
    """The kit's documents as they are; with them the role may be assumed, and use the key that was named."""
    kit = setup_kit(LOCAL_PRINCIPAL, "acme", "xid")["documents"]
    for name in ("trust_policy", "role_policy"):
        (tmp_path / name).write_text(json.dumps(kit[name]))
    arn, other = (
        ok(run("create-key", "--policy", "-", stdin=json.dumps(kit["key_policy_for_role"]))) for _ in range(2)
    )
    role = "arn:aws:iam::111122223333:role/keystead-byok"
    files = ["--trust", str(tmp_path / "trust_policy"), "--policy", str(tmp_path / "role_policy")]
    assert ok(run("create-role", role, *files, "--key", arn)) == ""
    sts = client(server.url, LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, "sts")
    assumed = {"RoleArn": role, "RoleSessionName": "session"}
    assert code_of(lambda: sts.assume_role(**assumed)) == "AccessDenied"
    session = sts.assume_role(**assumed, ExternalId="xid")["Credentials"]
    sts.close()
    kms = boto3.client(
        "kms",
        region_name="eu-central-1",
        endpoint_url=server.url,
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )
    for key, code in [(arn, ""), (other, "AccessDeniedException")]:
        wanted = {"KeyId": key, "Plaintext": b"x", "EncryptionContext": {"tenant_id": "acme"}}
        assert code_of(partial(kms.encrypt, **wanted)) == code
    kms.close()
    unfilled = run("create-role", role, *files)
    assert unfilled.exit_code == 2
    assert "leaves <KEY-ARN> to be filled in" in unfilled.output


def test_faults(run: Run, world: World) -> None:
    arn = world.key()
    ok(run("fault", "--operation", "DescribeKey", "--code", "ThrottlingException", "--times", "2", "--key", arn))
    assert [code_of(lambda: world.kms.describe_key(KeyId=arn)) for _ in range(3)] == ["ThrottlingException"] * 2 + [""]
    ok(run("fault", "--body", "<html>", "--status", "502"))
    assert code_of(lambda: world.kms.describe_key(KeyId=arn)) == "502"
    ok(run("clear-faults"))
    assert code_of(lambda: world.kms.describe_key(KeyId=arn)) == ""


@pytest.mark.parametrize(
    ("command", "stdin", "kind", "message"),
    [
        (["disable-key", "arn:none"], None, NotFound, "the emulator refused: Key 'arn:none' does not exist"),
        (["disable-key", "arn:\x1b[2J"], None, NotFound, r"\x1b[2J"),
        (["create-key", "--policy", "-"], "{", InvalidRequest, "the policy is not JSON"),
        (["create-key", "--policy", "-"], "{}", InvalidRequest, "MalformedPolicyDocumentException"),
        (["create-key", "--policy", "-"], " " * 70000, InvalidRequest, "longer than 64 KiB"),
        (["add-user", "--arn", "arn:aws:iam::111122223333:root"], None, InvalidRequest, "not the ARN of an IAM user"),
        (["create-role", "r", "--trust", "-", "--policy", "-"], "{}", InvalidRequest, "not the ARN of an IAM role"),
        (["create-key", "--policy", "none.json"], None, FileNotFoundError, "none.json"),
    ],
)
def test_refusals(run: Run, command: list[str], stdin: str | None, kind: type[Exception], message: str) -> None:
    result = run(*command, stdin=stdin)
    assert type(result.exception) is kind
    assert message in str(result.exception)
    assert "\x1b" not in str(result.exception)


def test_nobody_answers(server: EmulatorServer) -> None:
    server.close()
    result = CliRunner().invoke(emulator, ["keys", "--url", server.url])
    assert type(result.exception) is Unavailable
    assert "keystead emulator kms" in str(result.exception.hint)


@pytest.mark.parametrize("url", ["https://127.0.0.1:4599", "http://example.com", "127.0.0.1:4599", "http://[::1"])
def test_an_emulator_is_on_this_machine(url: str) -> None:
    result = CliRunner().invoke(emulator, ["keys", "--url", url])
    assert result.exit_code == 2
    assert "is on this machine" in result.output


def test_usage(run: Run, server: EmulatorServer) -> None:
    assert "nothing is to go wrong" in run("fault", "--times", "3").output
    assert run("schedule-deletion", "arn:none", "--days", "6").exit_code == 2
    result = CliRunner().invoke(emulator, ["kms", "--port", str(server.port)])
    assert type(result.exception) is InvalidRequest
    assert "cannot be listened on" in str(result.exception)


def test_a_file_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    path.write_text('{"mine": 1}')
    result = CliRunner().invoke(emulator, ["kms", "--port", "0", "--data", str(path)])
    assert type(result.exception) is InvalidRequest
    assert path.read_text() == '{"mine": 1}'


def test_every_command_has_help_and_an_example() -> None:
    assert {*emulator.commands} == {
        *("kms", "create-key", "disable-key", "enable-key", "schedule-deletion", "cancel-deletion", "put-policy"),
        *("keys", "fault", "clear-faults", "add-user", "create-role", "keyvault", "azure"),
    }
    for command in emulator.commands.values():
        assert isinstance(command, click.Command)
        assert command.help
        assert "Example" in (command.epilog or "")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[str], str]]]:
    """Starts the program with a data file; gives the process and its URL."""
    running = []

    def start() -> tuple[subprocess.Popen[str], str]:
        line = "from functions.cli.main import main; main()"
        arguments = ["emulator", "kms", "--port", "0", "--data", str(tmp_path / "kms.json")]
        process = subprocess.Popen(
            [sys.executable, "-c", line, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent.parent,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        running.append(process)
        assert process.stdout is not None
        for text in process.stdout:
            if found := re.search(r"export KEYSTEAD_AWS_ENDPOINT_URL=(http://127\.0\.0\.1:\d+)$", text):
                return process, found[1]
        raise AssertionError(process.communicate()[1])

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_keys_survive_the_program(start: Callable[[], tuple[subprocess.Popen[str], str]]) -> None:
    def connect(url: str) -> Any:
        return client(url, LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY)

    process, url = start()
    made = CliRunner().invoke(emulator, ["create-key", "--policy", "-", "--url", url], input=json.dumps(open_to()))
    arn, kms = ok(made), connect(url)
    blob = kms.encrypt(KeyId=arn, Plaintext=b"x")["CiphertextBlob"]
    kms.close()
    process.kill()
    process.wait()
    process, url = start()
    kms = connect(url)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    kms.close()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly(
    start: Callable[[], tuple[subprocess.Popen[str], str]], number: signal.Signals
) -> None:
    process, _ = start()
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "stopped\n")
