"""A vault's address comes from a tenant, and this service sends requests to it: what passes, and what must not."""

from __future__ import annotations

import pytest

from core.domain.kek import Kek
from core.domain.key_target import KeyTarget
from core.domain.vaults import CLOUDS, VaultKey, entra_tenant
from core.errors import InvalidRequest
from tests.domain.hostile_vaults import GOOD, HOSTILE_VAULTS

DIRECTORY = "33333333-3333-4333-8333-33333333abcd"

VERSION = "0123456789abcdef0123456789abcdef"
HOSTILE_KEYS: tuple[str, ...] = (
    *(
        "",
        " ",
        "/",
        ".",
        "..",
        "../secrets/x",
        "kek/../other",
        "kek/",
        "/kek",
        "kek//",
        "kek?x",
        "kek#x",
        "kek;x",
        "kek%2f",
    ),
    *(
        "ke k",
        "kek\n",
        "kek\r\nX: y",
        "kek\x00",
        "kek\t",
        "k\u0435k",
        "\uff4bek",
        "\u212aek",
        "kek_1",
        "kek.1",
        "kek:1",
        "kek@1",
    ),
    *(
        "kek\\x",
        "{kek}",
        "k" * 128,
        "k" * 100_000,
        f"kek/{VERSION}",
        "keys/kek",
        "//evil.example/keys/kek",
        "\u0661",
        "kek\u200b",
    ),
)
HOSTILE_IDENTIFIERS: tuple[str, ...] = (
    *(
        f"{GOOD}/keys",
        f"{GOOD}/keys/",
        f"{GOOD}/keys//",
        f"{GOOD}/kek",
        f"{GOOD}/secrets/kek",
        f"{GOOD}/certificates/kek",
    ),
    *(
        f"{GOOD}/Keys/kek",
        f"{GOOD}/KEYS/kek",
        f"{GOOD}//keys/kek",
        f"{GOOD}/keys/kek/",
        f"{GOOD}/keys//kek",
        f"{GOOD}/./keys/kek",
    ),
    *(
        f"{GOOD}/keys/../secrets/kek",
        f"{GOOD}/keys/kek/..",
        f"{GOOD}/keys/kek/{VERSION}/",
        f"{GOOD}/keys/kek//{VERSION}",
    ),
    *(
        f"{GOOD}/keys/kek/{VERSION[:-1]}",
        f"{GOOD}/keys/kek/{VERSION}0",
        f"{GOOD}/keys/kek/{VERSION[:-1]}g",
        f"{GOOD}/keys/kek/latest",
    ),
    *(
        f"{GOOD}/keys/kek/{VERSION}/unwrapkey",
        f"{GOOD}/keys/kek/{VERSION}?api-version=7.0",
        f"{GOOD}/keys/kek?x",
        f"{GOOD}/keys/kek#x",
    ),
    *(
        f"{GOOD}:443/keys/kek",
        f"{GOOD}./keys/kek",
        f"{GOOD}/keys/kek\n",
        f" {GOOD}/keys/kek",
        f"{GOOD}/keys/kek/{VERSION}\n",
    ),
    *(f"{GOOD}/deletedkeys/kek", f"{GOOD}/keys/kek/{VERSION[:-1]}\u0660", f"{GOOD}/keys/%6bek", f"{GOOD}\\keys\\kek"),
    *(
        "https://evil.example/keys/kek",
        "https://acme-kv.vault.azure.net.evil.example/keys/kek",
        "http://acme-kv.vault.azure.net/keys/kek",
    ),
    *(
        f"HTTPS{GOOD[5:]}/keys/kek",
        f"{GOOD}/keys/kek/{VERSION}/{VERSION}",
        f"{GOOD}/keys/kek/{VERSION} ",
        f"{GOOD}/keys/kek/versions",
    ),
)
DOMAINS = [(name, domain) for name, cloud in CLOUDS.items() for domain in (cloud.vault_domain, cloud.hsm_domain)]


def shown(text: str) -> str:
    return ascii(text)[:60]


def test_there_are_enough() -> None:
    assert len(set(HOSTILE_VAULTS)) == len(HOSTILE_VAULTS) > 150
    assert len(set(HOSTILE_KEYS)) == len(HOSTILE_KEYS) > 30
    assert len(set(HOSTILE_IDENTIFIERS)) == len(HOSTILE_IDENTIFIERS) > 35


@pytest.mark.parametrize("url", HOSTILE_VAULTS, ids=shown)
def test_hostile_vaults(url: str) -> None:
    for key in ("kek", f"{url}/keys/kek", f"{url}/keys/kek/{VERSION}"):
        with pytest.raises(InvalidRequest) as raised:
            VaultKey.of(url, key)
        assert len(url) < 12 or url not in f"{raised.value.detail}{raised.value.hint}"
    for identifier in (f"{url}/keys/kek", f"{url}/keys/kek/{VERSION}"):
        with pytest.raises(InvalidRequest):
            VaultKey.parse(identifier)
        with pytest.raises(InvalidRequest):
            VaultKey.of("", identifier)
        with pytest.raises(InvalidRequest):
            VaultKey.of(GOOD, identifier)
        with pytest.raises(InvalidRequest):
            KeyTarget(identifier, entra_tenant=DIRECTORY).check()


@pytest.mark.parametrize("key", HOSTILE_KEYS, ids=shown)
def test_hostile_names_of_keys(key: str) -> None:
    with pytest.raises(InvalidRequest):
        VaultKey.of(GOOD, key)
    with pytest.raises(InvalidRequest):
        VaultKey.of("", key)
    with pytest.raises(InvalidRequest):
        KeyTarget(f"{GOOD}/keys/{key}", entra_tenant=DIRECTORY).check()


@pytest.mark.parametrize("identifier", HOSTILE_IDENTIFIERS, ids=shown)
def test_hostile_identifiers(identifier: str) -> None:
    with pytest.raises(InvalidRequest):
        VaultKey.parse(identifier)
    for vault in ("", GOOD):
        with pytest.raises(InvalidRequest):
            VaultKey.of(vault, identifier)
    with pytest.raises(InvalidRequest):
        KeyTarget(identifier, entra_tenant=DIRECTORY).check()


@pytest.mark.parametrize(
    "identifier",
    [
        f"{GOOD}/keys/kek/{VERSION}",
        "https://Acme-KV.vault.azure.net/keys/kek",
        "https://acme-kv.Vault.Azure.Net/keys/kek",
        f"{GOOD}/keys/KEK",
    ],
)
def test_a_target_is_written_in_one_way_only(identifier: str) -> None:
    VaultKey.parse(identifier)
    with pytest.raises(InvalidRequest):
        KeyTarget(identifier, entra_tenant=DIRECTORY).check()


@pytest.mark.parametrize(("cloud", "domain"), DOMAINS)
@pytest.mark.parametrize("name", ["acme-kv", "abc", "a" * 24, "a1-b2-c3", "Acme-KV", "ABC"])
def test_what_passes(cloud: str, domain: str, name: str) -> None:
    host, url = f"{name.lower()}.{domain}", f"https://{name}.{domain}"
    for key in ("kek", "KEK", "k", "0", "-", "a" * 127, "my-key-1"):
        expected = VaultKey(host, key.lower())
        assert VaultKey.of(url, key) == VaultKey.of(f"{url}/", key) == VaultKey.parse(f"{url}/keys/{key}") == expected
        assert VaultKey.of("", f"{url}/keys/{key}") == VaultKey.of(url, f"{url}/keys/{key}") == expected
        versioned = VaultKey.parse(f"{url}/keys/{key}/{VERSION.upper()}")
        assert versioned == VaultKey(host, key.lower(), VERSION)
        assert versioned.key == expected
        assert (expected.cloud, expected.hsm) == (cloud, domain.startswith("managedhsm"))
        assert (str(expected), str(versioned)) == (f"https://{host}/keys/{key.lower()}", f"{expected}/{VERSION}")
        assert VaultKey.parse(str(versioned)) == versioned
        assert Kek(str(versioned)).key == Kek(str(expected))
        target = KeyTarget(str(expected), entra_tenant=DIRECTORY)
        assert target.check() is target
    assert VaultKey(host, "kek").vault_url == f"https://{host}"


@pytest.mark.parametrize(("cloud", "domain"), DOMAINS)
def test_an_identifier_in_another_vault_than_the_one_named(cloud: str, domain: str) -> None:
    url = f"https://acme-kv.{domain}"
    for other in (
        f"https://other-kv.{domain}",
        *(f"https://acme-kv.{found}" for _, found in DOMAINS if found != domain),
    ):
        with pytest.raises(InvalidRequest, match="another vault"):
            VaultKey.of(url, f"{other}/keys/kek")
    assert VaultKey.of(url, f"{url}/keys/kek").cloud == cloud


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "common",
            "organizations",
            "consumers",
            "adfs",
            "acme.onmicrosoft.com",
            f"{DIRECTORY} ",
            f"\n{DIRECTORY}",
        ),
        *(f"{{{DIRECTORY}}}", DIRECTORY.replace("-", ""), DIRECTORY[:-1], f"{DIRECTORY}0", f"{DIRECTORY}/../common"),
        *(
            DIRECTORY.replace("a", "\u0430"),
            DIRECTORY.replace("3", "\u0663"),
            f"urn:uuid:{DIRECTORY}",
            f"{DIRECTORY}\x00",
        ),
        *(DIRECTORY.replace("3", "\uff13", 1), DIRECTORY.replace("a", "g"), DIRECTORY.replace("-", "\u2010")),
    ],
    ids=shown,
)
def test_what_is_no_entra_tenant(text: str) -> None:
    with pytest.raises(InvalidRequest):
        entra_tenant(text)
    with pytest.raises(InvalidRequest):
        KeyTarget(f"{GOOD}/keys/kek", entra_tenant=text).check()


def test_entra_tenants() -> None:
    assert entra_tenant(DIRECTORY) == entra_tenant(DIRECTORY.upper()) == DIRECTORY
    with pytest.raises(InvalidRequest, match="lower case"):
        KeyTarget(f"{GOOD}/keys/kek", entra_tenant=DIRECTORY.upper()).check()
