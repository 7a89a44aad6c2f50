"""One in-process AWS account and one deployment per test run, shared by everything here: they are slow to set up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.exchange import CASES, Case, Exchange
from tests.interop.official import cloud

HERE = Path(__file__).parent
STEADY, ROTATED = "steady", "rotated"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here loads the official SDK, which alone takes seconds."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="package")
def exchange() -> Iterator[Exchange]:
    """A deployment with the tenants ``steady`` and ``rotated``; no alarm may have been raised at the end."""
    with cloud() as account:
        made = Exchange(account)
        made.add_tenant(STEADY)
        made.add_tenant(ROTATED)
        yield made
        assert made.quiet.emitted == []


@pytest.fixture(scope="package")
def before_rotation(exchange: Exchange) -> dict[Case, tuple[bytes, bytes]]:
    """Messages of both sides, written before the branch key of ``rotated`` was rotated: case -> (ours, theirs)."""
    keyring = exchange.keyring(ROTATED)
    written = {case: (exchange.ours(ROTATED, case), exchange.theirs(ROTATED, case, keyring)) for case in CASES}
    exchange.rotate(ROTATED)
    return written
