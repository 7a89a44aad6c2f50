"""What the handler does on the routes of policy, kill switch and receipts."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from core.domain.key_policy import KeyPolicy, PolicyChange
from core.service.access import Permission
from functions.handlers import Handler
from functions.models import answers
from tests.functions import tokens
from tests.functions.exchange import OPERATOR, code, ok, request
from tests.functions.fakes import ARN, WHEN, FakeKeystead

KEY = "/v1/tenants/acme/key"
SUSPENDER, MANAGER = (tokens.mint(scope=f"key:{what}") for what in ("suspend", "manage"))


@pytest.mark.parametrize(
    ("body", "change"),
    [
        ({"lease": 0}, PolicyChange(lease=0)),
        ({"lease": 12.5, "outage_grace": 86400}, PolicyChange(lease=12.5, outage_grace=86400)),
        ({"lease": 3600, "outage_grace": 0}, PolicyChange(lease=3600, outage_grace=0)),
        ({"rotation_days": 1, "lease": None}, PolicyChange(rotation_days=1)),
        ({"rotation_days": 365}, PolicyChange(rotation_days=365)),
        (
            {"fallback": "platform", "approval": "second_person"},
            PolicyChange(None, None, None, "platform", "second_person"),
        ),
        ({"fallback": "", "approval": ""}, PolicyChange(fallback="", approval="")),
    ],
)
def test_only_the_knobs_that_were_given_are_turned(
    fake_handler: Handler, fake: FakeKeystead, body: dict[str, object], change: PolicyChange
) -> None:
    found = ok(fake_handler.handle(request("PATCH", f"{KEY}/policy", body)))
    assert fake.policy_changes == [change]
    assert found["policy"] == asdict(change.apply(KeyPolicy()))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, ""),
        ({}, ""),
        ({"reason": ""}, ""),
        ({"reason": "incident 4711 – ä"}, "incident 4711 – ä"),
        ({"reason": "r" * 200}, "r" * 200),
    ],
)
def test_a_key_is_suspended_for_a_reason_or_without_one(
    fake_handler: Handler, fake: FakeKeystead, body: object, reason: str
) -> None:
    found = ok(fake_handler.handle(request("POST", f"{KEY}/suspend", body, token=SUSPENDER)))
    assert (found["state"], found["may_read"], found["may_write"]) == ("suspended", False, False)
    assert fake.reasons == [reason]


def test_a_key_is_resumed(fake_handler: Handler) -> None:
    bodies: tuple[object, ...] = (None, {})
    for body in bodies:
        assert ok(fake_handler.handle(request("POST", f"{KEY}/resume", body)))["state"] == "active"


ENTRY = {
    "id": "receipt-1",
    "issued": WHEN,
    "kek": ARN,
    "cause": "disabled",
    "first_denial": WHEN,
    "confirmed": WHEN,
    "not_served_after": WHEN,
    "reinstated": "",
    "holds_until": "",
}


def test_receipts_are_listed_and_told_whole(fake_handler: Handler, fake: FakeKeystead) -> None:
    listed = ok(fake_handler.handle(request("GET", f"{KEY}/receipts")))
    assert listed == {"receipts": [ENTRY, {**ENTRY, "id": "receipt-2", "reinstated": WHEN}]}
    found = ok(fake_handler.handle(request("GET", f"{KEY}/receipts/receipt-1")))
    assert found == {**ENTRY, "statement": "e30.e30.c2ln"}
    assert fake.asked_for == ["receipt-1"]


@pytest.mark.parametrize("receipt_id", ["nobody-s", "a.b", "a~b", "a" * 65, "...", "tenant.json"])
def test_a_receipt_that_is_none(fake_handler: Handler, receipt_id: str) -> None:
    response = fake_handler.handle(request("GET", f"{KEY}/receipts/{receipt_id}"))
    assert (response.status, code(response)) == (404, "not_found")
    assert json.loads(response.body)["detail"] == "there is no such receipt"


GRANTED = [
    ("PATCH", "/policy", {"lease": 1}, {"platform:operate", "key:manage"}),
    ("POST", "/suspend", {}, {"platform:operate", "key:suspend"}),
    ("POST", "/resume", {}, {"key:manage"}),
    ("GET", "/receipts", None, {"audit:read"}),
    ("GET", "/receipts/receipt-1", None, {"audit:read"}),
]


@pytest.mark.parametrize(("method", "path", "body", "scopes"), GRANTED)
def test_each_scope_grants_what_it_says(
    fake_handler: Handler, method: str, path: str, body: object, scopes: set[str]
) -> None:
    for scope in Permission:
        own = None if scope is Permission.PLATFORM_OPERATE else "acme"
        token = tokens.mint(tenant_id=own, scope=scope.value)
        response = fake_handler.handle(request(method, f"{KEY}{path}", body, token=token))
        assert response.status == (200 if scope in scopes else 403), scope
    other = tokens.mint(tenant_id="beta", scope=" ".join(set(Permission) - {"platform:operate"}))
    assert fake_handler.handle(request(method, f"{KEY}{path}", body, token=other)).status == 403


def test_the_kill_switch_of_the_service_itself(handler: Handler) -> None:
    encrypt = request("POST", "/v1/tenants/acme/encrypt", {"plaintext": "aGVsbG8="})
    sealed = ok(handler.handle(encrypt))["message"]
    found = ok(handler.handle(request("POST", f"{KEY}/suspend", {"reason": "canary-reason"}, token=SUSPENDER)))
    assert (found["state"], found["may_read"], found["may_write"]) == ("suspended", False, False)
    decrypt = request("POST", "/v1/tenants/acme/decrypt", {"message": sealed})
    for refused in (handler.handle(encrypt), handler.handle(decrypt)):
        assert (refused.status, code(refused)) == (424, "key_suspended")
        assert json.loads(refused.body)["remedy"] == "tenant"
        assert b"canary-reason" not in refused.body, "the reason is for the audit chain"
    changes = ok(handler.handle(request("GET", KEY)))["timeline"]
    assert [(change["signal"], change["by"]) for change in changes] == [("suspend", "app")]
    assert ok(handler.handle(request("POST", f"{KEY}/resume", token=MANAGER)))["state"] == "platform"
    assert ok(handler.handle(decrypt)) == {"plaintext": "aGVsbG8="}


def test_two_people_loosen_what_one_may_tighten(handler: Handler) -> None:
    policy, colleague = f"{KEY}/policy", tokens.mint(sub="colleague", scope="key:manage")
    ok(handler.handle(request("PATCH", policy, {"approval": "second_person", "lease": 30}, token=MANAGER)))
    for _ in range(2):
        response = handler.handle(request("PATCH", policy, {"lease": 60}, token=MANAGER))
        assert (response.status, code(response)) == (409, "approval_needed")
        told = json.loads(response.body)
        assert (told["retryable"], told["remedy"]) == (False, "tenant")
        answers.Problem.model_validate(told)
    assert ok(handler.handle(request("PATCH", policy, {"lease": 10}, token=MANAGER)))["policy"]["lease"] == 10
    ok(handler.handle(request("GET", KEY)))
    assert code(handler.handle(request("PATCH", policy, {"lease": 60}, token=MANAGER))) == "approval_needed"
    assert ok(handler.handle(request("PATCH", policy, {"lease": 60}, token=colleague)))["policy"]["lease"] == 60


def test_an_operator_only_tightens(handler: Handler) -> None:
    policy = f"{KEY}/policy"
    assert ok(handler.handle(request("PATCH", policy, {"lease": 5}, token=OPERATOR)))["policy"]["lease"] == 5
    for body in ({"lease": 6}, {"fallback": "platform"}, {"approval": "second_person"}):
        refused = handler.handle(request("PATCH", policy, body, token=OPERATOR))
        assert (refused.status, code(refused)) == (403, "access_denied")
    assert ok(handler.handle(request("GET", KEY)))["policy"]["lease"] == 5
