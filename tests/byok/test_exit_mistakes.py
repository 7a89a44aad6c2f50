"""The exit script is for the worst day: each ordinary mistake is told in a line, and nothing is overwritten."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest

from tests.byok.deployment import Deployment
from tests.byok.test_exit import CONTEXT, OFFICER, SCRIPT, export, loaded

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return loaded()


Story = Callable[[pytest.MonkeyPatch, Deployment, dict[str, Any]], object]


def nothing(_patch: pytest.MonkeyPatch, _deployment: Deployment, _export: dict[str, Any]) -> None:
    pass


def output_there(_patch: pytest.MonkeyPatch, _deployment: Deployment, _export: dict[str, Any]) -> None:
    Path("out").write_text("mine")


def message_is(change: Callable[[bytes], bytes]) -> Story:
    def act(_patch: pytest.MonkeyPatch, _deployment: Deployment, _export: dict[str, Any]) -> None:
        Path("message").write_bytes(change(Path("message").read_bytes()))

    return act


def export_is(change: Callable[[dict[str, Any]], Any]) -> Story:
    def act(_patch: pytest.MonkeyPatch, _deployment: Deployment, export: dict[str, Any]) -> None:
        Path("export.json").write_text(json.dumps(change(export)))

    return act


def key_disabled(_patch: pytest.MonkeyPatch, deployment: Deployment, export: dict[str, Any]) -> None:
    deployment.emulator.disable_key(export["kek"])


def wrong_credentials(patch: pytest.MonkeyPatch, _deployment: Deployment, _export: dict[str, Any]) -> None:
    patch.setenv("AWS_ACCESS_KEY_ID", "nobody's")


def no_credentials(patch: pytest.MonkeyPatch, _deployment: Deployment, _export: dict[str, Any]) -> None:
    patch.delenv("AWS_ACCESS_KEY_ID")
    patch.delenv("AWS_SECRET_ACCESS_KEY")


NO_EXPORT = (r"export\.json is not an export of branch keys", r"'keystead key export -o FILE' writes one")
NOT_WHOLE = "the message was changed, or is not whole"
ASK_KEY = r"is the key enabled, and may these credentials use it for Decrypt\?"
ASK_CREDENTIALS = r"are credentials of your account in the environment or ~/\.aws\?"
MISTAKES: dict[str, tuple[Story, list[str], str, str]] = {
    "output there": (output_there, [], "out is there already", "name another file with -o"),
    "output nowhere": (nothing, ["-o", "none/out"], r"\[Errno 2\] .*'none/out'", ""),
    "no export file": (lambda *_: Path("export.json").unlink(), [], r"\[Errno 2\] .*'export\.json'", ""),
    "no message file": (lambda *_: Path("message").unlink(), [], r"\[Errno 2\] .*'message'", ""),
    "export not JSON": (lambda *_: Path("export.json").write_bytes(b"\x02\xff"), [], *NO_EXPORT),
    "export of something else": (export_is(lambda _: {"a": 1}), [], *NO_EXPORT),
    "export a list": (export_is(lambda export: [export]), [], *NO_EXPORT),
    "export without the key": (export_is(lambda export: {**export, "kek": None}), [], *NO_EXPORT),
    "export not ours to use": (
        export_is(lambda export: {**export, "kek": "local:platform"}),
        [],
        ".*nobody else.*",
        "",
    ),
    "export under a key in Azure": (
        export_is(lambda export: {**export, "kek": "https://acme-kv.vault.azure.net/keys/kek"}),
        [],
        "these rows lie under a key in Azure Key Vault, which the official client does not reach",
        r"move to a key in AWS KMS first, or unwrap the rows in the vault as docs/exit\.md says",
    ),
    "export older than the message": (
        export_is(lambda export: {**export, "items": []}),
        [],
        "the export does not hold version [0-9a-f-]{36}: it is older than the message; fetch a newer one",
        "",
    ),
    "export of another branch key": (
        export_is(lambda export: {**export, "branch_key_ids": []}),
        [],
        "the export holds no branch key of this message: it is another tenant's, or newer than the export",
        "",
    ),
    "no message": (message_is(lambda _: b"hello"), [], "this is no message of Keystead", ""),
    "empty message": (message_is(lambda _: b""), [], "this is no message of Keystead", ""),
    "message cut off": (message_is(lambda message: message[:-5]), [], NOT_WHOLE, ""),
    "message changed": (message_is(lambda message: message[:-20] + b"?" * 20), [], NOT_WHOLE, ""),
    "context changed": (message_is(lambda message: message.replace(b"billing", b"\xffilling")), [], NOT_WHOLE, ""),
    "another context": (nothing, ["-c", "app=other"], "the message was encrypted under another encryption context", ""),
    "key disabled": (key_disabled, [], "KMS refused: DisabledException: .* is disabled.", ASK_KEY),
    "wrong credentials": (wrong_credentials, [], "KMS refused: UnrecognizedClientException: .*", ASK_KEY),
    "no credentials": (no_credentials, [], "KMS was not reached: Unable to locate credentials", ASK_CREDENTIALS),
    "nothing answers": (
        nothing,
        ["--endpoint-url", "http://127.0.0.1:1"],
        "KMS was not reached: Could not connect .*",
        ASK_CREDENTIALS,
    ),
    "no URL": (nothing, ["--endpoint-url", "kms"], "Invalid endpoint: kms", ""),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_a_line(
    deployment: Deployment,
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    mistake: str,
) -> None:
    story, more, message, hint = MISTAKES[mistake]
    deployment.emulator.add_principal(*OFFICER)
    deployment.tenant("acme")
    deployment.configure("acme", deployment.new_key("acme"))
    exported = export(deployment)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": OFFICER[0],
        "AWS_SECRET_ACCESS_KEY": OFFICER[1],
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "none",
        "AWS_SHARED_CREDENTIALS_FILE": "none",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the credentials of the case before
    Path("export.json").write_text(json.dumps(exported))
    Path("message").write_bytes(deployment.app.encryption.encrypt("acme", b"text", CONTEXT))
    story(monkeypatch, deployment, exported)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    asked = len(deployment.emulator.calls)
    arguments = ["export.json", "message", "-c", "app=billing", "-o", "out", "--endpoint-url", deployment.endpoint]
    monkeypatch.setattr(sys, "argv", ["decrypt.py", *arguments, *more])
    assert script.main() == 1
    told = f"error: {message}\n" + (f"hint: {hint}\n" if hint else "")
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(told, err), err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    if mistake == "output there":
        assert len(deployment.emulator.calls) == asked


def test_without_the_sdk_it_says_what_to_install(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-S", "-I", str(SCRIPT), "-h"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "error: No module named 'boto3'\nhint: pip install boto3 'aws-encryption-sdk[MPL]'\n"
