"""receipt verify: offline, 0 only for a receipt whose signature holds; and a library that is not ours agrees."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import jwt
import pytest

from core.domain.receipts import Findings, build
from tests.cli.conftest import Run, errors
from tests.domain.test_jws import ED, JWKS, OTHER_ED, statement
from tests.domain.withdrawn import ARN, BOUNDS, ISSUER, RECEIPT, VAULT_KEY, at, revoked

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "receipts.md"


def payload(**fields: Any) -> dict[str, Any]:
    return build(revoked(**fields), Findings(at(2), 64, at(-9)), bounds=BOUNDS, issued=at(3), issuer=ISSUER)


@pytest.fixture(autouse=True)
def _files(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("jwks.json").write_text(json.dumps(JWKS))
    Path("receipt").write_text(statement(ED.sign, payload=payload()) + "\n")

    def no_network(*arguments: Any, **more: Any) -> None:
        raise AssertionError("a connection was to be made")

    monkeypatch.setattr(socket.socket, "connect", no_network)


def verify(run: Run, *arguments: str, stdin: bytes = b"", code: int = 0) -> str:
    return run("receipt", "verify", *arguments, "--jwks", "jwks.json", stdin=stdin, code=code).stdout


def test_the_facts_and_the_verdict(run: Run) -> None:
    text = verify(run, "receipt")
    assert text.startswith("ok: ")
    for value in ("acme", RECEIPT, ISSUER, ARN, "aws_kms", "disabled", "DisabledException", "req-1", "req-2"):
        assert value in text
    for moment in (0, 1, 1.5, 2, 3, -20, 67):
        assert at(moment) in text
    assert "at most 64" in text
    assert "key version" not in text, "there is none"
    for sentence in payload()["statements"]:
        assert f"- {sentence}" in text


def test_every_fact_is_shown(run: Run) -> None:
    told = payload(kek=f"{VAULT_KEY}/{7:032x}", guard="no_canary", confirmed_code="Other")
    Path("receipt").write_text(statement(ED.sign, payload=told))
    text = verify(run, "receipt")
    plain = [value for value in told.values() if isinstance(value, str)]
    shown = [*plain, *map(str, [*told["bounds"].values(), *told["data_keys"].values()]), "60", "900"]
    assert [value for value in shown if value not in text and value != told["typ"]] == []


@pytest.mark.parametrize("source", ["-", "receipt"])
@pytest.mark.parametrize("answer", [False, True])
def test_json_from_a_pipe_or_what_the_service_answered(run: Run, source: str, answer: bool) -> None:
    given = Path("receipt").read_text()
    if answer:
        given = json.dumps({"id": RECEIPT, "reinstated": "", "statement": given.strip()}, indent=2)
        Path("receipt").write_text(given)
    found = json.loads(verify(run, source, "--json", stdin=given.encode()))
    assert found == {"ok": True, "problem": "", "receipt": payload()}


FALSE = {
    "signed by another": statement(OTHER_ED.sign, payload=payload()),
    "a checkpoint": statement(ED.sign, payload={"typ": "keystead-audit-checkpoint"}),
    "a wrong sum": statement(ED.sign, payload={**payload(), "not_served_after": at(60)}),
    "of a key unheard of": statement(ED.sign, {"alg": "EdDSA", "kid": "x"}, payload()),
    "unsigned": statement(lambda data: b"", {"alg": "none", "kid": "ed"}, payload()),
    "no statement": "x",
    "cut off": statement(ED.sign, payload=payload())[:-1],
    "two": "\n".join([statement(ED.sign, payload=payload())] * 2),
}


@pytest.mark.parametrize("given", FALSE.values(), ids=FALSE)
def test_what_does_not_hold(run: Run, given: str) -> None:
    Path("receipt").write_text(given)
    (line,) = verify(run, "receipt", code=6).splitlines()
    assert line.startswith("INVALID: ")
    found = json.loads(verify(run, "receipt", "--json", code=6))
    assert (found["ok"], found["receipt"]) == (False, None)
    assert line == f"INVALID: {found['problem']}"


def test_one_changed_character(run: Run) -> None:
    given = Path("receipt").read_text().strip()
    for place in range(0, len(given), 97):
        Path("receipt").write_text(given[:place] + ("A" if given[place] != "A" else "B") + given[place + 1 :])
        assert verify(run, "receipt", code=6).startswith("INVALID")


@pytest.mark.parametrize("data", [b"", b" \n", b"\xff\xfe", b"{", b"{}", b'{"statement": 7}', b"x" * (1 << 20) + b"x"])
def test_a_file_that_holds_no_receipt(run: Run, data: bytes) -> None:
    Path("receipt").write_bytes(data)
    said = errors(run("receipt", "verify", "receipt", "--jwks", "jwks.json", code=1))
    assert "receipt" in said["error"]


@pytest.mark.parametrize(
    "data", [b"", b"x", b"[]", b"{}", b'{"keys": 7}', b'{"keys": [7]}', b'{"keys":' * 100_000, b"\xff"]
)
def test_a_file_that_holds_no_keys(run: Run, data: bytes) -> None:
    Path("jwks.json").write_bytes(data)
    said = errors(run("receipt", "verify", "receipt", "--jwks", "jwks.json", code=1))
    assert "public keys" in said["error"]


def test_keys_that_are_none(run: Run) -> None:
    Path("jwks.json").write_text('{"keys": [{"kid": "ed"}]}')
    assert verify(run, "receipt", code=6).startswith("INVALID")


def test_files_that_are_not_there(run: Run) -> None:
    assert "nothing" in errors(run("receipt", "verify", "nothing", "--jwks", "jwks.json", code=1))["error"]
    assert "nothing" in errors(run("receipt", "verify", "receipt", "--jwks", "nothing", code=1))["error"]
    assert "--jwks" in errors(run("receipt", "verify", "receipt", code=2))["error"]


def test_what_could_steer_the_terminal_is_escaped(run: Run) -> None:
    Path("receipt").write_text(statement(ED.sign, payload=payload(kms_code="no\x1b[2J\nok: ")))
    text = verify(run, "receipt")
    assert "\\x1b[2J\\nok" in text
    assert "\x1b" not in text


def test_a_library_that_is_not_ours_agrees(run: Run) -> None:
    """The lines of the document, as they stand there."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    Path("acme.receipt").write_text(Path("receipt").read_text())
    names: dict[str, Any] = {}
    exec(compile(code, str(DOCUMENT), "exec"), names)
    assert names["receipt"] == payload()
    Path("acme.receipt").write_text(FALSE["signed by another"])
    with pytest.raises(jwt.InvalidSignatureError):
        exec(compile(code, str(DOCUMENT), "exec"), {})


def test_the_document_names_every_member() -> None:
    told = payload()
    text = DOCUMENT.read_text(encoding="utf-8")
    named = re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+) \|", text, re.MULTILINE)
    listed = [name for cell in named for name in re.findall(r"`([\w.]+)`", cell)]
    expected = {
        name
        for key, value in told.items()
        for name in ([f"{key}.{inner}" for inner in value] if isinstance(value, dict) else [key])
    }
    assert sorted(listed) == sorted(expected)
