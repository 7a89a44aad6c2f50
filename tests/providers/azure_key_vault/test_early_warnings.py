"""What `describe` tells of a key in Azure Key Vault before it stops serving."""

from __future__ import annotations

from typing import Any

import pytest

from core.domain.kek import KekDescription
from functions.emulators.keyvault_vaults import Vault
from tests.providers.azure_key_vault.stage import Stage

DAY = 86_400
EVENING = 1_900_000_800
SAID = "2030-03-17 18:00 UTC"
"""The same for people."""
LOST = "all data under it"


def described(stage: Stage, vault: dict[str, Any] | None = None, **key: Any) -> KekDescription:
    kek = stage.key(vault=stage.new_vault(**(vault or {})), **key)
    return stage.kms.connect(stage.access(kek)).describe(kek.key)


def test_a_key_without_an_end_in_a_safe_vault_has_no_warnings(stage: Stage) -> None:
    found = described(stage)
    assert (found.enabled, found.warnings, found.ends) == (True, (), None)


@pytest.mark.parametrize("hsm", [False, True], ids=["vault", "Managed HSM"])
def test_a_key_that_expires(stage: Stage, hsm: bool) -> None:
    found = described(stage, {"hsm": hsm}, exp=EVENING, kty="RSA-HSM" if hsm else "RSA")
    assert (found.enabled, found.cause, found.ends) == (True, "", EVENING)
    (warning,) = found.warnings
    assert f"expires on {SAID}. Make a new version before that" in warning
    assert "what it wrapped stays readable" in warning


def test_a_key_that_has_expired(stage: Stage) -> None:
    past = int(stage.clock.wall()) - DAY
    found = described(stage, exp=past)
    assert (found.enabled, found.cause, found.ends) == (False, "expired", past)
    (warning,) = found.warnings
    assert "The key expired on 2" in warning


def test_a_key_that_is_not_valid_yet(stage: Stage) -> None:
    found = described(stage, nbf=EVENING, exp=EVENING + DAY)
    assert (found.enabled, found.cause, found.ends) == (False, "not_yet_valid", EVENING + DAY)
    (warning,) = found.warnings
    assert f"not valid before {SAID}" in warning


@pytest.mark.parametrize(
    ("vault", "words"),
    [
        ({"purge_protection": False}, ["A deleted key can be recovered, but also purged", LOST, "purge protection on"]),
        ({"purge_protection": False, "soft_delete_days": 7}, ["recovered for 7 days only, but also purged"]),
        ({"soft_delete_days": 29}, ["recovered for 29 days only, and not be purged before"]),
        ({"soft_delete_days": 30}, []),
        ({"soft_delete_days": 0}, ["Soft delete is off", LOST]),
        ({"hsm": True, "purge_protection": False}, ["purge protection on"]),
    ],
)
def test_what_becomes_of_a_deleted_key(stage: Stage, vault: dict[str, Any], words: list[str]) -> None:
    found = described(stage, vault, kty="RSA-HSM" if vault.get("hsm") else "RSA")
    assert (found.enabled, found.ends) == (True, None)
    assert len(found.warnings) == bool(words)
    assert [word in "".join(found.warnings) for word in words] == [True] * len(words)


def test_several_at_once(stage: Stage) -> None:
    found = described(stage, {"purge_protection": False}, exp=EVENING)
    assert ["expires on" in found.warnings[0], "purged" in found.warnings[1]] == [True, True]
    assert len(found.warnings) == 2


@pytest.mark.parametrize("told", [None, "Something+New", 7])
def test_a_vault_that_tells_nothing_of_recovery_is_not_warned_of_for_ever(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, told: object
) -> None:
    monkeypatch.setattr(Vault, "recovery_level", told)
    assert described(stage).warnings == ()
