"""What a tenant's record keeps of withdrawals: how it is written, and what a signal makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from core.domain.kek import Kek
from core.domain.key_policy import KeyPolicy
from core.domain.policy_caps import PolicyCaps
from core.domain.record_checks import check_rewrite
from core.domain.states import Signal, State, next_state
from core.domain.tenants import TenantRecord
from core.domain.withdrawals import MAX_UNTOLD, StateChange, instant
from core.errors import InvalidRequest
from tests.domain.test_tenants import CHANGE, NEW_FIELDS, RECORD
from tests.domain.withdrawn import withdrawal

NOW = 1_800_000_000.5
FALLS_BACK = {State.UNREACHABLE, State.NETWORK_BLOCKED}
EMPTY_OF_WITHDRAWALS = frozenset({"withdrawal", "resume_to", "untold", "fallback_branch_key", "interruptions"})
"""Fields that are left out where they are empty."""


def test_what_is_empty_is_not_written_so_that_processes_of_before_read_the_record() -> None:
    """A process of before withdrawals were kept refuses fields that it does not know."""
    of_before = {
        *("tenant_id", "branch_key_id", "kek", "since", "created", "display_name", "state", "cause", "moving_from"),
        *("configuration_revision", "sequence_floor", "policy", "deleted"),
    }
    body = RECORD.to_body()
    assert body.keys() == of_before | NEW_FIELDS
    assert body["policy"].keys() == {"lease", "outage_grace", "rotation_days"}
    found = TenantRecord.from_body(body)
    assert (found.withdrawal, found.resume_to, found.untold, found.fallback_branch_key) == (None, "", (), "")
    assert (found.policy.fallback, found.policy.approval, found.interruptions) == ("", "", 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("withdrawal", withdrawal()),
        ("resume_to", "hold"),
        ("untold", (CHANGE, replace(CHANGE, id="other"))),
        ("fallback_branch_key", "one of the former"),
        ("interruptions", 3),
    ],
)
def test_what_is_not_empty_is_written_and_nothing_else_of_it(field: str, value: Any) -> None:
    record = replace(RECORD, **{field: value})
    body = json.loads(json.dumps(record.to_body()))
    assert body.keys() & EMPTY_OF_WITHDRAWALS == {field}
    assert {name: kept for name, kept in body.items() if name != field} == json.loads(json.dumps(RECORD.to_body()))
    assert TenantRecord.from_body(body) == record != RECORD


@pytest.mark.parametrize(
    ("policy", "written"),
    [
        (KeyPolicy(fallback="platform"), {"fallback": "platform"}),
        (KeyPolicy(approval="second_person"), {"approval": "second_person"}),
    ],
)
def test_a_knob_that_is_set_is_written(policy: KeyPolicy, written: dict[str, str]) -> None:
    record = replace(RECORD, policy=policy)
    body = record.to_body()
    assert body["policy"] == {"lease": 60, "outage_grace": 900, "rotation_days": 90, **written}
    assert TenantRecord.from_body(body) == record


@pytest.mark.parametrize("signal", Signal)
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("back_to", [None, State.SCHEDULED, State.REVOKED])
def test_a_record_after_a_signal(state: State, signal: Signal, back_to: State | None) -> None:
    before = replace(RECORD, state=state, cause="old", untold=(CHANGE,), interruptions=5)
    after = before.after(
        signal, NOW, change_id="new", cause="policy", kek="local:v", request_id="r-1", by="bob", back_to=back_to
    )
    target = next_state(state, signal, back_to)
    if target is state:
        assert after is before
        return
    told = StateChange("new", instant(NOW), state.value, target.value, signal.value, "policy", "local:v", "r-1", "bob")
    interruptions = 5 + (target in {State.HOLD, State.REVOKED, State.NETWORK_BLOCKED, State.SUSPENDED})
    assert after == replace(
        before,
        state=target,
        cause="policy",
        since=instant(NOW),
        untold=(CHANGE, told),
        interruptions=interruptions,
    )
    check_rewrite(before.to_body(), after.to_body())


def test_a_change_is_about_the_kek_in_force_if_no_other_is_named() -> None:
    after = replace(RECORD, state=State.ACTIVE, cause="old").after(Signal.SILENT, NOW, change_id="new")
    assert after.untold == (
        StateChange("new", instant(NOW), "active", "degraded", "silent", "", "local:platform", "", ""),
    )
    assert (after.cause, after.since) == ("", instant(NOW))


def test_what_is_untold_is_bounded_and_the_latest_is_kept() -> None:
    record = replace(RECORD, state=State.ACTIVE)
    for number in range(MAX_UNTOLD + 3):
        signal = Signal.GRANTED if number % 2 else Signal.SILENT
        record = record.after(signal, NOW + number, change_id=str(number))
    assert [change.id for change in record.untold] == [str(number) for number in range(3, MAX_UNTOLD + 3)]


@pytest.mark.parametrize("fallback", ["", "platform"])
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("denied", [False, True])
def test_who_falls_back(state: State, fallback: str, denied: bool) -> None:
    """DESIGN 5, rule 8: only by choice, and never on denial, hold or suspension."""
    known = withdrawal() if denied else None
    record = replace(RECORD, state=state, policy=KeyPolicy(fallback=fallback), withdrawal=known)
    assert record.falls_back is (fallback == "platform" and state in FALLS_BACK and not denied)
    assert record.may_write is (
        state not in {State.REVOKED, State.SUSPENDED, State.WRITE_BLOCKED, State.NETWORK_BLOCKED} or record.falls_back
    )
    assert record.may_read is (state not in {State.REVOKED, State.SUSPENDED, State.NETWORK_BLOCKED})


def test_the_operators_caps_bound_what_is_in_force_and_are_not_stored() -> None:
    record = replace(RECORD, kek="local:a", moving_from=None, policy=KeyPolicy(lease=600, outage_grace=7200))
    capped = replace(record, caps=PolicyCaps(lease=30, outage_grace=100))
    assert (record.lease, record.outage_grace) == (600, 7200)
    assert (capped.lease, capped.outage_grace) == (30, 100)
    assert capped.access(Kek("local:a")).lease == 30
    assert capped.to_body() == record.to_body()
    assert TenantRecord.from_body(capped.to_body()) == record


@pytest.mark.parametrize(
    "policy",
    [KeyPolicy(fallback="x"), KeyPolicy(fallback="Platform"), KeyPolicy(approval="x"), KeyPolicy(approval="platform")],
)
def test_no_other_fallback_nor_approval(policy: KeyPolicy) -> None:
    with pytest.raises(InvalidRequest, match="fallback is empty or platform"):
        policy.check()
