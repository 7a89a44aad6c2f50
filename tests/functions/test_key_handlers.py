"""What the handler does on the routes about a tenant's key."""

from __future__ import annotations

import json

import pytest

from core.domain.key_target import KeyTarget
from core.errors import KeyCheckFailed
from functions.handlers import Handler
from functions.models import answers, key_answers
from functions.models.key_requests import AwsKeyBody
from tests.functions import tokens
from tests.functions.exchange import OPERATOR, code, ok, request
from tests.functions.fakes import ARN, ENTRA, KEY_ID, KEY_VERSION, REPORT, ROLE, VAULT, WHEN, FakeKeystead

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


AZURE = {"provider": "azure_key_vault", "vault_url": VAULT, "entra_tenant": ENTRA, "key_name": "kek"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "provider: required"),
        ({"provider": "gcp", "key_arn": ARN}, "provider: must be one of aws_kms, azure_key_vault"),
        ({"provider": "aws_kms"}, "key_arn: field required"),
        ({"provider": "azure_key_vault"}, "entra_tenant: field required; key_name: field required"),
        ({"provider": "azure_key_vault", "key_arn": ARN}, "key_arn can be given for aws_kms only"),
        ({**AZURE, "role_arn": "", "key_arn": ARN}, "key_arn and role_arn can be given for aws_kms only"),
        (
            {"provider": "aws_kms", "key_arn": ARN, **{name: AZURE[name] for name in AZURE if name != "provider"}},
            "entra_tenant and key_name and vault_url can be given for azure_key_vault only",
        ),
        ({**AZURE, "keyname": "kek"}, "unknown field (did you mean key_name?)"),
        ({**AZURE, "vault_url": "https://acme.example"}, "this is not the address of a vault in Azure"),
        ({**AZURE, "entra_tenant": "acme.com"}, "an Entra tenant is named by its id"),
        ({**AZURE, "key_name": "https://b-kv.vault.azure.net/keys/k"}, "names another vault than the vault's address"),
        ({**AZURE, "vault_url": ""}, "the vault's address is missing"),
    ],
)
def test_what_is_wrong_with_a_key_is_said(
    fake_handler: Handler, fake: FakeKeystead, body: dict[str, object], said: str
) -> None:
    for method, target in (("PUT", KEY), ("POST", f"{KEY}/validate")):
        response = fake_handler.handle(request(method, target, body))
        assert (response.status, code(response)) == (400, "invalid_request")
        assert said in json.loads(response.body)["detail"]
    assert not fake.targets


@pytest.mark.parametrize(("method", "target"), [("PUT", KEY), ("POST", f"{KEY}/validate")])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"vault_url": f"{VAULT}/"},
        {"vault_url": "https://ACME-KV.vault.azure.NET", "key_name": "KEK"},
        {"entra_tenant": ENTRA.upper()},
        {"key_name": KEY_ID},
        {"key_name": KEY_VERSION},
        {"key_name": KEY_VERSION.upper().replace("HTTPS", "https").replace("/KEYS/", "/keys/"), "vault_url": ""},
    ],
)
def test_a_key_in_azure_reaches_the_service_without_a_version(
    fake_handler: Handler, fake: FakeKeystead, method: str, target: str, fields: dict[str, object]
) -> None:
    ok(fake_handler.handle(request(method, target, {**AZURE, **fields})))
    assert fake.targets == [KeyTarget(KEY_ID, entra_tenant=ENTRA)]


def test_a_managed_hsm_with_all_there_is_to_say(fake_handler: Handler, fake: FakeKeystead) -> None:
    body = {
        "provider": "azure_key_vault",
        "entra_tenant": ENTRA,
        "key_name": "https://acme-hsm.managedhsm.azure.net/keys/k-1",
        "nickname": "päth",
        "activation_date": "2027-01-31",
        "reversible": True,
    }
    ok(fake_handler.handle(request("PUT", KEY, body)))
    assert fake.targets == [
        KeyTarget(
            str(body["key_name"]),
            nickname="päth",
            activation="2027-01-31T00:00:00.000000Z",
            reversible=True,
            entra_tenant=ENTRA,
        )
    ]


def test_the_setup_kit_is_for_an_entra_tenant(fake_handler: Handler, fake: FakeKeystead) -> None:
    for query, entra in (("", ""), (f"?entra_tenant={ENTRA}", ENTRA), (f"?entra_tenant={ENTRA.upper()}", ENTRA)):
        found = ok(fake_handler.handle(request("GET", f"{KEY}/setup/azure_key_vault{query}")))
        key_answers.SetupKit.model_validate(found, strict=False)
        assert fake.setups.pop() == ("azure_key_vault", entra)
    ok(fake_handler.handle(request("GET", f"{KEY}/setup/aws_kms?entra_tenant=")))
    assert fake.setups == [("aws_kms", "")]


WITHDRAWN: dict[str, object] = {
    "may_read": True,
    "may_write": False,
    "first_denial": WHEN,
    "confirmed": WHEN,
    "kms_code": "DisabledException",
    "request_id": "kms-1",
    "receipt": "receipt-1",
    "falls_back": True,
    "checked": WHEN,
    "timeline": [
        {
            "id": "change-1",
            "at": WHEN,
            "before": "active",
            "after": "hold",
            "signal": "denied",
            "cause": "disabled",
            "kek": ARN,
            "request_id": "kms-1",
            "by": "",
        }
    ],
}


def test_a_keys_status_is_told_whole(fake_handler: Handler) -> None:
    found = ok(fake_handler.handle(request("GET", KEY)))
    assert found["pending"] == {
        "kek": ARN,
        "role_arn": ROLE,
        "entra_tenant": "",
        "nickname": "production",
        "activation": WHEN,
        "reversible": True,
    }
    assert found["move"] == {"moving_from": "local:platform", "moving_to": ARN, "rewrapped": 1, "total": 3}
    assert (found["exclusive_from"], found["unreadable_versions"], found["role_arn"]) == (WHEN, 2, ROLE)
    assert (found["entra_tenant"], found["kek_version"], found["kek_versions"]) == (ENTRA, KEY_VERSION, [KEY_VERSION])
    assert found.items() >= WITHDRAWN.items()
    assert found["policy"] == {"lease": 60, "outage_grace": 900, "rotation_days": 90, "fallback": "", "approval": ""}
    idle = ok(fake_handler.handle(request("POST", f"{KEY}/check", {})))
    assert (idle["pending"], idle["move"]) == (None, None)


def test_a_failed_examination_is_told_whole(fake_handler: Handler, fake: FakeKeystead) -> None:
    checks = tuple(check.to_body() for check in REPORT.checks)
    fake.breaks = KeyCheckFailed("it did not pass", hint="mend it", checks=checks)
    response = fake_handler.handle(request("PUT", KEY, dict(AwsKeyBody.example)))
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
