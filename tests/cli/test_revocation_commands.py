"""keystead suspend, resume, policy, receipts, timeline, and what status and check tell of a withdrawal."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.client.key_values import key_status
from core.client.values import Fields
from core.domain.states import MEANINGS, Signal
from functions.cli.exits import Exit
from functions.cli.timeline import FINE, PLAIN, WIDTH, drawn, elapsed, pen_for
from functions.cli.token import PRESETS
from tests.cli.conftest import Answers, Run, Service, errors
from tests.cli.test_key import OWN
from tests.client.test_client import STATUS
from tests.client.test_key_calls import ARN, CHANGE, ENTRY, POLICY, RECEIPT, RECEIPTS

SUSPENDED = {**OWN, "state": "suspended", "since": "2027", "may_read": False, "may_write": False}
WITHDRAWN = {
    **OWN,
    "state": "revoked",
    "cause": "disabled",
    "wording": "The tenant's KMS refuses the use of its key.",
    "remedy": "Enable the key.",
    "may_read": False,
    "may_write": False,
    "first_denial": "first",
    "confirmed": "second",
    "kms_code": "DisabledException",
    "request_id": "kms-1",
    "receipt": "receipt-1",
    "checked": "third",
    "warnings": [],
}
WITHHELD_LINES = [
    "served        nothing",
    "refused       first, when the KMS first said no",
    "confirmed     second",
    "KMS code      DisabledException",
    "KMS request   kms-1",
    "receipt       receipt-1",
]


def problem(status: int, code: str, **members: object) -> httpx.Response:
    headers = {"content-type": "application/problem+json"}
    return httpx.Response(status, json={"code": code, **members}, headers=headers)


def test_suspend_asks_first(asked: Answers, run: Run) -> None:
    seen = asked({"POST /key/suspend": SUSPENDED})
    no = run("suspend", stdin=b"n\n", code=1)
    assert "Stop serving all data of acme until 'keystead resume'? [y/N]" in no.stderr
    assert "nothing was changed" in no.stderr
    assert "--yes" in run("suspend", code=Exit.USAGE).stderr
    assert not seen
    assert run("suspend", stdin=b"y\n").stdout.splitlines() == [
        "acme: suspended since 2027",
        "No process serves its data 10 s after that. Nothing is lost; 'keystead resume' ends it.",
    ]
    assert json.loads(run("suspend", "--reason", "incident 4711", "--yes", "--json").stdout)["state"] == "suspended"
    assert seen == [("POST /key/suspend", {}), ("POST /key/suspend", {"reason": "incident 4711"})]


def test_the_kill_switch_of_the_service_itself(service: Service, run: Run) -> None:
    Path("plain").write_text("hello")
    run("encrypt", "plain", "-o", "sealed")
    assert run("suspend", "--yes", "--reason", "incident 4711").stdout.startswith("acme: suspended since 20")
    for command in (["decrypt", "sealed", "-o", "opened"], ["encrypt", "plain", "-o", "again"]):
        assert "kill switch" in errors(run(*command, code=Exit.WITHHELD))["error"]
    assert not Path("opened").exists()
    assert "served        nothing\n" in run("status").stdout
    assert run("resume").stdout.startswith("acme: platform since 20")
    run("decrypt", "sealed", "-o", "opened")
    assert Path("opened").read_text() == "hello"
    drawing = run("timeline").stdout
    assert [line[27:] for line in drawing.splitlines() if line.startswith("●")] == [
        "platform → suspended",
        "suspended → platform",
    ]
    assert drawing.count("│   by       tester\n") == 2
    assert service.requests.count("POST /v1/tenants/acme/key/suspend") == 1


def test_the_policy_of_the_service_itself(service: Service, run: Run) -> None:
    assert "lease         5 s " in run("policy", "--lease", "5", "--rotation-days", "1").stdout
    told = json.loads(run("policy", "--json").stdout)
    assert told["policy"] == {**POLICY, "lease": 5.0, "rotation_days": 1}
    assert told["bounds"]["kms_answers"] == 5
    assert run("receipts").stdout.startswith("acme: no receipt")
    assert errors(run("receipts", "0123", code=1))["error"]


def test_suspend_for_a_reason_that_is_none(asked: Answers, run: Run) -> None:
    asked({"POST /key/suspend": problem(400, "invalid_request", detail="reason: too long")})
    assert errors(run("suspend", "--yes", "--reason", "x" * 300, code=1))["error"] == "reason: too long"


def test_resume(asked: Answers, run: Run) -> None:
    seen = asked({"POST /key/resume": {**OWN, "since": "2027"}})
    assert run("resume").stdout == "acme: active since 2027\nw\n"
    assert json.loads(run("resume", "--json").stdout)["state"] == "active"
    assert seen == [("POST /key/resume", {})] * 2


def test_resume_of_a_key_that_is_withdrawn_says_so(asked: Answers, run: Run) -> None:
    asked({"POST /key/resume": {**WITHDRAWN, "remedy": "Enable the key.\x1b[2J"}})
    assert run("resume").stdout.splitlines() == [
        "acme: revoked since s",
        "The tenant's KMS refuses the use of its key.",
        "remedy: Enable the key.\\x1b[2J",
    ]


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (["--lease", "0"], {"lease": 0}),
        (["--grace", "86400", "--rotation-days", "365"], {"outage_grace": 86400, "rotation_days": 365}),
        (["--fallback", "platform"], {"fallback": "platform"}),
        (["--fallback", "none", "--approval", "none"], {"fallback": "", "approval": ""}),
        (["--approval", "second_person", "--lease", "30"], {"approval": "second_person", "lease": 30}),
    ],
)
def test_policy_sends_what_was_given(asked: Answers, run: Run, arguments: list[str], sent: dict[str, object]) -> None:
    seen = asked({"PATCH /key/policy": OWN})
    run("policy", *arguments)
    assert seen == [("PATCH /key/policy", sent)]


def test_policy_without_an_option_shows(asked: Answers, run: Run) -> None:
    seen = asked({"GET /key": OWN})
    assert run("policy").stdout.splitlines() == [
        "tenant        acme",
        "lease         60 s           a branch key serves so long before the KMS is asked again",
        "grace         900 s          it serves so long while the KMS does not answer",
        "rotation      90 days        age at which a new branch key version is made",
        "fallback      none           new data is refused while the key cannot be reached",
        "approval      none           one person suffices",
        "withdrawal    once the key is withdrawn, no data is served after at most",
        "                60 s if the KMS that holds the key answers, and refuses it",
        "                900 s if the KMS does not answer at all",
        "                10 s if the key is blocked in this service (kill switch)",
    ]
    told = json.loads(run("policy", "--json").stdout)
    assert told == {"tenant_id": "acme", "policy": POLICY, "bounds": STATUS["bounds"]}
    assert seen == [("GET /key", None)] * 2
    asked({"GET /key": {**OWN, "policy": {**POLICY, "fallback": "platform", "approval": "later\x07"}}})
    text = run("policy").stdout
    assert "fallback      platform       new data goes under the platform's key" in text
    assert "approval      later\\x07\n" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--lease", "3601"],
        ["--lease", "-1"],
        ["--lease", "nan"],
        ["--grace", "86401"],
        ["--rotation-days", "0"],
        ["--rotation-days", "1.5"],
        ["--fallback", "Platform"],
        ["--approval", ""],
    ],
)
def test_a_policy_that_cannot_be_is_not_sent(service: Service, run: Run, arguments: list[str]) -> None:
    assert errors(run("policy", *arguments, code=Exit.USAGE))["error"]
    assert not service.requests


@pytest.mark.parametrize(
    ("route", "command"),
    [
        ("PATCH /key/policy", ["policy", "--fallback", "platform"]),
        ("PUT /key", ["key", "replace", "--arn", ARN, "--yes"]),
        ("DELETE /key", ["key", "revert", "--yes"]),
    ],
)
def test_what_waits_for_a_second_person(asked: Answers, run: Run, route: str, command: list[str]) -> None:
    seen = asked({"GET /key": OWN, route: problem(409, "approval_needed", detail="kept", hint="another repeats it")})
    assert errors(run(*command, code=Exit.FAILED)) == {"error": "kept", "hint": "another repeats it"}
    assert [name for name, _ in seen].count(route) == 1


def test_receipts_are_listed(asked: Answers, run: Run) -> None:
    seen = asked({"GET /key/receipts": RECEIPTS})
    lines = run("receipts").stdout.splitlines()
    assert lines[:8] == [
        "receipt-1  disabled",
        f"  key         {ARN}",
        "  refused     f",
        "  confirmed   c",
        "  not served  after n",
        "  reinstated  not since",
        "  issued      i",
        "",
    ]
    assert (lines[8], len(lines)) == ("receipt-2  disabled", 15)
    assert lines[13] == "  reinstated  r (the statement holds until h)"
    assert [json.loads(line) for line in run("receipts", "--json").stdout.splitlines()] == RECEIPTS["receipts"]
    assert seen == [("GET /key/receipts", None)] * 2
    asked({"GET /key/receipts": {"receipts": [{**ENTRY, "cause": "\x1b[2J"}]}})
    assert run("receipts").stdout.startswith("receipt-1  \\x1b[2J\n")


def test_there_may_be_no_receipt(asked: Answers, run: Run) -> None:
    asked({"GET /key/receipts": {"receipts": []}})
    none = "acme: no receipt; one is issued when a withdrawal is confirmed\n"
    assert run("receipts").stdout == none
    assert run("receipts", "--save", "kept").stdout == none
    assert run("receipts", "--json").stdout == ""


def test_one_receipt_can_be_piped_or_written(asked: Answers, run: Run) -> None:
    seen = asked({"GET /key/receipts/receipt-1": RECEIPT})
    assert run("receipts", "receipt-1").stdout == "e30.e30.c2ln\n"
    assert json.loads(run("receipts", "receipt-1", "--json").stdout) == RECEIPT
    assert run("receipts", "receipt-1", "-o", "a").stdout == "receipt-1: written to a\n"
    assert Path("a").read_text() == "e30.e30.c2ln\n"
    before = len(seen)
    assert errors(run("receipts", "receipt-1", "-o", "a", code=1))["hint"] == "--force replaces it"
    assert len(seen) == before, "refused before anything was asked for"
    run("receipts", "receipt-1", "-o", "a", "--force")


def test_every_receipt_can_be_kept(asked: Answers, run: Run) -> None:
    answers: dict[str, object] = {
        "GET /key/receipts": RECEIPTS,
        "GET /key/receipts/receipt-1": RECEIPT,
        "GET /key/receipts/receipt-2": {**RECEIPT, "id": "receipt-2", "statement": "e30.e30.c2ln2"},
    }
    asked(answers)
    first, second = Path("kept/receipt-1.receipt"), Path("kept/receipt-2.receipt")
    assert run("receipts", "--save", "kept").stdout.splitlines() == [
        f"receipt-1: written to {first}",
        f"receipt-2: written to {second}",
    ]
    assert (first.read_text(), second.read_text()) == ("e30.e30.c2ln\n", "e30.e30.c2ln2\n")
    second.unlink()
    assert run("receipts", "--save", "kept").stdout.splitlines() == [
        f"receipt-1: there already, in {first}",
        f"receipt-2: written to {second}",
    ]
    first.write_text("something else\n")
    assert errors(run("receipts", "--save", "kept", code=1))["hint"] == "--force replaces it"
    assert first.read_text() == "something else\n"
    run("receipts", "--save", "kept", "--force")
    assert first.read_text() == "e30.e30.c2ln\n"


def test_a_receipt_s_id_leads_out_of_no_directory(asked: Answers, run: Run) -> None:
    asked({"GET /key/receipts": {"receipts": [{**ENTRY, "id": "../receipt-1"}]}})
    assert "id" in errors(run("receipts", "--save", "kept", code=1))["error"]
    assert not [*Path().iterdir()]


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "a"],
        ["receipt-1", "--save", "kept"],
        ["receipt-1", "-o", "a", "--json"],
        ["--save", "kept", "--json"],
        ["receipt-1", "receipt-2"],
    ],
)
def test_receipts_used_wrongly(service: Service, run: Run, arguments: list[str]) -> None:
    assert errors(run("receipts", *arguments, code=Exit.USAGE))["hint"]
    assert not service.requests
    assert not [*Path().iterdir()]


def test_a_receipt_that_is_not_there(asked: Answers, run: Run, service: Service) -> None:
    asked({"GET /key/receipts/receipt-9": problem(404, "not_found", detail="there is no such receipt")})
    assert errors(run("receipts", "receipt-9", code=1))["error"] == "there is no such receipt"
    before = len(service.requests)
    assert errors(run("receipts", "../key", code=1))["error"]
    assert len(service.requests) == before


CHANGES = [
    {**CHANGE, "before": "platform", "after": "active", "signal": "move", "cause": "", "request_id": "", "by": "eve"},
    {**CHANGE, "at": "2027-02-01T13:04:05.999000Z"},
    {**CHANGE, "at": "2027-02-01T13:04:07.123456Z", "before": "hold", "after": "revoked", "signal": "confirmed"},
    {**CHANGE, "at": "2027-02-01T15:33:07.123456Z", "before": "revoked", "after": "active", "signal": "granted"},
]
NOW = {"state": "active", "since": "2027-02-01T15:33:07.123456Z", "timeline": CHANGES}


def test_the_timeline_is_drawn(asked: Answers, run: Run) -> None:
    asked({"GET /key": {**OWN, **NOW}})
    assert run("timeline").stdout.splitlines() == [
        "acme: the latest 4 changes of state; times are UTC",
        "",
        "● 2027-01-31 10:00:00.500  platform → active",
        "│   every row lies under a key of the tenant's own, which has just served",
        "│   by       eve",
        "│   key",
        f"│ {ARN}",
        "│",
        "│ 1 d 3 h",
        "│",
        "● 2027-02-01 13:04:05.999  active → hold",
        "│   the tenant's KMS refused the key that new data hangs on",
        "│   cause    disabled",
        "│   request  kms-1",
        "│",
        "│ 1.124 s",
        "│",
        "● 2027-02-01 13:04:07.123  hold → revoked",
        "│   it refused again, the probe envelope too, and our own access is not to blame",
        "│   cause    disabled",
        "│   request  kms-1",
        "│",
        "│ 2 h 29 min",
        "│",
        "● 2027-02-01 15:33:07.123  revoked → active",
        "│   the tenant's KMS unwrapped with the key",
        "│   cause    disabled",
        "│   request  kms-1",
        "│",
        "○ now: active since 2027-02-01 15:33:07.123",
    ]
    assert [json.loads(line) for line in run("timeline", "--json").stdout.splitlines()] == CHANGES


def test_there_may_be_no_timeline(asked: Answers, run: Run) -> None:
    asked({"GET /key": STATUS})
    assert run("timeline").stdout == "acme: no change of state is recorded\n○ now: platform since s\n"
    assert run("timeline", "--json").stdout == ""


LONG = {"kek": "https://a.vault.azure.net/keys/" + "k-" * 100, "by": "e\u0301" * 100, "cause": "\x1b[2J" * 40}
ODD: list[dict[str, Any]] = [
    {},
    {"signal": "of_a_later_version"},
    {"at": "yesterday\x07"},
    {"at": ""},
    {"before": "b" * 200, "after": "\n"},
    LONG,
    {"request_id": "\u202e" * 200},
    *({"signal": signal.value} for signal in Signal),
]


@pytest.mark.parametrize("pen", [FINE, PLAIN])
def test_no_line_of_a_timeline_is_too_long_or_steers(pen: Any) -> None:
    changes = [{**CHANGE, **odd} for odd in ODD]
    found = key_status(Fields({**STATUS, "tenant_id": "a" * 63, "since": "s" * 90, "timeline": changes}))
    lines = list(drawn(found, pen))
    assert max(map(len, lines)) <= WIDTH
    assert all(line.isprintable() for line in lines)
    assert pen is FINE or all(line.isascii() for line in lines if "\u0301" not in line)
    assert sum(line.startswith(pen.change) for line in lines) == len(ODD)
    text = " ".join("".join(line[1:] for line in lines).split())
    assert all(" ".join(meaning.split()) in text for meaning in MEANINGS.values())


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("10:00:00.000000", "0.000 s"),
        ("10:00:00.001400", "0.001 s"),
        ("10:00:59.900000", "59.900 s"),
        ("10:01:00.000000", "1 min 0 s"),
        ("10:59:59.999999", "59 min 59 s"),
        ("11:00:00.000000", "1 h 0 min"),
        ("23:59:00.000000", "13 h 59 min"),
        ("09:59:59.999999", ""),
        ("10:00", ""),
    ],
)
def test_the_time_between_two_changes(end: str, words: str) -> None:
    assert elapsed("2027-01-31T10:00:00.000000Z", f"2027-01-31T{end}Z") == words
    assert elapsed("2027-01-31T10:00:00.000000Z", "2027-03-02T13:59:00.000000Z") == "30 d 3 h"


@pytest.mark.parametrize(
    ("encoding", "pen"), [("utf-8", FINE), ("ascii", PLAIN), ("latin-1", PLAIN), (None, PLAIN), ("no-such", PLAIN)]
)
def test_what_a_timeline_is_drawn_with(encoding: str | None, pen: object) -> None:
    assert pen_for(encoding) is pen


@pytest.mark.parametrize("command", [["status"], ["key", "status"]])
def test_status_tells_of_a_withdrawal(asked: Answers, run: Run, command: list[str]) -> None:
    asked({"GET /key": WITHDRAWN})
    lines = run(*command).stdout.splitlines()
    assert lines[1:5] == [
        "state         revoked since s (disabled)",
        "              The tenant's KMS refuses the use of its key.",
        "checked       third ('keystead check' asks the KMS now)",
        "remedy        Enable the key.",
    ]
    assert lines[5:11] == WITHHELD_LINES
    assert "policy        lease 60 s, outage grace 900 s, a new version after 90 days" in lines
    assert not [line for line in lines if "as recorded" in line]


def test_status_tells_no_more_of_withdrawals_than_there_is(asked: Answers, run: Run) -> None:
    asked({"GET /key": OWN})
    text = run("status").stdout
    labels = {line[:12].strip() for line in text.splitlines()}
    assert not labels & {"served", "refused", "confirmed", "KMS code", "KMS request", "receipt", "checked", "fallback"}
    assert "two people" not in text
    assert "(as recorded; 'keystead check' asks the KMS now)" in text
    asked({"GET /key": {**OWN, "state": "suspended"}})
    assert "(as recorded; its KMS is not asked while it is suspended)" in run("status").stdout
    asked({"GET /key": {**OWN, "first_denial": "first"}})
    assert "confirmed     not yet\n" in run("status").stdout
    asked({"GET /key": STATUS})
    assert "as recorded" not in run("status").stdout, "the platform's own key"


@pytest.mark.parametrize(
    ("may_read", "may_write", "told"),
    [(True, False, "reading only"), (False, True, "new data only"), (False, False, "nothing")],
)
def test_status_tells_what_is_served(asked: Answers, run: Run, may_read: bool, may_write: bool, told: str) -> None:
    asked({"GET /key": {**OWN, "may_read": may_read, "may_write": may_write}})
    assert f"served        {told}\n" in run("status").stdout


def test_status_tells_of_a_fallback(asked: Answers, run: Run) -> None:
    tuned = {**POLICY, "fallback": "platform", "approval": "second_person"}
    asked({"GET /key": {**OWN, "falls_back": True, "policy": tuned}})
    text = run("status").stdout
    assert "fallback      new data goes under the platform's key for now\n" in text
    assert "              new data goes under the platform's key while this one cannot be reached\n" in text
    assert "              what weakens the tenant's control takes two people\n" in text


def test_check_tells_what_was_found(asked: Answers, run: Run) -> None:
    asked({"GET /key": OWN, "POST /key/check": WITHDRAWN})
    assert run("check").stdout.splitlines() == [
        f"{'acme':<24}  {'revoked':<16}  disabled",
        "                The tenant's KMS refuses the use of its key.",
        "  remedy        Enable the key.",
        *(f"  {line}" for line in WITHHELD_LINES),
    ]


def test_check_of_all_stays_a_line_each(asked: Answers, run: Run, service: Service, monkeypatch: Any) -> None:
    monkeypatch.setenv("KEYSTEAD_TOKEN", service.token(None))
    asked({"POST /key/check": WITHDRAWN})
    states = [line.split()[:2] for line in run("check").stdout.splitlines()]
    assert states == [["acme", "revoked"], ["globex", "platform"]]


def test_which_scopes_a_key_officer_has() -> None:
    assert set(PRESETS["admin"]) == {"key:read", "key:manage", "key:suspend", "audit:read"}
    assert not {scope for scope in PRESETS["app"] if not scope.startswith("data:")}


@pytest.mark.parametrize(
    "command",
    [
        ["suspend", "--yes"],
        ["resume"],
        ["policy", "--lease", "1"],
        ["policy"],
        ["receipts"],
        ["receipts", "receipt-1"],
        ["timeline"],
    ],
)
def test_who_may_not(service: Service, run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    for token in (service.token("acme", "app"), service.token("globex", "admin")):
        monkeypatch.setenv("KEYSTEAD_TOKEN", token)
        assert errors(run(*command, "--tenant", "acme", code=Exit.AUTH))["error"]


@pytest.mark.parametrize("command", [["resume"], ["policy"], ["receipts"], ["timeline"]])
def test_an_operator_may_not(service: Service, run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setenv("KEYSTEAD_TOKEN", service.token(None))
    assert errors(run(*command, "--tenant", "acme", code=Exit.AUTH))["error"]
    assert "--tenant" in errors(run(*command, code=Exit.USAGE))["error"]
