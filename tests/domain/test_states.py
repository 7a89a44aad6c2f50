"""The table of states is whole, and the rule drawn from it refuses everything else."""

from __future__ import annotations

from itertools import product

import pytest

from core.domain.states import (
    MEANINGS,
    RULES,
    TABLE,
    TRANSITIONS,
    Signal,
    State,
    Transition,
    check_transition,
    next_state,
)
from core.errors import (
    Conflict,
    KeyNetworkBlocked,
    KeyRevoked,
    KeysteadError,
    KeySuspended,
    KeyUnreachable,
    KeyWriteBlocked,
)

PLATFORM, SCHEDULED, ACTIVE, DEGRADED, UNREACHABLE = (
    State.PLATFORM,
    State.SCHEDULED,
    State.ACTIVE,
    State.DEGRADED,
    State.UNREACHABLE,
)
WRITE_BLOCKED, NETWORK_BLOCKED, HOLD, REVOKED, SUSPENDED = (
    State.WRITE_BLOCKED,
    State.NETWORK_BLOCKED,
    State.HOLD,
    State.REVOKED,
    State.SUSPENDED,
)

WRITTEN: dict[Signal, dict[State, tuple[State, ...]]] = {
    Signal.SCHEDULE: {PLATFORM: (SCHEDULED,)},
    Signal.CANCEL: {SCHEDULED: (PLATFORM,)},
    Signal.MOVE: {
        PLATFORM: (ACTIVE,),
        SCHEDULED: (ACTIVE,),
        DEGRADED: (ACTIVE,),
        UNREACHABLE: (ACTIVE,),
        WRITE_BLOCKED: (ACTIVE,),
        NETWORK_BLOCKED: (ACTIVE,),
        HOLD: (ACTIVE,),
        REVOKED: (ACTIVE,),
    },
    Signal.REVERT: {
        SCHEDULED: (PLATFORM,),
        ACTIVE: (PLATFORM,),
        DEGRADED: (PLATFORM,),
        UNREACHABLE: (PLATFORM,),
        WRITE_BLOCKED: (PLATFORM,),
        NETWORK_BLOCKED: (PLATFORM,),
        HOLD: (PLATFORM,),
    },
    Signal.DENIED: {
        PLATFORM: (HOLD,),
        SCHEDULED: (HOLD,),
        ACTIVE: (HOLD,),
        DEGRADED: (HOLD,),
        UNREACHABLE: (HOLD,),
        WRITE_BLOCKED: (HOLD,),
        NETWORK_BLOCKED: (HOLD,),
    },
    Signal.CONFIRMED: {HOLD: (REVOKED,)},
    Signal.GRANTED: {
        DEGRADED: (ACTIVE,),
        UNREACHABLE: (ACTIVE,),
        WRITE_BLOCKED: (ACTIVE,),
        NETWORK_BLOCKED: (ACTIVE,),
        HOLD: (ACTIVE, PLATFORM, SCHEDULED),
        REVOKED: (ACTIVE,),
    },
    Signal.EXCUSED: {HOLD: (ACTIVE, PLATFORM, SCHEDULED)},
    Signal.SILENT: {ACTIVE: (DEGRADED,)},
    Signal.SILENT_BEYOND_GRACE: {ACTIVE: (UNREACHABLE,), DEGRADED: (UNREACHABLE,)},
    Signal.NETWORK_REFUSED: {
        ACTIVE: (NETWORK_BLOCKED,),
        DEGRADED: (NETWORK_BLOCKED,),
        UNREACHABLE: (NETWORK_BLOCKED,),
        WRITE_BLOCKED: (NETWORK_BLOCKED,),
    },
    Signal.WRITE_REFUSED: {
        ACTIVE: (WRITE_BLOCKED,),
        DEGRADED: (WRITE_BLOCKED,),
        UNREACHABLE: (WRITE_BLOCKED,),
        NETWORK_BLOCKED: (WRITE_BLOCKED,),
        HOLD: (WRITE_BLOCKED,),
    },
    Signal.SUSPEND: {
        PLATFORM: (SUSPENDED,),
        SCHEDULED: (SUSPENDED,),
        ACTIVE: (SUSPENDED,),
        DEGRADED: (SUSPENDED,),
        UNREACHABLE: (SUSPENDED,),
        WRITE_BLOCKED: (SUSPENDED,),
        NETWORK_BLOCKED: (SUSPENDED,),
        HOLD: (SUSPENDED,),
        REVOKED: (SUSPENDED,),
    },
    Signal.RESUME: {SUSPENDED: (PLATFORM, SCHEDULED, ACTIVE, HOLD, REVOKED)},
    Signal.STORE_RESTORED: {
        PLATFORM: (HOLD,),
        SCHEDULED: (HOLD,),
        ACTIVE: (HOLD,),
        DEGRADED: (HOLD,),
        UNREACHABLE: (HOLD,),
        WRITE_BLOCKED: (HOLD,),
        NETWORK_BLOCKED: (HOLD,),
        REVOKED: (HOLD,),
    },
}
"""The whole table once more, written out, so that nobody opens a transition by a slip: where each signal leads from
each state, first where it leads if nothing is known of what the state came from. What is missing changes nothing."""


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


def test_a_revoked_key_is_served_again_only_by_reinstatement_and_held_after_a_restore() -> None:
    assert TRANSITIONS[State.REVOKED] == {State.ACTIVE, State.SUSPENDED, State.HOLD}
    assert [row.signal for row in TABLE if State.REVOKED in row.sources and row.target is State.HOLD] == [
        Signal.STORE_RESTORED
    ]


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


def test_the_table_is_the_one_written_here() -> None:
    found: dict[Signal, dict[State, list[State]]] = {signal: {} for signal in Signal}
    for row in TABLE:
        for source in row.sources:
            found[row.signal].setdefault(source, []).append(row.target)
    assert found == {
        signal: {state: list(targets) for state, targets in rows.items()} for signal, rows in WRITTEN.items()
    }


def test_the_transitions_are_those_of_the_table_and_no_others() -> None:
    for state in State:
        targets = {target for rows in WRITTEN.values() for target in rows.get(state, ())}
        assert TRANSITIONS[state] == targets


@pytest.mark.parametrize("signal", Signal)
def test_where_each_signal_leads_from_each_state(signal: Signal) -> None:
    for state in State:
        targets = WRITTEN[signal].get(state, ())
        assert next_state(state, signal) is (targets[0] if targets else state), state
        for back_to in State:
            expected = back_to if back_to in targets else next_state(state, signal)
            assert next_state(state, signal, back_to) is expected, (state, back_to)


def test_every_signal_has_a_meaning_of_its_own_and_a_row() -> None:
    assert set(MEANINGS) == set(Signal) == {row.signal for row in TABLE}
    assert len(set(MEANINGS.values())) == len(Signal)
    assert not [meaning for meaning in MEANINGS.values() if meaning.endswith(".") or not meaning]


def test_no_row_is_there_twice_nor_empty() -> None:
    assert len(set(TABLE)) == len(TABLE)
    assert all(row.sources and row.target not in row.sources for row in TABLE)
    assert all(isinstance(row, Transition) for row in TABLE)


@pytest.mark.parametrize("signal", sorted(set(Signal) - {Signal.RESUME}))
def test_nothing_but_the_resume_leads_out_of_the_kill_switch(signal: Signal) -> None:
    assert all(next_state(State.SUSPENDED, signal, back_to) is State.SUSPENDED for back_to in (None, *State))


LEAVES_REVOKED = {Signal.GRANTED, Signal.MOVE, Signal.SUSPEND, Signal.STORE_RESTORED}


@pytest.mark.parametrize("signal", sorted(set(Signal) - LEAVES_REVOKED))
def test_silence_and_our_own_faults_lead_nobody_out_of_revoked(signal: Signal) -> None:
    assert next_state(State.REVOKED, signal) is State.REVOKED


def test_silence_leads_nobody_to_hold_or_revoked() -> None:
    """DESIGN 5, rule 4: silence is never a denial."""
    for signal, state in product((Signal.SILENT, Signal.SILENT_BEYOND_GRACE), State):
        if next_state(state, signal) is not state:
            assert next_state(state, signal) in {State.DEGRADED, State.UNREACHABLE}


def test_what_callers_hear() -> None:
    errors = {state: rule.error for state, rule in RULES.items() if rule.error is not None}
    assert errors == {
        State.UNREACHABLE: KeyUnreachable,
        State.WRITE_BLOCKED: KeyWriteBlocked,
        State.NETWORK_BLOCKED: KeyNetworkBlocked,
        State.HOLD: KeyRevoked,
        State.REVOKED: KeyRevoked,
        State.SUSPENDED: KeySuspended,
    }
    assert len({rule.wording for rule in RULES.values()}) == len(State)


def test_only_in_hold_each_call_proves_the_key() -> None:
    assert [state for state, rule in RULES.items() if rule.proves] == [State.HOLD]
