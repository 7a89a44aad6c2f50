"""``keystead emulator``: the commands against a running emulator, and the program that runs one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import click
import pytest
from click.testing import CliRunner, Result

from core.errors import InvalidRequest, NotFound, Unavailable
from functions.cli.emulator import emulator
from functions.emulators.kms import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY
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
        *("keys", "fault", "clear-faults"),
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
        line = "from functions.cli.emulator import emulator; emulator()"
        arguments = ["kms", "--port", "0", "--data", str(tmp_path / "kms.json")]
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
        return boto3.client(
            "kms",
            region_name="eu-central-1",
            endpoint_url=url,
            aws_access_key_id=LOCAL_ACCESS_KEY_ID,
            aws_secret_access_key=LOCAL_SECRET_ACCESS_KEY,
        )

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
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
