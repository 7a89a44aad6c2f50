"""encrypt and decrypt."""

import json
import os
import stat
from pathlib import Path

import httpx
import pytest

from core.client.transport import MAX_BODY
from core.domain.message_header import parse_header
from functions.cli import output
from tests.cli.conftest import Run, Service, errors

TEXT = "Grüße an alle\n".encode()


def here() -> set[str]:
    return {path.name for path in Path().iterdir()}


@pytest.fixture
def message(service: Service, run: Run) -> Path:
    Path("plain").write_bytes(TEXT)
    run("encrypt", "plain", "-o", "message", "-c", "app=crm")
    return Path("message")


def test_files(service: Service, run: Run, message: Path) -> None:
    header = parse_header(message.read_bytes())
    assert header.context == {"app": "crm", "tenant_id": "acme", "keystead-use": "caller"}
    result = run("decrypt", "message", "-o", "back", "-c", "app=crm")
    assert (result.stdout, result.stderr) == ("", "")
    assert Path("back").read_bytes() == TEXT
    assert stat.S_IMODE(Path("back").stat().st_mode) == 0o600
    assert service.requests == ["POST /v1/tenants/acme/data-keys", "POST /v1/tenants/acme/data-keys/decrypt"]
    assert here() == {"plain", "message", "back"}


def test_pipes(service: Service, run: Run) -> None:
    made = run("encrypt", "-", stdin=b"\x00\xff" * 100_000).stdout_bytes
    assert run("decrypt", "-", stdin=made).stdout_bytes == b"\x00\xff" * 100_000
    assert run("decrypt", "-", "-o", "-", stdin=made).stdout_bytes == b"\x00\xff" * 100_000
    assert run("decrypt", "-", "-o", "out", stdin=made).stdout_bytes == b""
    assert Path("out").read_bytes() == b"\x00\xff" * 100_000


def test_a_message_of_the_service_is_decrypted_by_the_service(service: Service, run: Run) -> None:
    Path("m").write_bytes(service.application.encryption.encrypt("acme", TEXT, {"app": "crm"}))
    assert run("decrypt", "m", "-c", "app=crm").stdout_bytes == TEXT
    assert run("decrypt", "m", "-c", "app=crm", "--foreign").stdout_bytes == TEXT
    assert service.requests == ["POST /v1/tenants/acme/decrypt"] * 2


def test_foreign_tells_the_service(service: Service, run: Run) -> None:
    seen: list[str | None] = []

    def record(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("keystead-foreign"))
        return httpx.Response(200, content=b"x", headers={"content-type": "application/octet-stream"})

    service.intercept = record
    Path("m").write_bytes(b"not a message of ours")
    assert run("decrypt", "m", "--foreign").stdout == "x"
    assert "not a message" in errors(run("decrypt", "m", code=6))["error"]
    assert seen == ["true"]


def test_a_long_message_of_the_service_is_refused_clearly(service: Service, run: Run) -> None:
    made = service.application.encryption.encrypt("acme", bytes(MAX_BODY), {})
    said = errors(run("decrypt", "-", stdin=made, code=1))
    assert str(MAX_BODY) in said["error"]
    assert "keystead encrypt" in said["hint"]
    assert not service.requests


@pytest.mark.parametrize("tenant", ["option", "variable", "token"])
def test_the_tenant(service: Service, run: Run, monkeypatch: pytest.MonkeyPatch, tenant: str) -> None:
    monkeypatch.setenv("KEYSTEAD_TOKEN", service.token("globex"))
    arguments = []
    if tenant != "token":
        monkeypatch.setenv("KEYSTEAD_TENANT", "acme")
    if tenant == "option":
        arguments = ["--tenant", "globex"]
    code = 3 if tenant == "variable" else 0
    run("encrypt", "-", *arguments, stdin=b"x", code=code)


def test_the_token_file_and_the_url(service: Service, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_TOKEN", "of.no.use")
    Path("token").write_text(service.token() + "\n")
    run("encrypt", "-", "--token-file", "token", "--url", "http://localhost:9", stdin=b"x")
    Path("token").write_text("\n")
    assert "no token in token" in errors(run("encrypt", "-", "--token-file", "token", code=3))["error"]
    assert "missing" in errors(run("encrypt", "-", "--token-file", "missing", code=1))["error"]
    assert "https" in errors(run("encrypt", "-", "--url", "http://keystead.example", code=1))["error"]


def test_no_token(service: Service, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEYSTEAD_TOKEN")
    assert "keystead token" in errors(run("encrypt", "-", code=3))["hint"]
    monkeypatch.setenv("KEYSTEAD_TOKEN", "secret-token-without-parts")
    assert "malformed" in errors(run("encrypt", "-", code=3))["error"]
    monkeypatch.setenv("KEYSTEAD_TOKEN", service.token(None))
    assert "no tenant" in errors(run("encrypt", "-", code=2))["error"]
    result = run("encrypt", "-", "--tenant", "acme", code=3)
    assert "secret-token" not in result.output


def test_an_existing_output_is_kept(service: Service, run: Run, message: Path) -> None:
    Path("back").write_bytes(b"kept")
    said = errors(run("decrypt", "message", "-o", "back", "-c", "app=crm", code=1))
    assert "back" in said["error"]
    assert "--force" in said["hint"]
    assert Path("back").read_bytes() == b"kept"
    run("decrypt", "message", "-o", "back", "-c", "app=crm", "--force")
    assert Path("back").read_bytes() == TEXT


def test_input_and_output_are_one(service: Service, run: Run, message: Path) -> None:
    before = message.read_bytes()
    assert "same file" in errors(run("decrypt", "message", "-o", "./message", "--force", code=1))["error"]
    assert message.read_bytes() == before
    assert not service.requests[1:]


def test_files_that_are_not_there(service: Service, run: Run) -> None:
    assert errors(run("encrypt", "missing", code=1))["error"] == "missing: No such file or directory"
    assert "no such directory" in errors(run("encrypt", "-", "-o", "missing/x", code=1))["error"]
    assert errors(run("encrypt", ".", code=1))["error"].startswith(".: ")
    assert not service.requests


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_cut_message_gives_nothing(service: Service, run: Run, cut: int) -> None:
    made = run("encrypt", "-", stdin=os.urandom(300_000)).stdout_bytes
    result = run("decrypt", "-", stdin=made[:-cut], code=6)
    assert result.stdout_bytes == b""
    assert errors(result)["error"]
    run("decrypt", "-", "-o", "out", stdin=made[:-cut], code=6)
    assert here() == set()


def test_a_tampered_message_gives_nothing(service: Service, run: Run, message: Path) -> None:
    data = bytearray(message.read_bytes())
    data[-1] ^= 1
    message.write_bytes(data)
    run("decrypt", "message", "-o", "out", "-c", "app=crm", code=6)
    assert run("decrypt", "message", "-c", "app=crm", code=6).stdout_bytes == b""
    assert here() == {"plain", "message"}


def test_another_context_gives_nothing(service: Service, run: Run, message: Path) -> None:
    said = errors(run("decrypt", "message", "-o", "out", code=6))
    assert "context" in said["error"]
    assert "inspect" in said["hint"]
    assert here() == {"plain", "message"}


def test_another_tenant_gets_nothing(
    service: Service, run: Run, message: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSTEAD_TOKEN", service.token("globex"))
    run("decrypt", "message", "-o", "out", "-c", "app=crm", code=6)
    run("decrypt", "message", "-o", "out", "-c", "app=crm", "--tenant", "acme", code=3)
    assert here() == {"plain", "message"}


@pytest.mark.parametrize("pairs", [["app"], ["=x"], ["a=1", "a=2"], ["tenant_id=acme"], ["keystead-use=caller"]])
def test_a_context_that_cannot_be(service: Service, run: Run, pairs: list[str]) -> None:
    arguments = [part for pair in pairs for part in ("-c", pair)]
    reserved = pairs[0].startswith(("tenant_id", "keystead-"))
    assert errors(run("encrypt", "-", *arguments, code=1 if reserved else 2))["error"]
    assert not service.requests


def test_a_context_value_may_hold_an_equals_sign(service: Service, run: Run) -> None:
    made = run("encrypt", "-", "-c", "a=b=c", "-c", "empty=", stdin=b"x").stdout_bytes
    assert parse_header(made).context["a"] == "b=c"
    assert run("decrypt", "-", "-c", "empty=", "-c", "a=b=c", stdin=made).stdout == "x"


def test_binary_never_goes_to_a_terminal(service: Service, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    text, binary, steering = (
        run("encrypt", "-", stdin=data).stdout_bytes for data in (TEXT, b"\xff\x00", b"\x1b]0;title\x07")
    )
    before = len(service.requests)
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    for arguments in (["encrypt", "-"], ["encrypt", "-", "-o", "-"]):
        result = run(*arguments, stdin=b"x", code=2)
        assert "-o FILE" in errors(result)["hint"]
        assert result.stdout_bytes == b""
    assert len(service.requests) == before, "refused before anything was asked"
    assert run("decrypt", "-", stdin=text).stdout_bytes == TEXT
    for refused in (binary, steering):
        result = run("decrypt", "-", stdin=refused, code=2)
        assert result.stdout_bytes == b""
        run("decrypt", "-", "-o", "out", "--force", stdin=refused)
    assert Path("out").read_bytes() == b"\x1b]0;title\x07"


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (401, "unauthenticated", 3),
        (403, "access_denied", 3),
        (404, "not_found", 1),
        (409, "conflict", 1),
        (422, "message_invalid", 6),
        (424, "key_revoked", 4),
        (424, "key_suspended", 4),
        (429, "too_many_requests", 5),
        (500, "internal", 1),
        (500, "store_corrupt", 6),
        (503, "key_unreachable", 5),
    ],
)
def test_what_the_service_says_decides_the_exit_code(
    service: Service, run: Run, status: int, code: str, expected: int
) -> None:
    body = {"code": code, "detail": "What happened.", "hint": "What to do.", "request_id": "r-1"}
    service.intercept = lambda _request: httpx.Response(
        status, headers={"content-type": "application/problem+json"}, content=json.dumps(body).encode()
    )
    said = errors(run("encrypt", "-", "-o", "out", stdin=b"x", code=expected))
    assert said == {"error": "What happened. (the service's request id r-1)", "hint": "What to do."}
    assert here() == set()


def test_nobody_answers(service: Service, run: Run) -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[Errno 111] Connection refused")

    service.intercept = refuse
    said = errors(run("encrypt", "-", "-o", "out", stdin=b"x", code=5))
    assert "no connection to http://127.0.0.1:8080" in said["error"]
    assert here() == set()


@pytest.mark.parametrize("command", ["encrypt", "decrypt"])
def test_an_output_without_a_name(service: Service, run: Run, command: str) -> None:
    Path("in").write_bytes(b"x")
    assert "empty" in errors(run(command, "in", "-o", "", code=2))["error"]
    assert not service.requests


def test_an_output_that_cannot_be_written_is_named(service: Service, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_named: object) -> int:
        raise PermissionError(13, "Permission denied", ".keystead-0.part")

    Path("in").write_bytes(b"x")
    monkeypatch.setattr("core.client.publish.os.open", refuse)
    said = errors(run("encrypt", "in", "-o", "out", code=1))["error"]
    assert said.endswith("out: Permission denied")
    assert ".part" not in said
