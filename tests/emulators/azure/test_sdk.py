"""The SDK as it is, with addresses as they are and every check of its own switched on."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.core.rest import HttpRequest
from azure.identity import ClientAssertionCredential
from azure.keyvault.keys import KeyCurveName, KeyRotationPolicy
from azure.keyvault.keys.crypto import EncryptionAlgorithm, KeyWrapAlgorithm

from core.domain.vaults import CloudName
from functions.emulators.azure_faults import AzureFault, Call
from tests.emulators.azure.worlds import CLIENT, OTHER_TENANT, SECRET, TENANT, Sdk, World, send, unpadded, use

PLAIN = hashlib.sha384(b"context").digest() + b"k" * 32
VAULT = "acme-kv.vault.azure.net"


def seconds(instant: datetime | None) -> float:
    """Since the epoch."""
    assert instant is not None
    return instant.timestamp()


def test_the_first_request_elicits_a_challenge_and_carries_nothing(world: World, sdk: Sdk) -> None:
    kid = world.key()
    client = sdk.keys(world.vault)
    use(client, kid, "wrapkey", PLAIN)
    version = kid.rpartition("/")[2]
    assert world.emulator.calls == [
        Call(VAULT, "challenge", "kek", version, 401, "", "", "Unauthorized"),
        Call("login.microsoftonline.com", "discovery", "", "", 200, "", TENANT),
        Call("login.microsoftonline.com", "token", "", "", 200, CLIENT, TENANT),
        Call(VAULT, "wrapkey", "kek", version, 200, CLIENT, TENANT),
    ]
    world.emulator.clear_calls()
    use(client, kid, "wrapkey", PLAIN)
    assert [call.operation for call in world.emulator.calls] == ["wrapkey"]


@pytest.mark.parametrize(
    ("kty", "size", "algorithm"),
    [
        ("RSA", 2048, KeyWrapAlgorithm.rsa_oaep_256),
        ("RSA-HSM", 3072, KeyWrapAlgorithm.rsa_oaep_256),
        ("RSA", 2048, KeyWrapAlgorithm.rsa_oaep),
    ],
)
def test_what_the_sdk_wraps_by_itself_the_service_unwraps(
    world: World, sdk: Sdk, kty: str, size: int, algorithm: KeyWrapAlgorithm
) -> None:
    cryptography = sdk.cryptography(world.key(kty=kty, size=size))
    wrapped = cryptography.wrap_key(algorithm, PLAIN)
    assert world.operations == ["get"]
    assert cryptography.unwrap_key(algorithm, wrapped.encrypted_key).key == PLAIN
    assert world.operations == ["get", "unwrapkey"]


def test_a_symmetric_key_wraps_in_the_service(world: World, sdk: Sdk) -> None:
    # By send_request: CryptographyClient 4.11.3 would wrap under a random key of its own making, for want of the real.
    url = world.make_vault("acme-hsm", hsm=True)
    kid = world.emulator.create_key(url, "kek", "oct-HSM", 256)
    client = sdk.keys(url)
    wrapped = use(client, kid, "wrapkey", PLAIN, "A256KW")
    assert (wrapped["kid"], len(unpadded(wrapped["value"]))) == (kid, 88)
    assert unpadded(use(client, kid, "unwrapkey", unpadded(wrapped["value"]), "A256KW")["value"]) == PLAIN
    assert "k" not in send(client, "GET", "/keys/kek").json()["key"]


def test_encrypt_and_decrypt(world: World, sdk: Sdk) -> None:
    cryptography = sdk.cryptography(world.key(), sdk.owner())
    encrypted = cryptography.encrypt(EncryptionAlgorithm.rsa_oaep_256, b"text")
    assert cryptography.decrypt(EncryptionAlgorithm.rsa_oaep_256, encrypted.ciphertext).plaintext == b"text"


def test_a_key_without_a_version_is_its_newest(world: World, sdk: Sdk) -> None:
    old = world.key()
    new = world.emulator.rotate_key(old)
    client = sdk.keys(world.vault)
    assert client.get_key("kek").id == new
    assert client.get_key("kek", old.rpartition("/")[2]).id == old
    for path in ("/keys/kek/", "/keys/kek", "/keys/KEK/", f"/keys/kek/{new.rpartition('/')[2].upper()}"):
        assert send(client, "GET", path).json()["key"]["kid"] == new
    latest = send(client, "POST", "/keys/kek//wrapkey", {"alg": "RSA-OAEP-256", "value": "AAAA"}).json()
    assert latest["kid"] == new


def test_what_a_key_tells_of_itself(world: World, sdk: Sdk) -> None:
    kid = world.key(nbf=5, exp=2_000_000_000, key_ops=("wrapKey", "unwrapKey"), tags={"keystead-proof": "n"})
    key = sdk.keys(world.vault).get_key("kek")
    properties = key.properties
    assert (key.id, key.key_type, list(key.key_operations)) == (kid, "RSA", ["wrapKey", "unwrapKey"])
    assert (properties.enabled, properties.tags) == (True, {"keystead-proof": "n"})
    assert (seconds(properties.not_before), seconds(properties.expires_on)) == (5, 2_000_000_000)
    assert (properties.recovery_level, properties.recoverable_days) == ("Recoverable", 90)
    assert seconds(properties.created_on) == world.time
    web_key: Any = key.key
    assert (len(web_key.n), web_key.e) == (384, b"\x01\0\x01")


def test_unset_fields_are_left_out(world: World, sdk: Sdk) -> None:
    world.key()
    found = send(sdk.keys(world.vault), "GET", "/keys/kek").json()
    assert set(found) == {"key", "attributes"}
    assert set(found["attributes"]) == {
        *("enabled", "created", "updated", "recoveryLevel", "recoverableDays", "exportable", "hsmPlatform")
    }


@pytest.mark.parametrize(
    ("days", "protected", "level", "recoverable"),
    [
        (90, True, "Recoverable", 90),
        (90, False, "Recoverable+Purgeable", 90),
        (7, True, "CustomizedRecoverable", 7),
        (7, False, "CustomizedRecoverable+Purgeable", 7),
        (0, True, "Purgeable", None),
    ],
)
def test_recovery_levels(
    world: World, sdk: Sdk, days: int, protected: bool, level: str, recoverable: int | None
) -> None:
    url = world.make_vault("levels", soft_delete_days=days, purge_protection=protected)
    world.emulator.create_key(url, "kek")
    properties = sdk.keys(url).get_key("kek").properties
    assert (properties.recovery_level, properties.recoverable_days) == (level, recoverable)


def test_versions_come_in_pages_and_in_no_order_of_time(world: World, sdk: Sdk) -> None:
    kids = [world.key()] + [world.emulator.rotate_key(f"{world.vault}/keys/kek") for _ in range(59)]
    world.emulator.set_enabled(kids[3], False)
    found = list(sdk.keys(world.vault).list_properties_of_key_versions("kek"))
    assert sorted(properties.id for properties in found) == sorted(kids)
    assert [properties.id for properties in found] != kids
    assert [properties.id for properties in found if not properties.enabled] == [kids[3]]
    assert world.operations == ["versions"] * 3
    page = send(sdk.keys(world.vault), "GET", "/keys/kek/versions?maxresults=2").json()
    assert len(page["value"]) == 2
    assert page["nextLink"].startswith(f"{world.vault}:443/keys/kek/versions?api-version=")
    assert "$skiptoken=" in page["nextLink"]
    assert all("key" not in item for item in page["value"])


def test_keys_are_listed_by_name_without_versions(world: World, sdk: Sdk) -> None:
    for name in ("b", "a"):
        world.key(name)
    world.emulator.delete_key(f"{world.vault}/keys/b")
    assert [found.id for found in sdk.keys(world.vault).list_properties_of_keys()] == [f"{world.vault}/keys/a"]
    deleted = list(sdk.keys(world.vault, sdk.owner()).list_deleted_keys())
    assert [(found.name, seconds(found.scheduled_purge_date)) for found in deleted] == [("b", world.time + 90 * 86_400)]


def test_an_owner_makes_changes_and_rotates_keys(world: World, sdk: Sdk) -> None:
    client = sdk.keys(world.vault, sdk.owner())
    made = client.create_rsa_key("Kek", size=2048, tags={"a": "b"}, enabled=False, key_operations=["wrapKey"])
    assert made.id is not None
    assert made.id.startswith(f"{world.vault}/keys/Kek/")
    assert (made.properties.enabled, list(made.key_operations)) == (False, ["wrapKey"])
    changed = client.update_key_properties("kek", enabled=True, tags={"c": "d"})
    assert (changed.id, changed.properties.enabled, changed.properties.tags) == (made.id, True, {"c": "d"})
    rotated = client.rotate_key("kek")
    assert rotated.id != made.id
    assert (rotated.properties.tags, list(rotated.key_operations)) == ({"c": "d"}, ["wrapKey"])
    assert vars(rotated.key)["n"] != vars(made.key)["n"]
    client.create_rsa_key("kek", size=2048)
    assert client.get_key("kek").properties.tags in (None, {})
    assert vars(client.create_ec_key("ec", curve=KeyCurveName.p_256).key)["crv"] == "P-256"
    assert client.create_key("hsm-oct", "oct-HSM", size=256).key_type == "oct-HSM"


def test_rotation_policies(world: World, sdk: Sdk) -> None:
    world.key()
    client = sdk.keys(world.vault, sdk.owner())
    policy = client.get_key_rotation_policy("kek")
    assert [action.action for action in policy.lifetime_actions] == ["Notify"]
    set_to = client.update_key_rotation_policy("kek", KeyRotationPolicy(), expires_in="P90D", lifetime_actions=[])
    assert (set_to.expires_in, client.get_key_rotation_policy("kek").expires_in) == ("P90D", "P90D")
    assert seconds(set_to.created_on) == world.time


def test_deletion_recovery_and_purge(world: World, sdk: Sdk) -> None:
    url = world.make_vault("soft", purge_protection=False, soft_delete_days=7)
    world.emulator.create_key(url, "kek")
    client = sdk.keys(url, sdk.owner())
    before = client.get_key("kek").id
    deleted = client.begin_delete_key("kek", _polling_interval=0).result()
    assert deleted.recovery_id == f"{url}/deletedkeys/kek"
    assert seconds(deleted.deleted_date) == world.time
    assert seconds(client.get_deleted_key("kek").scheduled_purge_date) == world.time + 7 * 86_400
    assert client.begin_recover_deleted_key("kek", _polling_interval=0).result().id == before
    client.begin_delete_key("kek", _polling_interval=0).wait()
    client.purge_deleted_key("kek")
    assert client.create_rsa_key("kek", size=2048).id != before
    client.begin_delete_key("kek", _polling_interval=0).wait()
    world.time += 7 * 86_400
    client = sdk.keys(url, sdk.owner())  # the token is too old by now
    assert [*client.list_deleted_keys()] == []
    assert client.create_rsa_key("kek", size=2048).name == "kek"


def test_sovereign_clouds_and_managed_hsms(world: World, sdk: Sdk) -> None:
    authorities: dict[CloudName, str] = {
        "public": "https://login.microsoftonline.com",
        "china": "https://login.chinacloudapi.cn",
        "usgovernment": "https://login.microsoftonline.us",
    }
    for cloud, authority in authorities.items():
        world.emulator.add_application(CLIENT, OTHER_TENANT, SECRET, cloud=cloud)
        for hsm in (False, True):
            url = world.make_vault(f"{cloud}-{'hsm' if hsm else 'kv'}", cloud=cloud, hsm=hsm)
            kid = world.emulator.create_key(url, "kek", "RSA-HSM", 2048)
            client = sdk.keys(url, sdk.credential(authority=authority))
            assert client.get_key("kek").id == kid


def test_a_vault_of_another_tenant_gets_no_token(world: World, sdk: Sdk) -> None:
    url = world.make_vault("elsewhere", tenant=OTHER_TENANT)
    world.emulator.create_key(url, "kek")
    world.emulator.consent(CLIENT, OTHER_TENANT)
    with pytest.raises(ClientAuthenticationError, match="not configured to acquire tokens for tenant"):
        sdk.keys(url).get_key("kek")
    assert [call.operation for call in world.emulator.calls] == ["challenge"]


def test_a_vault_that_does_not_exist_has_no_name(world: World, sdk: Sdk) -> None:
    kid = world.key()
    client = sdk.keys(world.vault)
    client.get_key("kek")
    world.emulator.delete_vault(world.vault)
    sdk.close()
    for url in (world.vault, "https://never-was.vault.azure.net"):
        with pytest.raises(ServiceRequestError):
            sdk.keys(url).get_key("kek")
    world.emulator.recover_vault(world.vault)
    with pytest.raises(Exception, match="ForbiddenByRbac"):
        sdk.keys(world.vault).get_key("kek")
    world.emulator.grant(world.vault, CLIENT)
    assert client.get_key("kek").id == kid


def test_the_resource_of_the_challenge_is_the_vaults_domain(world: World, sdk: Sdk) -> None:
    # That the SDK checks it is what keeps a token from a host of another's.
    world.key()
    hostile = 'Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.cn"'
    world.emulator.add_fault(AzureFault(operation="challenge", status=401, headers={"WWW-Authenticate": hostile}))
    with pytest.raises(ValueError, match="does not match the requested domain"):
        sdk.keys(world.vault).get_key("kek")


def test_the_assertion_credential(world: World, sdk: Sdk) -> None:
    identity = "00000000-0000-4000-8000-000000000009"
    world.emulator.add_application(CLIENT, OTHER_TENANT, managed_identity=identity)
    world.key()
    emulator = world.emulator

    def assertion() -> str:
        return emulator.signer.identity_token(
            cloud="public",
            tenant=OTHER_TENANT,
            client_id=identity,
            resource="api://AzureADTokenExchange",
            now=world.time,
        )

    credential = ClientAssertionCredential(TENANT, CLIENT, assertion, transport=sdk.transport)
    assert sdk.keys(world.vault, credential).get_key("kek").name == "kek"
    assert [call.operation for call in emulator.calls] == ["challenge", "token", "get"]


def test_ids_of_requests_are_told(world: World, sdk: Sdk) -> None:
    world.key()
    first, second = (
        sdk.keys(world.vault).send_request(HttpRequest("GET", "/keys/kek", headers={"x-ms-client-request-id": name}))
        for name in ("a", "b")
    )
    assert (first.headers["x-ms-client-request-id"], second.headers["x-ms-client-request-id"]) == ("a", "b")
    assert first.headers["x-ms-request-id"] != second.headers["x-ms-request-id"]
    assert first.headers["x-ms-keyvault-service-version"]
    assert len(first.headers["x-ms-keyvault-rbac-assignment-id"]) == 32
    assert first.headers["Date"] == "Fri, 15 Jan 2027 08:00:00 GMT"


def test_only_rbac_vaults_name_an_assignment(world: World, sdk: Sdk) -> None:
    for url in (world.make_vault("policies", access="policy"), world.make_vault("a-hsm", hsm=True)):
        world.emulator.create_key(url, "kek", "RSA-HSM")
        assert "x-ms-keyvault-rbac-assignment-id" not in send(sdk.keys(url), "GET", "/keys/kek").headers
