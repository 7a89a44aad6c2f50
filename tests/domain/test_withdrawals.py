"""What a record keeps of a withdrawal, and of changes that are yet to be told: JSON there and back."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given

from core.domain.causes import ACTIONS
from core.domain.instants import parse_instant
from core.domain.withdrawals import ACCESS_CAUSES, PLAIN_CAUSES, StateChange, Withdrawal, instant
from tests.domain.strategies import usual
from tests.domain.withdrawal_strategies import changes, withdrawals
from tests.domain.withdrawn import withdrawal

WITHDRAWAL = withdrawal(back_to="scheduled", data_keys=3, lease=59.5)
CHANGE = StateChange("id", "at", "active", "hold", "denied", "disabled", "local:a", "r-1", "alice")


def sent(body: dict[str, Any]) -> Any:
    """A body as it comes back from a store."""
    return json.loads(json.dumps(body))


@usual
@given(withdrawals)
def test_a_withdrawal_comes_back_from_json(found: Withdrawal) -> None:
    assert Withdrawal.from_body(sent(found.to_body())) == found


@usual
@given(changes)
def test_a_change_comes_back_from_json(found: StateChange) -> None:
    assert StateChange.from_body(sent(found.to_body())) == found


def test_what_a_withdrawal_starts_with() -> None:
    least = Withdrawal("local:a", "disabled", "Disabled", "r-1", "at")
    assert least == Withdrawal.from_body(
        {"kek": "local:a", "cause": "disabled", "kms_code": "Disabled", "request_id": "r-1", "first_denial": "at"}
    )
    assert asdict(least) == {
        **dict.fromkeys(
            ("last_denial", "receipt", "confirmed", "confirmed_code", "confirmed_request_id", "guard", "written"), ""
        ),
        **dict.fromkeys(("lease", "outage_grace", "data_keys"), 0),
        "kek": "local:a",
        "cause": "disabled",
        "kms_code": "Disabled",
        "request_id": "r-1",
        "first_denial": "at",
        "back_to": "active",
        "last_use": "",
        "restored": False,
    }


def spoiled(whole: dict[str, Any], needed: tuple[str, ...], values: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Bodies that are none, by what is wrong with them."""
    cases: dict[str, Any] = {"null": None, "a list": [], "a string": "x", "nothing": {}, "more": {**whole, "x": ""}}
    for name in needed:
        cases[f"no {name}"] = {key: value for key, value in whole.items() if key != name}
    for name in whole:
        for value in values.get(name, (None, 1, 1.0, True, [], {}, ["x"])):
            cases[f"{name} is {value!r}"] = {**whole, name: value}
    return cases


NO_NUMBER: tuple[Any, ...] = (None, "1", True, [], {})
WITHDRAWALS = spoiled(
    WITHDRAWAL.to_body(),
    ("kek", "cause", "kms_code", "request_id", "first_denial"),
    {
        "lease": NO_NUMBER,
        "outage_grace": NO_NUMBER,
        "data_keys": (*NO_NUMBER, 1.0),
        "back_to": (None, 1, True, [], "", "Active", "purple"),
        "restored": (None, 0, 1, "", "true", [], {}),
    },
)
CHANGES = spoiled(CHANGE.to_body(), ("id", "at", "before", "after", "signal"), {})


@pytest.mark.parametrize("body", WITHDRAWALS.values(), ids=WITHDRAWALS)
def test_what_is_no_withdrawal(body: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Withdrawal.from_body(body)


@pytest.mark.parametrize("body", CHANGES.values(), ids=CHANGES)
def test_what_is_no_change(body: Any) -> None:
    with pytest.raises(TypeError):
        StateChange.from_body(body)


def test_a_change_needs_only_what_happened() -> None:
    body = {"id": "i", "at": "t", "before": "active", "after": "hold", "signal": "denied"}
    assert StateChange.from_body(body) == StateChange("i", "t", "active", "hold", "denied")
    assert StateChange.from_body(body).to_body() == {**body, "cause": "", "kek": "", "request_id": "", "by": ""}


def test_a_withdrawal_shows_no_more_than_it_was_given() -> None:
    assert replace(WITHDRAWAL, kms_code="other").to_body() == {**WITHDRAWAL.to_body(), "kms_code": "other"}


def test_which_causes_are_confirmed_soon_and_which_late() -> None:
    """Written out: a cause that moves from the one set to the other changes what a promise says."""
    assert sorted(PLAIN_CAUSES) == ["deleted", "disabled", "not_found", "pending_deletion"]
    assert sorted(ACCESS_CAUSES) == ["identity", "policy"]
    rest = {"network", "not_yet_valid", "expired", "wrap_not_permitted", "unknown"}
    assert PLAIN_CAUSES | ACCESS_CAUSES | rest == set(ACTIONS)


@pytest.mark.parametrize(
    ("wall", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_800_000_000.25, "2027-01-15T08:00:00.250000Z"),
        (1_800_000_000, "2027-01-15T08:00:00.000000Z"),
    ],
)
def test_instants(wall: float, text: str) -> None:
    assert instant(wall) == text
    assert parse_instant(text) == wall
