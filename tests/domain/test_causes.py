"""Every cause of a denial has something to do about it."""

from __future__ import annotations

import re

import pytest

from core.domain.causes import ACTIONS, OLDER_KEY, SWITCH_REPLAYED, hint_for, remedy_for, withheld_hint
from core.domain.states import RULES, State
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


@pytest.mark.parametrize("cause", ACTIONS)
@pytest.mark.parametrize("state", State)
def test_what_ends_a_state_is_what_undoes_its_cause(state: State, cause: str) -> None:
    if state in (State.SUSPENDED, State.HOLD):
        assert remedy_for(state, cause) == RULES[state].remedy
    else:
        assert remedy_for(state, cause).lower() == f"{ACTIONS[cause]}.".lower()
        assert remedy_for(state, cause)[0].isupper()
    assert withheld_hint(state, cause) == (RULES[state].remedy if state is State.SUSPENDED else hint_for(cause))


@pytest.mark.parametrize("state", State)
def test_without_a_cause_the_table_tells(state: State) -> None:
    for cause in ("", "purple"):
        assert remedy_for(state, cause) == withheld_hint(state, cause) == RULES[state].remedy


def test_who_suspended_it_by_restoring_a_backup_is_told() -> None:
    for cause in (SWITCH_REPLAYED, OLDER_KEY):
        assert "restored a" in (told := remedy_for(State.SUSPENDED, cause)) or "was restored" in told
        assert withheld_hint(State.SUSPENDED, cause) == told
        assert remedy_for(State.ACTIVE, cause) == RULES[State.ACTIVE].remedy
