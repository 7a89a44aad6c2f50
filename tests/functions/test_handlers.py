"""What the handler does on every route, and what never gets through it."""

from __future__ import annotations

import base64
import json
import logging

import pytest

from core.bootstrap import Application
from core.domain.tenants import SYSTEM
from core.errors import Silence, StoreCorrupt, TooManyRequests
from core.service.access import Permission
from functions import handlers
from functions.handlers import Admission, Handler
from functions.messages import MAX_BODY, Request, Response
from functions.models import answers, key_answers
from functions.models.base import Model
from functions.models.key_requests import AwsKeyBody, AzureKeyBody, PolicyBody, SuspendBody
from functions.operations import OPERATIONS
from functions.route import Route
from functions.routes import ROUTES
from tests.functions.exchange import APP, OPERATOR, code, ok, request
from tests.functions.fakes import FakeKeystead


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_the_story(handler: Handler) -> None:
    assert ok(handler.handle(request("PUT", "/v1/tenants/new", {"display_name": "New"}, token=OPERATOR)), 201)
    again = ok(handler.handle(request("PUT", "/v1/tenants/new", token=OPERATOR)))
    assert again["tenant_id"] == "new"
    page = ok(handler.handle(request("GET", "/v1/tenants?limit=2", token=OPERATOR)))
    assert [tenant["tenant_id"] for tenant in page["tenants"]] == ["acme", "beta"]
    rest = ok(handler.handle(request("GET", f"/v1/tenants?after={page['next']}", token=OPERATOR)))
    assert [tenant["tenant_id"] for tenant in rest["tenants"]] == ["new"]
    assert rest["next"] is None
    assert ok(handler.handle(request("GET", "/v1/tenants/acme")))["tenant_id"] == "acme"

    body = {"plaintext": b64(b"hello"), "context": {"purpose": "x"}}
    message = ok(handler.handle(request("POST", "/v1/tenants/acme/encrypt", body)))["message"]
    before = ok(handler.handle(request("GET", "/v1/tenants/acme/key")))
    rotation = ok(handler.handle(request("POST", "/v1/tenants/acme/key/rotate")))
    assert rotation["sequence"] == before["active_sequence"] + 1
    opened = handler.handle(
        request("POST", "/v1/tenants/acme/decrypt", {"message": message, "context": {"purpose": "x"}})
    )
    assert ok(opened) == {"plaintext": b64(b"hello")}

    grant = ok(handler.handle(request("POST", "/v1/tenants/acme/data-keys", {"context": {"file": "f"}})))
    for context in ({"file": "f"}, grant["context"]):
        edk = {"encrypted_data_key": grant["encrypted_data_key"], "context": context}
        same = ok(handler.handle(request("POST", "/v1/tenants/acme/data-keys/decrypt", edk)))
        assert same == {"data_key": grant["data_key"]}

    first = ok(handler.handle(request("GET", "/v1/tenants/acme/audit?limit=1")))
    assert [entry["action"] for entry in first["entries"]] == ["key.rotate"]
    assert first["next"] == 1
    assert ok(handler.handle(request("GET", "/v1/tenants/acme/audit?after=1")))["entries"] == []
    assert ok(handler.handle(request("GET", "/v1/tenants/acme/audit/checkpoints")))["checkpoints"]
    assert ok(handler.handle(request("GET", "/healthz")))["ok"] is True
    assert ok(handler.handle(request("GET", "/.well-known/jwks.json")))["keys"]
    assert ok(handler.handle(request("GET", "/openapi.json")))["openapi"].startswith("3.1")


def test_raw(handler: Handler) -> None:
    context = {"keystead-context": b64(b'{"purpose":"x"}')}
    sealed = handler.handle(request("POST", "/v1/tenants/acme/encrypt", b"\x00\xff", headers=context))
    assert sealed.status == 200
    assert sealed.headers["content-type"] == "application/octet-stream"
    opened = handler.handle(request("POST", "/v1/tenants/acme/decrypt", sealed.body, headers=context))
    assert (opened.status, opened.body) == (200, b"\x00\xff")
    assert code(handler.handle(request("POST", "/v1/tenants/acme/decrypt", sealed.body))) == "context_mismatch"


def test_raw_nothing_is_something(handler: Handler) -> None:
    empty = {"content-type": "application/octet-stream"}
    sealed = handler.handle(request("POST", "/v1/tenants/acme/encrypt", b"", headers=empty))
    opened = handler.handle(request("POST", "/v1/tenants/acme/decrypt", sealed.body))
    assert (sealed.status, opened.status, opened.body) == (200, 200, b"")


def test_batch_with_results_of_their_own(handler: Handler) -> None:
    items = [{"plaintext": b64(b"one")}, {"plaintext": b64(b"two"), "context": {"tenant_id": "beta"}}]
    sealed = ok(handler.handle(request("POST", "/v1/tenants/acme/encrypt", {"items": items})))["items"]
    assert set(sealed[0]) == {"message"}
    assert sealed[1]["error"]["code"] == "invalid_request"
    assert "request_id" not in sealed[1]["error"]
    broken = {"message": b64(b"no message")}
    opened = ok(handler.handle(request("POST", "/v1/tenants/acme/decrypt", {"items": [broken, sealed[0]]})))["items"]
    assert opened[0]["error"]["status"] == 422
    assert opened[1] == {"plaintext": b64(b"one")}


SAMPLES: dict[str, tuple[object, type[Model] | None]] = {
    "create_tenant": ({"display_name": "x"}, answers.Tenant),
    "update_tenant": ({"offering": "default"}, answers.Tenant),
    "configure_key": (dict(AzureKeyBody.example), key_answers.KeyConfigured),
    "validate_key": (dict(AwsKeyBody.example), key_answers.Report),
    "check_key": ({}, key_answers.KeyStatus),
    "set_policy": (dict(PolicyBody.example), key_answers.KeyStatus),
    "suspend_key": (dict(SuspendBody.example), key_answers.KeyStatus),
    "resume_key": ({}, key_answers.KeyStatus),
    "rotate": ({}, key_answers.Rotation),
    "encrypt": ({"plaintext": ""}, answers.Encrypted),
    "decrypt": ({"message": b64(b"sealed:x")}, answers.Decrypted),
    "new_data_key": ({}, answers.DataKey),
    "open_data_key": ({"encrypted_data_key": b64(b"edk")}, answers.OpenedDataKey),
}


def path(route: Route, tenant_id: str = "acme") -> str:
    return route.template.format(tenant_id=tenant_id, provider="aws_kms", receipt_id="receipt-1")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_answers_are_what_the_table_says(route: Route, fake_handler: Handler) -> None:
    body, _ = SAMPLES.get(route.operation, (None, None))
    token = OPERATOR if Permission.PLATFORM_OPERATE in route.permission else APP
    response = fake_handler.handle(request(route.method, path(route), body, token=token))
    assert response.status == (201 if route.creates else route.success)
    if route.response is not None:
        route.response.model_validate_json(response.body, strict=False)
    if route.batch is not None and route.batch_response is not None:
        several = fake_handler.handle(request(route.method, path(route), {"items": [body, body]}))
        route.batch_response.model_validate_json(several.body, strict=False)


def test_the_caller_reaches_the_service(fake_handler: Handler, fake: FakeKeystead) -> None:
    fake_handler.handle(request("GET", "/v1/tenants/acme/key"))
    [caller] = fake.callers
    assert (caller.subject, caller.tenant_id, caller.request_id) == ("app", "acme", "request-1")


def test_head_is_get_without_the_body(handler: Handler) -> None:
    whole, head = (handler.handle(request(method, "/healthz")) for method in ("GET", "HEAD"))
    assert head.body == b""
    assert head.headers == {**whole.headers, "content-length": str(len(whole.body))}
    refused = handler.handle(request("HEAD", "/v1/tenants/acme/encrypt"))
    assert (refused.status, refused.body) == (405, b"")


def test_options_tells_the_methods_without_a_token(handler: Handler) -> None:
    response = handler.handle(Request("OPTIONS", "/v1/tenants/acme/encrypt"))
    assert (response.status, response.headers["allow"], response.body) == (204, "OPTIONS, POST", b"")
    assert code(handler.handle(Request("OPTIONS", "/nowhere"))) == "not_found"


@pytest.mark.parametrize("given", ["abcdef12", "a.B-c_d9" * 8])
def test_request_ids_are_taken(handler: Handler, given: str) -> None:
    response = handler.handle(Request("GET", "/healthz", headers={"x-request-id": given}))
    assert response.headers["x-request-id"] == given


@pytest.mark.parametrize(
    "given", ["short", "x" * 65, "line\nbreak1", "<script>xx", "-leading1", "a b c d e f", "\u00e4" * 9]
)
def test_request_ids_are_made(handler: Handler, given: str) -> None:
    response = handler.handle(Request("GET", "/healthz", headers={"x-request-id": given}))
    assert response.headers["x-request-id"] != given
    assert len(response.headers["x-request-id"]) == 32


@pytest.mark.parametrize("size", [2_000_000, 3_000_000, 3_140_000, 3_143_000, 3_145_000, 3_145_670])
def test_whatever_encrypt_returns_fits_into_decrypt(handler: Handler, size: int) -> None:
    body = {"plaintext": b64(bytes(size)), "context": {"a": "\u00e4" * 500}}
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    sent = request("POST", "/v1/tenants/acme/encrypt", headers={"content-type": "application/json"})
    sealed = handler.handle(Request(sent.method, sent.path, headers=sent.headers, body=data))
    if sealed.status == 413:
        assert size > 3_100_000
        assert json.loads(sealed.body)["hint"]
        return
    back = {"message": json.loads(sealed.body)["message"], "context": body["context"], "foreign": False}
    assert handler.handle(request("POST", "/v1/tenants/acme/decrypt", back)).status == 200


@pytest.mark.parametrize("size", [MAX_BODY - 100_000, MAX_BODY - 10, MAX_BODY])
def test_whatever_raw_encrypt_returns_fits_into_raw_decrypt(handler: Handler, size: int) -> None:
    sealed = handler.handle(request("POST", "/v1/tenants/acme/encrypt", bytes(size)))
    if sealed.status == 413:
        assert size > MAX_BODY - 100_000
        return
    assert handler.handle(request("POST", "/v1/tenants/acme/decrypt", sealed.body)).body == bytes(size)


def test_a_batch_that_would_not_fit_back_is_refused(fake_handler: Handler, fake: FakeKeystead) -> None:
    fake.overhead = bytes(40_000)
    items = {"items": [{"plaintext": ""}] * 100}
    assert code(fake_handler.handle(request("POST", "/v1/tenants/acme/encrypt", items))) == "payload_too_large"


class Secret(Exception):
    """Something whose text nobody may see."""


@pytest.mark.parametrize(
    "error", [Secret("canary-1"), Silence("canary-1"), ValueError("canary-1"), KeyError("canary-1")]
)
def test_the_unforeseen_is_an_internal_error_without_detail(
    fake_handler: Handler, fake: FakeKeystead, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    fake.breaks = error
    with caplog.at_level(logging.DEBUG):
        response = fake_handler.handle(
            request("POST", "/v1/tenants/acme/encrypt", {"plaintext": b64(b"canary-1"), "context": {"a": "canary-1"}})
        )
    assert (response.status, code(response)) == (500, "internal")
    assert b"canary-1" not in response.body
    logged = [record.__dict__ for record in caplog.records]
    assert "canary-1" not in str(logged)
    assert b64(b"canary-1") not in str(logged)
    [bug] = [record for record in caplog.records if record.message == "bug"]
    assert type(error).__name__ in str(bug.fields)  # type: ignore[attr-defined] # set through `extra`
    assert "fakes.py" in str(bug.fields)  # type: ignore[attr-defined]
    assert bug.exc_info is None


def test_errors_made_on_purpose_keep_their_text(fake_handler: Handler, fake: FakeKeystead) -> None:
    fake.breaks = StoreCorrupt("a row failed its check")
    response = fake_handler.handle(request("GET", "/v1/tenants/acme/key"))
    assert (response.status, code(response)) == (500, "store_corrupt")
    fake.breaks = TooManyRequests("slow down", retry_after=9)
    assert fake_handler.handle(request("GET", "/v1/tenants/acme/key")).headers["retry-after"] == "9"


def test_health_that_is_not_ok_is_503(fake_handler: Handler, fake: FakeKeystead) -> None:
    fake.breaks = Secret()
    response = fake_handler.handle(request("GET", "/healthz"))
    assert (response.status, json.loads(response.body)["ok"]) == (503, False)
    assert response.headers["retry-after"] == "5"


def test_one_line_per_request(handler: Handler, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="keystead.request"):
        handler.handle(request("GET", "/v1/tenants/acme/key?x=canary-2"))
        handler.handle(request("GET", "/canary-2"))
        handler.handle(request("GET", "/v1/tenants/acme/key"))
    first, second, third = [record.fields for record in caplog.records if record.name == "keystead.request"]  # type: ignore[attr-defined]
    assert "canary-2" not in str(caplog.records)
    assert (first["status"], first["code"], first["route"]) == (400, "invalid_request", "/v1/tenants/{tenant_id}/key")
    assert second["status"] == 404
    assert "route" not in second
    assert third.items() >= {"status": 200, "tenant": "acme", "subject": "app", "request_id": "request-1"}.items()
    assert third["duration_ms"] >= 0


def test_nothing_is_read_before_the_token(fake_handler: Handler, fake: FakeKeystead) -> None:
    """A broken body under a bad token is a 401: the body was not looked at."""
    bad = request("POST", "/v1/tenants/acme/encrypt", b"{", headers={"authorization": "Bearer x"})
    assert code(fake_handler.handle(bad)) == "unauthenticated"
    assert fake.callers == []


def test_admission_comes_before_the_body(fake_handler: Handler) -> None:
    head = request("POST", "/v1/tenants/acme/encrypt", headers={"content-type": "application/octet-stream"})
    admitted = fake_handler.admit(head)
    assert isinstance(admitted, Admission)
    assert admitted.max_body == MAX_BODY
    assert fake_handler.serve(admitted, b"x").body == b"sealed:x"
    assert isinstance(fake_handler.admit(request("POST", "/v1/tenants/acme/encrypt", token="x")), Response)


def test_nothing_is_read_for_a_caller_that_may_not(
    handler: Handler, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither body nor query; the refusal is recorded once, in the actor's chain and the operator's."""
    audit = application.keystead._parts.audit_log
    read: list[object] = []
    monkeypatch.setattr(handlers, "read_body", lambda *given: read.append(given))
    monkeypatch.setattr(handlers, "read_query", lambda *given: read.append(given))
    head = request("POST", "/v1/tenants/beta/encrypt?x=1", {"items": []})
    admitted = handler.admit(head)
    assert isinstance(admitted, Admission)
    assert not admitted.reads_body
    assert audit.read("acme", limit=9) == []
    assert code(handler.serve(admitted, b"")) == "access_denied"
    assert read == []
    for chain in ("acme", SYSTEM):
        denied = [entry for entry in audit.read(chain, limit=99) if entry.action == "access.denied"]
        assert [(entry.subject, entry.details["operation"]) for entry in denied] == [("app", "data.encrypt")]


def test_which_bodies_a_host_reads(fake_handler: Handler) -> None:
    def reads(method: str, target: str, token: str = APP) -> bool:
        admitted = fake_handler.admit(request(method, target, token=token))
        assert isinstance(admitted, Admission)
        return admitted.reads_body

    assert reads("POST", "/v1/tenants/acme/encrypt")
    assert not reads("POST", "/v1/tenants/beta/encrypt")
    assert not reads("PUT", "/v1/tenants/acme")
    assert reads("PUT", "/v1/tenants/acme", OPERATOR)
    assert not reads("GET", "/v1/tenants/acme/key")
    assert not reads("GET", "/healthz")


def test_tenant_of_another_and_of_nobody_are_answered_alike(handler: Handler, application: Application) -> None:
    assert application.tenants.read("beta").tenant_id == "beta"
    for route in ROUTES:
        if not route.parameters:
            continue
        body = SAMPLES.get(route.operation, (None, None))[0]
        bodies = {handler.handle(request(route.method, path(route, name), body)).body for name in ("beta", "nobody")}
        assert len(bodies) == 1
        assert json.loads(bodies.pop())["code"] == "access_denied"


def test_every_operation_is_exercised() -> None:
    assert set(SAMPLES) <= set(OPERATIONS)
    assert {route.operation for route in ROUTES if route.request is not None} == set(SAMPLES)
