"""The stage as a fixture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.providers.aws_kms.stage import Stage, staged


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as found:
        yield found
