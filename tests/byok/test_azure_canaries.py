"""Keys, tokens, plaintext and our own secret never reach a log, an error, audit, an event or a repr: with Azure."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator

import pytest

from core.domain.key_target import KeyTarget
from core.providers.azure_key_vault.provider import AzureKeyProvider
from core.service.results import DecryptItem, EncryptItem
from functions.emulators.azure_faults import AzureFault
from tests.byok.canaries import OWNER, PLAINTEXT, forms, spied, written
from tests.byok.clouds import CLIENT_ID, CLIENT_SECRET, ENTRA_TENANT, OTHER_ENTRA_TENANT, TwoClouds, two_clouds

VAULT = "https://acme-kv.vault.azure.net"
TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{20,}\.")
"""How a token begins."""
FAULTS = (
    AzureFault(status=403, inner="ForbiddenByRbac"),
    AzureFault(status=403, inner="SomethingNew"),
    AzureFault(status=400, code="BadParameter"),
    AzureFault(status=429),
    AzureFault(status=503),
    AzureFault(challenge=True),
    AzureFault(body=b"<html>proxy</html>", status=403),
    AzureFault(redirect="https://evil.example/"),
    AzureFault(dropped=True),
    AzureFault(corrupt="value"),
    AzureFault(corrupt="other_version"),
)


@pytest.fixture
def clouds() -> Iterator[TwoClouds]:
    with two_clouds() as made:
        made.tenant("acme")
        yield made


def life(clouds: TwoClouds) -> Iterator[Callable[[], object]]:
    """Everything that can happen to a tenant with a key in Azure, good and bad."""
    app, azure, keystead = clouds.app, clouds.azure, clouds.app.keystead
    key = clouds.new_vault_key("acme")
    context = {"app": "billing"}
    yield lambda: clouds.into_vault("acme", key, OTHER_ENTRA_TENANT)  # not the vault's
    yield lambda: clouds.into_vault("acme", key)
    message = app.encryption.encrypt("acme", PLAINTEXT, context)
    yield lambda: keystead.encrypt_many(OWNER, "acme", [EncryptItem(PLAINTEXT, context)] * 2)
    yield lambda: keystead.decrypt_many(OWNER, "acme", [DecryptItem(message, {"app": "x"}), DecryptItem(b"no", {})])
    yield lambda: keystead.rotate(OWNER, "acme")
    yield lambda: azure.rotate_key(key)
    yield lambda: keystead.check_key(OWNER, "acme")
    yield lambda: keystead.key_status(OWNER, "acme")
    yield lambda: keystead.key_setup(OWNER, "acme", "azure_key_vault")
    yield lambda: keystead.key_export(OWNER, "acme")
    for fault in FAULTS:
        azure.clear_faults()
        azure.add_fault(fault)
        clouds.clock.advance(1000)
        yield lambda: app.encryption.decrypt("acme", message, context)
        yield lambda: keystead.rotate(OWNER, "acme")
        yield lambda: keystead.validate_key(OWNER, "acme", KeyTarget(key, entra_tenant=ENTRA_TENANT))
    for number in (700016, 7000112, 7000215, 7000222, 90055, 90033, 50013, 70011):
        azure.clear_faults()
        azure.add_fault(AzureFault(operation="token", aadsts=number))
        clouds.clock.advance(1000)
        yield lambda: app.encryption.decrypt("acme", message, context)
        yield lambda: keystead.validate_key(OWNER, "acme", KeyTarget(key, entra_tenant=ENTRA_TENANT))
    azure.clear_faults()
    azure.withdraw_consent(CLIENT_ID, ENTRA_TENANT)
    clouds.clock.advance(1000)
    yield lambda: app.encryption.decrypt("acme", message, context)
    azure.consent(CLIENT_ID, ENTRA_TENANT)
    azure.set_network(VAULT, "firewall")
    yield lambda: app.encryption.decrypt("acme", message, context)
    azure.set_network(VAULT, "open")
    yield lambda: clouds.configure("acme", clouds.new_key("acme"))


def test_no_canary_ever_sings(
    clouds: TwoClouds, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keys = spied(AzureKeyProvider, monkeypatch)
    # All loggers at their most talkative: those of the SDK, too, must not be given what they could tell.
    with caplog.at_level(logging.DEBUG):
        everything = written(clouds, life(clouds), caplog)
    assert len(set(keys)) > 5
    assert len([call for call in clouds.azure.calls if call.operation == "token" and call.status == 200]) > 5
    for secret in (PLAINTEXT, *set(keys), *clouds.kms.keys.values()):
        for form in forms(secret):
            assert form not in everything
    assert CLIENT_SECRET not in everything
    assert not TOKEN.search(everything)
