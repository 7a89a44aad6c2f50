"""Paths match exactly or not at all."""

from __future__ import annotations

import pytest

from core.errors import MethodNotAllowed, NotFound
from functions.operations import OPERATIONS
from functions.route import Route
from functions.routes import ROUTES, match


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_every_route_is_found_with_its_parameters(route: Route) -> None:
    given = {"tenant_id": "a-1", "provider": "aws_kms", "receipt_id": "0123-ab_C"}
    found = match(route.method, route.template.format(**given))
    assert found.route is route
    assert found.parameters == {name: given[name] for name in route.parameters}


def test_every_route_has_its_operation_and_no_operation_is_left_over() -> None:
    assert [route.operation for route in ROUTES] == list(OPERATIONS)
    assert len({(route.method, route.template) for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/v1/tenants/acme/key/receipts/",
        "/v1/tenants/acme/key/receipts/a/b",
        "/v1/tenants/acme/key/receipts/..",
        "/v1/tenants/acme/key/receipts/a%2Fb",
        "/v1/tenants/acme/key/policy/",
        "/v1/tenants/acme/key/suspend/now",
        "/v1/tenants/acme/suspend",
        "/v1/tenants/acme/receipts",
        "/",
        "*",
        "v1/tenants",
        "/v1",
        "/v1/tenants/",
        "/v1/tenants//key",
        "//v1/tenants",
        "/v1//tenants",
        "/v1/tenants/acme/",
        "/v1/tenants/acme/key/",
        "/v1/tenants/acme/KEY",
        "/V1/tenants",
        "/v1/tenants/acme%2Fkey",
        "/v1/tenants/acme%2fkey",
        "/v1/tenants/%61cme",
        "/v1/tenants/acme%00",
        "/v1/tenants/.",
        "/v1/tenants/..",
        "/v1/tenants/../tenants",
        "/v1/tenants/./key",
        "/v1/tenants/acme/../beta/key",
        "/v1/tenants/acme/..%2fbeta/key",
        "/v1/tenants/acme\\key",
        "/v1/tenants/acme;x=1",
        "/v1/tenants/acme/key\n",
        "/v1/tenants/acme\n",
        "/v1/tenants/ac me",
        "/v1/tenants/\u00e4",
        "/v1/tenants/" + "a" * 129,
        "/v1/tenants/acme/encrypt/x",
        "/v1/tenants/acme/key/setup",
        "/v1/tenants/acme/key/setup/",
        "/v1/tenants/acme/key/setup/aws_kms/x",
        "/v1/tenants/acme/key/setup/aws%5Fkms",
        "/v1/azure",
        "/v1/azure/",
        "/v1/azure/consent/",
        "/v1/azure/Consent",
        "/v1/azure/consent/acme",
        "/healthz/",
        "/healthz.json",
        "/.well-known/jwks_json",
    ],
)
def test_no_other_path_matches(path: str) -> None:
    for method in ("GET", "POST", "PUT", "OPTIONS"):
        with pytest.raises(NotFound):
            match(method, path)


def test_head_finds_the_get_route_only() -> None:
    assert match("HEAD", "/healthz").route.operation == "health"
    with pytest.raises(MethodNotAllowed):
        match("HEAD", "/v1/tenants/acme/encrypt")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/tenants/acme", ("GET", "HEAD", "OPTIONS", "PATCH", "PUT")),
        ("POST", "/v1/tenants/acme/key", ("DELETE", "GET", "HEAD", "OPTIONS", "PUT")),
        ("POST", "/v1/tenants/acme/key/setup/aws_kms", ("GET", "HEAD", "OPTIONS")),
        ("POST", "/v1/azure/consent", ("GET", "HEAD", "OPTIONS")),
        ("PUT", "/v1/tenants/acme/key/policy", ("OPTIONS", "PATCH")),
        ("GET", "/v1/tenants/acme/key/suspend", ("OPTIONS", "POST")),
        ("DELETE", "/v1/tenants/acme/key/suspend", ("OPTIONS", "POST")),
        ("GET", "/v1/tenants/acme/key/resume", ("OPTIONS", "POST")),
        ("DELETE", "/v1/tenants/acme/key/receipts/a", ("GET", "HEAD", "OPTIONS")),
        ("POST", "/v1/tenants/acme/key/receipts", ("GET", "HEAD", "OPTIONS")),
        ("get", "/healthz", ("GET", "HEAD", "OPTIONS")),
        ("GET", "/v1/tenants/acme/encrypt", ("OPTIONS", "POST")),
        ("TRACE", "/v1/tenants", ("GET", "HEAD", "OPTIONS")),
    ],
)
def test_another_method_is_told_the_allowed_ones(method: str, path: str, allowed: tuple[str, ...]) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        match(method, path)
    assert caught.value.allowed == allowed
