"""Requests that a vault refuses, by status, code and inner code, as the SDK reads them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.core.rest import HttpRequest
from azure.keyvault.keys import KeyClient

from functions.emulators.keyvault_material import base64url
from tests.emulators.azure.worlds import (
    CLIENT,
    FORBIDDEN,
    GONE,
    OWNER,
    TENANT,
    Sdk,
    World,
    inner,
    refused,
    send,
    unpadded,
    use,
)

PLAIN = b"k" * 80
BAD = (400, "BadParameter", None)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("wrapkey", {"alg": "RSA-OAEP-256", "value": base64url(b"x" * 319)}),
        ("wrapkey", {"alg": "A256KW", "value": base64url(PLAIN)}),
        ("wrapkey", {"alg": "none", "value": base64url(PLAIN)}),
        ("wrapkey", {"alg": "RSA-OAEP-256", "value": "+/=="}),
        ("wrapkey", {"alg": "RSA-OAEP-256", "value": "AAAAA"}),
        ("wrapkey", {"alg": "RSA-OAEP-256", "value": 5}),
        ("wrapkey", {"alg": "RSA-OAEP-256"}),
        ("wrapkey", {"value": base64url(PLAIN)}),
        ("wrapkey", []),
        ("unwrapkey", {"alg": "RSA-OAEP-256", "value": base64url(b"x" * 384)}),
        ("unwrapkey", {"alg": "RSA-OAEP-256", "value": ""}),
        ("unwrapkey", {"alg": "A256KW", "value": base64url(b"x" * 384)}),
        ("unwrapkey", "text"),
    ],
)
def test_malformed_requests_and_bytes(world: World, sdk: Sdk, path: str, body: object) -> None:
    kid = world.key()
    send_it = lambda: send(sdk.keys(world.vault), "POST", f"{kid.removeprefix(world.vault)}/{path}", body)  # noqa: E731
    assert refused(send_it) == (400, "BadParameter", None)


def test_versions_of_the_api(world: World, sdk: Sdk) -> None:
    world.key()
    headers = {"Authorization": f"Bearer {sdk.credential().get_token('https://vault.azure.net/.default').token}"}
    for query, status in (
        *((f"?api-version={version}", 200) for version in ("2016-10-01", "7.0", "7.6", "2025-07-01")),
        *((query, 400) for query in ("", "?api-version=", "?api-version=1.0", "?api-version=2025-07-01x")),
    ):
        answer = sdk.raw("GET", f"{world.vault}/keys/kek{query}", headers=headers)
        assert (answer.status_code, answer.json().get("error", {}).get("code")) == (
            status,
            None if status == 200 else "BadParameter",
        )


@pytest.mark.parametrize(
    "query", ["maxresults=0", "maxresults=26", "maxresults=x", "maxresults=-1", "$skiptoken=_w", "$skiptoken=A"]
)
def test_pages_that_there_are_not(world: World, sdk: Sdk, query: str) -> None:
    world.key()
    for path in ("/keys", "/keys/kek/versions"):
        assert refused(lambda p=path: send(sdk.keys(world.vault), "GET", f"{p}?{query}")) == BAD  # type: ignore[misc]


@pytest.mark.parametrize("body", [{"lifetimeActions": 5}, {"attributes": "P90D"}, [], None])
def test_rotation_policies_that_are_none(world: World, sdk: Sdk, body: object) -> None:
    world.key()
    client = sdk.keys(world.vault, sdk.owner())
    before = send(client, "GET", "/keys/kek/rotationpolicy").json()
    request = HttpRequest("PUT", "/keys/kek/rotationpolicy", content=json.dumps(body))
    assert client.send_request(request).json()["error"]["code"] == "BadParameter"
    assert send(client, "GET", "/keys/kek/rotationpolicy").json() == before


def test_bodies_that_are_no_json(world: World, sdk: Sdk) -> None:
    kid, client = world.key(), sdk.keys(world.vault)
    for content in ("{", "[" * 50_000, "\xff"):
        request = HttpRequest("POST", f"{kid.removeprefix(world.vault)}/wrapkey", content=content)
        answer = client.send_request(request)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadParameter")


def test_the_other_algorithm_of_the_same_key_does_not_unwrap(world: World, sdk: Sdk) -> None:
    kid, client = world.key(), sdk.keys(world.vault)
    wrapped = unpadded(use(client, kid, "wrapkey", PLAIN, "RSA-OAEP")["value"])
    assert refused(lambda: use(client, kid, "unwrapkey", wrapped)) == (400, "BadParameter", None)


def test_an_ec_key_does_not_wrap(world: World, sdk: Sdk) -> None:
    kid, client = world.key("ec", kty="EC"), sdk.keys(world.vault)
    assert vars(client.get_key("ec").key)["crv"] == "P-256"
    for operation in ("wrapkey", "unwrapkey"):
        assert refused(lambda o=operation: use(client, kid, o, PLAIN)) == FORBIDDEN["KeyOperationForbidden"]  # type: ignore[misc]


@pytest.mark.parametrize(
    "path", ["/keys/none", f"/keys/kek/{'0' * 32}", "/keys/none/versions", f"/keys/kek/{'0' * 32}/unwrapkey"]
)
def test_what_is_not_there(world: World, sdk: Sdk, path: str) -> None:
    world.key()
    method, body = ("POST", {"alg": "RSA-OAEP-256", "value": ""}) if path.endswith("key") else ("GET", None)
    assert refused(lambda: send(sdk.keys(world.vault), method, path, body)) == GONE


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/secrets/a"),
        ("GET", "/keys/a_b"),
        ("GET", "/keys/kek/1/2/3"),
        ("GET", "/deletedkeys/kek/recover"),
        ("POST", "/keys/kek/1/verify"),
        ("POST", "/deletedkeys/kek/other"),
        ("PUT", "/keys/kek"),
        ("DELETE", "/keys/kek/1"),
        ("POST", "/keys"),
        ("POST", "/deletedkeys/kek/recover/1"),
    ],
)
def test_unknown_paths_and_methods(world: World, sdk: Sdk, method: str, path: str) -> None:
    world.key()
    client = sdk.keys(world.vault, sdk.owner())
    assert refused(lambda: send(client, method, path, {} if method in ("POST", "PUT") else None)) == (
        404,
        "NotFound",
        None,
    )


@pytest.mark.parametrize(
    ("refusal", "operation"),
    [
        ("getrotationpolicy", lambda client: client.get_key_rotation_policy("kek")),
        ("create", lambda client: client.create_rsa_key("kek")),
        ("rotate", lambda client: client.rotate_key("kek")),
        ("update", lambda client: client.update_key_properties("kek", enabled=False)),
        ("delete", lambda client: client.begin_delete_key("kek")),
        ("get", lambda client: client.get_deleted_key("kek")),
        ("list", lambda client: [*client.list_deleted_keys()]),
        ("recover", lambda client: client.begin_recover_deleted_key("kek")),
        ("purge", lambda client: client.purge_deleted_key("kek")),
        ("encrypt", lambda client: send(client, "POST", "/keys/kek//encrypt", {})),
        ("decrypt", lambda client: send(client, "POST", "/keys/kek//decrypt", {})),
    ],
)
def test_the_role_allows_nothing_else(
    world: World, sdk: Sdk, refusal: str, operation: Callable[[KeyClient], object]
) -> None:
    world.key()
    assert refused(lambda: operation(sdk.keys(world.vault))) == FORBIDDEN["ForbiddenByRbac"]
    world.emulator.set_access(world.vault, "policy")
    world.emulator.grant(world.vault, CLIENT)
    with pytest.raises(HttpResponseError, match=f"does not have keys {refusal} permission") as caught:
        operation(sdk.keys(world.vault))
    assert inner(caught.value) == FORBIDDEN["ForbiddenByPolicy"]


def test_what_a_refusal_by_role_tells(world: World, sdk: Sdk) -> None:
    kid = world.key()
    world.emulator.revoke(world.vault, CLIENT)
    with pytest.raises(HttpResponseError) as caught:
        use(sdk.keys(world.vault), kid, "unwrapkey", PLAIN)
    for words in (
        f"Caller: appid={CLIENT};oid=",
        f"iss=https://sts.windows.net/{TENANT}/",
        "Action: 'Microsoft.KeyVault/vaults/keys/unwrap/action'",
        "/vaults/acme-kv/keys/kek'",
        "DecisionReason: 'DeniedWithNoValidRBAC'",
    ):
        assert words in str(caught.value)


def test_tombstones(world: World, sdk: Sdk) -> None:
    kid, client = world.key(), sdk.keys(world.vault, sdk.owner())
    world.emulator.delete_key(kid)
    with pytest.raises(ResourceExistsError) as exists:
        client.create_rsa_key("kek", size=2048)
    assert inner(exists.value) == (409, "Conflict", "ObjectIsDeletedButRecoverable")
    assert refused(lambda: client.purge_deleted_key("kek")) == (403, "Forbidden", None)
    with pytest.raises(ResourceNotFoundError, match="Deleted Key not found: other") as missing:
        client.get_deleted_key("other")
    assert missing.value.status_code == 404
    with pytest.raises(ResourceNotFoundError, match="recover it using the correct recovery command"):
        client.get_key("kek")


def test_without_soft_delete_deletion_is_for_good(world: World, sdk: Sdk) -> None:
    url = world.make_vault("old", soft_delete_days=0)
    kid = world.emulator.create_key(url, "kek")
    world.emulator.delete_key(kid)
    client = sdk.keys(url, sdk.owner())
    assert refused(lambda: client.get_deleted_key("kek")) == GONE
    assert client.create_rsa_key("kek", size=2048).id != kid


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kty": "RSA", "key_size": 1024},
        {"kty": "RSA", "key_size": "2048"},
        {"kty": "oct"},
        {"kty": "oct-HSM", "key_size": 64},
        {"kty": "EC", "crv": "P-999"},
        {"kty": "EC", "crv": []},
        {"kty": "EC", "key_size": 255},
        {"kty": "none"},
        {"kty": "RSA", "key_ops": ["fly"]},
        {"kty": "RSA", "key_ops": "wrapKey"},
        {"kty": "RSA", "tags": {f"{n}": "" for n in range(16)}},
        {"kty": "RSA", "tags": {"a": "b" * 257}},
        {"kty": "RSA", "tags": {"a": 1}},
        {"kty": "RSA", "tags": []},
        {"kty": "RSA", "attributes": []},
        {"kty": "RSA", "attributes": {"enabled": 1}},
        {"kty": "RSA", "attributes": {"exp": "soon"}},
        {"kty": "RSA", "attributes": {"nbf": True}},
    ],
)
def test_keys_that_cannot_be_made(world: World, sdk: Sdk, body: dict[str, object]) -> None:
    client = sdk.keys(world.vault, sdk.owner())
    assert refused(lambda: send(client, "POST", "/keys/new/create", body)) == (400, "BadParameter", None)
    assert refused(lambda: client.get_key("new")) == GONE


def test_a_managed_hsm_has_hsm_keys_only_and_gives_no_reason_for_its_challenge(world: World, sdk: Sdk) -> None:
    url = world.make_vault("a-hsm", hsm=True)
    client = sdk.keys(url, sdk.owner())
    assert refused(lambda: client.create_rsa_key("kek", size=2048)) == (400, "BadParameter", None)
    kid = client.create_rsa_key("kek", size=2048, hardware_protected=True).id
    assert kid is not None
    answer = sdk.raw("GET", f"{url}/keys/kek?api-version=7.6")
    assert (answer.status_code, answer.content) == (401, b"")
    assert answer.headers["WWW-Authenticate"].endswith('resource="https://managedhsm.azure.net"')
    of_vaults_only = ("Date", "Pragma", "Expires", "x-ms-keyvault-service-version")
    assert not [name for name in of_vaults_only if name in answer.headers]
    assert answer.headers["x-ms-request-id"]
    world.emulator.revoke(url, OWNER)
    with pytest.raises(HttpResponseError, match=r"Microsoft\.KeyVault/managedHSMs/keys/read") as caught:
        client.get_key("kek")
    assert inner(caught.value) == FORBIDDEN["ForbiddenByRbac"]
