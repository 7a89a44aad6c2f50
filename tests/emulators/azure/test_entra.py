"""Tokens by secret: who gets one, who is refused and in which words."""

from __future__ import annotations

import json

import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    ClientAssertionCredential,
)

from functions.emulators.azure_errors import AADSTS
from functions.emulators.azure_faults import AzureFault
from functions.emulators.entra import ASSERTION_TYPE
from tests.emulators.azure.tokens import AUTHORITY, UNKNOWN, ask, certificate, claims_of, refused_with
from tests.emulators.azure.worlds import (
    CLIENT,
    HOME,
    OTHER_TENANT,
    SECRET,
    START,
    TENANT,
    Sdk,
    World,
)

STATUSES = {
    700016: (400, "unauthorized_client"),
    7000229: (401, "invalid_client"),
    7000112: (400, "unauthorized_client"),
    90002: (400, "invalid_request"),
    7000215: (401, "invalid_client"),
    7000222: (401, "invalid_client"),
    700027: (401, "invalid_client"),
    50013: (401, "invalid_client"),
    500011: (400, "invalid_resource"),
    53003: (400, "invalid_grant"),
    530032: (400, "invalid_grant"),
    90055: (429, "temporarily_unavailable"),
    90033: (503, "temporarily_unavailable"),
}


@pytest.mark.parametrize(("number", "expected"), STATUSES.items())
def test_numbers_and_their_words(number: int, expected: tuple[int, str]) -> None:
    assert AADSTS[number][:2] == expected


def test_a_token_by_secret(world: World, sdk: Sdk) -> None:
    status, body = ask(sdk)
    assert (status, body["token_type"], body["expires_in"]) == (200, "Bearer", 3599)
    claims = claims_of(body["access_token"])
    assert claims["iss"] == f"https://sts.windows.net/{TENANT}/"
    assert (claims["aud"], claims["appid"], claims["tid"]) == ("https://vault.azure.net", CLIENT, TENANT)
    assert (claims["exp"], claims["appidacr"]) == (int(START) + 3600, "1")
    keys = sdk.raw("GET", f"{AUTHORITY}/{TENANT}/discovery/v2.0/keys").json()["keys"]
    jwt.decode(
        body["access_token"],
        jwt.PyJWK(keys[0]).key,
        ["RS256"],
        audience="https://vault.azure.net",
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    assert ask(sdk, TENANT.upper(), client_id=CLIENT.upper())[0] == 200


def test_the_application_is_another_object_in_each_directory(world: World, sdk: Sdk) -> None:
    ids = {claims_of(ask(sdk, tenant)[1]["access_token"])["oid"] for tenant in (TENANT, HOME)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("number", "tenant", "changed"),
    [
        (90002, UNKNOWN, {}),
        (700016, TENANT, {"client_id": UNKNOWN}),
        (7000215, TENANT, {"client_secret": "wrong"}),
        (7000215, TENANT, {"client_secret": ""}),
        (7000216, TENANT, {"client_secret": None}),
        (7000216, TENANT, {"client_assertion": "x", "client_assertion_type": "other"}),
        (90014, TENANT, {"client_id": None}),
        (90014, TENANT, {"grant_type": None}),
        (70003, TENANT, {"grant_type": "password"}),
        (70011, TENANT, {"scope": "https://vault.azure.net"}),
        (70011, TENANT, {"scope": None}),
        (500011, TENANT, {"scope": "https://graph.microsoft.com/.default"}),
        (500011, TENANT, {"scope": "https://vault.azure.cn/.default"}),
        (50013, TENANT, {"client_assertion": "x", "client_assertion_type": ASSERTION_TYPE}),
    ],
)
def test_requests_that_are_refused(
    world: World, sdk: Sdk, number: int, tenant: str, changed: dict[str, str | None]
) -> None:
    refused_with(number, ask(sdk, tenant, **changed))
    assert world.emulator.calls[-1].code == f"AADSTS{number}"


def test_a_body_that_is_no_form(world: World, sdk: Sdk) -> None:
    for body in (b"\xff\xfe", b"&".join(b"a=1" for _ in range(60)), b""):
        answer = sdk.raw(
            "POST",
            f"{AUTHORITY}/{TENANT}/oauth2/v2.0/token",
            data=body,
            headers={"Content-Length": "0"} if not body else {},
        )
        refused_with(90014, (answer.status_code, answer.json()))


def test_consent_and_its_withdrawal(world: World, sdk: Sdk) -> None:
    world.emulator.withdraw_consent(CLIENT, TENANT)
    refused_with(700016, ask(sdk))
    refused_with(700016, ask(sdk, client_secret="wrong"))
    world.emulator.directory.missing_number = 7000229
    refused_with(7000229, ask(sdk))
    refused_with(7000215, ask(sdk, client_secret="wrong"))
    assert ask(sdk, HOME)[0] == 200
    world.emulator.consent(CLIENT, TENANT)
    assert ask(sdk)[0] == 200


def test_a_withdrawn_consent_bites_with_the_next_token_only(world: World, sdk: Sdk) -> None:
    world.key()
    client = sdk.keys(world.vault)
    client.get_key("kek")
    world.emulator.withdraw_consent(CLIENT, TENANT)
    client.get_key("kek")
    with pytest.raises(ClientAuthenticationError, match="AADSTS700016"):
        sdk.keys(world.vault).get_key("kek")


def test_disabled_applications(world: World, sdk: Sdk) -> None:
    world.emulator.disable_application(CLIENT, TENANT)
    refused_with(7000112, ask(sdk))
    assert ask(sdk, HOME)[0] == 200
    world.emulator.enable_application(CLIENT, TENANT)
    assert ask(sdk)[0] == 200
    world.emulator.disable_application(CLIENT, HOME)
    refused_with(7000112, ask(sdk))


def test_conditional_access(world: World, sdk: Sdk) -> None:
    world.emulator.set_conditional_access(CLIENT, TENANT)
    refused_with(53003, ask(sdk))
    refused_with(7000215, ask(sdk, client_secret="wrong"))
    world.emulator.set_conditional_access(CLIENT, TENANT, blocked=False)
    assert ask(sdk)[0] == 200


def test_secrets_expire_and_directories_end(world: World, sdk: Sdk) -> None:
    world.emulator.add_application(CLIENT, HOME, SECRET, secret_expires=START)
    refused_with(7000222, ask(sdk))
    refused_with(7000215, ask(sdk, client_secret="wrong"))
    world.emulator.add_application(CLIENT, HOME, SECRET, secret_expires=START + 1)
    assert ask(sdk)[0] == 200
    world.emulator.remove_tenant(TENANT)
    refused_with(90002, ask(sdk))
    world.emulator.add_tenant(TENANT)
    assert ask(sdk)[0] == 200


def test_an_application_of_another_cloud_is_not_there(world: World, sdk: Sdk) -> None:
    world.emulator.add_application(CLIENT, HOME, SECRET, cloud="china")
    refused_with(700016, ask(sdk))


def test_what_the_sdk_keeps_of_a_refusal(world: World, sdk: Sdk) -> None:
    # What keeps the answer of a service in trouble, and what does not.
    world.key()
    assertion = ClientAssertionCredential(TENANT, CLIENT, lambda: "x", transport=sdk.transport, retry_total=0)
    for number in (700016, 7000112, 53003, 530032, 90033, 90055):
        world.emulator.clear_faults()
        world.emulator.add_fault(AzureFault(operation="token", aadsts=number))
        with pytest.raises(ClientAuthenticationError) as caught:
            sdk.keys(world.vault, assertion).get_key("kek")
        assert caught.value.response is not None
        body = json.loads(caught.value.response.text())
        assert (body["error_codes"], caught.value.status_code) == ([number], AADSTS[number][0])


def test_faults_of_the_token_endpoint(world: World, sdk: Sdk) -> None:
    add = world.emulator.add_fault
    add(AzureFault(operation="token", tenant=TENANT, status=503, times=1))
    add(AzureFault(operation="token", client_id=CLIENT, body=b"<html>busy</html>", status=502, times=1))
    add(AzureFault(operation="token", client_id=UNKNOWN, status=500))
    add(AzureFault(operation="token", tenant=OTHER_TENANT, status=500))
    status, body = ask(sdk)
    assert (status, body["error"]) == (503, "temporarily_unavailable")
    answer = sdk.raw("POST", f"{AUTHORITY}/{TENANT}/oauth2/v2.0/token", data={"client_id": CLIENT})
    assert (answer.status_code, answer.text, "x-ms-request-id" in answer.headers) == (502, "<html>busy</html>", False)
    assert ask(sdk)[0] == 200


def test_discovery(world: World, sdk: Sdk) -> None:
    found = sdk.raw("GET", f"{AUTHORITY}/{TENANT}/v2.0/.well-known/openid-configuration").json()
    assert found["token_endpoint"] == f"{AUTHORITY}/{TENANT}/oauth2/v2.0/token"
    assert found["issuer"] == f"{AUTHORITY}/{TENANT}/v2.0"
    answer = sdk.raw("GET", f"{AUTHORITY}/{UNKNOWN}/v2.0/.well-known/openid-configuration")
    refused_with(90002, (answer.status_code, answer.json()))
    instance = sdk.raw("GET", f"{AUTHORITY}/common/discovery/instance?api-version=1.1").json()
    assert instance["metadata"][0]["preferred_network"] == "login.microsoftonline.com"
    assert sdk.raw("GET", f"{AUTHORITY}/{TENANT}/oauth2/v2.0/token").status_code == 404
    assert [call.operation for call in world.emulator.calls] == ["discovery"] * 3 + ["unknown"]


def test_no_secret_is_in_a_representation(world: World) -> None:
    world.emulator.add_application(CLIENT, HOME, SECRET, certificate_pem=certificate()[1].decode())
    assert SECRET not in repr(world.emulator.directory)
    assert "PRIVATE" not in repr(world.emulator.directory)
