"""tenant, rotate, status and token."""

import json
import shutil
from pathlib import Path

import pytest

from functions.cli.options import claimed_tenant
from functions.cli.token import PRESETS
from functions.identity import Identity
from functions.local.issuer import LocalIssuer
from tests.cli.conftest import Run, Service, errors


@pytest.fixture
def operator(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("KEYSTEAD_TOKEN", service.token(None))
    return service


def test_tenant_create(operator: Service, run: Run) -> None:
    assert run("tenant", "create", "initech", "--name", "Initech").stdout.split()[:2] == ["initech", "platform"]
    again = json.loads(run("tenant", "create", "initech", "--name", "Other", "--json").stdout)
    assert again["display_name"] == "Initech"
    assert errors(run("tenant", "create", "Not An Id", code=1))["error"]


def test_tenant_list(operator: Service, run: Run) -> None:
    assert [line.split()[0] for line in run("tenant", "list").stdout.splitlines()] == ["acme", "globex"]
    rows = [json.loads(line) for line in run("tenant", "list", "--json").stdout.splitlines()]
    assert [row["tenant_id"] for row in rows] == ["acme", "globex"]


def test_tenant_show(operator: Service, run: Run) -> None:
    assert run("tenant", "show", "acme").stdout.startswith("acme ")
    assert json.loads(run("tenant", "show", "acme", "--json").stdout)["state"] == "platform"
    assert errors(run("tenant", "show", "nobody", code=1))["error"]


def test_a_tenant_s_token_is_no_operator(service: Service, run: Run) -> None:
    for command in (["create", "initech"], ["list"], ["show", "globex"]):
        assert errors(run("tenant", *command, code=3))["error"]


def test_rotate(service: Service, run: Run) -> None:
    assert run("rotate").stdout.startswith("acme: version 2 (")
    assert json.loads(run("rotate", "--json").stdout)["sequence"] == 3
    assert errors(run("rotate", "--tenant", "globex", code=3))["error"]


def test_status(service: Service, run: Run) -> None:
    text = run("status").stdout
    assert "acme" in text
    assert "(the platform's)" in text
    assert "rotation due  " in text
    for seconds, when in ((60, "answers, and refuses"), (900, "does not answer"), (10, "kill switch")):
        assert any(line.strip().startswith(f"{seconds} s ") and when in line for line in text.splitlines()), text
    found = json.loads(run("status", "--json").stdout)
    assert (found["state"], found["active_sequence"], found["bounds"]["kms_answers"]) == ("platform", 1, 60)
    assert errors(run("status", "-t", "globex", code=3))["error"]


def test_token_prints_a_token_and_nothing_else(service: Service, run: Run) -> None:
    result = run("token", "--tenant", "acme", "--data", str(service.data))
    assert result.stderr == ""
    made = result.stdout.removesuffix("\n")
    caller = Identity([LocalIssuer.open(service.data).trusted()]).identify(f"Bearer {made}", "r")
    assert (caller.tenant_id, caller.subject, caller.scopes) == ("acme", "local", frozenset(PRESETS["app"]))
    assert claimed_tenant(made) == "acme"


def test_token_scopes_subject_and_lifetime(service: Service, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_DATA", str(service.data))
    identity = Identity([LocalIssuer.open(service.data).trusted()])

    def caller(*arguments: str) -> tuple[str, str | None, set[str]]:
        made = run("token", *arguments).stdout.strip()
        found = identity.identify(f"Bearer {made}", "r")
        return found.subject, found.tenant_id, set(found.scopes)

    assert caller("-s", "operator", "--subject", "me") == ("me", None, {"platform:operate"})
    assert caller("-t", "acme", "-s", "admin", "-s", "data:decrypt") == (
        "local",
        "acme",
        {"key:read", "key:manage", "key:suspend", "audit:read", "data:decrypt"},
    )
    monkeypatch.setenv("KEYSTEAD_TENANT", "globex")
    assert caller("--lifetime", "15m")[1] == "globex"
    assert caller("-s", "operator")[1] is None, "the variable is for the commands of tenants"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["-t", "acme", "-s", "everything"], 2),
        (["-t", "acme", "--lifetime", "soon"], 2),
        (["-t", "acme", "--lifetime", "25h"], 1),
        (["-t", "acme", "--lifetime", "0"], 1),
        (["-t", "Not An Id"], 1),
        (["-t", "acme", "--data", "missing"], 1),
        (["-s", "operator", "-s", "app"], 2),
        (["-t", "acme", "-s", "operator", "-s", "app"], 2),
        (["-t", "acme", "-s", "operator"], 2),
    ],
)
def test_tokens_that_cannot_be_made(service: Service, run: Run, arguments: list[str], code: int) -> None:
    result = run("token", *(["--data", str(service.data)] if "--data" not in arguments else []), *arguments, code=code)
    assert errors(result)["error"]
    assert result.stdout == ""
    assert not Path("missing").exists(), "looking for a token makes no data directory"


@pytest.mark.parametrize("lost", ["keks", "signing", "token-issuer.pem", ""])
def test_a_token_is_made_with_the_service_s_key_or_not_at_all(service: Service, run: Run, lost: str) -> None:
    directory = Path("elsewhere")
    directory.mkdir()
    if lost:
        shutil.copytree(service.data, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns(lost))
    before = sorted(directory.rglob("*"))
    result = run("token", "-t", "acme", "--data", "elsewhere", code=1)
    assert result.stdout == ""
    assert "keystead serve" in errors(result)["hint"]
    assert sorted(directory.rglob("*")) == before


@pytest.mark.parametrize(
    "token", ["", "a", "a.b", "a.b.c", "a.!!!.c", "a.W10.c", "a.eyJ0ZW5hbnRfaWQiOjd9.c", "a.e30.c"]
)
def test_a_token_that_claims_no_tenant(token: str) -> None:
    assert claimed_tenant(token) == ""


@pytest.mark.parametrize("token", ["garbage", "a.b", "a.b.c", "a.W10.c"])
def test_a_token_that_is_none_is_not_a_tenant_that_is_missing(
    service: Service, run: Run, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("KEYSTEAD_TOKEN", token)
    assert "malformed" in errors(run("status", code=3))["error"]
    assert not service.requests


@pytest.mark.parametrize(
    ("url", "better"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("localhost", "http://localhost"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("keystead.example/api", "https://keystead.example/api"),
    ],
)
def test_an_address_without_a_scheme(service: Service, run: Run, url: str, better: str) -> None:
    assert errors(run("status", "--url", url, code=2))["hint"] == f"write {better}"
    assert not service.requests


@pytest.mark.parametrize("arguments", [[], ["tenant"], ["audit"]])
def test_without_a_command_the_help_is_shown(run: Run, arguments: list[str]) -> None:
    result = run(*arguments, code=2)
    assert (result.stdout, result.stderr.partition(" ")[0]) == ("", "Usage:")
