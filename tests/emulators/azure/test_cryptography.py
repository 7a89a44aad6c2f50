"""What the emulator's keys do, against the library below and against vectors that others published."""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

import pytest
from azure.core.exceptions import HttpResponseError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

from functions.emulators.azure_errors import AzureError
from functions.emulators.keyvault_material import KEY_OPS, Material, base64url
from tests.emulators.azure.worlds import Sdk, World, inner, rsa_keys, send, shared_rsa_key, unpadded, use

PLAIN = hashlib.sha384(b"context").digest() + b"k" * 32
OAEP_256 = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
PADDINGS = [("RSA-OAEP-256", OAEP_256), ("RSA-OAEP", OAEP), ("RSA1_5", padding.PKCS1v15())]


@pytest.mark.parametrize(("algorithm", "scheme"), PADDINGS)
@pytest.mark.parametrize("size", [2048, 3072])
def test_rsa_is_what_the_library_does(size: int, algorithm: str, scheme: padding.AsymmetricPadding) -> None:
    private = shared_rsa_key(size, 0)
    material = Material("RSA", size, private)
    assert private.decrypt(material.encrypt(algorithm, PLAIN), scheme) == PLAIN
    assert material.decrypt(algorithm, private.public_key().encrypt(PLAIN, scheme)) == PLAIN


# RFC 3394, 4.1, 4.2 and 4.6.
@pytest.mark.parametrize(
    ("algorithm", "key", "plain", "wrapped"),
    [
        (
            "A128KW",
            "000102030405060708090A0B0C0D0E0F",
            "00112233445566778899AABBCCDDEEFF",
            "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5",
        ),
        (
            "A192KW",
            "000102030405060708090A0B0C0D0E0F1011121314151617",
            "00112233445566778899AABBCCDDEEFF",
            "96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D",
        ),
        (
            "A256KW",
            "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
            "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
            "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21",
        ),
    ],
)
def test_aes_key_wrap_is_the_standards(algorithm: str, key: str, plain: str, wrapped: str) -> None:
    material = Material("oct-HSM", len(key) * 4, bytes.fromhex(key))
    assert material.encrypt(algorithm, bytes.fromhex(plain)) == bytes.fromhex(wrapped)
    assert material.decrypt(algorithm, bytes.fromhex(wrapped)) == bytes.fromhex(plain)


def test_gcm_over_the_wire_is_the_librarys(world: World, sdk: Sdk) -> None:
    url = world.make_vault("a-hsm", hsm=True)
    kid, client = world.emulator.create_key(url, "kek", "oct-HSM"), sdk.keys(url, sdk.owner())
    secret = world.emulator.vaults.vault(url).keys["kek"].versions[0].material.private
    assert isinstance(secret, bytes)
    for aad in (b"", b"of the caller"):
        told = {"aad": base64url(aad)} if aad else {}
        body = {"alg": "A256GCM", "value": base64url(PLAIN), **told}
        found = send(client, "POST", f"{urlsplit(kid).path}/encrypt", body).json()
        assert found.keys() == {"kid", "value", "iv", "tag"}
        assert len(unpadded(found["value"])) == len(PLAIN)
        sealed = unpadded(found["value"]) + unpadded(found["tag"])
        assert AESGCM(secret).decrypt(unpadded(found["iv"]), sealed, aad) == PLAIN
        back = {"alg": "A256GCM", **{name: found[name] for name in ("value", "iv", "tag")}, **told}
        path = f"{urlsplit(kid).path}/decrypt"
        assert unpadded(send(client, "POST", path, back).json()["value"]) == PLAIN
        other = base64url(bytes(16))
        for wrong in ({"tag": other}, {"iv": other[:16]}, {"iv": ""}, {"tag": ""}, {"aad": other}, {"value": other}):
            with pytest.raises(HttpResponseError) as caught:
                send(client, "POST", path, {**back, **wrong})
            assert inner(caught.value)[:2] == (400, "BadParameter")
    for operation in ("wrapkey", "unwrapkey"):
        with pytest.raises(HttpResponseError) as caught:
            use(client, kid, operation, PLAIN, "A256GCM")
        assert inner(caught.value)[:2] == (400, "BadParameter")


def test_over_the_wire_the_key_is_the_one_that_is_told(world: World, sdk: Sdk) -> None:
    kid, client = world.key(), sdk.keys(world.vault)
    told = send(client, "GET", "/keys/kek").json()["key"]
    public = rsa.RSAPublicNumbers(
        int.from_bytes(unpadded(told["e"]), "big"), int.from_bytes(unpadded(told["n"]), "big")
    ).public_key()
    wrapped = public.encrypt(PLAIN, OAEP_256)
    assert unpadded(use(client, kid, "unwrapkey", wrapped)["value"]) == PLAIN
    first, second = (use(client, kid, "wrapkey", PLAIN)["value"] for _ in range(2))
    assert first != second
    private = world.emulator.vaults.vault(world.vault).keys["kek"].versions[0].material.private
    assert isinstance(private, rsa.RSAPrivateKey)
    assert [private.decrypt(unpadded(value), OAEP_256) for value in (first, second)] == [PLAIN, PLAIN]


def test_over_the_wire_key_wrap_is_the_librarys(world: World, sdk: Sdk) -> None:
    url = world.make_vault("a-hsm", hsm=True)
    kid, client = world.emulator.create_key(url, "kek", "oct-HSM"), sdk.keys(url)
    secret = world.emulator.vaults.vault(url).keys["kek"].versions[0].material.private
    assert isinstance(secret, bytes)
    assert aes_key_unwrap(secret, unpadded(use(client, kid, "wrapkey", PLAIN, "A256KW")["value"])) == PLAIN
    assert unpadded(use(client, kid, "unwrapkey", aes_key_wrap(secret, PLAIN), "A256KW")["value"]) == PLAIN


@pytest.mark.parametrize(
    ("kty", "size", "algorithm", "plain"),
    [
        ("RSA", 2048, "RSA-OAEP-256", b"x" * 191),
        ("RSA", 2048, "A256KW", PLAIN),
        ("RSA", 2048, "rsa-oaep-256", PLAIN),
        ("oct-HSM", 256, "A256KW", b"x" * 17),
        ("oct-HSM", 256, "A256KW", b"x" * 8),
        ("oct-HSM", 256, "A128KW", PLAIN),
        ("oct-HSM", 128, "A256KW", PLAIN),
        ("oct-HSM", 256, "RSA-OAEP-256", PLAIN),
        ("EC", 256, "RSA-OAEP-256", PLAIN),
    ],
)
def test_what_a_key_cannot_take(kty: str, size: int, algorithm: str, plain: bytes) -> None:
    material = Material.generate(kty, size, rsa_keys())
    with pytest.raises(AzureError) as caught:
        material.encrypt(algorithm, plain)
    assert (caught.value.status, caught.value.code) == (400, "BadParameter")


@pytest.mark.parametrize(("kty", "algorithm"), [("RSA", "RSA-OAEP-256"), ("oct-HSM", "A256KW")])
def test_damaged_bytes_are_refused(kty: str, algorithm: str) -> None:
    material = Material.generate(kty, 0, rsa_keys())
    wrapped = material.encrypt(algorithm, PLAIN)
    for damaged in (b"", wrapped[:-1], wrapped + b"\0", *(_flipped(wrapped, at) for at in (0, len(wrapped) - 1))):
        with pytest.raises(AzureError) as caught:
            material.decrypt(algorithm, damaged)
        assert (caught.value.status, caught.value.code) == (400, "BadParameter")


@pytest.mark.parametrize(("kty", "size"), [("RSA", 1024), ("RSA", 256), ("oct", 256), ("oct-HSM", 512), ("x", 256)])
def test_types_and_sizes_that_there_are_not(kty: str, size: int) -> None:
    with pytest.raises(AzureError, match="not supported"):
        Material.generate(kty, size, rsa_keys())


def test_key_bytes_are_in_no_representation() -> None:
    for kty in ("RSA", "EC", "oct-HSM"):
        material = Material.generate(kty, 0, rsa_keys())
        assert "private" not in repr(material)
        assert Material.restored(material.saved()).public() == material.public()
        assert set(KEY_OPS[material.family]) >= {"sign"} or material.family == "oct"


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
