"""What each state, permission and network rule refuses, and which refusal comes before which."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
)

from functions.emulators.keyvault_vaults import ACTIONS
from tests.emulators.azure.worlds import (
    CLIENT,
    FORBIDDEN,
    GONE,
    START,
    Sdk,
    World,
    refused,
    send,
    unpadded,
    use,
)

PLAIN = b"k" * 80


def disabled(world: World, kid: str) -> None:
    world.emulator.set_enabled(kid, False)


def deleted(world: World, kid: str) -> None:
    world.emulator.delete_key(kid)


def recovered(world: World, kid: str) -> None:
    world.emulator.delete_key(kid)
    world.emulator.recover_key(kid)


def expired(world: World, kid: str) -> None:
    world.emulator.set_attributes(kid, exp=int(START))


def about_to_expire(world: World, kid: str) -> None:
    world.emulator.set_attributes(kid, exp=int(START) + 1)


def not_yet_valid(world: World, kid: str) -> None:
    world.emulator.set_attributes(kid, nbf=int(START) + 1)


def just_valid(world: World, kid: str) -> None:
    world.emulator.set_attributes(kid, nbf=int(START))


def only_unwraps(world: World, kid: str) -> None:
    world.emulator.set_attributes(kid, key_ops=("unwrapKey",))


def only_wraps(world: World, kid: str) -> None:
    world.emulator.set_attributes(kid, key_ops=("wrapKey",))


def revoked(world: World, kid: str) -> None:
    world.emulator.revoke(world.vault, CLIENT)


def only_reads(world: World, kid: str) -> None:
    world.emulator.revoke(world.vault, CLIENT)
    world.emulator.grant(world.vault, CLIENT, actions=("read",))


def granted_on_another_key(world: World, kid: str) -> None:
    world.emulator.revoke(world.vault, CLIENT)
    world.emulator.grant(world.vault, CLIENT, "other")


def granted_on_this_key(world: World, kid: str) -> None:
    world.emulator.revoke(world.vault, CLIENT)
    world.emulator.grant(world.vault, CLIENT, kid)


def by_policy(world: World, kid: str) -> None:
    world.emulator.set_access(world.vault, "policy")


def firewall(world: World, kid: str) -> None:
    world.emulator.set_network(world.vault, "firewall")


def private(world: World, kid: str) -> None:
    world.emulator.set_network(world.vault, "private")


def opened(world: World, kid: str) -> None:
    world.emulator.set_network(world.vault, "firewall")
    world.emulator.set_network(world.vault, "open")


Refusal = tuple[int, str, str | None] | None


@pytest.mark.parametrize(
    ("change", "get", "wrap", "unwrap"),
    [
        (disabled, None, None, FORBIDDEN["KeyDisabled"]),
        (deleted, GONE, GONE, GONE),
        (recovered, None, None, None),
        (expired, None, FORBIDDEN["KeyExpired"], None),
        (about_to_expire, None, None, None),
        (not_yet_valid, None, FORBIDDEN["KeyNotYetValid"], None),
        (just_valid, None, None, None),
        (only_unwraps, None, FORBIDDEN["KeyOperationForbidden"], None),
        (only_wraps, None, None, FORBIDDEN["KeyOperationForbidden"]),
        (revoked, *[FORBIDDEN["ForbiddenByRbac"]] * 3),
        (only_reads, None, *[FORBIDDEN["ForbiddenByRbac"]] * 2),
        (granted_on_another_key, *[FORBIDDEN["ForbiddenByRbac"]] * 3),
        (granted_on_this_key, None, None, None),
        (by_policy, *[FORBIDDEN["ForbiddenByPolicy"]] * 3),
        (firewall, *[FORBIDDEN["ForbiddenByFirewall"]] * 3),
        (private, *[FORBIDDEN["ForbiddenByConnection"]] * 3),
        (opened, None, None, None),
    ],
)
def test_states_and_permissions(
    world: World, sdk: Sdk, change: Callable[[World, str], None], get: Refusal, wrap: Refusal, unwrap: Refusal
) -> None:
    kid, client = world.key(), sdk.keys(world.vault)
    wrapped = unpadded(use(client, kid, "wrapkey", PLAIN)["value"])
    change(world, kid)
    assert refused(lambda: send(client, "GET", kid.removeprefix(world.vault))) == get
    assert refused(lambda: use(client, kid, "wrapkey", PLAIN)) == wrap
    assert refused(lambda: use(client, kid, "unwrapkey", wrapped)) == unwrap
    # Whatever forbids the use of the key is told first: damaged bytes say nothing about it.
    damaged = bytes([wrapped[0] ^ 1]) + wrapped[1:]
    assert refused(lambda: use(client, kid, "unwrapkey", damaged)) == (unwrap or (400, "BadParameter", None))


def test_by_a_switch_a_disabled_key_does_not_wrap_either(world: World, sdk: Sdk) -> None:
    kid, client = world.key(enabled=False), sdk.keys(world.vault)
    assert refused(lambda: use(client, kid, "wrapkey", PLAIN)) is None
    world.emulator.key_vault.strict_disabled = True
    assert refused(lambda: use(client, kid, "wrapkey", PLAIN)) == FORBIDDEN["KeyDisabled"]


def test_versions_have_states_of_their_own(world: World, sdk: Sdk) -> None:
    old = world.key()
    new, client = world.emulator.rotate_key(old), sdk.keys(world.vault)
    wrapped = {kid: unpadded(use(client, kid, "wrapkey", PLAIN)["value"]) for kid in (old, new)}
    world.emulator.set_enabled(old, False)
    assert refused(lambda: use(client, old, "unwrapkey", wrapped[old])) == FORBIDDEN["KeyDisabled"]
    assert refused(lambda: use(client, new, "unwrapkey", wrapped[new])) is None
    assert refused(lambda: use(client, new, "unwrapkey", wrapped[old])) == (400, "BadParameter", None)
    world.emulator.set_enabled(f"{world.vault}/keys/kek", False)
    assert refused(lambda: use(client, new, "unwrapkey", wrapped[new])) == FORBIDDEN["KeyDisabled"]
    world.emulator.set_enabled(f"{world.vault}/keys/kek", True)
    assert refused(lambda: use(client, old, "unwrapkey", wrapped[old])) is None


def test_the_network_is_told_of_before_the_role_and_the_role_before_the_key(world: World, sdk: Sdk) -> None:
    client = sdk.keys(world.vault)
    world.emulator.set_network(world.vault, "firewall")
    world.emulator.revoke(world.vault, CLIENT)
    assert refused(lambda: client.get_key("none")) == FORBIDDEN["ForbiddenByFirewall"]
    world.emulator.set_network(world.vault, "open")
    assert refused(lambda: client.get_key("none")) == FORBIDDEN["ForbiddenByRbac"]
    world.emulator.grant(world.vault, CLIENT)
    assert refused(lambda: client.get_key("none")) == GONE
    with pytest.raises(ClientAuthenticationError):
        sdk.keys(world.vault, sdk.credential(secret="wrong")).get_key("none")


def test_every_operation_can_be_granted_by_itself(world: World, sdk: Sdk) -> None:
    world.key()
    for action in ACTIONS:
        world.emulator.revoke(world.vault, CLIENT)
        world.emulator.grant(world.vault, CLIENT, actions=[action])
        allowed = refused(lambda: sdk.keys(world.vault).get_key("kek")) is None
        assert allowed == (action == "read")
