"""A deployment per test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.byok.deployment import Deployment, deployed


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    with deployed() as made:
        yield made
