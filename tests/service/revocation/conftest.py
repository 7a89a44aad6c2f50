"""What the tests of revocation share."""

from __future__ import annotations

import pytest

from tests.service.revocation.withdrawing import Owned


@pytest.fixture
def owned() -> Owned:
    """A tenant under a KEK of its own, which a test can withdraw."""
    return Owned()
