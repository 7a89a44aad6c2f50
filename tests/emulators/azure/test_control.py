"""The control API: every verb, what it does to the world, and how it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from functions.emulators.azure_control import POSTS, azure_control
from tests.emulators.azure.worlds import CLIENT, HOME, OTHER_TENANT, SECRET, TENANT, Sdk, World

OTHER_CLIENT = "00000000-0000-4000-8000-000000000005"
VAULT = "https://acme-kv.vault.azure.net"
KEY = f"{VAULT}/keys/kek"


def post(world: World, verb: str, **body: Any) -> dict[str, Any]:
    """A request that is carried out."""
    status, answer = azure_control(world.emulator, verb, json.dumps(body).encode())
    found: dict[str, Any] = json.loads(answer)
    assert status == 200, found
    return found


def get(world: World, name: str) -> dict[str, Any]:
    status, answer = azure_control(world.emulator, name, None)
    assert status == 200
    found: dict[str, Any] = json.loads(answer)
    return found


def vault(world: World) -> dict[str, Any]:
    """What the world tells of the vault."""
    found: dict[str, Any] = next(entry for entry in get(world, "world")["vaults"] if entry["vault_url"] == VAULT)
    return found


def application(world: World, client: str = CLIENT) -> dict[str, Any]:
    entries = get(world, "world")["applications"]
    found: dict[str, Any] = next(entry for entry in entries if entry["client_id"] == client)
    return found


def test_vaults(world: World) -> None:
    made = post(world, "create-vault", name="New-kv", tenant=TENANT, access="policy", soft_delete_days=7, hsm=False)
    assert made == {"vault_url": "https://new-kv.vault.azure.net"}
    hsm = post(world, "create-vault", name="new-hsm", tenant=TENANT, cloud="china", hsm=True)
    assert hsm == {"vault_url": "https://new-hsm.managedhsm.azure.cn"}
    found = {entry["vault_url"]: entry for entry in get(world, "world")["vaults"]}
    assert [found[made["vault_url"]][name] for name in ("access", "recovery_level", "tenant")] == [
        *("policy", "CustomizedRecoverable", TENANT)
    ]
    post(world, "set-network", vault_url=VAULT, network="private")
    post(world, "set-access", vault_url=VAULT, access="policy")
    assert [vault(world)[name] for name in ("network", "access", "grants", "deleted")] == [
        "private",
        "policy",
        [],
        False,
    ]
    post(world, "delete-vault", vault_url=VAULT)
    assert vault(world)["deleted"] is True
    post(world, "recover-vault", vault_url=f"{VAULT}/")
    assert vault(world)["deleted"] is False


def test_grants(world: World) -> None:
    post(world, "revoke", vault_url=VAULT, client_id=CLIENT)
    post(world, "grant", vault_url=VAULT, client_id=CLIENT, key="kek", actions=["read"])
    post(world, "grant", vault_url=VAULT, client_id=CLIENT)
    mine = [grant for grant in vault(world)["grants"] if grant["client_id"] == CLIENT]
    assert [(grant["key"], grant["actions"]) for grant in mine] == [("kek", ["read"]), ("", ["read", "wrap", "unwrap"])]


def test_keys(world: World) -> None:
    kid = post(
        world, "create-key", vault_url=VAULT, name="kek", kty="RSA", size=2048, key_ops=["wrapKey"], tags={"a": "b"}
    )["kid"]
    assert kid.startswith(f"{KEY}/")
    newer = post(world, "rotate-key", key=KEY)["kid"]
    post(world, "disable-key", key=kid)
    assert [entry["attributes"]["enabled"] for entry in vault(world)["keys"]] == [False, True]
    post(world, "disable-key", key=KEY)
    assert [entry["attributes"]["enabled"] for entry in vault(world)["keys"]] == [False, False]
    post(world, "enable-key", key=newer)
    post(world, "set-attributes", key=newer, nbf=5, exp=6, key_ops=["unwrapKey"])
    post(world, "set-tags", key=newer, tags={"keystead-proof": "n"})
    old, new = vault(world)["keys"]
    assert (old["tags"], old["key"]["key_ops"], "nbf" in old["attributes"]) == ({"a": "b"}, ["wrapKey"], False)
    assert (new["tags"], new["key"]["key_ops"]) == ({"keystead-proof": "n"}, ["unwrapKey"])
    assert (new["attributes"]["nbf"], new["attributes"]["exp"]) == (5, 6)
    post(world, "set-attributes", key=newer, nbf=None, exp=None)
    assert "nbf" not in vault(world)["keys"][1]["attributes"]
    post(world, "delete-key", key=KEY)
    assert [entry["deleted"] for entry in vault(world)["keys"]] == [int(world.time)] * 2
    post(world, "recover-key", key=KEY)
    assert [entry["deleted"] for entry in vault(world)["keys"]] == [None] * 2


def test_purging(world: World) -> None:
    url = world.make_vault("purging", purge_protection=False)
    for _ in range(2):
        post(world, "create-key", vault_url=url, name="kek", size=2048)
        post(world, "delete-key", key=f"{url}/keys/kek")
        post(world, "purge-key", key=f"{url}/keys/kek")
    assert next(entry for entry in get(world, "world")["vaults"] if entry["vault_url"] == url)["keys"] == []


def test_applications(world: World) -> None:
    post(world, "add-application", client_id=OTHER_CLIENT, home_tenant=OTHER_TENANT, secret=SECRET, secret_expires=5)
    assert application(world, OTHER_CLIENT) == {
        "client_id": OTHER_CLIENT,
        "home_tenant": OTHER_TENANT,
        "cloud": "public",
        "managed_identity": "",
        "has_secret": True,
        "has_certificate": False,
        "consents": [OTHER_TENANT],
        "disabled": [],
        "blocked": [],
    }
    post(world, "add-tenant", tenant=HOME)
    post(world, "remove-tenant", tenant=OTHER_TENANT)
    assert OTHER_TENANT not in get(world, "world")["tenants"]
    post(world, "withdraw-consent", client_id=CLIENT, tenant=TENANT)
    assert application(world)["consents"] == [HOME]
    post(world, "consent", client_id=CLIENT.upper(), tenant=TENANT.upper())
    assert application(world)["consents"] == [HOME, TENANT]
    post(world, "disable-application", client_id=CLIENT, tenant=TENANT)
    post(world, "set-conditional-access", client_id=CLIENT, tenant=HOME)
    assert (application(world)["disabled"], application(world)["blocked"]) == ([TENANT], [HOME])
    post(world, "enable-application", client_id=CLIENT, tenant=TENANT)
    post(world, "set-conditional-access", client_id=CLIENT, tenant=HOME, blocked=False)
    assert (application(world)["disabled"], application(world)["blocked"]) == ([], [])


def test_faults_calls_and_the_clock(world: World, sdk: Sdk) -> None:
    world.key()
    post(world, "fault", operation="get", key=KEY, status=429, times=1)
    post(world, "skew", seconds=-3600)
    url = f"{VAULT}/keys/kek?api-version=7.6"
    token = sdk.credential().get_token("https://vault.azure.net/.default").token
    answers = [sdk.raw("GET", url, headers={"Authorization": f"Bearer {token}"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [429, 200]
    assert answers[0].headers["Date"] == "Fri, 15 Jan 2027 07:00:00 GMT"
    assert get(world, "calls")["calls"][-2:] == [
        {
            "host": "acme-kv.vault.azure.net",
            "operation": "get",
            "key": "kek",
            "version": "",
            "status": status,
            "client_id": CLIENT,
            "tenant": TENANT,
            "code": code,
        }
        for status, code in ((429, "Throttled"), (200, ""))
    ]
    post(world, "fault", operation="get", status=500)
    post(world, "clear-faults")
    post(world, "clear-calls")
    assert get(world, "calls") == {"calls": []}
    assert sdk.raw("GET", url, headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_health(world: World) -> None:
    assert get(world, "health") == {"status": "ok"}


def test_the_world_tells_no_secret(world: World) -> None:
    world.key()
    world.emulator.create_key(world.vault, "symmetric", "oct-HSM")
    text = json.dumps(get(world, "world"))
    assert SECRET not in text
    assert "PRIVATE" not in text
    for entry in vault(world)["keys"]:
        assert not {*entry["key"]} & {"d", "p", "q", "k", "private"}


@pytest.mark.parametrize(
    ("verb", "body", "status", "code"),
    [
        ("none", {}, 404, "NotFound"),
        ("disable-key", {"key": f"{VAULT}/keys/none"}, 404, "KeyNotFound"),
        ("disable-key", {"key": f"{KEY}/{'0' * 32}"}, 404, "KeyNotFound"),
        ("disable-key", {"key": "https://none.vault.azure.net/keys/kek"}, 404, "VaultNotFound"),
        ("disable-key", {"key": "kek"}, 400, "BadParameter"),
        ("disable-key", {}, 400, "BadParameter"),
        ("disable-key", {"key": 5}, 400, "BadParameter"),
        ("disable-key", {"key": KEY, "other": 1}, 400, "BadParameter"),
        ("recover-key", {"key": KEY}, 404, "KeyNotFound"),
        ("create-key", {"vault_url": VAULT, "name": "a b"}, 400, "BadParameter"),
        ("create-key", {"vault_url": VAULT, "name": "kek", "kty": "oct"}, 400, "BadParameter"),
        ("create-key", {"vault_url": VAULT, "name": "kek", "size": 1024}, 400, "BadParameter"),
        ("create-key", {"vault_url": VAULT, "name": "kek", "enabled": "no"}, 400, "BadParameter"),
        ("create-key", {"vault_url": VAULT, "name": "kek", "size": True}, 400, "BadParameter"),
        ("create-key", {"vault_url": VAULT, "name": "kek", "tags": []}, 400, "BadParameter"),
        ("create-key", {"vault_url": VAULT, "name": "gone"}, 409, "ObjectIsDeletedButRecoverable"),
        ("purge-key", {"key": f"{VAULT}/keys/gone"}, 403, "Forbidden"),
        ("create-vault", {"name": "acme-kv", "tenant": TENANT}, 409, "VaultAlreadyExists"),
        ("create-vault", {"name": "a", "tenant": TENANT}, 400, "BadParameter"),
        ("create-vault", {"name": "x.evil", "tenant": TENANT}, 400, "BadParameter"),
        ("create-vault", {"name": "fine", "tenant": "contoso.com"}, 400, "BadParameter"),
        ("create-vault", {"name": "fine", "tenant": TENANT, "soft_delete_days": 6}, 400, "BadParameter"),
        ("create-vault", {"name": "fine", "tenant": TENANT, "cloud": "moon"}, 400, "BadParameter"),
        ("create-vault", {"name": "fine", "tenant": TENANT, "access": "all"}, 400, "BadParameter"),
        ("set-network", {"vault_url": VAULT, "network": "shut"}, 400, "BadParameter"),
        ("set-access", {"vault_url": VAULT, "access": "all"}, 400, "BadParameter"),
        ("grant", {"vault_url": VAULT, "client_id": CLIENT, "actions": ["fly"]}, 400, "BadParameter"),
        ("grant", {"vault_url": VAULT, "client_id": "me"}, 400, "BadParameter"),
        ("set-attributes", {"key": KEY, "nbf": "soon"}, 400, "BadParameter"),
        ("set-attributes", {"key": KEY, "exp": True}, 400, "BadParameter"),
        ("set-attributes", {"key": KEY, "kty": "EC"}, 400, "BadParameter"),
        ("set-attributes", {"key": KEY, "key_ops": ["fly"]}, 400, "BadParameter"),
        ("set-attributes", {"key": KEY, "enabled": "no"}, 400, "BadParameter"),
        ("set-tags", {"key": KEY, "tags": ["a"]}, 400, "BadParameter"),
        ("set-tags", {"key": KEY}, 400, "BadParameter"),
        ("set-tags", {"key": KEY, "tags": {"a": 1}}, 400, "BadParameter"),
        ("add-application", {"client_id": "x", "home_tenant": HOME}, 400, "BadParameter"),
        ("add-application", {"client_id": OTHER_CLIENT, "home_tenant": HOME, "secret": 5}, 400, "BadParameter"),
        (
            "add-application",
            {"client_id": OTHER_CLIENT, "home_tenant": HOME, "certificate_pem": "none"},
            400,
            "BadParameter",
        ),
        ("consent", {"client_id": CLIENT, "tenant": "contoso.com"}, 400, "BadParameter"),
        ("fault", {"corrupt": "other"}, 400, "BadParameter"),
        ("skew", {"seconds": "NaN"}, 400, "BadParameter"),
        ("skew", {"seconds": 1e300}, 400, "BadParameter"),
    ],
)
def test_refusals(world: World, verb: str, body: dict[str, Any], status: int, code: str) -> None:
    world.key()
    world.emulator.delete_key(world.key("gone"))
    before = get(world, "world")
    answer = azure_control(world.emulator, verb, json.dumps(body).encode())
    found = json.loads(answer[1])
    assert (answer[0], found["code"]) == (status, code), found
    assert found["error"]
    assert get(world, "world") == before


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_bodies_that_cannot_be_read(world: World, body: bytes) -> None:
    assert azure_control(world.emulator, "grant", body)[0] == 400


def test_what_cannot_be_got(world: World) -> None:
    for name in ("none", "grant", ""):
        assert azure_control(world.emulator, name, None)[0] == 404


def test_every_verb_is_tested() -> None:
    tested = set(re.findall(r'post\(\s*world,\s*"([a-z-]+)"', Path(__file__).read_text()))
    assert tested == set(POSTS)
