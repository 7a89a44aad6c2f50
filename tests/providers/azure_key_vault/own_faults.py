"""Uses of a key by a connector with these settings: one that works, and one that our own trouble stops."""

from __future__ import annotations

import pytest

from core.errors import KeysteadError, OwnFault
from core.providers.azure_key_vault import AzureSettings
from tests.conformance.key_provider import KEY
from tests.providers.azure_key_vault.stage import CONTEXT, Stage


def use(stage: Stage, settings: AzureSettings) -> None:
    kek = stage.key()
    provider = stage.connector(settings).connect(stage.access(kek))
    assert provider.unwrap(provider.wrap(kek, KEY, CONTEXT), CONTEXT).key == KEY


def own_fault(stage: Stage, settings: AzureSettings, code: str = "") -> OwnFault:
    kek = stage.key()
    provider = stage.connector(settings).connect(stage.access(kek))
    stage.emulator.clear_calls()
    with pytest.raises(KeysteadError) as raised:
        provider.wrap(kek, KEY, CONTEXT)
    assert type(raised.value) is OwnFault
    assert raised.value.kms_code == code
    assert raised.value.__context__ is None
    assert not [call for call in stage.emulator.calls if call.host.endswith(".azure.net")]
    return raised.value
