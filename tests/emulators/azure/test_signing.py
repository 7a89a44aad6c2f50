"""Elliptic curve keys sign: what they sign, against the library below, and when they do not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from azure.keyvault.keys.crypto import SignatureAlgorithm
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from functions.emulators.azure_errors import AzureError
from functions.emulators.azure_faults import AzureFault
from functions.emulators.keyvault_material import Material
from tests.emulators.azure.worlds import CLIENT, FORBIDDEN, START, Sdk, World, refused, rsa_keys, send, unpadded, use

DIGEST = hashlib.sha256(b"statement").digest()
BAD = (400, "BadParameter", None)


def grant(world: World) -> None:
    world.emulator.grant(world.vault, CLIENT, actions=("read", "sign"))


def point(jwk: Any, curve: ec.EllipticCurve) -> ec.EllipticCurvePublicKey:
    x, y = (int.from_bytes(found if isinstance(found, bytes) else unpadded(found)) for found in (jwk["x"], jwk["y"]))
    return ec.EllipticCurvePublicNumbers(x, y, curve).public_key()


def der(raw: bytes) -> bytes:
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))


@pytest.mark.parametrize(
    ("size", "algorithm", "hashing", "curve", "length"),
    [
        (256, "ES256", SHA256(), ec.SECP256R1(), 64),
        (384, "ES384", SHA384(), ec.SECP384R1(), 96),
        (521, "ES512", SHA512(), ec.SECP521R1(), 132),
    ],
)
def test_others_verify_what_it_signs(
    world: World, sdk: Sdk, size: int, algorithm: str, hashing: HashAlgorithm, curve: ec.EllipticCurve, length: int
) -> None:
    grant(world)
    kid, client = world.key("signing", kty="EC", size=size), sdk.keys(world.vault)
    public = point(send(client, "GET", "/keys/signing").json()["key"], curve)
    answer = use(client, kid, "sign", hashlib.new(hashing.name, b"statement").digest(), algorithm)
    raw = unpadded(answer["value"])
    assert (answer["kid"], len(raw)) == (kid, length)
    public.verify(der(raw), b"statement", ec.ECDSA(hashing))
    with pytest.raises(InvalidSignature):
        public.verify(der(raw), b"another", ec.ECDSA(hashing))


def test_the_sdks_own_client_signs(world: World, sdk: Sdk) -> None:
    grant(world)
    kid = world.key("signing", kty="EC")
    made = sdk.cryptography(kid).sign(SignatureAlgorithm.es256, DIGEST)
    public = point(vars(sdk.keys(world.vault).get_key("signing").key), ec.SECP256R1())
    public.verify(der(made.signature), b"statement", ec.ECDSA(SHA256()))
    assert world.operations.count("sign") == 1


@pytest.mark.parametrize(
    ("kty", "algorithm", "digest"),
    [
        ("EC", "ES384", hashlib.sha384(b"x").digest()),
        ("EC", "es256", DIGEST),
        ("EC", "RS256", DIGEST),
        ("EC", "ES256", DIGEST[:-1]),
        ("EC", "ES256", b""),
        ("RSA", "ES256", DIGEST),
        ("oct-HSM", "ES256", DIGEST),
    ],
)
def test_what_a_key_does_not_sign(kty: str, algorithm: str, digest: bytes) -> None:
    with pytest.raises(AzureError) as caught:
        Material.generate(kty, 0, rsa_keys()).sign(algorithm, digest)
    assert (caught.value.status, caught.value.code) == (400, "BadParameter")


CASES: dict[str, tuple[Callable[[World, str], object], tuple[int, str, str | None] | None]] = {
    "as made": (lambda world, kid: None, None),
    "disabled": (lambda world, kid: world.emulator.set_enabled(kid, False), FORBIDDEN["KeyDisabled"]),
    "expired": (lambda world, kid: world.emulator.set_attributes(kid, exp=int(START)), FORBIDDEN["KeyExpired"]),
    "too early": (
        lambda world, kid: world.emulator.set_attributes(kid, nbf=int(START) + 1),
        FORBIDDEN["KeyNotYetValid"],
    ),
    "only verifies": (
        lambda world, kid: world.emulator.set_attributes(kid, key_ops=("verify",)),
        FORBIDDEN["KeyOperationForbidden"],
    ),
    "firewall": (
        lambda world, kid: world.emulator.set_network(world.vault, "firewall"),
        FORBIDDEN["ForbiddenByFirewall"],
    ),
    "no role": (lambda world, kid: world.emulator.revoke(world.vault, CLIENT), FORBIDDEN["ForbiddenByRbac"]),
}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_when_it_signs(world: World, sdk: Sdk, case: str, strict: bool) -> None:
    act, expected = CASES[case]
    world.emulator.key_vault.strict_disabled = strict
    grant(world)
    kid = world.key("signing", kty="EC")
    act(world, kid)
    assert refused(lambda: use(sdk.keys(world.vault), kid, "sign", DIGEST, "ES256")) == expected


def test_the_role_for_wrapping_does_not_sign(world: World, sdk: Sdk) -> None:
    kid = world.key("signing", kty="EC")
    client = sdk.keys(world.vault)
    assert refused(lambda: use(client, kid, "sign", DIGEST, "ES256")) == FORBIDDEN["ForbiddenByRbac"]
    world.emulator.set_access(world.vault, "policy")
    world.emulator.grant(world.vault, CLIENT)
    assert refused(lambda: use(client, kid, "sign", DIGEST, "ES256")) == FORBIDDEN["ForbiddenByPolicy"]


def test_a_key_that_wraps_does_not_sign(world: World, sdk: Sdk) -> None:
    grant(world)
    kid, client = world.key(size=2048, key_ops=("wrapKey", "unwrapKey")), sdk.keys(world.vault)
    assert refused(lambda: use(client, kid, "sign", DIGEST, "ES256")) == FORBIDDEN["KeyOperationForbidden"]
    both = world.key("both", size=2048)
    assert refused(lambda: use(client, both, "sign", DIGEST, "ES256")) == BAD


def test_another_public_key_on_order(world: World, sdk: Sdk) -> None:
    world.key("signing", kty="EC")
    client = sdk.keys(world.vault)

    def told() -> Any:
        return send(client, "GET", "/keys/signing").json()["key"]

    key = told()
    world.emulator.add_fault(AzureFault("get", corrupt="public_key", times=1))
    other = told()
    assert point(other, ec.SECP256R1()) != point(key, ec.SECP256R1())
    assert {**other, "x": "", "y": ""} == {**key, "x": "", "y": ""}
    assert told() == key
