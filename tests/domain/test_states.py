"""The table of states is whole, and the rule drawn from it refuses everything else."""

from __future__ import annotations

from itertools import product

import pytest

from core.domain.states import RULES, TRANSITIONS, State, check_transition
from core.errors import Conflict, KeysteadError


def test_every_state_has_a_rule_and_a_row_of_transitions() -> None:
    assert set(RULES) == set(TRANSITIONS) == set(State)


@pytest.mark.parametrize(("old", "new"), list(product(State, State)), ids=lambda state: str(state))
def test_a_transition_is_allowed_if_and_only_if_it_is_in_the_table(old: State, new: State) -> None:
    if new is old or new in TRANSITIONS[old]:
        check_transition(old, new)
    else:
        with pytest.raises(Conflict):
            check_transition(old, new)


def test_no_row_names_its_own_state_except_by_staying() -> None:
    assert not [state for state, row in TRANSITIONS.items() if state in row]


def test_every_state_can_be_reached_and_left() -> None:
    reachable, frontier = {State.PLATFORM}, {State.PLATFORM}
    while frontier:
        frontier = set().union(*(TRANSITIONS[state] for state in frontier)) - reachable
        reachable |= frontier
    assert reachable == set(State)
    assert all(TRANSITIONS.values())


@pytest.mark.parametrize("state", State)
def test_the_kill_switch_works_in_every_state(state: State) -> None:
    check_transition(state, State.SUSPENDED)


def test_a_revoked_key_is_served_again_only_by_reinstatement() -> None:
    assert TRANSITIONS[State.REVOKED] == {State.ACTIVE, State.SUSPENDED}


def test_only_a_denial_that_was_held_can_be_confirmed() -> None:
    """A table of DESIGN 5: `hold` comes between a denial and `revoked`, unless the tenant was withdrawn already."""
    assert State.REVOKED in TRANSITIONS[State.HOLD]
    assert State.REVOKED not in TRANSITIONS[State.PLATFORM] | TRANSITIONS[State.SCHEDULED]


@pytest.mark.parametrize("state", State)
def test_every_state_that_refuses_says_why_and_what_ends_it(state: State) -> None:
    rule = RULES[state]
    assert rule.wording.endswith(".")
    assert rule.may_read or not rule.may_write
    if not (rule.may_read and rule.may_write):
        assert rule.error is not None
        refusal = rule.refusal()
        assert isinstance(refusal, KeysteadError)
        assert (type(refusal), refusal.detail, refusal.hint) == (rule.error, rule.wording, rule.remedy)
        assert refusal.hint


def test_what_the_states_allow() -> None:
    """Written out, so that nobody opens a state by a slip: reading and writing."""
    refused = {State.NETWORK_BLOCKED, State.REVOKED, State.SUSPENDED}
    assert {state for state in State if not RULES[state].may_read} == refused
    assert {state for state in State if not RULES[state].may_write} == refused | {State.WRITE_BLOCKED}
