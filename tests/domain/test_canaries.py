"""Canaries: what is one, how it is reached, and whom it vouches for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.domain.canaries import Canary, Pattern, pattern_of
from core.domain.kek import Kek, KeyAccess
from core.errors import InvalidRequest

KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
ARN = f"arn:aws:kms:eu-central-1:111122223333:key/{KEY_ID}"
ROLE = "arn:aws:iam::111122223333:role/canary"
VAULT_KEY = "https://canaries.vault.azure.net/keys/canary"
ENTRA_TENANT = "72f988bf-0000-4000-8000-00000000acce"
VERSION = "0123456789abcdef0123456789abcdef"
AWS = Canary(ARN)
BY_ROLE = Canary(ARN, ROLE, external_id="an-external-id")
AZURE = Canary(VAULT_KEY, entra_tenant=ENTRA_TENANT)
LOCAL = Canary("local:canary")


@pytest.mark.parametrize("canary", [AWS, BY_ROLE, AZURE, LOCAL])
def test_what_is_a_canary(canary: Canary) -> None:
    assert canary.check() is canary


@pytest.mark.parametrize(
    "canary",
    [
        Canary(""),
        Canary("canary"),
        Canary("local:"),
        Canary("local:../canary"),
        Canary("arn:aws:kms:eu-central-1:111122223333:alias/canary"),
        replace(AWS, role_arn=ROLE),
        replace(AWS, external_id="an-external-id"),
        replace(AWS, entra_tenant=ENTRA_TENANT),
        replace(BY_ROLE, external_id="x"),
        replace(BY_ROLE, external_id="a space"),
        replace(BY_ROLE, role_arn="arn:aws:iam::111122223333:user/canary"),
        replace(BY_ROLE, role_arn="arn:aws-cn:iam::111122223333:role/canary"),
        replace(AZURE, entra_tenant=""),
        replace(AZURE, entra_tenant=ENTRA_TENANT.upper()),
        replace(AZURE, entra_tenant="contoso.example"),
        replace(AZURE, kek=f"{VAULT_KEY}/{VERSION}"),
        replace(AZURE, kek=VAULT_KEY.upper()),
        replace(AZURE, kek="https://canaries.example/keys/canary"),
        replace(AZURE, role_arn=ROLE, external_id="an-external-id"),
        replace(LOCAL, role_arn=ROLE, external_id="an-external-id"),
        replace(LOCAL, entra_tenant=ENTRA_TENANT),
    ],
)
def test_what_is_none(canary: Canary) -> None:
    with pytest.raises(InvalidRequest):
        canary.check()


def test_it_is_reached_as_the_services_own_and_with_fresh_credentials() -> None:
    assert BY_ROLE.access == KeyAccess("_system", 1, Kek(ARN), ROLE, "an-external-id", 0, "")
    assert AZURE.access == KeyAccess("_system", 1, Kek(VAULT_KEY), lease=0, entra_tenant=ENTRA_TENANT)


@pytest.mark.parametrize(
    ("kek", "role_arn", "expected", "told"),
    [
        (ARN, "", Pattern("aws_kms", "aws eu-central-1"), "aws_kms aws eu-central-1"),
        (ARN, ROLE, Pattern("aws_kms", "aws eu-central-1", by_role=True), "aws_kms aws eu-central-1 by role"),
        (
            ARN.replace("arn:aws:", "arn:aws-cn:").replace("eu-central-1", "cn-north-1"),
            "",
            Pattern("aws_kms", "aws-cn cn-north-1"),
            "aws_kms aws-cn cn-north-1",
        ),
        (VAULT_KEY, "", Pattern("azure_key_vault", "public"), "azure_key_vault public"),
        (f"{VAULT_KEY}/{VERSION}", "", Pattern("azure_key_vault", "public"), "azure_key_vault public"),
        (VAULT_KEY.replace(".net", ".cn"), "", Pattern("azure_key_vault", "china"), "azure_key_vault china"),
        ("local:acme", "", Pattern("local"), "local"),
    ],
)
def test_how_a_kek_is_reached(kek: str, role_arn: str, expected: Pattern, told: str) -> None:
    assert pattern_of(Kek(kek), role_arn) == expected
    assert str(expected) == told


def test_whose_key_it_is_does_not_matter() -> None:
    other = Kek(ARN.replace("111122223333", "444455556666").replace("1234abcd", "4321dcba"))
    assert pattern_of(other) == AWS.pattern
    assert pattern_of(other, "arn:aws:iam::444455556666:role/other") == BY_ROLE.pattern
    assert pattern_of(Kek("https://acme-kv.vault.azure.net/keys/kek")) == AZURE.pattern
    assert len({canary.pattern for canary in (AWS, BY_ROLE, AZURE, LOCAL)}) == 4


def test_every_field_makes_another_canary() -> None:
    others = [
        AWS,
        BY_ROLE,
        replace(BY_ROLE, external_id="another-id"),
        replace(BY_ROLE, role_arn=f"{ROLE}-2"),
        AZURE,
        replace(AZURE, entra_tenant=ENTRA_TENANT.replace("acce", "beef")),
    ]
    assert len({canary.digest for canary in others}) == len(others)
    assert replace(AWS).digest == AWS.digest
