"""Faults on order, as the SDK meets them: one row for each, and which calls they befall."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.core.rest import HttpRequest

from core.errors import InvalidRequest
from functions.emulators.azure_faults import AzureFault, AzureFaults, Call, azure_fault_from
from functions.emulators.faults import MAX_FAULTS
from tests.emulators.azure.worlds import CLIENT, TENANT, Sdk, World, inner, refused, send, unpadded, use

PLAIN = b"k" * 80
HOST = "acme-kv.vault.azure.net"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (AzureFault(status=429), (429, "Throttled", None)),
        (AzureFault(status=500), (500, "InternalServerError", None)),
        (AzureFault(status=503), (503, "ServiceUnavailable", None)),
        (AzureFault(status=502, code="Odd"), (502, "Odd", None)),
        (AzureFault(inner="New"), (403, "Forbidden", "New")),
        (AzureFault(code="AccessDenied"), (403, "AccessDenied", None)),
        (AzureFault(status=404), (404, "KeyNotFound", None)),
        (AzureFault(status=409, inner="ObjectIsBeingRecovered"), (409, "Conflict", "ObjectIsBeingRecovered")),
    ],
)
def test_refusals_on_order(world: World, sdk: Sdk, fault: AzureFault, expected: tuple[int, str, str | None]) -> None:
    kid, client = world.key(), sdk.keys(world.vault)
    client.get_key("kek")
    world.emulator.add_fault(fault)
    with pytest.raises(HttpResponseError, match="as ordered") as caught:
        use(client, kid, "wrapkey", PLAIN)
    assert inner(caught.value) == expected
    response: Any = caught.value.response
    assert "Retry-After" not in response.headers
    assert "x-ms-keyvault-service-version" in response.headers
    call = world.emulator.calls[-1]
    assert (call.operation, call.status, call.code) == ("wrapkey", expected[0], expected[2] or expected[1])


def test_headers_on_order(world: World, sdk: Sdk) -> None:
    world.key()
    world.emulator.add_fault(AzureFault(operation="get", status=429, headers={"Retry-After": "7"}))
    response = sdk.keys(world.vault).send_request(_request())
    assert (response.status_code, response.headers["Retry-After"]) == (429, "7")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (AzureFault(dropped=True), ServiceResponseError),
        (AzureFault(reset=True), ServiceResponseError),
        (AzureFault(lost=True), ServiceResponseError),
        (AzureFault(hang=True), ServiceResponseTimeoutError),
        (AzureFault(drip=3600), AzureError),
    ],
)
def test_broken_and_slow_connections(world: World, sdk: Sdk, fault: AzureFault, error: type[AzureError]) -> None:
    kid, client = world.key(), sdk.keys(world.vault, read_timeout=0.3)
    send(client, "GET", "/keys/kek")
    world.emulator.clear_calls()
    world.emulator.add_fault(fault)
    with pytest.raises(error):
        use(client, kid, "wrapkey", PLAIN)
    [call] = world.emulator.calls
    assert (call.operation, call.status) == ("wrapkey", 200 if fault.drip else 0)
    world.emulator.clear_faults()
    assert use(client, kid, "wrapkey", PLAIN)["kid"] == kid


def test_what_drips_arrives_whole(world: World, sdk: Sdk) -> None:
    kid = world.key()
    world.emulator.add_fault(AzureFault(operation="get", drip=0.0001))
    assert sdk.keys(world.vault).get_key("kek").id == kid


def test_what_was_lost_has_been_done(world: World, sdk: Sdk) -> None:
    kid, client = world.key(), sdk.keys(world.vault, sdk.owner())
    client.get_key("kek")
    world.emulator.add_fault(AzureFault(operation="rotate", lost=True, times=1))
    with pytest.raises(ServiceResponseError):
        client.rotate_key("kek")
    assert client.get_key("kek").id != kid


def test_a_spurious_challenge_costs_one_more_token(world: World, sdk: Sdk) -> None:
    kid, client = world.key(), sdk.keys(world.vault)
    use(client, kid, "wrapkey", PLAIN)
    world.emulator.clear_calls()
    world.emulator.add_fault(AzureFault(operation="wrapkey", challenge=True, times=1))
    assert use(client, kid, "wrapkey", PLAIN)["kid"] == kid
    assert [(call.operation, call.status) for call in world.emulator.calls] == [("wrapkey", 401), ("wrapkey", 200)]
    world.emulator.add_fault(AzureFault(operation="wrapkey", challenge=True))
    with pytest.raises(HttpResponseError) as caught:
        use(client, kid, "wrapkey", PLAIN)
    assert inner(caught.value) == (401, "Unauthorized", None)


def test_a_redirect_and_a_proxys_page_are_not_the_services(world: World, sdk: Sdk) -> None:
    world.key()
    client = sdk.keys(world.vault)
    client.get_key("kek")
    add = world.emulator.add_fault
    add(AzureFault(redirect="https://evil.example/", times=1))
    add(AzureFault(redirect="https://evil.example/", status=307, times=1))
    add(AzureFault(body=b"<html>proxy</html>", status=403, times=1))
    add(AzureFault(body=b"<html>proxy</html>", times=1))
    given: dict[str, Any] = {"permit_redirects": False}
    answers = [client.send_request(_request(), **given) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [302, 307, 403, 200]
    assert [answer.headers.get("Location") for answer in answers] == ["https://evil.example/"] * 2 + [None] * 2
    assert [answer.text() for answer in answers] == [""] * 2 + ["<html>proxy</html>"] * 2
    assert [name for answer in answers for name in answer.headers if name.lower().startswith("x-ms-")] == []


@pytest.mark.parametrize("corrupt", ["bytes", "truncated"])
def test_answers_that_cannot_be_read(world: World, sdk: Sdk, corrupt: Any) -> None:
    world.key()
    client = sdk.keys(world.vault)
    client.get_key("kek")
    world.emulator.add_fault(AzureFault(corrupt=corrupt, times=1))
    with pytest.raises((DecodeError, UnicodeDecodeError)):  # the SDK leaves the latter as it is
        client.get_key("kek")
    assert world.emulator.calls[-1].status == 200


@pytest.mark.parametrize("corrupt", ["no_object", "no_value", "value", "value_length", "no_kid", "other_key"])
def test_answers_that_say_something_else(world: World, sdk: Sdk, corrupt: Any) -> None:
    kid, client = world.key(), sdk.keys(world.vault)
    wrapped = unpadded(use(client, kid, "wrapkey", PLAIN)["value"])
    good = use(client, kid, "unwrapkey", wrapped)
    world.emulator.add_fault(AzureFault(operation="unwrapkey", corrupt=corrupt, times=1))
    found: Any = use(client, kid, "unwrapkey", wrapped)
    if corrupt == "no_object":
        assert found == []
    elif corrupt.startswith("no_"):
        missing = corrupt.removeprefix("no_")
        assert found == {name: value for name, value in good.items() if name != missing}
    elif corrupt == "value":
        assert len(unpadded(found["value"])) == 80
        assert unpadded(found["value"]) != PLAIN
    elif corrupt == "value_length":
        assert unpadded(found["value"]) == PLAIN[3:]
    else:
        assert found == {**good, "kid": kid.replace("/kek/", "/another/")}
    assert use(client, kid, "unwrapkey", wrapped) == good


def test_another_version_than_was_asked_for(world: World, sdk: Sdk) -> None:
    kid = world.key()
    world.emulator.add_fault(AzureFault(operation="get", corrupt="other_version"))
    assert sdk.keys(world.vault).get_key("kek").id == f"{kid[:-32]}{'0' * 32}"


def test_a_refusal_stays_whole(world: World, sdk: Sdk) -> None:
    world.key()
    world.emulator.add_fault(AzureFault(operation="get", corrupt="truncated"))
    world.emulator.revoke(world.vault, CLIENT)
    assert refused(lambda: sdk.keys(world.vault).get_key("kek")) == (403, "Forbidden", "ForbiddenByRbac")


def test_a_latency_passes_before_the_answer_and_ends_with_the_faults(world: World, sdk: Sdk) -> None:
    world.key()
    client = sdk.keys(world.vault, read_timeout=60)
    client.get_key("kek")
    world.emulator.add_fault(AzureFault(operation="get", latency=3600))
    done = threading.Event()

    def ask() -> None:
        client.get_key("kek")
        done.set()

    thread = threading.Thread(target=ask)
    thread.start()
    assert not done.wait(0.05)
    while thread.is_alive():
        world.emulator.clear_faults()
        thread.join(0.02)
    assert done.is_set()


def call(**changed: Any) -> Call:
    given = {"host": HOST, "operation": "get", "key": "Kek", "version": "1" * 32, "status": 0, "client_id": CLIENT}
    return Call(**{**given, "tenant": TENANT, **changed})


@pytest.mark.parametrize(
    ("fault", "befalls"),
    [
        (AzureFault(), True),
        (AzureFault(operation="get"), True),
        (AzureFault(operation="wrapkey"), False),
        (AzureFault(host=HOST), True),
        (AzureFault(host="other.vault.azure.net"), False),
        (AzureFault(tenant=TENANT), True),
        (AzureFault(tenant=CLIENT), False),
        (AzureFault(client_id=CLIENT), True),
        (AzureFault(client_id=TENANT), False),
        (AzureFault(key=f"https://{HOST}/keys/kek"), True),
        (AzureFault(key=f"https://{HOST}/keys/kek/{'1' * 32}"), True),
        (AzureFault(key=f"https://{HOST}/keys/kek/{'2' * 32}"), False),
        (AzureFault(key=f"https://{HOST}/keys/other"), False),
        (AzureFault(key="https://other.vault.azure.net/keys/kek"), False),
    ],
)
def test_whom_a_fault_befalls(fault: AzureFault, befalls: bool) -> None:
    faults = AzureFaults()
    faults.add(fault)
    assert (faults.take(call()) is fault) == befalls


def test_faults_are_counted_and_the_first_that_matches_is_taken() -> None:
    faults = AzureFaults()
    first, second = AzureFault(after=1, times=2, status=500), AzureFault(status=503)
    faults.add(first)
    faults.add(second)
    assert [faults.take(call()) for _ in range(5)] == [second, first, first, second, second]
    faults.clear()
    assert faults.take(call()) is None
    for _ in range(MAX_FAULTS):
        faults.add(second)
    with pytest.raises(ValueError, match="too many"):
        faults.add(second)


@pytest.mark.parametrize(
    "fields",
    [
        {"corrupt": "other"},
        {"aadsts": 1},
        {"times": -1},
        {"latency": 10**7},
        {"drip": "x"},
        {"unknown": 1},
        {"operation": 5},
        {"headers": {"a": 1}},
        {"headers": []},
        {"status": "500"},
        {"key": "kek"},
    ],
)
def test_faults_that_are_none(fields: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError, InvalidRequest)):
        azure_fault_from(fields)


def test_a_fault_from_json() -> None:
    found = azure_fault_from(json.loads('{"operation": "get", "body": "<html>", "status": 200}'))
    assert found == AzureFault(operation="get", body=b"<html>", status=200)


def test_a_discovery_without_a_usable_challenge(world: World, sdk: Sdk) -> None:
    world.key()
    world.emulator.add_fault(AzureFault(operation="challenge", status=401, times=1))
    with pytest.raises(ClientAuthenticationError):
        sdk.keys(world.vault).get_key("kek")
    assert [call.operation for call in world.emulator.calls] == ["challenge"]


def _request() -> HttpRequest:
    return HttpRequest("GET", "/keys/kek")
