"""The emulated AWS that the slow tests here share."""

import pytest

from tests.aws.ministack import ministack

__all__ = ["ministack"]

# Hundreds of transactions each, which moto answers slowly; over ministack they run anyway.
_MANY_WRITES = ("test_no_update_is_lost", "test_writers_that_try_again_make_one_unbroken_chain")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what takes seconds over moto out of the quick tests."""
    for item in items:
        if item.path.name == "test_moto.py" and item.name in _MANY_WRITES:
            item.add_marker(pytest.mark.slow)
