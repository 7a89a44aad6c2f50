"""The check of one key: every state against every answer of the KMS, and what confirms or excuses a withdrawal."""

from __future__ import annotations

from itertools import pairwise

import pytest

from core.domain import receipts
from core.domain.states import State
from core.domain.withdrawals import instant
from core.errors import Denial, OwnFault, Silence
from core.service.access import Permission
from core.service.timekeeper import MAX_SKEW
from tests.service.revocation.withdrawing import ACCESS, PLAIN, Owned
from tests.service.world import caller


class TestConfirmation:
    @pytest.mark.parametrize("cause", PLAIN)
    def test_a_key_that_is_off_is_held_and_confirmed_after_a_second(self, owned: Owned, cause: str) -> None:
        owned.deny(cause)
        assert owned.check() is State.HOLD
        first = owned.withdrawal
        assert (first.cause, first.request_id, first.back_to, first.confirmed) == (cause, "r-1", "active", "")
        owned.world.clock.advance(0.9)
        assert owned.check() is State.HOLD
        owned.world.clock.advance(0.1)
        assert owned.check() is State.REVOKED
        withdrawal = owned.withdrawal
        assert (withdrawal.first_denial, withdrawal.request_id) == (first.first_denial, "r-1")
        assert withdrawal.guard == ("no_canary" if cause == "not_found" else "not_needed")
        assert withdrawal.confirmed_request_id not in ("", "r-1")

    @pytest.mark.parametrize("cause", ACCESS)
    def test_a_denial_of_policy_or_identity_takes_a_minute(self, cause: str) -> None:
        owned = Owned(canary=True)
        owned.deny(cause)
        assert owned.check() is State.HOLD
        owned.world.clock.advance(59.9)
        assert owned.check() is State.HOLD
        owned.world.clock.advance(0.1)
        assert owned.check() is State.REVOKED
        assert owned.withdrawal.guard == "passed"

    def test_without_a_canary_it_is_confirmed_and_the_receipt_says_so(self, owned: Owned) -> None:
        owned.revoke("policy")
        assert owned.withdrawal.guard == "no_canary"

    def test_a_cause_of_another_kind_is_another_denial(self, owned: Owned) -> None:
        """What came before may have been our own fault: nothing of it may end up in a receipt."""
        owned.deny("policy")
        owned.check()
        owned.world.clock.advance(90)
        owned.deny("disabled")
        assert owned.check() is State.HOLD
        first = owned.withdrawal
        assert (first.cause, first.request_id) == ("disabled", "r-2")
        owned.world.clock.advance(1)
        assert owned.check() is State.REVOKED
        assert (owned.withdrawal.request_id, owned.withdrawal.first_denial) == ("r-2", first.first_denial)

    @pytest.mark.parametrize("gap", ["silence", "the kill switch"])
    def test_a_denial_long_ago_confirms_nothing(self, owned: Owned, gap: str) -> None:
        owned.deny()
        owned.check()
        if gap == "silence":
            owned.silence()
            owned.check()
        else:
            owned.app.kill_switch.suspend("acme", "alice", {})
        owned.world.clock.advance(3600)
        if gap != "silence":
            owned.app.kill_switch.resume("acme", "alice", {})
        owned.deny()
        assert owned.check() is State.HOLD
        owned.world.clock.advance(1)
        assert owned.check() is State.REVOKED

    @pytest.mark.parametrize("skew", [-58.0, -3600.0, 58.0, 3600.0])
    def test_a_clock_that_is_off_starts_no_count_and_confirms_nothing(self, skew: float) -> None:
        owned = Owned(canary=True)
        clock = owned.world.clock
        right, other = clock.wall_time, owned.world.process()

        def denial() -> Denial:
            owned.count += 1
            told = right + clock.boot_time - 1000.0
            return Denial("no", cause="policy", kms_code="No", request_id=f"r-{owned.count}", server_time=told)

        owned.signal = denial
        clock.wall_time += skew
        assert owned.check() is State.HOLD
        assert owned.withdrawal.first_denial == ""
        clock.wall_time -= skew
        for second in range(60):
            assert other.checks.check("acme", forced=True) is State.HOLD, second
            clock.advance(1)
        assert other.checks.check("acme", forced=True) is State.REVOKED

    def test_a_key_off_first_and_refused_by_policy_then_takes_a_minute(self, owned: Owned) -> None:
        owned.deny("disabled")
        owned.check()
        owned.deny("policy")
        owned.world.clock.advance(61)
        assert owned.check() is State.HOLD
        owned.world.clock.advance(60)
        assert owned.check() is State.REVOKED

    def test_a_code_that_nobody_knows_is_held_and_alarmed_and_never_confirmed(self, owned: Owned) -> None:
        owned.deny("unknown", "SomethingNewException")
        for _ in range(5):
            owned.check()
            owned.world.clock.advance(600)
        assert owned.state is State.HOLD
        assert "keystead.alarm.unknown_kms_answer" in owned.world.events.types()
        assert owned.app.keystead.list_receipts(caller("acme", Permission.AUDIT_READ), "acme") == []

    def test_a_probe_that_serves_contradicts(self, owned: Owned) -> None:
        """The row is refused, the KEK's own envelope is not: it is not the KEK that was withdrawn."""

        def row_only(operation: str, context: dict[str, str]) -> None:
            if context.get("type", "").startswith("branch:") and context.get("kms-arn") == "local:customer-acme":
                raise Denial("no", cause="disabled", kms_code="No", request_id="r-9")

        owned.world.kms.trouble = row_only  # type: ignore[assignment]
        owned.check()
        owned.world.clock.advance(61)
        assert owned.check() is State.HOLD
        assert "keystead.alarm.probe_contradicts" in owned.world.events.types()

    def test_a_probe_that_is_gone_confirms_nothing_and_alarms(self, owned: Owned) -> None:
        owned.deny()
        owned.check()
        name = f"probe:{owned.record.probe_digest}"
        found = owned.world.tenants.read("acme", name)
        assert found is not None
        owned.world.tenants.write("acme", name, {"kek": "other"}, expected_revision=found.revision)
        owned.world.clock.advance(61)
        assert owned.check() is State.HOLD
        assert "keystead.alarm.store_corrupt" in owned.world.events.types()

    def test_the_clock_runs_anew_for_another_kek(self, owned: Owned) -> None:
        owned.deny()
        owned.check()
        withdrawal = owned.withdrawal
        changed = {**owned.record.to_body(), "withdrawal": {**withdrawal.to_body(), "kek": "local:another"}}
        owned.world.change(withdrawal=type(owned.record).from_body(changed).withdrawal)
        owned.world.clock.advance(30)
        assert owned.check() is State.HOLD
        assert owned.withdrawal.kek == "local:customer-acme"
        assert owned.withdrawal.first_denial > withdrawal.first_denial


class TestGuard:
    @pytest.mark.parametrize("cause", ACCESS)
    def test_a_canary_refused_alike_marks_nobody(self, cause: str) -> None:
        owned = Owned(canary=True)
        owned.app.schedules.run("check", 5)  # makes the canary's envelope
        owned.deny(cause)
        owned.canary_signal = lambda: Denial("no", cause=cause, kms_code="No", request_id="c-1")
        owned.world.clock.advance(1)
        assert owned.check() is State.ACTIVE
        assert "keystead.alarm.vendor_fault" in owned.world.events.types()

    def test_what_is_held_already_is_excused(self) -> None:
        owned = Owned(canary=True)
        owned.app.schedules.run("check", 5)
        owned.deny("policy")
        assert owned.check() is State.HOLD
        owned.canary_signal = lambda: Denial("no", cause="policy", kms_code="No", request_id="c-1")
        owned.world.clock.advance(61)
        assert owned.check() is State.ACTIVE
        assert owned.record.withdrawal is None
        timeline = owned.app.keystead.key_status(caller(), "acme").timeline
        assert timeline[-1].signal == "excused"

    @pytest.mark.parametrize("cause", sorted(set(PLAIN) - {"not_found"}))
    def test_a_key_that_is_off_is_never_excused(self, cause: str) -> None:
        owned = Owned(canary=True)
        owned.app.schedules.run("check", 5)
        owned.canary_signal = lambda: Denial("no", cause="policy", kms_code="No", request_id="c-1")
        owned.revoke(cause)
        assert owned.withdrawal.guard == "not_needed"

    @pytest.mark.parametrize("canary", ["policy", "not_found"])
    def test_a_key_not_found_where_our_canary_is_not_either_stays_held(self, canary: str) -> None:
        """We may look in the wrong place."""
        owned = Owned(canary=True)
        owned.app.schedules.run("check", 5)
        owned.canary_signal = lambda: Denial("no", cause=canary, kms_code="No", request_id="c-1")
        owned.deny("not_found")
        owned.check()
        owned.world.clock.advance(61)
        assert owned.check() is State.HOLD
        owned.canary_signal = None
        owned.world.clock.advance(1)
        assert owned.check() is State.REVOKED
        assert owned.withdrawal.guard == "passed"

    def test_a_silent_canary_leaves_it_held(self) -> None:
        owned = Owned(canary=True)
        owned.app.schedules.run("check", 5)
        owned.deny("policy")
        owned.check()
        owned.canary_signal = lambda: Silence("no answer")
        owned.world.clock.advance(61)
        assert owned.check() is State.HOLD
        owned.canary_signal = None
        owned.world.clock.advance(5)
        assert owned.check() is State.REVOKED

    def test_a_fault_of_ours_that_ends_before_the_canary_is_asked_marks_nobody(self) -> None:
        """Our access is refused, then mended between two calls: the probe, asked last, is granted."""
        owned = Owned(canary=True)
        owned.app.schedules.run("check", 5)
        owned.deny("policy")
        owned.check()
        owned.world.clock.advance(61)

        def mended() -> Denial:
            owned.serve()
            return Denial("no", cause="policy", kms_code="No", request_id="r-last")

        owned.signal = mended
        assert owned.check() is State.HOLD
        assert owned.check() is State.ACTIVE

    def test_our_own_credentials_teach_nothing(self, owned: Owned) -> None:
        owned.own_fault()
        assert owned.check() is State.ACTIVE
        assert "keystead.alarm.own_access" in owned.world.events.types()


class TestSilence:
    def test_inside_the_grace_it_is_degraded_and_beyond_unreachable(self, owned: Owned) -> None:
        owned.silence()
        assert owned.check() is State.DEGRADED
        owned.world.clock.advance(899)
        assert owned.check() is State.DEGRADED
        owned.world.clock.advance(1)
        assert owned.check() is State.UNREACHABLE
        owned.serve()
        assert owned.check() is State.ACTIVE

    def test_silence_changes_nothing_that_is_held_or_revoked(self, owned: Owned) -> None:
        owned.deny()
        owned.check()
        owned.silence()
        owned.world.clock.advance(5)
        assert owned.check() is State.HOLD
        owned.revoke()
        owned.silence()
        owned.world.clock.advance(5000)
        assert owned.check() is State.REVOKED

    def test_a_refusal_after_a_silence_is_a_refusal(self, owned: Owned) -> None:
        owned.silence()
        owned.check()
        owned.deny()
        assert owned.check() is State.HOLD


class TestOtherAnswers:
    def test_a_network_rule_blocks_at_once_and_ends_at_once(self, owned: Owned) -> None:
        owned.deny("network", "ForbiddenByFirewall")
        assert owned.check() is State.NETWORK_BLOCKED
        assert owned.outcome() == "key_network_blocked"
        owned.serve()
        assert owned.check() is State.ACTIVE

    def test_a_key_that_does_not_wrap_blocks_writes_only(self, owned: Owned) -> None:
        def unwraps_only(operation: str, context: dict[str, str]) -> None:
            if operation == "wrap" and context.get("kms-arn") == "local:customer-acme":
                raise Denial("no", cause="expired", kms_code="No")

        owned.world.kms.trouble = unwraps_only  # type: ignore[assignment]
        assert owned.check() is State.WRITE_BLOCKED
        assert owned.outcome() == "ok"
        owned.world.kms.trouble = lambda operation, context: None
        assert owned.check() is State.ACTIVE

    def test_a_row_that_does_not_unwrap_is_our_store_s_trouble(self, owned: Owned) -> None:
        found = owned.app.leaves.key_store.read(owned.record.branch_key_id, "branch:ACTIVE")
        assert found is not None
        owned.world.kms.keys["local:customer-acme"] = b"x" * 32  # neither row nor probe unwraps any more
        assert owned.check() is State.ACTIVE
        assert "keystead.alarm.store_corrupt" in owned.world.events.types()

    @pytest.mark.parametrize("answer", ["denied", "silent", "ours", "granted"])
    def test_a_suspended_key_is_not_asked(self, owned: Owned, answer: str) -> None:
        owned.app.kill_switch.suspend("acme", "alice", {})
        {"denied": owned.deny, "silent": owned.silence, "ours": owned.own_fault, "granted": owned.serve}[answer]()
        asked = len(owned.asked)
        assert owned.check() is State.SUSPENDED
        assert len(owned.asked) == asked

    def test_the_platforms_own_key_is_no_tenants_to_withdraw(self, owned: Owned) -> None:
        owned.world.tenant("globex")
        assert owned.app.checks.check("globex", forced=True) is State.PLATFORM


class TestRestoration:
    def test_the_next_unwrap_restores(self, owned: Owned) -> None:
        owned.revoke()
        assert owned.outcome() == "key_revoked"
        owned.serve()
        assert owned.check() is State.ACTIVE
        assert owned.record.withdrawal is None
        assert owned.outcome() == "ok"

    def test_it_is_probed_at_the_pace_of_the_design(self, owned: Owned) -> None:
        """1, 2, 5, 10, then every 20 seconds."""
        owned.revoke()
        began, probes = owned.world.clock.boot_time, []
        for _ in range(1400):
            owned.world.clock.advance(0.1)
            before = len(owned.asked)
            owned.check(forced=False)
            if len(owned.asked) > before:
                probes.append(owned.world.clock.boot_time - began)
        gaps = [later - earlier for earlier, later in pairwise(probes)]
        assert max(gaps) <= 20.2
        assert gaps[-3:] == pytest.approx([20, 20, 20], abs=0.2)

    def test_a_key_that_comes_back_for_reading_only_is_restored_at_once(self, owned: Owned) -> None:
        """Unwraps, and does not wrap: reading is back with the first check, the state says so with the next."""
        owned.revoke()
        owned.world.clock.advance(7200)  # so that the check would look at more than the unwrap

        def unwraps_only(operation: str, context: dict[str, str]) -> None:
            if operation == "wrap" and context.get("kms-arn") == "local:customer-acme":
                raise Denial("no", cause="policy", kms_code="No")

        owned.world.kms.trouble = unwraps_only  # type: ignore[assignment]
        assert owned.check() is State.ACTIVE
        assert owned.outcome() == "ok"
        assert owned.check() is State.WRITE_BLOCKED
        assert owned.outcome() == "ok"

    def test_an_answer_to_a_question_of_before_restores_nothing(self, owned: Owned) -> None:
        """Granted, and while the answer was on its way the key was turned off and confirmed by another process."""
        owned.deny()
        owned.check()
        owned.serve()
        other = owned.world.process()

        def meanwhile() -> None:
            owned.world.kms.after_unwrap = lambda: None
            owned.deny()
            owned.world.clock.advance(2)
            other.checks.check("acme", forced=True)

        owned.world.kms.after_unwrap = meanwhile
        owned.check()
        assert owned.state is State.REVOKED

    def test_the_cause_is_kept_up_to_date(self, owned: Owned) -> None:
        owned.revoke()
        owned.deny("pending_deletion")
        owned.check()
        assert (owned.state, owned.record.cause) == (State.REVOKED, "pending_deletion")


class TestReceipt:
    def test_one_is_issued_with_the_confirmation_and_ends_with_the_reinstatement(self, owned: Owned) -> None:
        who = caller("acme", Permission.AUDIT_READ)
        owned.revoke()
        (entry,) = owned.app.keystead.list_receipts(who, "acme")
        statement = owned.app.keystead.receipt(who, "acme", entry.id).statement
        body = receipts.verify(statement, owned.app.keystead.jwks())
        assert (body["tenant_id"], body["cause"], body["kms_request_id"]) == ("acme", "disabled", "r-1")
        assert (entry.reinstated, entry.holds_until) == ("", "")
        owned.serve()
        owned.check()
        (entry,) = owned.app.keystead.list_receipts(who, "acme")
        now = owned.world.clock.wall_time
        assert (entry.reinstated, entry.holds_until) == (instant(now), instant(now - MAX_SKEW))
        assert entry.reinstated >= entry.confirmed
        owned.revoke()
        assert len(owned.app.keystead.list_receipts(who, "acme")) == 2

    def test_a_signing_key_that_is_silent_delays_it_and_nothing_else(self, owned: Owned) -> None:
        who = caller("acme", Permission.AUDIT_READ)
        owned.world.signer.silent = True
        owned.revoke()
        assert "keystead.alarm.receipt_delayed" in owned.world.events.types()
        owned.world.signer.silent = False
        assert owned.app.keystead.list_receipts(who, "acme") == []
        owned.world.clock.advance(5)
        owned.check()
        assert len(owned.app.keystead.list_receipts(who, "acme")) == 1

    def test_none_is_issued_once_the_key_serves_again(self, owned: Owned) -> None:
        owned.world.signer.silent = True
        owned.revoke()
        owned.serve()
        assert owned.check() is State.ACTIVE
        owned.world.signer.silent = False
        owned.world.clock.advance(100)
        owned.check()
        assert owned.app.keystead.list_receipts(caller("acme", Permission.AUDIT_READ), "acme") == []

    def test_none_is_issued_from_hold(self, owned: Owned) -> None:
        owned.deny()
        owned.check()
        assert owned.app.keystead.list_receipts(caller("acme", Permission.AUDIT_READ), "acme") == []


def test_fresh_credentials_ask_again(owned: Owned) -> None:
    owned.deny("identity")
    owned.check(forced=False)
    owned.world.clock.advance(61)
    owned.check()
    assert owned.world.connector.accesses[-1].lease == 0


def test_own_faults_do_not_end_a_hold(owned: Owned) -> None:
    owned.deny()
    owned.check()
    owned.signal = lambda: OwnFault("expired")
    owned.world.clock.advance(61)
    assert owned.check() is State.HOLD
