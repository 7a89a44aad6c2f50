"""Fixtures of the service tests."""

from __future__ import annotations

import pytest

from tests.service.world import World


@pytest.fixture
def world() -> World:
    """A world with tenant acme."""
    world = World()
    world.tenant()
    return world
