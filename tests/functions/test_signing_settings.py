"""The settings of the signing key become a configuration, or a sentence that says what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from functions.settings import Settings, SettingsError
from functions.signing_settings import MAX_FILE

ARN = "arn:aws:kms:eu-central-1:999999999999:key/00000000-0000-4000-8000-000000000000"
KEY = "https://kv-1.vault.azure.net/keys/signing"
VERSION = f"{KEY}/{'0' * 32}"
APPLICATION = {
    "KEYSTEAD_AZURE_CLIENT_ID": "00000000-0000-4000-8000-000000000001",
    "KEYSTEAD_AZURE_HOME_TENANT": "00000000-0000-4000-8000-000000000002",
    "KEYSTEAD_AZURE_CLIENT_SECRET": "canary-secret",
}


@pytest.mark.parametrize(("key", "more"), [("", {}), (ARN, {}), (ARN, APPLICATION), (VERSION, APPLICATION)])
def test_keys_that_can_sign(key: str, more: dict[str, str]) -> None:
    config = Settings.from_env({"KEYSTEAD_STAGE": "prod", "KEYSTEAD_SIGNING_KEY": key, **more}).to_config()
    assert (config.signing_key, config.retired_signing_keys) == (key, ())


@pytest.mark.parametrize(
    ("key", "more", "said"),
    [
        ("local", {}, "names no key in a KMS"),
        ("alias/signing", {}, "an alias can be pointed"),
        (ARN.replace(":key/", ":alias/"), {}, "an alias can be pointed"),
        (f"{ARN}x", {}, "names no key in a KMS"),
        ("https://kv.evil.test/keys/signing", APPLICATION, "names no key in a KMS"),
        ("https://kv-1.vault.azure.net", APPLICATION, "names no key in a KMS"),
        (KEY, APPLICATION, "names no version"),
        (VERSION, {}, "KEYSTEAD_AZURE_CLIENT_ID is not set"),
        (VERSION.replace("azure.net", "azure.cn"), APPLICATION, "lies in the cloud china"),
    ],
)
def test_keys_that_cannot(key: str, more: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"KEYSTEAD_SIGNING_KEY": key, **more})
    assert caught.value.hint
    assert "KEYSTEAD_SIGNING_KEY" in caught.value.detail
    assert said in f"{caught.value.detail} {caught.value.hint}"


def test_the_emulators_application_signs_too() -> None:
    given = {
        "KEYSTEAD_SIGNING_KEY": VERSION,
        "KEYSTEAD_AZURE_EMULATOR": "127.0.0.1:4600",
        "KEYSTEAD_AZURE_EMULATOR_CA": "ca.pem",
    }
    assert Settings.from_env(given).signing_key == VERSION


def test_retired_keys_come_from_a_file(tmp_path: Path) -> None:
    keys = [{"kty": "OKP", "kid": "a"}, {"kty": "EC", "kid": "b"}]
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": keys, "more": 1}))
    config = Settings.from_env({"KEYSTEAD_RETIRED_SIGNING_KEYS": str(path)}).to_config()
    assert config.retired_signing_keys == tuple(keys)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": [1]}', b"[" * 60_000, b"\xff", b'{"keys": []}' + b" " * MAX_FILE],
    ids=["empty", "list", "object", "no list", "no keys", "deep", "no text", "large"],
)
def test_a_file_that_holds_no_keys(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="KEYSTEAD_RETIRED_SIGNING_KEYS names is not a JWK set"):
        Settings(retired_signing_keys=str(path)).to_config()


@pytest.mark.parametrize("name", ["missing.json", ".", "a\0b"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="KEYSTEAD_RETIRED_SIGNING_KEYS names cannot be read") as caught:
        Settings(retired_signing_keys=f"{tmp_path}/{name}").to_config()
    assert caught.value.hint
