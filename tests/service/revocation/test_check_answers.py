"""What a check makes of answers that are neither a plain yes nor a plain no, and of what others left half done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from core.domain.key_policy import KeyPolicy
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.domain.withdrawals import ACCESS_CAUSES, PLAIN_CAUSES
from core.errors import WRITE_CAUSES, Denial, KeyRevoked, KeysteadError, KeyUnreachable, Unasked
from tests.domain.withdrawn import withdrawal
from tests.samples import tenant_record
from tests.service.injection import Killed
from tests.service.revocation.withdrawing import Owned
from tests.service.world import OTHER_KEK, THIRD_KEK, caller

LONG = 60.0
FALLS_BACK = KeyPolicy(fallback="platform")


# -- a network refusal in hold ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", ["unknown", "disabled", "policy"])
def test_a_network_refusal_keeps_a_hold_and_starts_no_fallback(cause: str) -> None:
    owned = Owned(policy=FALLS_BACK)
    owned.deny(cause)
    assert owned.check() is State.HOLD
    held = owned.withdrawal
    owned.deny("network")
    for _ in range(5):
        owned.world.clock.advance(20)
        assert owned.check() is State.HOLD
        with pytest.raises(KeysteadError) as refused:
            owned.app.encryption.encrypt("acme", b"x", {})
        assert refused.value.code in {"key_revoked", "key_network_blocked"}
    record = owned.record
    assert (record.withdrawal, record.falls_back, record.fallback_branch_key) == (held, False, "")


@pytest.mark.parametrize("state", [State.UNREACHABLE, State.NETWORK_BLOCKED])
def test_nothing_falls_back_while_a_withdrawal_is_kept(state: State) -> None:
    record = tenant_record("acme", kek=OTHER_KEK.locator, state=state, policy=FALLS_BACK)
    assert record.falls_back
    kept = replace(record, withdrawal=withdrawal(kek=OTHER_KEK.locator, receipt=""))
    assert not kept.falls_back


# -- nothing was asked -----------------------------------------------------------------------------------------------


def held(owned: Owned) -> None:
    """Refused once."""
    owned.deny("unknown")
    owned.check()


TO: dict[State, Callable[[Owned], object]] = {
    State.ACTIVE: lambda owned: None,
    State.DEGRADED: lambda owned: owned.world.change(state=State.DEGRADED),
    State.UNREACHABLE: lambda owned: owned.world.change(state=State.UNREACHABLE),
    State.WRITE_BLOCKED: lambda owned: owned.world.change(state=State.WRITE_BLOCKED),
    State.NETWORK_BLOCKED: lambda owned: owned.world.change(state=State.NETWORK_BLOCKED),
    State.HOLD: held,
    State.REVOKED: lambda owned: owned.revoke(),
}


@pytest.mark.parametrize("state", TO)
def test_a_check_that_could_not_ask_changes_nothing(state: State) -> None:
    owned = Owned(policy=FALLS_BACK)
    TO[state](owned)
    owned.world.clock.advance(100_000)  # far beyond lease and grace
    owned.signal = lambda: Unasked("no time left")
    before, owned.asked[:] = owned.record, []
    for _ in range(3):
        assert owned.check() is state
        owned.world.clock.advance(100)
    assert owned.asked
    assert owned.record == before


def test_a_request_that_could_not_ask_starts_no_fallback() -> None:
    owned = Owned(policy=FALLS_BACK)
    owned.world.clock.advance(100_000)
    owned.signal = lambda: Unasked("no time left")
    with pytest.raises(KeyUnreachable):
        owned.app.encryption.encrypt("acme", b"x", {})
    assert (owned.state, owned.record.fallback_branch_key) == (State.ACTIVE, "")


# -- a wrap that is refused ------------------------------------------------------------------------------------------

WRAP_DENIED = {
    **dict.fromkeys(PLAIN_CAUSES, State.HOLD),
    "unknown": State.HOLD,
    "network": State.NETWORK_BLOCKED,
    **dict.fromkeys(WRITE_CAUSES | ACCESS_CAUSES, State.WRITE_BLOCKED),
}


@pytest.mark.parametrize("cause", sorted(WRAP_DENIED))
def test_a_wrap_that_is_refused_in_a_check(owned: Owned, cause: str) -> None:
    def trouble(operation: str, context: Mapping[str, str]) -> None:
        if operation == "wrap" and context.get("kms-arn") == OTHER_KEK.locator:
            raise Denial("no", cause=cause, kms_code="Odd", request_id="r-1")

    owned.world.kms.trouble = trouble
    assert owned.check() is WRAP_DENIED[cause]
    assert owned.record.cause == cause
    assert (owned.record.withdrawal is not None) is (WRAP_DENIED[cause] is State.HOLD)


def test_the_causes_of_a_wrap_that_are_told_apart() -> None:
    assert "disabled" in PLAIN_CAUSES
    assert {"expired", "policy"} <= WRITE_CAUSES | ACCESS_CAUSES


# -- half done -------------------------------------------------------------------------------------------------------


def test_a_replacement_of_a_revoked_key_that_was_cut_short_is_finished_by_the_schedule(owned: Owned) -> None:
    owned.revoke()
    real = owned.world.kms.trouble

    def die(operation: str, context: Mapping[str, str]) -> None:
        if owned.record.moving_from is not None and context.get("kms-arn") == THIRD_KEK.locator:
            raise Killed
        real(operation, context)

    owned.world.kms.trouble = die
    with pytest.raises(Killed):
        owned.world.process().key_configuration.configure("acme", KeyTarget(THIRD_KEK.locator), {})
    owned.world.kms.trouble = real
    assert (owned.state, owned.record.moving_from) == (State.REVOKED, OTHER_KEK.locator)
    process = owned.world.process()
    owned.world.clock.advance(1000)
    assert process.schedules.run("check", LONG).failed == {}
    record = owned.record
    assert (record.state, record.kek, record.moving_from) == (State.ACTIVE, THIRD_KEK.locator, None)
    message = process.encryption.encrypt("acme", b"new", {})
    assert owned.world.process().encryption.decrypt("acme", message, {}) == b"new"
    with pytest.raises(KeyRevoked):
        owned.world.process().encryption.decrypt("acme", owned.message, {})
    process.close()


@pytest.mark.parametrize("by_schedule", [True, False], ids=["by the schedule", "by a check"])
def test_who_is_suspended_before_the_receipt_could_be_signed_gets_it_while_suspended(
    owned: Owned, by_schedule: bool
) -> None:
    owned.world.signer.silent = True
    owned.revoke()
    owned.app.kill_switch.suspend("acme", "alice", {})
    assert (owned.state, owned.record.resume_to) == (State.SUSPENDED, "revoked")
    owned.check()
    assert owned.app.keystead.list_receipts(caller("acme"), "acme") == []
    owned.world.signer.silent = False
    owned.asked.clear()
    if by_schedule:
        assert owned.app.schedules.run("check", LONG).failed == {}
    else:
        owned.check(forced=False)
    assert owned.state is State.SUSPENDED
    (entry,) = owned.app.keystead.list_receipts(caller("acme"), "acme")
    assert entry.id == owned.withdrawal.receipt
    assert owned.asked == []
    owned.app.close()
