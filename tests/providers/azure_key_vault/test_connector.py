"""What the connector refuses before anything is sent, and what a provider refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from core.domain.kek import Kek, KeyAccess, WrappedKey
from core.errors import InternalError, InvalidRequest, WrapMismatch
from core.providers.azure_key_vault import AzureKeyVault, AzureSettings
from tests.conformance.key_provider import KEY
from tests.providers.azure_key_vault.stage import (
    CLIENT_ID,
    CONTEXT,
    DIRECTORY,
    EXTERNAL_ID,
    HOME,
    SECRET,
    Stage,
    StageClock,
)

VERSION = "0123456789abcdef0123456789abcdef"
KEK = "https://acme-kv.vault.azure.net/keys/kek"
ACCESS = KeyAccess("acme", 1, Kek(KEK), external_id=EXTERNAL_ID, entra_tenant=DIRECTORY)
SETTINGS = AzureSettings(CLIENT_ID, HOME, client_secret=SECRET, dial="127.0.0.1:1", ca_file="/nonexistent")


def nowhere(**settings: object) -> AzureKeyVault:
    return AzureKeyVault(replace(SETTINGS, **settings), StageClock())  # type: ignore[arg-type]


@pytest.mark.parametrize("access", [ACCESS, replace(ACCESS, kek=Kek(f"{KEK}/{VERSION}"))], ids=["key", "version"])
def test_connecting_does_no_io(access: KeyAccess) -> None:
    kms = nowhere()
    assert "KEY" not in repr(kms.connect(access))
    kms.close()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kek": Kek("arn:aws:kms:eu-central-1:111122223333:key/x")}, "identifier"),
        ({"kek": Kek("local:platform")}, "identifier"),
        ({"kek": Kek("https://acme-kv.vault.azure.net")}, "identifier"),
        ({"kek": Kek("https://acme-kv.vault.azure.net.evil.example/keys/kek")}, "identifier"),
        ({"kek": Kek("https://evil.example/keys/kek")}, "identifier"),
        ({"kek": Kek("https://Acme-KV.vault.azure.net/keys/kek")}, "lower case"),
        ({"kek": Kek("https://acme-kv.vault.azure.net/keys/Kek")}, "lower case"),
        ({"kek": Kek(f"{KEK}/{VERSION.upper()}")}, "lower case"),
        ({"kek": Kek("https://acme-kv.vault.azure.cn/keys/kek")}, "cloud china"),
        ({"kek": Kek("https://acme-kv.managedhsm.usgovcloudapi.net/keys/kek")}, "cloud usgovernment"),
        ({"entra_tenant": ""}, "Entra tenant"),
        ({"entra_tenant": "acme.onmicrosoft.com"}, "Entra tenant"),
        ({"entra_tenant": "common"}, "Entra tenant"),
        ({"entra_tenant": DIRECTORY.replace("3333", "aaaa").upper()}, "lower case"),
        ({"entra_tenant": f"{{{DIRECTORY}}}"}, "Entra tenant"),
        ({"entra_tenant": HOME}, "platform's own"),
    ],
    ids=str,
)
def test_what_is_not_connected_to(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        nowhere().connect(replace(ACCESS, **changes))  # type: ignore[arg-type]
    assert words in f"{raised.value.detail} {raised.value.hint}"


@pytest.mark.parametrize(
    ("cloud", "domain"),
    [("china", "vault.azure.cn"), ("china", "managedhsm.azure.cn"), ("usgovernment", "vault.usgovcloudapi.net")],
)
def test_another_cloud(cloud: str, domain: str) -> None:
    kms = nowhere(cloud=cloud)
    kms.connect(replace(ACCESS, kek=Kek(f"https://acme-kv.{domain}/keys/kek")))
    with pytest.raises(InvalidRequest):
        kms.connect(ACCESS)


@pytest.mark.parametrize(("cloud", "hsm"), [("china", False), ("usgovernment", True), ("usgovernment", False)])
def test_keys_in_another_cloud_are_used_there(stage: Stage, cloud: str, hsm: bool) -> None:
    stage.emulator.add_application(CLIENT_ID, HOME, secret=SECRET, cloud=cloud)  # type: ignore[arg-type]
    kek = stage.key(vault=stage.new_vault(cloud=cloud, hsm=hsm), kty="RSA-HSM" if hsm else "RSA")
    provider = stage.connector(replace(stage.settings, cloud=cloud)).connect(stage.access(kek))  # type: ignore[arg-type]
    assert provider.unwrap(provider.wrap(kek, KEY, CONTEXT), CONTEXT).key == KEY
    hosts = {call.host for call in stage.emulator.calls}
    assert len(hosts) == 2
    assert all(host.rpartition(".")[2] == ("cn" if cloud == "china" else "us") or "usgov" in host for host in hosts)


class TestProvider:
    """Nothing is sent for a key that is not the provider's own."""

    KEKS = (
        *("arn:aws:kms:eu-central-1:111122223333:key/x", "local:platform", "", "https://", KEK.upper()),
        *(f"{KEK}2/{VERSION}", f"https://other-kv.vault.azure.net/keys/kek/{VERSION}", f"{KEK}/{VERSION.upper()}"),
        *(f"{KEK}/{VERSION}/", f"{KEK}/{VERSION}?x", f"{KEK}//{VERSION}", f"{KEK}/../kek/{VERSION}", f"{KEK}/"),
    )

    @pytest.mark.parametrize("locator", KEKS)
    def test_another_key(self, locator: str) -> None:
        provider, kek = nowhere().connect(ACCESS), Kek(locator)
        uses: list[Callable[[], object]] = [
            lambda: provider.wrap(kek, KEY, CONTEXT),
            lambda: provider.unwrap(WrappedKey(kek, bytes(256)), CONTEXT),
            lambda: provider.describe(kek),
        ]
        for use in uses:
            with pytest.raises(InternalError):
                use()

    def test_no_version(self) -> None:
        provider = nowhere().connect(ACCESS)
        with pytest.raises(InternalError):
            provider.wrap(Kek(KEK), KEY, CONTEXT)
        with pytest.raises(InternalError):
            provider.unwrap(WrappedKey(Kek(KEK), bytes(256)), CONTEXT)

    @pytest.mark.parametrize("length", [0, 513, 6144, 1_000_000])
    def test_bytes_that_no_key_gives_are_not_sent(self, length: int) -> None:
        with pytest.raises(WrapMismatch):
            nowhere().connect(ACCESS).unwrap(WrappedKey(Kek(f"{KEK}/{VERSION}"), bytes(length)), CONTEXT)

    def test_the_format(self, stage: Stage) -> None:
        """What is wrapped is SHA-384 of the context and the key: whoever else writes it so is read."""
        from hashlib import sha384

        from core.domain.context import serialise
        from core.providers.azure_key_vault.base64url import base64url

        kek = stage.key()
        provider = stage.kms.connect(stage.access(kek))
        name, version = kek.locator.split("/")[4:]
        material = stage.emulator.vaults.key(kek.locator, 0)[1].version(version).material
        digest = sha384(serialise(CONTEXT)).digest()
        assert name == "kek"
        ours = material.decrypt("RSA-OAEP-256", provider.wrap(kek, KEY, CONTEXT).ciphertext)
        assert ours == digest + KEY
        theirs = material.encrypt("RSA-OAEP-256", digest + KEY)
        assert provider.unwrap(WrappedKey(kek, theirs), CONTEXT).key == KEY
        assert base64url(ours)


def test_setup_kit_and_examination_are_reached(stage: Stage) -> None:
    kek = stage.key(tags={"keystead-proof": EXTERNAL_ID})
    assert stage.kms.setup_kit("acme", EXTERNAL_ID, DIRECTORY)["steps"]
    report = stage.kms.examine(stage.access(kek), CONTEXT)
    assert report.checks
    with pytest.raises(InvalidRequest):
        stage.kms.examine(replace(stage.access(kek), kek=Kek("https://evil.example/keys/kek")), CONTEXT)
