"""The emulated Azure that the slow tests here share."""

import pytest

from tests.azurite.server import azurite

__all__ = ["azurite"]

# Forty examples each, of which the wire sees no more than ASCII; the double takes them through the SDK's serialisation.
_PROPERTIES = (
    "test_any_text_and_bytes_come_back_as_they_were",
    "test_any_json_comes_back_as_it_was",
    "test_any_entry_comes_back_as_it_was",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to the double what takes seconds over Azurite and asks nothing of it."""
    left_out = [item for item in items if item.path.name == "test_azurite.py" and item.name in _PROPERTIES]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
