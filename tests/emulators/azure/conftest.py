from __future__ import annotations

from collections.abc import Iterator

import pytest
from azure.keyvault.keys._shared import http_challenge_cache

from functions.emulators.azure_wire import AzureEmulatorServer, serve
from tests.emulators.azure.worlds import Sdk, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Iterator[AzureEmulatorServer]:
    with serve(world.emulator) as running:
        yield running


@pytest.fixture
def sdk(server: AzureEmulatorServer) -> Iterator[Sdk]:
    http_challenge_cache.clear()  # it is the process's
    made = Sdk(server)
    yield made
    made.close()
    http_challenge_cache.clear()
