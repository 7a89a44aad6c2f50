"""Every cause of a denial has something to do about it."""

from __future__ import annotations

import re

import pytest

from core.domain.causes import ACTIONS, hint_for
from core.errors import WRITE_CAUSES, Denial


def test_the_table_is_that_of_the_error() -> None:
    documented = re.findall("``([a-z_]+)``", (Denial.__doc__ or "").partition("cause:")[2].partition("kms_code")[0])
    assert {*ACTIONS} == {*documented} | WRITE_CAUSES
    assert len({*ACTIONS.values()}) == len(ACTIONS)


@pytest.mark.parametrize("cause", ACTIONS)
def test_a_hint_names_the_cause_and_the_action(cause: str) -> None:
    assert hint_for(cause) == f"cause: {cause}; {ACTIONS[cause]}"
    assert hint_for(cause, version="abc") == f"cause: {cause} (of version abc); {ACTIONS[cause]}"


def test_a_cause_that_is_new_is_unknown() -> None:
    assert hint_for("purple").endswith(ACTIONS["unknown"])
