"""What the handler does on the routes about a tenant's key."""

from __future__ import annotations

import json

import pytest

from core.domain.key_target import KeyTarget
from core.errors import KeyCheckFailed
from functions.handlers import Handler
from functions.models import answers
from functions.models.requests import KeyBody
from tests.functions import tokens
from tests.functions.exchange import OPERATOR, code, ok, request
from tests.functions.fakes import ARN, REPORT, ROLE, WHEN, FakeKeystead

KEY = "/v1/tenants/acme/key"


@pytest.mark.parametrize(("method", "target"), [("PUT", KEY), ("POST", f"{KEY}/validate")])
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, KeyTarget(ARN)),
        (
            {"role_arn": ROLE, "nickname": "päth", "activation_date": "2027-01-31", "reversible": True},
            KeyTarget(ARN, ROLE, "päth", "2027-01-31T00:00:00.000000Z", reversible=True),
        ),
        ({"activation_date": "2027-01-31T08:00:00+02:00"}, KeyTarget(ARN, activation="2027-01-31T06:00:00.000000Z")),
        ({"role_arn": "", "nickname": "", "activation_date": "", "reversible": False}, KeyTarget(ARN)),
    ],
)
def test_a_key_reaches_the_service(
    fake_handler: Handler,
    fake: FakeKeystead,
    method: str,
    target: str,
    fields: dict[str, object],
    expected: KeyTarget,
) -> None:
    body = {"provider": "aws_kms", "key_arn": ARN, **fields}
    answer = ok(fake_handler.handle(request(method, target, body)))
    assert fake.targets == [expected]
    assert [check["result"] for check in answer["checks"]] == ["pass", "warn"]


def test_a_keys_status_is_told_whole(fake_handler: Handler) -> None:
    found = ok(fake_handler.handle(request("GET", KEY)))
    assert found["pending"] == {
        "kek": ARN,
        "role_arn": ROLE,
        "nickname": "production",
        "activation": WHEN,
        "reversible": True,
    }
    assert found["move"] == {"moving_from": "local:platform", "moving_to": ARN, "rewrapped": 1, "total": 3}
    assert (found["exclusive_from"], found["unreadable_versions"], found["role_arn"]) == (WHEN, 2, ROLE)
    idle = ok(fake_handler.handle(request("POST", f"{KEY}/check", {})))
    assert (idle["pending"], idle["move"]) == (None, None)


def test_a_failed_examination_is_told_whole(fake_handler: Handler, fake: FakeKeystead) -> None:
    checks = tuple(check.to_body() for check in REPORT.checks)
    fake.breaks = KeyCheckFailed("it did not pass", hint="mend it", checks=checks)
    response = fake_handler.handle(request("PUT", KEY, dict(KeyBody.example)))
    assert (response.status, code(response)) == (422, "key_check_failed")
    problem = json.loads(response.body)
    assert (problem["checks"], problem["remedy"]) == ([*checks], "tenant")
    answers.Problem.model_validate(problem)


def test_only_what_was_given_is_changed(fake_handler: Handler, fake: FakeKeystead) -> None:
    for body, changes in (
        ({"offering": "shield"}, {"display_name": None, "offering": "shield", "accepted": None}),
        ({"display_name": "", "offering": None}, {"display_name": "", "offering": None, "accepted": None}),
        ({"accept_unbound_policy": False}, {"display_name": None, "offering": None, "accepted": False}),
    ):
        ok(fake_handler.handle(request("PATCH", "/v1/tenants/acme", body, token=OPERATOR)))
        assert fake.changes == changes


def test_who_may_check_keys(fake_handler: Handler) -> None:
    for token, status in (
        (OPERATOR, 200),
        (tokens.mint(scope="key:manage"), 200),
        (tokens.mint(scope="key:read"), 403),
        (tokens.mint(scope="data:encrypt data:decrypt"), 403),
        (tokens.mint(tenant_id="beta", scope="key:manage"), 403),
    ):
        assert fake_handler.handle(request("POST", f"{KEY}/check", {}, token=token)).status == status
