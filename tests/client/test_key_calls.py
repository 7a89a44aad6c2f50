"""What each call about a tenant's key sends, how long it waits, and what it makes of the answer."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from core.client.client import KeysteadClient
from core.client.key_calls import PATIENCE
from core.client.key_values import Check, Move, PendingKey
from core.client.policies import Policy
from core.client.problems import UnexpectedAnswer
from core.client.withdrawals import Receipt, ReceiptEntry, StateChange
from core.errors import ApprovalNeeded, InvalidRequest, KeyCheckFailed, KeyUnreachable
from tests.client.fake_service import TOKEN, URL, client, problem
from tests.client.test_client import STATUS, TENANT, Recorder, asked

ARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/keystead"
CHECK = {"name": "rotation", "result": "warn", "observed": "off", "remedy": "Turn it on."}
VAULT, ENTRA = "https://acme-kv.vault.azure.net", "11112222-3333-4444-5555-666677778888"
KID = f"{VAULT}/keys/kek/" + "0" * 32
PENDING = {
    "kek": ARN,
    "role_arn": ROLE,
    "entra_tenant": "",
    "nickname": "n",
    "activation": "2027",
    "reversible": True,
}
MOVE = {"moving_from": "local:platform", "moving_to": ARN, "rewrapped": 1, "total": 3}
KIT: dict[str, Any] = {
    "tenant_id": "acme",
    "provider": "aws_kms",
    "external_id": "e",
    "identity": ROLE,
    "documents": {"key_policy": {"Version": "2012-10-17"}},
    "steps": [{"title": "t", "text": "x", "commands": ["aws kms"]}],
}
EXPORT: dict[str, Any] = {
    "tenant_id": "acme",
    "table_name": "t",
    "kek": ARN,
    "branch_key_ids": ["b"],
    "items": [{"branch-key-id": {"S": "b"}}],
}
CHANGE = {
    "id": "change-1",
    "at": "2027-01-31T10:00:00.500000Z",
    "before": "active",
    "after": "hold",
    "signal": "denied",
    "cause": "disabled",
    "kek": ARN,
    "request_id": "kms-1",
    "by": "",
}
ENTRY = {
    "id": "receipt-1",
    "issued": "i",
    "kek": ARN,
    "cause": "disabled",
    "first_denial": "f",
    "confirmed": "c",
    "not_served_after": "n",
    "reinstated": "",
    "holds_until": "",
}
RECEIPTS: dict[str, Any] = {"receipts": [ENTRY, {**ENTRY, "id": "receipt-2", "reinstated": "r", "holds_until": "h"}]}
RECEIPT: dict[str, Any] = {**ENTRY, "statement": "e30.e30.c2ln"}
POLICY: dict[str, Any] = {"lease": 60, "outage_grace": 900, "rotation_days": 90, "fallback": "", "approval": ""}
CONFIGURED = {"checks": [CHECK], "key": STATUS}
REPORT = {"ok": False, "checks": [CHECK]}


def test_configure_key_sends_what_was_given() -> None:
    recorder, service = asked(httpx.Response(200, json=CONFIGURED))
    done = service.configure_key("acme", provider="aws_kms", key_arn=ARN)
    assert done.checks == (Check(**CHECK),)
    assert done.key.tenant_id == "acme"
    assert recorder.lines == ["PUT /v1/tenants/acme/key"]
    assert json.loads(recorder.requests[0].content) == {"provider": "aws_kms", "key_arn": ARN}
    recorder, service = asked(httpx.Response(200, json=CONFIGURED))
    everything: dict[str, Any] = {
        "provider": "aws_kms",
        "key_arn": ARN,
        "role_arn": ROLE,
        "nickname": "n",
        "activation_date": "2027-01-31",
        "reversible": True,
    }
    service.configure_key("acme", **everything)
    assert json.loads(recorder.requests[0].content) == everything


def test_a_key_in_azure_is_named_by_its_vault_and_entra_tenant() -> None:
    named = {"provider": "azure_key_vault", "vault_url": VAULT, "entra_tenant": ENTRA, "key_name": "kek"}
    recorder, service = asked(httpx.Response(200, json=CONFIGURED))
    service.configure_key("acme", **named)  # type: ignore[arg-type]
    assert json.loads(recorder.requests[0].content) == named
    everything: dict[str, Any] = {**named, "nickname": "n", "activation_date": "2027-01-31", "reversible": True}
    for call, answer in (("configure_key", CONFIGURED), ("validate_key", REPORT)):
        recorder, service = asked(httpx.Response(200, json=answer))
        getattr(service, call)("acme", **everything)
        assert json.loads(recorder.requests[0].content) == everything


def test_validate_key() -> None:
    recorder, service = asked(httpx.Response(200, json=REPORT))
    report = service.validate_key("acme", provider="aws_kms", key_arn=ARN, role_arn=ROLE)
    assert (report.ok, report.checks) == (False, (Check(**CHECK),))
    assert recorder.lines == ["POST /v1/tenants/acme/key/validate"]
    assert json.loads(recorder.requests[0].content) == {"provider": "aws_kms", "key_arn": ARN, "role_arn": ROLE}


def test_a_key_s_status_with_all_there_is() -> None:
    more = {"pending": PENDING, "move": MOVE, "exclusive_from": "2027", "unreadable_versions": 2, "reversible": True}
    _, service = asked(httpx.Response(200, json={**STATUS, **more}))
    found = service.key_status("acme")
    assert found.pending == PendingKey(ARN, ROLE, "n", "2027", reversible=True, entra_tenant="")
    assert found.move == Move("local:platform", ARN, 1, 3)
    assert (found.exclusive_from, found.unreadable_versions, found.reversible) == ("2027", 2, True)


def test_a_key_s_status_in_azure() -> None:
    more = {"entra_tenant": ENTRA, "kek_version": KID, "kek_versions": [KID, KID.replace("0", "1")]}
    _, service = asked(httpx.Response(200, json={**STATUS, **more, "pending": {**PENDING, "entra_tenant": ENTRA}}))
    found = service.key_status("acme")
    assert (found.entra_tenant, found.kek_version) == (ENTRA, KID)
    assert found.kek_versions == (KID, KID.replace("0", "1"))
    assert found.pending is not None
    assert found.pending.entra_tenant == ENTRA


@pytest.mark.parametrize(
    "broken",
    [
        {"pending": {}},
        {"pending": {name: value for name, value in PENDING.items() if name != "entra_tenant"}},
        {"entra_tenant": None},
        {"kek_version": 1},
        {"kek_versions": KID},
        {"kek_versions": [1]},
        {"pending": "x"},
        {"pending": {**PENDING, "reversible": 1}},
        {"move": {**MOVE, "total": "3"}},
        {"move": []},
        {"reversible": "false"},
        {"unreadable_versions": None},
        {"policy": {}},
        {"policy": {**POLICY, "lease": "60"}},
        {"policy": {**POLICY, "lease": True}},
        {"policy": {**POLICY, "rotation_days": 1.5}},
        {"policy": {**POLICY, "fallback": None}},
        {"may_read": 1},
        {"falls_back": "no"},
        {"checked": None},
        {"timeline": {}},
        {"timeline": [7]},
        {"timeline": [{**CHANGE, "request_id": None}]},
        {"timeline": [{name: value for name, value in CHANGE.items() if name != "signal"}]},
    ],
)
def test_a_key_s_status_that_is_none(broken: dict[str, object]) -> None:
    _, service = asked(httpx.Response(200, json={**STATUS, **broken}))
    with pytest.raises(UnexpectedAnswer):
        service.key_status("acme")


def test_a_key_s_status_while_it_is_withdrawn() -> None:
    facts = {"first_denial": "f", "confirmed": "c", "kms_code": "k", "request_id": "q", "receipt": "r", "checked": "t"}
    more = {**facts, "may_read": False, "may_write": False, "falls_back": True, "timeline": [CHANGE, CHANGE]}
    tuned = {"lease": 0, "outage_grace": 1.5, "rotation_days": 7, "fallback": "platform", "approval": "second_person"}
    _, service = asked(httpx.Response(200, json={**STATUS, **more, "policy": tuned}))
    found = service.key_status("acme")
    assert {name: getattr(found, name) for name in facts} == facts
    assert (found.may_read, found.may_write, found.falls_back) == (False, False, True)
    assert found.timeline == (StateChange(**CHANGE),) * 2
    assert found.policy == Policy(0.0, 1.5, 7, "platform", "second_person")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"lease": 0}, {"lease": 0}),
        ({"outage_grace": 1.5, "lease": None}, {"outage_grace": 1.5}),
        ({"rotation_days": 7, "fallback": "", "approval": ""}, {"rotation_days": 7, "fallback": "", "approval": ""}),
        ({"fallback": "platform"}, {"fallback": "platform"}),
        ({}, {}),
    ],
)
def test_set_policy_sends_what_was_given(given: dict[str, Any], sent: dict[str, object]) -> None:
    recorder, service = asked(httpx.Response(200, json=STATUS))
    assert service.set_policy("acme", **given).policy.rotation_days == 90
    assert recorder.lines == ["PATCH /v1/tenants/acme/key/policy"]
    assert json.loads(recorder.requests[0].content) == sent


def test_suspend_and_resume() -> None:
    for given, sent in (({}, {}), ({"reason": "incident"}, {"reason": "incident"})):
        recorder, service = asked(httpx.Response(200, json={**STATUS, "state": "suspended"}))
        assert service.suspend_key("acme", **given).state == "suspended"
        assert recorder.lines == ["POST /v1/tenants/acme/key/suspend"]
        assert json.loads(recorder.requests[0].content) == sent
    recorder, service = asked(httpx.Response(200, json=STATUS))
    assert service.resume_key("acme").state == "platform"
    assert recorder.lines == ["POST /v1/tenants/acme/key/resume"]
    assert json.loads(recorder.requests[0].content) == {}


def test_receipts() -> None:
    recorder, service = asked(httpx.Response(200, json=RECEIPTS))
    assert service.receipts("acme") == tuple(ReceiptEntry(**entry) for entry in RECEIPTS["receipts"])
    assert recorder.lines == ["GET /v1/tenants/acme/key/receipts"]
    recorder, service = asked(httpx.Response(200, json=RECEIPT))
    assert service.receipt("acme", "receipt-1") == Receipt(ReceiptEntry(**ENTRY), "e30.e30.c2ln")
    assert recorder.lines == ["GET /v1/tenants/acme/key/receipts/receipt-1"]


@pytest.mark.parametrize("receipt_id", ["", "..", "../key", "a/b", "a?b", "a" * 65, "a\n", "\u00e4"])
def test_a_receipt_s_id_that_is_none_is_not_asked_for(receipt_id: str) -> None:
    recorder = Recorder()
    with pytest.raises(InvalidRequest, match="id"):
        client(recorder).receipt("acme", receipt_id)
    assert not recorder.requests


@pytest.mark.parametrize("receipt_id", ["", "..", "../../etc/passwd", "a.b", "a" * 65, "\x1b[2J"])
def test_a_receipt_s_id_that_could_be_no_file_s_name_is_not_believed(receipt_id: str) -> None:
    _, service = asked(httpx.Response(200, json={"receipts": [{**ENTRY, "id": receipt_id}]}))
    with pytest.raises(UnexpectedAnswer, match="id"):
        service.receipts("acme")


@pytest.mark.parametrize("statement", ["", "x", "a.b", "a.b.c.d", "a.b.c\n", "a.b. c", "\u00e4.b.c", 7])
def test_a_statement_that_is_none(statement: object) -> None:
    _, service = asked(httpx.Response(200, json={**RECEIPT, "statement": statement}))
    with pytest.raises(UnexpectedAnswer, match="statement"):
        service.receipt("acme", "receipt-1")


def test_the_receipt_of_another_withdrawal() -> None:
    _, service = asked(httpx.Response(200, json={**RECEIPT, "id": "receipt-2"}))
    with pytest.raises(UnexpectedAnswer, match="another"):
        service.receipt("acme", "receipt-1")


def test_revert_and_check() -> None:
    recorder, service = asked(httpx.Response(200, json=STATUS))
    assert service.revert_key("acme").platform_key
    assert recorder.lines == ["DELETE /v1/tenants/acme/key"]
    assert recorder.requests[0].content == b""
    assert not {"content-type", "content-length", "transfer-encoding"} & {*recorder.requests[0].headers}
    recorder, service = asked(httpx.Response(200, json=STATUS))
    assert service.check_key("acme").state == "platform"
    assert recorder.lines == ["POST /v1/tenants/acme/key/check"]


def test_key_setup() -> None:
    recorder, service = asked(httpx.Response(200, json=KIT))
    kit = service.key_setup("acme", "aws_kms")
    assert (kit.external_id, kit.identity, kit.documents) == ("e", ROLE, KIT["documents"])
    assert [(step.title, step.text, step.commands) for step in kit.steps] == [("t", "x", ("aws kms",))]
    assert recorder.lines == ["GET /v1/tenants/acme/key/setup/aws_kms"]


def test_key_setup_for_an_entra_tenant() -> None:
    recorder, service = asked(httpx.Response(200, json=KIT))
    service.key_setup("acme", "azure_key_vault", entra_tenant=ENTRA)
    assert recorder.lines == [f"GET /v1/tenants/acme/key/setup/azure_key_vault?entra_tenant={ENTRA}"]
    recorder, service = asked(httpx.Response(200, json=KIT))
    service.key_setup("acme", "azure_key_vault", entra_tenant="a&b=c/../d #")
    assert recorder.lines == ["GET /v1/tenants/acme/key/setup/azure_key_vault?entra_tenant=a%26b%3Dc%2F..%2Fd+%23"]


@pytest.mark.parametrize("provider", ["", "aws/kms", "../key", "AWS", "a?b", "a" * 65])
def test_a_provider_that_is_none_is_not_asked_for(provider: str) -> None:
    recorder = Recorder()
    with pytest.raises(InvalidRequest):
        client(recorder).key_setup("acme", provider)
    assert not recorder.requests


def test_key_export() -> None:
    recorder, service = asked(httpx.Response(200, json=EXPORT))
    found = service.key_export("acme")
    assert (found.table_name, found.branch_key_ids, found.items) == ("t", ("b",), ({"branch-key-id": {"S": "b"}},))
    assert recorder.lines == ["GET /v1/tenants/acme/key/export"]


CALLS: dict[str, tuple[Callable[[KeysteadClient], object], dict[str, Any]]] = {
    "configure": (lambda c: c.configure_key("acme", provider="aws_kms", key_arn=ARN), CONFIGURED),
    "validate": (lambda c: c.validate_key("acme", provider="aws_kms", key_arn=ARN), REPORT),
    "setup": (lambda c: c.key_setup("acme", "aws_kms"), KIT),
    "export": (lambda c: c.key_export("acme"), EXPORT),
    "check": (lambda c: c.check_key("acme"), STATUS),
    "revert": (lambda c: c.revert_key("acme"), STATUS),
    "policy": (lambda c: c.set_policy("acme", lease=1), STATUS),
    "suspend": (lambda c: c.suspend_key("acme"), STATUS),
    "resume": (lambda c: c.resume_key("acme"), STATUS),
    "receipts": (lambda c: c.receipts("acme"), RECEIPTS),
    "receipt": (lambda c: c.receipt("acme", "receipt-1"), RECEIPT),
}


WHOLE = ("configure", "validate", "setup", "export", "receipts", "receipt")


@pytest.mark.parametrize(
    ("call", "missing"),
    [(name, member) for name in WHOLE for member in CALLS[name][1]],
)
def test_an_answer_without_a_member(call: str, missing: str) -> None:
    act, whole = CALLS[call]
    _, service = asked(httpx.Response(200, json={name: value for name, value in whole.items() if name != missing}))
    with pytest.raises(UnexpectedAnswer, match=missing):
        act(service)


@pytest.mark.parametrize("items", [{}, "x", [7], [None], None])
def test_an_export_of_something_else(items: object) -> None:
    _, service = asked(httpx.Response(200, json={**EXPORT, "items": items}))
    with pytest.raises(UnexpectedAnswer):
        service.key_export("acme")


@pytest.mark.parametrize("call", ["configure", "validate", "check", "revert", "resume"])
def test_what_takes_long_is_waited_for(call: str) -> None:
    act, whole = CALLS[call]
    recorder, service = asked(httpx.Response(200, json=whole))
    act(service)
    assert recorder.requests[0].extensions["timeout"]["read"] == PATIENCE
    assert recorder.requests[0].extensions["timeout"]["connect"] == 5
    patient = KeysteadClient(URL, TOKEN, timeout=200, http=httpx.MockTransport(recorder.again()))
    act(patient)
    assert recorder.requests[0].extensions["timeout"]["read"] == 200


@pytest.mark.parametrize("call", ["setup", "export", "policy", "suspend", "receipts", "receipt"])
def test_what_does_not_is_not(call: str) -> None:
    act, whole = CALLS[call]
    recorder, service = asked(httpx.Response(200, json=whole))
    act(service)
    assert recorder.requests[0].extensions["timeout"]["read"] == 30


@pytest.mark.parametrize(
    ("call", "times"),
    [
        *[(name, 3) for name in ("configure", "validate", "check", "policy", "suspend", "receipts", "receipt")],
        *[(name, 1) for name in ("revert", "resume")],
    ],
)
def test_only_what_may_be_done_twice_is_repeated(call: str, times: int) -> None:
    """A second DELETE could go back to the platform's key where the first one cancelled a scheduled one.

    A second resumption could undo a suspension of the meantime.
    """
    recorder = Recorder(*[problem(503, "key_unreachable", detail="silent")] * 3)
    with pytest.raises(KeyUnreachable):
        CALLS[call][0](client(recorder))
    assert len(recorder.requests) == times


@pytest.mark.parametrize("call", ["configure", "revert", "policy"])
def test_what_waits_for_a_second_person_is_not_tried_again(call: str) -> None:
    recorder = Recorder(problem(409, "approval_needed", detail="kept", hint="another person repeats it"))
    with pytest.raises(ApprovalNeeded, match="kept") as caught:
        CALLS[call][0](client(recorder))
    assert (caught.value.hint, caught.value.remedy) == ("another person repeats it", "tenant")
    assert len(recorder.requests) == 1


def test_a_key_that_did_not_pass_is_not_tried_again() -> None:
    recorder = Recorder(problem(422, "key_check_failed", detail="no", checks=[CHECK]))
    with pytest.raises(KeyCheckFailed) as caught:
        CALLS["configure"][0](client(recorder))
    assert caught.value.checks == (CHECK,)
    assert len(recorder.requests) == 1


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"display_name": ""}, {"display_name": ""}),
        ({"offering": "shield"}, {"offering": "shield"}),
        ({"accept_unbound_policy": False}, {"accept_unbound_policy": False}),
        ({"display_name": None, "offering": "x"}, {"offering": "x"}),
    ],
)
def test_update_tenant(given: dict[str, Any], sent: dict[str, object]) -> None:
    recorder, service = asked(httpx.Response(200, json={**TENANT, "offering": "x", "unbound_policy_accepted": True}))
    found = service.update_tenant("acme", **given)
    assert (found.offering, found.unbound_policy_accepted) == ("x", True)
    assert recorder.lines == ["PATCH /v1/tenants/acme"]
    assert json.loads(recorder.requests[0].content) == sent
