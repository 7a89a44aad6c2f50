"""keystead key, check and tenant update: what they send, print and end with, against answers given in advance."""

import json
from pathlib import Path

import click
import httpx
import pytest

from functions.cli.exits import Exit
from tests.cli.conftest import Answers, Run, Service, errors
from tests.client.test_client import STATUS, TENANT
from tests.client.test_key_calls import ARN, CHECK, EXPORT, KIT, MOVE, PENDING, ROLE

OWN = {**STATUS, "state": "active", "provider": "aws_kms", "kek": ARN, "platform_key": False}
FAILED = {"name": "tenant_bound", "result": "fail", "observed": "it is not\x1b[2J", "remedy": "Bind it to the tenant."}
PASSED = {"name": "reachable", "result": "pass", "observed": "the key answered", "remedy": ""}
SKIPPED = {"name": "exclusive", "result": "skip", "observed": "not looked at", "remedy": ""}


def refusal(checks: list[dict[str, str]]) -> httpx.Response:
    body = {"code": "key_check_failed", "detail": "the key did not pass", "hint": "mend it", "checks": checks}
    return httpx.Response(422, json=body, headers={"content-type": "application/problem+json"})


OPTIONS = ["--arn", ARN, "--role", ROLE, "--nickname", "prod", "--activate", "2027-01-31", "--reversible"]
BODY = {
    "provider": "aws_kms",
    "key_arn": ARN,
    "role_arn": ROLE,
    "nickname": "prod",
    "activation_date": "2027-01-31",
    "reversible": True,
}


def test_configure(asked: Answers, run: Run) -> None:
    seen = asked({"GET /key": STATUS, "PUT /key": {"checks": [PASSED, CHECK], "key": OWN}})
    result = run("key", "configure", *OPTIONS)
    assert seen == [("GET /key", None), ("PUT /key", BODY)]
    assert result.stdout.splitlines()[:3] == ["warn  rotation  off", "                remedy: Turn it on.", ""]
    assert "reachable" not in result.stdout
    assert f"key           {ARN}\n" in result.stdout
    assert result.stderr == "", "nobody watches"
    found = json.loads(run("key", "configure", "--arn", ARN, "--json").stdout)
    assert (found["key"]["kek"], found["checks"]) == (ARN, [PASSED, CHECK])
    assert seen[3] == ("PUT /key", {"provider": "aws_kms", "key_arn": ARN})


def test_what_is_not_named_of_the_same_key_stays(asked: Answers, run: Run) -> None:
    known = {**OWN, "nickname": "ours", "role_arn": ROLE, "reversible": True}
    seen = asked({"GET /key": known, "PUT /key": {"checks": [], "key": OWN}})
    run("key", "configure", "--arn", ARN)
    kept = {"provider": "aws_kms", "key_arn": ARN, "nickname": "ours", "role_arn": ROLE, "reversible": True}
    assert seen[1] == ("PUT /key", kept)
    run("key", "configure", "--arn", ARN, "--nickname", "", "--role", "")
    assert seen[3] == ("PUT /key", {"provider": "aws_kms", "key_arn": ARN, "reversible": True})


def test_what_is_not_named_of_the_scheduled_key_stays(asked: Answers, run: Run) -> None:
    known = {**STATUS, "pending": {**PENDING, "kek": ARN, "nickname": "soon", "role_arn": "", "reversible": True}}
    seen = asked({"GET /key": known, "PUT /key": {"checks": [], "key": OWN}})
    run("key", "configure", "--arn", ARN, "--activate", "2027-02-28")
    kept = {"nickname": "soon", "reversible": True, "activation_date": "2027-02-28"}
    assert seen[1] == ("PUT /key", {"provider": "aws_kms", "key_arn": ARN, **kept})


def test_a_tenant_with_a_key_of_its_own_is_not_configured_anew(asked: Answers, run: Run) -> None:
    seen = asked({"GET /key": {**OWN, "kek": ARN.replace("eu-", "us-")}})
    assert "replace" in errors(run("key", "configure", "--arn", ARN, code=Exit.FAILED))["hint"]
    assert [call for call, _ in seen] == ["GET /key"]


@pytest.mark.parametrize(
    ("arguments", "asks"),
    [([], True), (["--yes"], False), (["--reversible"], False), (["--activate", "2027-02-28"], False)],
    ids=["at once", "yes", "reversible", "later"],
)
def test_on_a_terminal_a_step_without_return_is_asked_about(
    asked: Answers, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], asks: bool
) -> None:
    questions: list[str] = []

    def confirm(question: str, *, yes: bool) -> None:
        if not yes:
            questions.append(question)

    monkeypatch.setattr("functions.cli.key.configure.confirm", confirm)
    monkeypatch.setattr("functions.cli.key.configure.on_terminal", lambda: True)
    asked({"GET /key": STATUS, "PUT /key": {"checks": [], "key": OWN}})
    run("key", "configure", "--arn", ARN, *arguments)
    assert bool(questions) is asks


def test_configure_that_only_finishes(asked: Answers, run: Run) -> None:
    asked({"GET /key": OWN, "PUT /key": {"checks": [], "key": OWN}})
    assert run("key", "configure", "--arn", ARN).stdout.startswith("tenant        acme\n")


@pytest.mark.parametrize("command", ["configure", "replace"])
def test_a_key_that_did_not_pass(asked: Answers, run: Run, command: str) -> None:
    asked({"GET /key": OWN, "PUT /key": refusal([PASSED, FAILED, CHECK, SKIPPED])})
    yes = ["--yes"] if command == "replace" else []
    result = run("key", command, "--arn", ARN, *yes, code=Exit.KEY_CHECK)
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "fail  tenant_bound  it is not [2J",
        "                    remedy: Bind it to the tenant.",
        "warn  rotation      off",
        "                    remedy: Turn it on.",
        "error: the key did not pass",
        "hint: mend it",
    ]


def test_a_key_that_did_not_pass_without_a_word(asked: Answers, run: Run) -> None:
    asked({"GET /key": STATUS, "PUT /key": refusal([])})
    assert errors(run("key", "configure", "--arn", ARN, code=7)) == {"error": "the key did not pass", "hint": "mend it"}


def test_validate(asked: Answers, run: Run) -> None:
    seen = asked({"POST /key/validate": {"ok": True, "checks": [PASSED, CHECK]}})
    lines = run("key", "validate", *OPTIONS).stdout.splitlines()
    assert lines == [
        "pass  reachable  the key answered",
        "warn  rotation   off",
        "                 remedy: Turn it on.",
        "",
        "This key can be put to use.",
    ]
    assert seen == [("POST /key/validate", BODY)]
    assert json.loads(run("key", "validate", "--arn", ARN, "--json").stdout) == {"ok": True, "checks": [PASSED, CHECK]}


def test_validate_without_a_key_examines_the_one_there_is(asked: Answers, run: Run) -> None:
    own = {**STATUS, "platform_key": False, "kek": ARN, "provider": "aws_kms", "role_arn": ROLE}
    seen = asked({"GET /key": own, "POST /key/validate": {"ok": True, "checks": [PASSED]}})
    run("key", "validate")
    assert [route for route, _ in seen] == ["GET /key", "POST /key/validate"]
    sent = seen[-1][1]
    assert isinstance(sent, dict)
    assert (sent["provider"], sent["key_arn"], sent["role_arn"]) == ("aws_kms", ARN, ROLE)


def test_validate_without_a_key_where_there_is_none(asked: Answers, run: Run) -> None:
    asked({"GET /key": {**STATUS, "platform_key": True, "pending": None}})
    found = errors(run("key", "validate", code=Exit.USAGE))
    assert found["error"] == "no key is named, and the tenant has none of its own"


def test_validate_that_fails(asked: Answers, run: Run) -> None:
    asked({"POST /key/validate": {"ok": False, "checks": [PASSED, FAILED, SKIPPED]}})
    result = run("key", "validate", "--arn", ARN, code=Exit.KEY_CHECK)
    assert result.stdout.splitlines() == [
        "pass  reachable     the key answered",
        "fail  tenant_bound  it is not\\x1b[2J",
        "                    remedy: Bind it to the tenant.",
        "skip  exclusive     not looked at",
        "",
        "Not yet: 1 check failed, 1 not tried.",
    ]
    assert result.stderr == ""
    found = json.loads(run("key", "validate", "--arn", ARN, "--json", code=Exit.KEY_CHECK).stdout)
    assert found["ok"] is False


@pytest.mark.parametrize("command", [["configure"], ["replace", "--yes"]])
def test_a_key_must_be_named(service: Service, run: Run, command: list[str]) -> None:
    assert "--arn" in errors(run("key", *command, code=Exit.USAGE))["error"]
    assert not service.requests


def test_a_key_named_by_an_alias_is_refused_with_the_reason(service: Service, run: Run) -> None:
    alias = "arn:aws:kms:eu-central-1:111122223333:alias/production"
    for command in (["configure"], ["validate"]):
        assert "alias" in errors(run("key", *command, "--arn", alias, code=1))["hint"]
    assert "ISO 8601" in errors(run("key", "configure", "--arn", ARN, "--activate", "soon", code=1))["error"]


def test_long_work_is_told_on_a_terminal(asked: Answers, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked({"PUT /key": {"checks": [], "key": OWN}, "DELETE /key": STATUS, "GET /key": OWN})
    monkeypatch.setattr("functions.cli.progress.sys.stderr.isatty", lambda: True, raising=False)
    told: list[str] = []
    monkeypatch.setattr("functions.cli.key.configure.tell_long", told.append)
    run("key", "configure", "--arn", ARN)
    run("key", "replace", "--arn", ARN, "--yes")
    run("key", "revert", "--yes")
    assert len(told) == 3


def test_replace_asks_first(asked: Answers, run: Run) -> None:
    other = ARN.replace("1234abcd", "abcd1234")
    seen = asked({"GET /key": OWN, "PUT /key": {"checks": [], "key": OWN}})
    no = run("key", "replace", "--arn", other, stdin=b"n\n", code=1)
    assert f"Replace the key {ARN} of acme by {other}? [y/N]" in no.stderr
    assert "error: nothing was changed" in no.stderr
    nobody = run("key", "replace", "--arn", other, code=Exit.USAGE)
    assert "hint: --yes answers it" in nobody.stderr
    assert {name for name, _ in seen} == {"GET /key"}
    assert "state         active" in run("key", "replace", "--arn", other, stdin=b"y\n").stdout
    assert seen[-1] == ("PUT /key", {"provider": "aws_kms", "key_arn": other})
    assert run("key", "replace", "--arn", other, "--yes").stderr == ""


def test_replace_needs_something_to_replace(asked: Answers, run: Run) -> None:
    seen = asked({"GET /key": STATUS})
    said = errors(run("key", "replace", "--arn", ARN, "--yes", code=1))
    assert "no key of its own yet" in said["error"]
    assert "key configure" in said["hint"]
    assert [name for name, _ in seen] == ["GET /key"]


def test_revert_asks_first(asked: Answers, run: Run) -> None:
    seen = asked({"DELETE /key": STATUS})
    assert "nothing was changed" in run("key", "revert", stdin=b"\n", code=1).stderr
    assert "--yes" in run("key", "revert", code=Exit.USAGE).stderr
    assert not seen
    assert "(the platform's)" in run("key", "revert", stdin=b"y\n").stdout
    assert json.loads(run("key", "revert", "--yes", "--json").stdout)["platform_key"] is True
    assert seen == [("DELETE /key", None)] * 2


@pytest.mark.parametrize("command", [["status"], ["key", "status"]])
def test_status_tells_all_there_is(asked: Answers, run: Run, command: list[str]) -> None:
    more = {"nickname": "prod\x07", "role_arn": ROLE, "exclusive_from": "2027-02-01", "unreadable_versions": 1}
    asked({"GET /key": {**OWN, **more, "pending": PENDING, "move": MOVE, "cause": "moving"}})
    text = run(*command).stdout
    for line in (
        f"key           {ARN}",
        "nickname      prod\\x07",
        f"role          {ROLE}",
        "going back    to the platform's key is not possible",
        "exclusive     only your key opens every copy from 2027-02-01 on",
        f"scheduled     {ARN} (n)",
        f"                from 2027 on, through {ROLE}",
        "under way     1 of 3 versions rewrapped",
        "                from local:platform",
        f"                to   {ARN}",
        "unreadable    1 version, until the former key returns",
    ):
        assert f"{line}\n" in text, line
    assert json.loads(run(*command, "--json").stdout)["pending"] == PENDING


def test_status_tells_no_more_than_there_is(asked: Answers, run: Run) -> None:
    asked({"GET /key": {**OWN, "reversible": True}})
    text = run("status").stdout
    assert "going back    to the platform's key is possible\n" in text
    for name in ("nickname", "role  ", "exclusive", "scheduled", "under way", "unreadable"):
        assert name not in text
    asked({"GET /key": STATUS})
    assert "going back" not in run("status").stdout


def test_setup(asked: Answers, run: Run) -> None:
    steps = [{"title": "Allow us\x1b", "text": "first\nsecond", "commands": ["aws kms a \\\n  --b", "aws c"]}]
    asked({"GET /key/setup/aws_kms": {**KIT, "steps": steps}})
    lines = run("key", "setup").stdout.splitlines()
    assert lines[:3] == ["tenant       acme", f"identity     {ROLE}", "external id  e"]
    assert lines[3:13] == [
        "",
        "1. Allow us\\x1b",
        "   first",
        "   second",
        "",
        "aws kms a \\",
        "  --b",
        "",
        "aws c",
        "",
    ]
    assert json.loads("\n".join(lines[14:])) == KIT["documents"]["key_policy"]
    assert json.loads(run("key", "setup", "aws_kms", "--json").stdout)["external_id"] == "e"


def test_setup_shows_each_document_once(asked: Answers, run: Run) -> None:
    policies = {"key_policy": {"Version": "1", "Sid": "a"}, "trust_policy": {"Version": "2"}}
    command = "cat > key_policy.json <<'EOF'\n" + json.dumps(policies["key_policy"], indent=2) + "\nEOF"
    steps = [{"title": "t", "text": "x", "commands": [command]}]
    asked({"GET /key/setup/aws_kms": {**KIT, "documents": policies, "steps": steps}})
    text = run("key", "setup").stdout
    assert (text.count('"Sid"'), text.count('"Version"')) == (1, 2)
    assert "trust_policy:" in text
    assert "key_policy:" not in text


def test_setup_of_one_document_can_be_piped(asked: Answers, run: Run) -> None:
    asked({"GET /key/setup/aws_kms": {**KIT, "documents": {"key_policy": {"Sid": "\x1b\u2028ü"}, "trust_policy": {}}}})
    result = run("key", "setup", "--only", "key_policy")
    assert json.loads(result.stdout) == {"Sid": "\x1b\u2028ü"}
    assert result.stdout.isascii()
    said = errors(run("key", "setup", "--only", "role_policy", code=1))
    assert said["hint"] == "it has key_policy, trust_policy"


def test_setup_of_another_cloud(service: Service, run: Run) -> None:
    assert errors(run("key", "setup", "gcp_kms", code=1))["hint"] == "known are aws_kms, azure_key_vault"
    assert errors(run("key", "setup", "../x", code=1))["error"]
    assert service.requests == ["GET /v1/tenants/acme/key/setup/gcp_kms"]


def test_export(asked: Answers, run: Run) -> None:
    seen = asked({"GET /key/export": EXPORT})
    assert json.loads(run("key", "export").stdout) == EXPORT
    assert run("key", "export", "-o", "rows.json").stdout == "acme: 1 row of 1 branch key in rows.json\n"
    written = Path("rows.json")
    assert json.loads(written.read_text()) == EXPORT
    assert written.stat().st_mode & 0o077 == 0
    before = len(seen)
    assert errors(run("key", "export", "-o", "rows.json", code=1))["hint"] == "--force replaces it"
    assert len(seen) == before, "refused before anything was asked for"
    run("key", "export", "-o", "rows.json", "--force")


def test_check_of_one(asked: Answers, run: Run, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = {**OWN, "cause": "c", "pending": PENDING, "unreadable_versions": 2}
    seen = asked({"GET /key": OWN, "POST /key/check": checked})
    note = "c; late; another key from 2027 on; 2 versions unreadable"
    assert run("check").stdout == f"{'acme':<24}  {'active':<16}  {note}\n", "all is well: one line"
    assert json.loads(run("check", "--json").stdout)["kek"] == ARN
    monkeypatch.setenv("KEYSTEAD_TOKEN", service.token(None))
    run("check", "--tenant", "acme")
    assert seen == [("GET /key", None), *[("POST /key/check", {})] * 3]
    asked({"POST /key/check": refusal([FAILED])})
    assert "tenant_bound" in run("check", "-t", "acme", code=Exit.KEY_CHECK).stderr


@pytest.fixture
def operator(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("KEYSTEAD_TOKEN", service.token(None))
    return service


def test_check_of_all(operator: Service, run: Run) -> None:
    assert [line.split() for line in run("check").stdout.splitlines()] == [["acme", "platform"], ["globex", "platform"]]
    assert operator.requests == [
        "GET /v1/tenants",
        "POST /v1/tenants/acme/key/check",
        "POST /v1/tenants/globex/key/check",
    ]


def test_check_of_all_goes_on_after_a_failure(asked: Answers, operator: Service, run: Run) -> None:
    asked({"POST /key/check": refusal([FAILED])})
    result = run("check", code=Exit.KEY_CHECK)
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [["acme", "failed"], ["globex", "platform"]]
    assert "key_check_failed: the key did not pass" in result.stdout
    rows = [json.loads(line) for line in run("check", "--json", code=Exit.KEY_CHECK).stdout.splitlines()]
    assert rows[0] == {
        "tenant_id": "acme",
        "code": "key_check_failed",
        "detail": "the key did not pass",
        "hint": "mend it",
    }
    assert rows[1]["state"] == "platform"


def test_check_of_all_ends_where_the_token_does(asked: Answers, operator: Service, run: Run) -> None:
    gone = httpx.Response(401, json={"code": "unauthenticated"}, headers={"content-type": "application/problem+json"})
    seen = asked({"POST /key/check": gone})
    assert errors(run("check", code=Exit.AUTH))["error"]
    assert len(seen) == 2


def test_tenant_update(operator: Service, run: Run) -> None:
    text = run("tenant", "update", "acme", "--name", "Acme!", "--offering", "shield").stdout
    assert text.split()[:2] == ["acme", "platform"]
    assert text.rstrip().endswith("shield            Acme!")
    found = json.loads(run("tenant", "update", "acme", "--accept-unbound-policy", "--json").stdout)
    assert (found["display_name"], found["offering"], found["unbound_policy_accepted"]) == ("Acme!", "shield", True)
    assert "(unbound key policies accepted)" in run("tenant", "show", "acme").stdout
    found = json.loads(run("tenant", "update", "acme", "--require-bound-policy", "--name", "", "--json").stdout)
    assert (found["display_name"], found["unbound_policy_accepted"]) == ("", False)


def test_tenant_update_of_nothing(operator: Service, run: Run) -> None:
    assert "nothing to change" in errors(run("tenant", "update", "acme", code=Exit.USAGE))["error"]
    assert errors(run("tenant", "update", "nobody", "--name", "x", code=1))["error"]
    assert operator.requests == ["PATCH /v1/tenants/nobody"]


def test_who_may_not(service: Service, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert errors(run("tenant", "update", "acme", "--offering", "x", code=Exit.AUTH))["error"]
    for token in (service.token("acme", "app"), service.token("globex", "admin"), service.token(None)):
        monkeypatch.setenv("KEYSTEAD_TOKEN", token)
        for command in (
            ["configure", "--arn", ARN],
            ["validate", "--arn", ARN],
            ["replace", "--arn", ARN, "--yes"],
            ["revert", "--yes"],
            ["setup"],
            ["export"],
        ):
            assert errors(run("key", *command, "--tenant", "acme", code=Exit.AUTH))["error"]


def test_without_a_cloud_the_service_says_so(service: Service, run: Run) -> None:
    assert errors(run("key", "setup", code=1))["error"]
    assert errors(run("key", "configure", "--arn", ARN, code=1))["error"]


def test_status_is_one_command() -> None:
    from functions.cli.main import cli

    group = cli.commands["key"]
    assert isinstance(group, click.Group)
    assert group.commands["status"] is cli.commands["status"]


def test_a_tenant_s_answer_is_whole(operator: Service, run: Run) -> None:
    assert {*json.loads(run("tenant", "show", "acme", "--json").stdout)} == {*TENANT}
