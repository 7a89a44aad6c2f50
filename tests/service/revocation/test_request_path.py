"""What requests do about denial and silence: rules 1 to 4 and 9 of DESIGN 5, seen from callers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from core.domain.kek import Kek
from core.domain.key_policy import KeyPolicy
from core.domain.states import State
from core.domain.withdrawals import instant
from core.errors import Denial, KeyRevoked, KeyUnreachable, StoreUnavailable, VendorFault
from core.service.access import Permission
from core.service.results import DecryptItem
from core.service.revocation.pauses import DENIED_FOR, SILENT_FOR
from tests.service.revocation.withdrawing import Owned
from tests.service.world import PLATFORM, caller


class TestDenial:
    def test_it_is_refused_written_down_and_told(self, owned: Owned) -> None:
        owned.expire_lease()
        owned.deny()
        assert owned.outcome() == "key_revoked"
        assert (owned.state, owned.record.cause) == (State.HOLD, "disabled")
        assert owned.record.untold == ()
        changes = [data for kind, _, data in owned.world.events.events if kind == "keystead.key.state_changed"]
        assert (changes[-1]["from"], changes[-1]["to"], changes[-1]["request_id"]) == ("active", "hold", "r-1")
        entries = [entry for entry in owned.world.audit_log.read("acme") if entry.action == "key.state"]
        assert entries[-1].details["id"] == changes[-1]["id"]

    def test_every_process_stops_serving_from_its_cache_within_the_state_age(self, owned: Owned) -> None:
        other = owned.world.process()
        owned.expire_lease()
        assert owned.outcome(other) == "ok"
        owned.world.clock.advance(1)
        owned.deny()
        assert owned.outcome() == "key_revoked"
        assert owned.outcome(other) == "ok"  # it has not looked yet
        owned.world.clock.advance(10)
        asked = len(owned.asked)
        assert owned.outcome(other) == "key_revoked"
        assert len(owned.asked) == asked + 1, "it asked for itself"

    def test_in_hold_each_call_proves_the_key_anew(self, owned: Owned) -> None:
        owned.expire_lease()
        owned.deny()
        owned.outcome()
        owned.serve()
        owned.world.clock.advance(2)
        asked = len(owned.asked)
        assert [owned.outcome() for _ in range(3)] == ["ok"] * 3
        assert owned.state is State.HOLD
        # The row of the message, and the ACTIVE row: what lies under another KEK must not slip through.
        assert len(owned.asked) == asked + 6

    def test_a_key_refused_is_not_asked_again_by_every_request(self, owned: Owned) -> None:
        owned.expire_lease()
        owned.deny()
        owned.outcome()
        asked = len(owned.asked)
        assert [owned.outcome() for _ in range(20)] == ["key_revoked"] * 20
        assert len(owned.asked) == asked
        owned.world.clock.advance(DENIED_FOR)
        owned.outcome()
        assert len(owned.asked) == asked + 1

    def test_a_revoked_tenant_costs_no_kms_calls(self, owned: Owned) -> None:
        owned.revoke()
        asked = len(owned.asked)
        for _ in range(10):
            owned.world.clock.advance(1)
            assert owned.outcome() == "key_revoked"
        assert len(owned.asked) == asked

    def test_a_denial_that_cannot_be_written_down_is_a_denial(self, owned: Owned) -> None:
        owned.expire_lease()
        owned.outcome()  # the record is fresh
        owned.expire_lease()
        assert owned.outcome() == "ok"
        owned.world.clock.advance(9)
        # A lease of its own, so that it ends while the record counts.
        owned.app.branch_keys._held._keys.clear()
        owned.app.encryption._decrypting.clear()
        owned.deny()
        owned.world.tenants.silent = True
        assert owned.outcome() == "key_revoked"
        owned.world.tenants.silent = False
        assert owned.state is State.ACTIVE
        owned.world.clock.advance(DENIED_FOR)
        assert owned.outcome() == "key_revoked"
        assert owned.record.state is State.HOLD

    def test_lease_zero_refuses_the_very_next_call(self) -> None:
        owned = Owned(policy=KeyPolicy(lease=0))
        assert owned.outcome() == "ok"
        owned.deny()
        assert owned.outcome() == "key_revoked"

    @pytest.mark.parametrize("row", ["branch:version:", "branch:ACTIVE"])
    def test_the_state_follows_the_active_rows_kek_whichever_row_was_refused(self, owned: Owned, row: str) -> None:
        owned.expire_lease()
        owned.deny()
        act: Callable[[], object] = owned.outcome if row != "branch:ACTIVE" else lambda: owned.world.encrypt()
        with suppress(KeyRevoked):
            act()
        assert owned.state is State.HOLD

    def test_another_tenant_is_not_touched(self, owned: Owned) -> None:
        owned.world.tenant("globex")
        message = owned.app.encryption.encrypt("globex", b"x", {})
        owned.revoke()
        assert owned.app.encryption.decrypt("globex", message, {}) == b"x"
        assert owned.app.tenants.read("globex").state is State.PLATFORM

    def test_a_batch_tells_each_item(self, owned: Owned) -> None:
        owned.expire_lease()
        owned.deny()
        who = caller("acme", Permission.DATA_DECRYPT)
        found = owned.app.keystead.decrypt_many(who, "acme", [DecryptItem(owned.message, {})] * 3)
        assert [type(item) for item in found] == [KeyRevoked] * 3
        assert len([call for call in owned.asked if call[0] == "unwrap"][-3:]) >= 1


class TestOurOwnFault:
    def test_a_denial_that_a_canary_shares_is_503_and_marks_nobody(self) -> None:
        owned = Owned(canary=True)
        owned.app.schedules.run("check", 5)
        owned.expire_lease()
        owned.deny("policy")
        owned.canary_signal = lambda: Denial("no", cause="policy", kms_code="No", request_id="c-1")
        assert owned.outcome() == "vendor_fault"
        assert owned.state is State.ACTIVE

    def test_our_own_credentials_serve_the_grace_and_mark_nobody(self, owned: Owned) -> None:
        owned.outcome()
        owned.expire_lease()
        owned.own_fault()
        assert owned.outcome() == "ok"
        owned.world.clock.advance(900)
        assert owned.outcome() == "vendor_fault"
        assert owned.state is State.ACTIVE


class TestSilence:
    def test_it_is_written_down_and_served_inside_the_grace(self, owned: Owned) -> None:
        owned.outcome()
        owned.expire_lease()
        owned.silence()
        assert owned.outcome() == "ok"
        assert owned.state is State.DEGRADED
        for _ in range(20):
            owned.world.clock.advance(40)
            assert owned.outcome() == "ok"
        owned.world.clock.advance(60)
        assert owned.outcome() == "key_unreachable"

    def test_the_first_unwrap_ends_it(self, owned: Owned) -> None:
        owned.outcome()
        owned.expire_lease()
        owned.silence()
        owned.outcome()
        owned.serve()
        owned.world.clock.advance(SILENT_FOR)
        assert owned.outcome() == "ok"
        assert owned.state is State.ACTIVE

    def test_a_fleet_asks_a_silent_kms_by_one_process_at_a_time(self, owned: Owned) -> None:
        fleet = [owned.app, *(owned.world.process() for _ in range(5))]
        for app in fleet:
            owned.outcome(app)
        owned.expire_lease()
        owned.silence()
        for app in fleet:
            assert owned.outcome(app) == "ok"
        asked = len(owned.asked)
        for _ in range(12):
            owned.world.clock.advance(5)
            for app in fleet:
                assert owned.outcome(app) == "ok"
        assert len(owned.asked) - asked <= 12, "at most one question each five seconds"

    def test_a_cold_process_is_refused_without_a_question_while_it_lasts(self, owned: Owned) -> None:
        cold = owned.world.process()
        owned.silence()
        with pytest.raises(KeyUnreachable) as caught:
            cold.encryption.decrypt("acme", owned.message, {})
        assert caught.value.retry_after == 5
        asked = len(owned.asked)
        assert [owned.outcome(cold) for _ in range(10)] == ["key_unreachable"] * 10
        assert len(owned.asked) == asked

    def test_it_does_not_end_what_is_cached_elsewhere(self, owned: Owned) -> None:
        """`unreachable`, which one process wrote, ends no grace of another that asked later."""
        owned.outcome()
        owned.expire_lease()
        owned.silence()
        owned.outcome()
        owned.serve()
        other = owned.world.process()
        owned.world.clock.advance(895)
        assert owned.outcome(other) == "ok"
        owned.silence()
        owned.world.clock.advance(10)
        assert owned.check() is State.DEGRADED
        owned.world.change(state=State.UNREACHABLE)
        owned.world.clock.advance(60)
        assert owned.outcome(other) == "ok"

    def test_a_custom_key_store_has_no_grace(self) -> None:
        owned = Owned()
        record = owned.record
        owned.world.change(binding=type(record.binding)(**{**record.binding.to_body(), "custom_key_store": True}))
        owned.outcome()
        owned.expire_lease()
        owned.silence()
        assert owned.outcome() == "key_unreachable"
        assert owned.state is State.DEGRADED
        owned.world.clock.advance(61)
        owned.check()
        assert owned.record.state is State.UNREACHABLE


class TestStore:
    def test_rule_two_the_last_state_counts_for_thirty_seconds(self, owned: Owned) -> None:
        owned.expire_lease()
        assert owned.outcome() == "ok"
        owned.world.tenants.silent = True
        owned.world.clock.advance(29)
        assert owned.outcome() == "ok"
        owned.world.clock.advance(2)
        with pytest.raises(StoreUnavailable):
            owned.app.encryption.decrypt("acme", owned.message, {})
        owned.world.tenants.silent = False
        owned.world.clock.advance(1)
        assert owned.outcome() == "ok"

    def test_a_denial_that_the_store_did_not_take_is_written_when_it_does(self, owned: Owned) -> None:
        """Whatever the KMS says by then: a silence that follows must not make new data go elsewhere (rule 8)."""
        owned.expire_lease()
        assert owned.outcome() == "ok"
        other = owned.world.process()
        owned.expire_lease()
        owned.deny()
        owned.world.tenants.unwritable = True
        assert owned.outcome() == "key_revoked"
        heard = owned.world.clock.wall_time
        assert owned.state is State.ACTIVE
        owned.silence()
        owned.world.clock.advance(20)
        with pytest.raises(StoreUnavailable):
            owned.app.checks.check("acme")
        assert owned.state is State.ACTIVE, "not yet"
        owned.world.tenants.unwritable = False
        view = owned.app.gate.enter_any("acme")
        owned.app.checks._reports.granted(view, PLATFORM, view.record)  # another key's serving says nothing of this one
        owned.world.clock.advance(5)
        assert owned.app.checks.check("acme") is State.HOLD
        assert (owned.withdrawal.first_denial, owned.withdrawal.request_id) == (instant(heard), "r-1")
        assert owned.record.since == instant(owned.world.clock.wall_time)
        assert owned.outcome(other) != "ok"
        owned.serve()
        owned.world.clock.advance(30)
        owned.check()
        owned.world.clock.advance(30)
        owned.check()
        assert (owned.state, owned.outcome()) == (State.ACTIVE, "ok"), "it is written once"

    def test_one_that_was_heard_by_a_clock_that_was_off_is_not_dated(self, owned: Owned) -> None:
        owned.expire_lease()
        assert owned.outcome() == "ok"
        owned.expire_lease()
        owned.deny("policy")
        keeper, now = owned.app.checks._timekeeper, owned.app.checks._timekeeper.now
        assert not keeper.compare(owned.world.clock.wall_time + 100, now(), now())
        owned.world.tenants.unwritable = True
        assert owned.outcome() == "key_revoked"
        owned.world.tenants.unwritable = False
        owned.world.clock.advance(2)
        assert keeper.compare(owned.world.clock.wall_time, now(), now())
        owned.app.checks._reports.settle("acme")
        assert owned.record.state is State.HOLD
        assert owned.withdrawal.first_denial == "", "the next denial is the first"

    @pytest.mark.parametrize("here", [True, False], ids=["in this process", "in another"])
    def test_it_is_not_written_if_the_key_has_served_since(self, owned: Owned, here: bool) -> None:
        owned.expire_lease()
        owned.deny()
        owned.world.tenants.unwritable = True
        assert owned.outcome() == "key_revoked"
        owned.world.tenants.unwritable = False
        other = owned.world.process()
        owned.world.clock.advance(5)
        if here:
            owned.serve()
            assert owned.outcome() == "ok"
        else:
            assert owned.outcome(other) == "key_revoked"
            assert owned.state is State.HOLD
            owned.serve()
            owned.world.clock.advance(2)
            other.checks.check("acme", forced=True)
        assert owned.state is State.ACTIVE
        changes = len(owned.app.checks._teller.timeline("acme"))
        owned.app.checks.check("acme", forced=True)
        assert owned.state is State.ACTIVE
        assert len(owned.app.checks._teller.timeline("acme")) == changes

    def test_a_refusing_state_is_read_anew_after_two_seconds(self, owned: Owned) -> None:
        owned.revoke()
        assert owned.outcome() == "key_revoked"
        other = owned.world.process()
        assert owned.outcome(other) == "key_revoked"
        owned.serve()
        owned.check()
        assert owned.outcome(other) == "key_revoked"
        owned.world.clock.advance(2)
        assert owned.outcome(other) == "ok"


def test_a_kek_that_is_not_the_platforms_fault_is_named_by_its_owner(owned: Owned) -> None:
    """The platform's KEK refusing is ours; nobody is marked."""
    owned.world.tenant("globex")
    message = owned.app.encryption.encrypt("globex", b"x", {})
    owned.world.clock.advance(61)

    def refuse_platform(operation: str, context: dict[str, str]) -> None:
        if context.get("kms-arn") == "local:platform":
            raise Denial("no", cause="disabled", kms_code="No")

    owned.world.kms.trouble = refuse_platform  # type: ignore[assignment]
    with pytest.raises(VendorFault):
        owned.app.encryption.decrypt("globex", message, {})
    assert owned.app.tenants.read("globex").state is State.PLATFORM
    assert Kek(owned.app.tenants.read("globex").kek) == Kek("local:platform")
