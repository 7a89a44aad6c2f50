"""The stage as a fixture, over one server for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.providers.azure_key_vault.stage import Platform, Stage


@pytest.fixture(scope="package")
def platform() -> Iterator[Platform]:
    found = Platform()
    yield found
    found.server.close()


@pytest.fixture
def stage(platform: Platform) -> Iterator[Stage]:
    found = Stage(platform)
    yield found
    found.close()
