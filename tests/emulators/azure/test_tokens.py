"""Tokens that a vault does not take."""

from __future__ import annotations

from functions.emulators.azure_tokens import Signer, issuer
from tests.emulators.azure.worlds import (
    CLIENT,
    OTHER_TENANT,
    START,
    TENANT,
    Sdk,
    World,
    shared_rsa_key,
)

PLAIN = b"k" * 80


def token(world: World, **changed: object) -> str:
    """A token as Entra issues it, but for what is changed."""
    claims = {
        "aud": "https://vault.azure.net",
        "iss": issuer("public", TENANT),
        "tid": TENANT,
        "appid": CLIENT,
        "nbf": int(START),
        "exp": int(START) + 3600,
        **changed,
    }
    return world.emulator.signer.sign({name: value for name, value in claims.items() if value is not None})


def test_tokens_that_are_not_good(world: World, sdk: Sdk) -> None:
    world.key()
    good = token(world)
    other = World()
    rows: list[tuple[str | None, str]] = [
        (None, "AKV10000"),
        ("", "AKV10000"),
        (f"Basic {good}", "AKV10000"),
        ("Bearer", "AKV10000"),
        ("Bearer x", "AKV10046"),
        (f"Bearer {good[:-8]}AAAAAAAA", "AKV10046"),
        (f"Bearer {token(world, iss=issuer('public', OTHER_TENANT), tid=OTHER_TENANT)}", "AKV10032: Invalid issuer"),
        (f"Bearer {token(world, tid=OTHER_TENANT)}", "AKV10032"),
        (f"Bearer {token(world, iss=issuer('china', TENANT))}", "AKV10032"),
        (f"Bearer {token(world, aud='https://managedhsm.azure.net')}", "AKV10022"),
        (f"Bearer {token(world, exp=int(START))}", "not valid now"),
        (f"Bearer {token(world, exp='never')}", "not valid now"),
        (f"Bearer {token(world, nbf=int(START) + 1)}", "not valid now"),
        (f"Bearer {token(world, appid=None)}", "names no application"),
        (f"Bearer {token(world, exp=None)}", "AKV10046"),
    ]
    other.emulator.signer = Signer(shared_rsa_key(2048, 2))
    rows.append((f"Bearer {token(other)}", "AKV10046"))
    url = f"{world.vault}/keys/kek?api-version=7.6"
    assert sdk.raw("GET", url, headers={"Authorization": f"Bearer {good}"}).status_code == 200
    # A firewall is not told of before the token is good.
    world.emulator.set_network(world.vault, "firewall")
    for authorization, words in rows:
        answer = sdk.raw("GET", url, headers={} if authorization is None else {"Authorization": authorization})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "Unauthorized")
        assert words in answer.json()["error"]["message"], authorization
        assert answer.headers["WWW-Authenticate"] == (
            f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="https://vault.azure.net"'
        )
