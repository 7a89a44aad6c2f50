"""What a signal makes of a record: its state, its withdrawal, and the change that is to be told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.domain.bindings import Binding
from core.domain.kek import Kek
from core.domain.key_policy import KeyPolicy
from core.domain.states import Signal, State, next_state
from core.domain.tenants import TenantRecord
from core.domain.withdrawals import StateChange, Withdrawal, instant
from core.errors import Denial
from core.service.revocation.signals import confirmed, denied_anew, signalled
from tests.samples import tenant_record

NOW = 1_800_000_000.25
KEK = Kek("local:acme")
DENIAL = Denial("no", cause="policy", kms_code="AccessDenied", request_id="r-1")
SECOND = Denial("no", cause="disabled", kms_code="Disabled", request_id="r-2")
EARLIER = Withdrawal(
    "local:acme", "identity", "Old", "r-0", instant(NOW - 70), back_to="scheduled", lease=30, outage_grace=100
)
ENDS = {
    Signal.GRANTED,
    Signal.EXCUSED,
    Signal.NETWORK_REFUSED,
    Signal.WRITE_REFUSED,
    Signal.MOVE,
    Signal.REVERT,
}


def record(state: State, withdrawal: Withdrawal | None = None) -> TenantRecord:
    policy = KeyPolicy(lease=45, outage_grace=500)
    known = tenant_record("acme", kek="local:acme", state=state, cause="old", policy=policy)
    return replace(known, withdrawal=withdrawal)


@pytest.mark.parametrize("known", [None, EARLIER], ids=["no withdrawal", "a withdrawal"])
@pytest.mark.parametrize("signal", sorted(set(Signal) - {Signal.CONFIRMED}))
@pytest.mark.parametrize("state", State)
def test_every_signal_in_every_state(state: State, signal: Signal, known: Withdrawal | None) -> None:
    before = record(state, known)
    after = signalled(before, signal, Kek("local:acme"), NOW, DENIAL, "bob")
    target = next_state(state, signal, State.SCHEDULED if known else None)
    if target is state:
        assert after is before
        return
    change = after.untold[0]
    assert change == StateChange(
        change.id, instant(NOW), state.value, target.value, signal.value, "policy", "local:acme", "r-1", "bob"
    )
    withdrawal = after.withdrawal
    if signal in (Signal.DENIED, Signal.STORE_RESTORED):
        back_to = state.value if state in {State.PLATFORM, State.SCHEDULED} else "active"
        expected = Withdrawal(
            "local:acme", "policy", "AccessDenied", "r-1", instant(NOW), back_to=back_to, lease=45, outage_grace=500
        )
        assert withdrawal == replace(expected, restored=signal is Signal.STORE_RESTORED)
    else:
        assert withdrawal == (None if signal in ENDS else known)
    assert after == replace(
        before,
        state=target,
        cause="policy",
        since=instant(NOW),
        untold=(change,),
        withdrawal=withdrawal,
        interruptions=after.interruptions,
    )


def test_a_signal_without_a_denial_names_no_cause() -> None:
    after = signalled(record(State.HOLD, EARLIER), Signal.GRANTED, KEK, NOW)
    assert (after.state, after.cause, after.withdrawal) == (State.SCHEDULED, "", None)
    assert (after.untold[0].cause, after.untold[0].request_id, after.untold[0].by) == ("", "", "")


def test_a_denial_heard_by_a_clock_that_is_off_is_written_and_not_dated() -> None:
    before = record(State.ACTIVE)
    dated = signalled(before, Signal.DENIED, KEK, NOW, DENIAL).withdrawal
    undated = signalled(before, Signal.DENIED, KEK, NOW, DENIAL, dated=False).withdrawal
    assert dated is not None
    assert dated.first_denial == instant(NOW)
    assert undated == replace(dated, first_denial="")


def test_after_a_restore_nothing_was_denied_yet_and_the_way_back_is_known() -> None:
    for state, back_to in ((State.ACTIVE, "active"), (State.DEGRADED, "active"), (State.SCHEDULED, "scheduled")):
        after = signalled(record(state), Signal.STORE_RESTORED, KEK, NOW, by="bob")
        assert (after.state, after.cause, after.untold[0].by) == (State.HOLD, "", "bob")
        assert after.withdrawal == Withdrawal(
            "local:acme", "", "", "", "", back_to=back_to, lease=45, outage_grace=500, restored=True
        )


def test_two_changes_have_two_names() -> None:
    before = record(State.ACTIVE)
    one, two = (signalled(before, Signal.DENIED, KEK, NOW, DENIAL).untold[0] for _ in range(2))
    assert one.id != two.id
    assert len(one.id) > 20


def test_the_version_that_refused_is_named_and_its_grace_counts() -> None:
    vault = "https://acme-kv.vault.azure.net/keys/kek"
    version = Kek(f"{vault}/{1:032x}")
    before = replace(record(State.ACTIVE), kek=vault)
    after = signalled(before, Signal.DENIED, version, NOW, DENIAL)
    assert after.withdrawal is not None
    assert (after.withdrawal.kek, after.untold[0].kek) == (version.locator, version.locator)
    assert after.withdrawal.outage_grace == 500
    custom = replace(before, binding=Binding(custom_key_store=True))
    after = signalled(custom, Signal.DENIED, version, NOW, DENIAL)
    assert after.withdrawal is not None
    assert (after.withdrawal.lease, after.withdrawal.outage_grace) == (45, 0)
    # While a move is under way the KEK that is being left may be the one that refuses.
    moving = replace(custom, kek="local:new", binding=Binding(), moving_from=vault, moving_binding=custom.binding)
    for kek, grace in ((version, 0), (Kek("local:new"), 500)):
        withdrawn = signalled(moving, Signal.DENIED, kek, NOW, DENIAL).withdrawal
        assert withdrawn is not None
        assert (withdrawn.kek, withdrawn.outage_grace) == (kek.locator, grace)


def test_a_confirmed_withdrawal() -> None:
    before = record(State.HOLD, EARLIER)
    after = confirmed(before, KEK, NOW, SECOND, guard="passed", last_use="then", data_keys=7)
    change, withdrawal = after.untold[0], after.withdrawal
    assert withdrawal is not None
    assert change == StateChange(
        change.id, instant(NOW), "hold", "revoked", "confirmed", "disabled", "local:acme", "r-2", ""
    )
    assert withdrawal == replace(
        EARLIER,
        cause="disabled",
        receipt=withdrawal.receipt,
        confirmed=instant(NOW),
        confirmed_code="Disabled",
        confirmed_request_id="r-2",
        guard="passed",
        written=instant(NOW),
        last_use="then",
        data_keys=7,
    )
    assert after == replace(
        before,
        state=State.REVOKED,
        cause="disabled",
        since=instant(NOW),
        untold=(change,),
        withdrawal=withdrawal,
        interruptions=1,
    )
    again = confirmed(before, KEK, NOW, SECOND, guard="passed", last_use="then", data_keys=7)
    assert again.withdrawal is not None
    assert len({withdrawal.receipt, again.withdrawal.receipt, change.id, again.untold[0].id}) == 4
    assert len(withdrawal.receipt) == 36


@pytest.mark.parametrize("state", sorted(set(State) - {State.HOLD}))
def test_nothing_is_confirmed_but_what_was_held(state: State) -> None:
    before = record(state, EARLIER)
    assert confirmed(before, KEK, NOW, SECOND, guard="", last_use="", data_keys=0) is before


def test_nothing_is_confirmed_of_which_no_denial_is_known() -> None:
    before = record(State.HOLD)
    assert confirmed(before, KEK, NOW, SECOND, guard="", last_use="", data_keys=0) is before


@pytest.mark.parametrize(
    ("known", "back_to", "restored"),
    [(None, "active", True), (EARLIER, "scheduled", False), (replace(EARLIER, restored=True), "scheduled", True)],
)
def test_the_first_denial_of_another_kek_counts_from_now(
    known: Withdrawal | None, back_to: str, restored: bool
) -> None:
    before = record(State.HOLD, known)
    after = denied_anew(before, KEK, NOW, DENIAL)
    expected = Withdrawal(
        "local:acme", "policy", "AccessDenied", "r-1", instant(NOW), back_to=back_to, lease=45, outage_grace=500
    )
    assert after == replace(before, cause="policy", withdrawal=replace(expected, restored=restored))
    assert (after.since, after.untold) == (before.since, ())
