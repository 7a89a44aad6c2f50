"""keystead key for keys in Azure Key Vault: how they are named, what is sent and shown, against given answers."""

import json
from typing import Any

import pytest

from functions.cli.exits import Exit
from tests.cli.conftest import Answers, Run, Service, errors
from tests.cli.test_key import OWN
from tests.client.test_client import STATUS
from tests.client.test_key_calls import ARN, CHECK, KIT, PENDING, ROLE

VAULT = "https://acme-kv.vault.azure.net"
KEK = f"{VAULT}/keys/kek"
VERSIONS = [f"{KEK}/{letter * 32}" for letter in "abc"]
ENTRA = "11112222-3333-4444-5555-666677778888"
NAMED = ["--vault-url", VAULT, "--key-name", "kek", "--entra-tenant", ENTRA]
SENT = {"provider": "azure_key_vault", "vault_url": VAULT, "key_name": "kek", "entra_tenant": ENTRA}
AZURE = {
    **OWN,
    "provider": "azure_key_vault",
    "kek": KEK,
    "entra_tenant": ENTRA,
    "kek_version": VERSIONS[0],
    "kek_versions": [VERSIONS[0]],
}


@pytest.mark.parametrize(
    ("command", "route"),
    [(["validate"], "POST /key/validate"), (["configure"], "PUT /key"), (["replace", "--yes"], "PUT /key")],
)
def test_a_key_in_azure_is_sent_as_it_is_named(asked: Answers, run: Run, command: list[str], route: str) -> None:
    answers: dict[str, object] = {
        "GET /key": OWN if "replace" in command else STATUS,
        "PUT /key": {"checks": [CHECK], "key": AZURE},
        "POST /key/validate": {"ok": True, "checks": [CHECK]},
    }
    seen = asked(answers)
    run("key", *command, *NAMED, "--nickname", "n")
    assert seen[-1] == (route, {**SENT, "nickname": "n"})
    run("key", *command, "--key-name", KEK, "--entra-tenant", ENTRA)
    assert seen[-1] == (route, {**SENT, "key_name": KEK}), "an identifier tells the vault"


def test_validate_without_a_key_examines_the_one_in_the_vault(asked: Answers, run: Run) -> None:
    own = {**STATUS, "platform_key": False, "provider": "azure_key_vault", "kek": KEK, "entra_tenant": ENTRA}
    seen = asked({"GET /key": own, "POST /key/validate": {"ok": True, "checks": []}})
    run("key", "validate")
    assert [route for route, _ in seen] == ["GET /key", "POST /key/validate"]
    sent = seen[-1][1]
    assert isinstance(sent, dict)
    assert (sent["provider"], sent["key_name"], sent["entra_tenant"]) == ("azure_key_vault", KEK, ENTRA)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--role", ROLE], "--arn is missing: the KMS key"),
        (["--arn", ""], "--arn is missing: the KMS key"),
        (["--vault-url", VAULT], "--key-name is missing: the key in that vault"),
        (["--entra-tenant", ENTRA], "--key-name is missing: the key in that vault"),
        (["--arn", ARN, "--entra-tenant", ENTRA], "--arn and --entra-tenant are of two clouds, and a key lies in one"),
        (["--arn", ARN, *NAMED], "--arn and --vault-url are of two clouds, and a key lies in one"),
        (["--role", ROLE, *NAMED], "--role and --vault-url are of two clouds, and a key lies in one"),
        (["--role", "", "--key-name", "kek"], "--role and --key-name are of two clouds, and a key lies in one"),
    ],
)
@pytest.mark.parametrize("command", [["configure"], ["validate"], ["replace", "--yes"]])
def test_options_that_name_no_key(
    service: Service, run: Run, command: list[str], arguments: list[str], said: str
) -> None:
    found = errors(run("key", *command, *arguments, code=Exit.USAGE))
    assert found["error"] == said
    assert found["hint"] == "AWS KMS: --arn, --role; Azure Key Vault: --vault-url, --key-name, --entra-tenant"
    assert not service.requests


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--vault-url", "https://evil.example", "--key-name", "kek"], "not the address of a vault"),
        (["--vault-url", f"{VAULT}:444", "--key-name", "kek"], "not the address of a vault"),
        (["--key-name", "kek"], "the vault's address is missing"),
        (["--vault-url", VAULT, "--key-name", "../kek"], "1 to 127 letters"),
        (["--vault-url", "https://other.vault.azure.net", "--key-name", KEK], "names another vault"),
    ],
)
def test_a_key_in_azure_that_cannot_be(service: Service, run: Run, arguments: list[str], said: str) -> None:
    given = [*arguments, "--entra-tenant", ENTRA]
    assert said in errors(run("key", "configure", *given, code=Exit.FAILED))["error"]
    assert not service.requests


@pytest.mark.parametrize("command", [["configure"], ["validate"], ["replace", "--yes"]])
def test_the_entra_tenant_must_be_named(asked: Answers, run: Run, command: list[str]) -> None:
    seen = asked({"GET /key": OWN if "replace" in command else STATUS})
    found = errors(run("key", *command, "--vault-url", VAULT, "--key-name", "kek", code=Exit.USAGE))
    assert found["error"].startswith("--entra-tenant is missing")
    assert "PUT /key" not in dict(seen)


def test_the_entra_tenant_of_the_same_key_stays(asked: Answers, run: Run) -> None:
    seen = asked({"GET /key": {**AZURE, "nickname": "ours"}, "PUT /key": {"checks": [], "key": AZURE}})
    run("key", "configure", "--vault-url", VAULT.upper().replace("HTTPS", "https"), "--key-name", "KEK")
    assert seen[-1][1]["entra_tenant"] == ENTRA
    assert seen[-1][1]["nickname"] == "ours"
    run("key", "replace", "--yes", "--key-name", VERSIONS[1])
    assert seen[-1][1] == {**SENT, "key_name": VERSIONS[1], "nickname": "ours"}
    pending = {**PENDING, "kek": KEK, "role_arn": "", "entra_tenant": ENTRA, "nickname": "soon", "reversible": False}
    seen = asked({"GET /key": {**STATUS, "pending": pending}, "PUT /key": {"checks": [], "key": AZURE}})
    run("key", "configure", "--vault-url", VAULT, "--key-name", "kek", "--activate", "2027-02-28")
    assert seen[-1][1] == {**SENT, "nickname": "soon", "activation_date": "2027-02-28"}


def test_a_move_between_clouds_asks_first(asked: Answers, run: Run) -> None:
    seen = asked({"GET /key": OWN, "PUT /key": {"checks": [], "key": AZURE}})
    no = run("key", "replace", *NAMED, stdin=b"n\n", code=1)
    assert f"Replace the key {ARN} of acme by {KEK}? [y/N]" in no.stderr
    assert [name for name, _ in seen] == ["GET /key"]
    run("key", "replace", *NAMED, stdin=b"y\n")
    assert seen[-1] == ("PUT /key", SENT)
    assert "replace" in errors(run("key", "configure", *NAMED, code=Exit.FAILED))["hint"]


def test_replace_shows_no_option_that_it_refuses(service: Service, run: Run) -> None:
    text = run("key", "replace", "--help").stdout
    for refused in (["--activate", "2027-01-31"], ["--reversible"], ["--one-way"]):
        assert refused[0] not in text
        found = errors(run("key", "replace", "--arn", ARN, *refused, code=Exit.USAGE))
        assert "first key" in found["error"]
        assert refused[0] in run("key", "configure", "--help").stdout
    assert not service.requests


def test_what_was_skipped_for_one_reason_shares_a_line(asked: Answers, run: Run) -> None:
    def check(name: str, result: str, observed: str, remedy: str = "") -> dict[str, str]:
        return {"name": name, "result": result, "observed": observed, "remedy": remedy}

    checks = [
        check("identity", "pass", "fine"),
        check("exists", "fail", "no such key", "Make it."),
        *(check(name, "skip", "not tried") for name in ("enabled", "type")),
        check("size", "pass", "fine"),
        check("exclusive", "skip", "not looked at\x07"),
        check("rot\x07ation", "skip", "not tried"),
        check("a", "warn", "same"),
        check("b", "warn", "same"),
    ]
    asked({"POST /key/validate": {"ok": False, "checks": checks}})
    result = run("key", "validate", *NAMED, code=Exit.KEY_CHECK)
    assert result.stdout.splitlines() == [
        "pass  identity   fine",
        "fail  exists     no such key",
        "                 remedy: Make it.",
        "pass  size       fine",
        "skip  exclusive  not looked at\\x07",
        "skip  3 checks   not tried: enabled, type, rot\\x07ation",
        "warn  a          same",
        "warn  b          same",
        "",
        "Not yet: 1 check failed, 4 not tried.",
    ]
    found = json.loads(run("key", "validate", *NAMED, "--json", code=Exit.KEY_CHECK).stdout)
    assert found["checks"] == checks, "programs get every one"


@pytest.mark.parametrize("command", [["status"], ["key", "status"]])
def test_status_of_a_key_in_azure(asked: Answers, run: Run, command: list[str]) -> None:
    pending = {**PENDING, "kek": KEK, "role_arn": "", "entra_tenant": ENTRA}
    asked({"GET /key": {**AZURE, "kek_versions": VERSIONS, "pending": pending}})
    lines = run(*command).stdout.splitlines()
    at = lines.index(f"entra tenant  {ENTRA}")
    assert lines[at + 1 : at + 5] == [
        f"key version   {'a' * 32}",
        "still in use  2 older key versions, which must stay enabled",
        f"                {VERSIONS[1]}",
        f"                {VERSIONS[2]}",
    ]
    assert f"                from 2027 on, through Entra tenant {ENTRA}" in lines
    asked({"GET /key": AZURE})
    assert "still in use" not in run(*command).stdout
    asked({"GET /key": OWN})
    text = run(*command).stdout
    assert "entra tenant" not in text
    assert "key version" not in text


def test_check_tells_a_key_version_that_was_taken_up(
    asked: Answers, run: Run, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = {**AZURE, "kek_version": VERSIONS[1], "warnings": []}
    seen = asked({"GET /key": AZURE, "POST /key/check": newer})
    assert run("check").stdout == f"{'acme':<24}  {'active':<16}  new key version {'b' * 32} taken up\n"
    assert [name for name, _ in seen] == ["GET /key", "POST /key/check"]
    asked({"GET /key": newer, "POST /key/check": newer})
    assert run("check").stdout == f"{'acme':<24}  {'active':<16}  key version {'b' * 32}\n"
    asked({"GET /key": OWN, "POST /key/check": newer})
    assert "taken up" not in run("check").stdout, "a key that came into force is no new version"
    # Who may not read the status is not refused for it, and hears the version all the same.
    monkeypatch.setenv("KEYSTEAD_TOKEN", service.token("acme", "key:manage"))
    seen = asked({"POST /key/check": newer})
    assert run("check").stdout == f"{'acme':<24}  {'active':<16}  key version {'b' * 32}\n"
    assert [name for name, _ in seen] == ["POST /key/check"]


def test_setup_for_azure(asked: Answers, run: Run) -> None:
    kit: dict[str, Any] = {
        **KIT,
        "provider": "azure_key_vault",
        "identity": "application x",
        "documents": {"tags": {"keystead-proof": "e"}},
    }
    seen = asked({"GET /key/setup/azure_key_vault": kit})
    lines = run("key", "setup", "azure_key_vault").stdout.splitlines()
    assert lines[:3] == ["tenant       acme", "identity     application x", "proof tag    e"]
    assert json.loads(run("key", "setup", "--entra-tenant", ENTRA, "--only", "tags").stdout) == {"keystead-proof": "e"}
    assert [name for name, _ in seen] == ["GET /key/setup/azure_key_vault"] * 2
    found = errors(run("key", "setup", "aws_kms", "--entra-tenant", ENTRA, code=Exit.USAGE))
    assert found["error"] == "--entra-tenant is for a key in Azure"


def test_the_entra_tenant_of_a_setup_kit_reaches_the_service(service: Service, run: Run) -> None:
    asked_for: list[str] = []

    def answer(request: Any) -> None:
        asked_for.append(request.url.query.decode())

    service.intercept = answer
    run("key", "setup", "--entra-tenant", ENTRA, code=Exit.FAILED)
    assert asked_for == [f"entra_tenant={ENTRA}"]


@pytest.mark.parametrize(
    ("kek", "warned"), [("local:platform", True), (ARN, False), (KEK, False)], ids=["platform", "aws", "azure"]
)
def test_only_an_export_under_the_platforms_key_is_of_no_use(asked: Answers, run: Run, kek: str, warned: bool) -> None:
    asked({"GET /key/export": {"tenant_id": "acme", "table_name": "t", "kek": kek, "branch_key_ids": [], "items": []}})
    assert ("only this service can use them" in run("key", "export").stderr) is warned


@pytest.mark.parametrize("arguments", [[], ["--nickname", "n"]])
@pytest.mark.parametrize("command", [["configure"], ["replace", "--yes"]])
def test_no_key_named_at_all(service: Service, run: Run, command: list[str], arguments: list[str]) -> None:
    found = errors(run("key", *command, *arguments, code=Exit.USAGE))
    assert found["error"] == "no key is named: --arn, or --vault-url and --key-name"
    assert found["hint"] == "AWS KMS: --arn, --role; Azure Key Vault: --vault-url, --key-name, --entra-tenant"
    assert not service.requests
