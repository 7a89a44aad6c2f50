"""The setting of canaries becomes canaries, or a sentence that says which of them cannot be one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.domain.canaries import Canary
from functions.settings import Settings, SettingsError

REGION = "eu-central-1"
KEY = f"arn:aws:kms:{REGION}:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::444455556666:role/canary"
VAULT_KEY = "https://canaries.vault.azure.net/keys/canary"
CLIENT, HOME, OTHER = (f"{digit * 8}-{digit * 4}-{digit * 4}-{digit * 4}-{digit * 12}" for digit in "abc")
AWS = {"KEYSTEAD_AWS_REGIONS": REGION, "KEYSTEAD_AWS_ACCOUNTS": "111122223333"}
AZURE = {
    "KEYSTEAD_AZURE_CLIENT_ID": CLIENT,
    "KEYSTEAD_AZURE_HOME_TENANT": HOME,
    "KEYSTEAD_AZURE_CLIENT_SECRET": "a-secret",
}
PROD = {"KEYSTEAD_STAGE": "prod", **AWS, **AZURE}


def canaries(given: Any, environ: dict[str, str]) -> tuple[Canary, ...]:
    text = given if isinstance(given, str) else json.dumps(given)
    return Settings.from_env({**environ, "KEYSTEAD_CANARIES": text}).to_config().canaries


def refusal(given: Any, environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        canaries(given, environ)
    assert caught.value.hint
    assert caught.value.detail.startswith("KEYSTEAD_CANARIES: ")
    return f"{caught.value.detail} {caught.value.hint}"


def test_none_is_the_default() -> None:
    assert Settings.from_env({}).to_config().canaries == ()
    assert canaries([], {}) == ()


@pytest.mark.parametrize("in_a_file", [False, True])
def test_everything_set(tmp_path: Path, in_a_file: bool) -> None:
    text = json.dumps(
        [
            {"kek": KEY},
            {"kek": KEY.replace("1234abcd", "00000000"), "role_arn": ROLE, "external_id": "an-external-id"},
            {"kek": VAULT_KEY, "entra_tenant": OTHER},
        ]
    )
    if in_a_file:
        (tmp_path / "canaries.json").write_text(text, encoding="utf-8")
        text = str(tmp_path / "canaries.json")
    assert canaries(text, PROD) == (
        Canary(KEY),
        Canary(KEY.replace("1234abcd", "00000000"), ROLE, external_id="an-external-id"),
        Canary(VAULT_KEY, entra_tenant=OTHER),
    )


def test_a_local_key_is_one_in_stage_local_only() -> None:
    assert canaries([{"kek": "local:canary"}], {}) == (Canary("local:canary"),)
    assert "number 1: a local key is a canary in stage local only" in refusal([{"kek": "local:canary"}], PROD)


def test_the_emulators_region_counts() -> None:
    emulator = {"KEYSTEAD_AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}
    assert canaries([{"kek": KEY}], emulator) == (Canary(KEY),)


def test_what_admits_a_canary_is_not_told() -> None:
    text = json.dumps([{"kek": KEY, "role_arn": ROLE, "external_id": "an-external-id"}])
    assert "an-external-id" not in repr(Settings.from_env({**PROD, "KEYSTEAD_CANARIES": text}))


@pytest.mark.parametrize(
    ("given", "environ", "said"),
    [
        ("/nonexistent/canaries.json", PROD, "the file it names cannot be read"),
        ("[", PROD, "it is not valid JSON"),
        ('[{"kek": "a", "kek": "b"}]', PROD, "names a field twice"),
        ([{"kek": KEY}] * 65, PROD, "at most 64 canaries"),
        (["local:canary"], PROD, "number 1: a canary is a JSON object of texts"),
        ([{"kek": 1}], PROD, "number 1: a canary is a JSON object of texts"),
        (
            [{"role_arn": ROLE}],
            PROD,
            "of other fields only role_arn, entra_tenant, external_id",
        ),
        ([{"kek": KEY, "rolearn": ROLE}], PROD, "a canary has a kek, and of other fields only"),
        ([{"kek": KEY}, {"kek": "canary"}], PROD, "number 2: a key must be named by an ARN"),
        ([{"kek": KEY, "role_arn": ROLE}], PROD, "a role is assumed with an external id"),
        ([{"kek": KEY}, {"kek": KEY}], PROD, "number 2: its key is named before"),
        ([{"kek": VAULT_KEY}], PROD, "an Entra tenant is named by its id"),
        ([{"kek": KEY}], AZURE, "reaches no keys in AWS KMS set KEYSTEAD_AWS_REGIONS"),
        ([{"kek": KEY.replace(REGION, "eu-west-1")}], PROD, "keys in the Region eu-west-1 are not served"),
        ([{"kek": VAULT_KEY, "entra_tenant": OTHER}], AWS, "reaches no keys in Azure Key Vault"),
        ([{"kek": VAULT_KEY.replace(".net", ".cn"), "entra_tenant": OTHER}], PROD, "keys in the cloud china"),
        ([{"kek": VAULT_KEY, "entra_tenant": HOME}], PROD, "cannot lie in the Entra tenant of KEYSTEAD_AZURE_HOME"),
    ],
)
def test_what_stops_the_start(given: Any, environ: dict[str, str], said: str) -> None:
    assert said in refusal(given, environ)


@pytest.mark.parametrize(
    ("account", "canary"),
    [
        ("111122223333", {"kek": KEY}),
        ("444455556666", {"kek": KEY, "role_arn": ROLE, "external_id": "an-external-id"}),
    ],
)
def test_a_canary_beside_our_identity_would_serve_where_tenants_keys_are_refused(
    account: str, canary: dict[str, str]
) -> None:
    principal = {"KEYSTEAD_AWS_PRINCIPAL": f"arn:aws:iam::{account}:role/app/keystead"}
    assert "cannot lie in the account of KEYSTEAD_AWS_PRINCIPAL" in refusal([canary], {**PROD, **principal})
    other = {"KEYSTEAD_AWS_PRINCIPAL": "arn:aws:iam::999999999999:role/app/keystead"}
    assert canaries([canary], {**PROD, **other}) == (Canary(**canary),)
