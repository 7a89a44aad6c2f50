"""The second person: nothing that weakens a tenant's control happens on one person's word."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from core.domain.checks import Check, Report, Result
from core.domain.key_policy import KeyPolicy, PolicyChange
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.domain.tenants import MAC_FIELD, RECORD, TenantRecord
from core.errors import (
    ApprovalNeeded,
    Conflict,
    Denial,
    KeyCheckFailed,
    KeyRevoked,
    KeysteadError,
    KeyUnreachable,
    Silence,
    StoreUnavailable,
)
from core.ports import Document
from core.service.access import Caller
from core.service.approvals import LOOSEN_POLICY, PREFIX, REPLACE_KEY, REVERT_KEY
from core.stores.memory import MemoryTenantStore
from tests.service.test_key_policies import first
from tests.service.world import OPERATOR, OTHER_KEK, PLATFORM, THIRD_KEK, World, caller

ALICE, BOB, CAROL = (caller(subject=name) for name in ("alice", "bob", "carol"))
OWN, SECOND = KeyTarget(OTHER_KEK.locator, reversible=True), KeyTarget(THIRD_KEK.locator)
HOUR, DAY = 3600.0, 86400.0
WATCHED = KeyPolicy(approval="second_person")
Act = Callable[[World, Caller], object]


def policy(**change: Any) -> Act:
    return lambda world, who: world.app.keystead.set_policy(who, "acme", PolicyChange(**change))


def configure(target: KeyTarget) -> Act:
    return lambda world, who: world.app.keystead.configure_key(who, "acme", target)


def revert(world: World, who: Caller) -> object:
    return world.app.keystead.revert_key(who, "acme")


replaced, longer = configure(SECOND), policy(lease=600)
DANGEROUS: dict[str, tuple[Act, str]] = {
    "replace the key": (replaced, REPLACE_KEY),
    "go back": (revert, REVERT_KEY),
    "a longer lease": (longer, LOOSEN_POLICY),
    "a longer grace": (policy(outage_grace=901), LOOSEN_POLICY),
    "turn the fallback on": (policy(fallback="platform"), LOOSEN_POLICY),
    "turn the second person off": (policy(approval=""), LOOSEN_POLICY),
    "loosen among other things": (policy(lease=1, outage_grace=901, rotation_days=1), LOOSEN_POLICY),
}
every_dangerous_act = pytest.mark.parametrize(("act", "action"), DANGEROUS.values(), ids=DANGEROUS.keys())


@pytest.fixture
def watched(world: World) -> World:
    """A world whose tenant has a key of its own and wants a second person."""
    configure(OWN)(world, ALICE)
    policy(approval="second_person")(world, ALICE)
    return world


def record(world: World) -> TenantRecord:
    return world.app.tenants.read("acme")


def stored(world: World, action: str) -> dict[str, Any]:
    found = MemoryTenantStore.read(world.tenants, "acme", PREFIX + action)
    assert found is not None
    return dict(found.body)


def overwrite(world: World, action: str, body: Mapping[str, Any], tenant_id: str = "acme") -> None:
    """Write a document past the service."""
    revision, _ = world.tenants._documents.get((tenant_id, PREFIX + action), (0, ""))
    world.tenants._documents[tenant_id, PREFIX + action] = revision + 1, json.dumps(body)


def needed(world: World, act: Act, who: Caller) -> ApprovalNeeded:
    """An act becomes, or stays, a proposal; nothing else changes."""
    before, wraps = record(world), world.kms.wraps
    with pytest.raises(ApprovalNeeded) as caught:
        act(world, who)
    assert (record(world), world.kms.wraps) == (before, wraps)
    return caught.value


def done(world: World, act: Act, who: Caller) -> TenantRecord:
    """An act is carried out."""
    before = record(world)
    act(world, who)
    assert record(world) != before
    return record(world)


def audited(world: World) -> tuple[str, dict[str, Any]]:
    entry = world.audit_log.read("acme", limit=1000)[-1]
    return entry.outcome, dict(entry.details)


class TestTwoPeople:
    @every_dangerous_act
    def test_it_takes_another_one(self, watched: World, act: Act, action: str) -> None:
        error = needed(watched, act, ALICE)
        assert (error.code, error.retryable, error.remedy) == ("approval_needed", False, "tenant")
        assert "another person with key:manage must send the same request before 2027-01-16 08:0" in str(error.hint)
        proposal = stored(watched, action)
        for _ in range(3):
            watched.clock.advance(HOUR)
            needed(watched, act, ALICE)
        assert stored(watched, action) == proposal  # asking again does not prolong it
        done(watched, act, BOB)
        assert stored(watched, action)["stage"] == "done"

    @every_dangerous_act
    def test_what_is_audited(self, watched: World, act: Act, action: str) -> None:
        needed(watched, act, ALICE)
        outcome, details = audited(watched)
        assert outcome == "approval_needed"
        assert details["approval"]["stage"] == "proposed"
        act(watched, BOB)
        outcome, details = audited(watched)
        assert outcome == "ok"
        found = details["approval"]
        assert (found["action"], found["stage"]) == (action, "approved")
        assert found["proposer"] == {"subject": "alice", "issuer": "test"}
        assert found["approver"] == {"subject": "bob", "issuer": "test"}

    @pytest.mark.parametrize("act", [act for act, action in DANGEROUS.values() if action == LOOSEN_POLICY])
    @pytest.mark.parametrize("who", [ALICE, BOB])
    def test_it_is_spent(self, watched: World, act: Act, who: Caller) -> None:
        """The same again takes two people again, even if all is as it was before."""
        needed(watched, act, ALICE)
        done(watched, act, BOB)
        watched.change(policy=WATCHED)
        needed(watched, act, who)
        assert stored(watched, LOOSEN_POLICY)["proposer"]["subject"] == who.subject

    @every_dangerous_act
    def test_it_ends_after_a_day(self, watched: World, act: Act, action: str) -> None:
        needed(watched, act, ALICE)
        watched.clock.advance(DAY)
        needed(watched, act, BOB)
        assert stored(watched, action)["proposer"]["subject"] == "bob"
        watched.clock.advance(DAY - 1)
        done(watched, act, ALICE)

    def test_subject_and_issuer_name_a_person(self, watched: World) -> None:
        needed(watched, longer, ALICE)
        needed(watched, longer, replace(ALICE, request_id="another"))
        done(watched, longer, replace(ALICE, issuer="https://another.example"))

    def test_people_of_another_tenant_do_not_count(self, watched: World) -> None:
        needed(watched, longer, ALICE)
        for who in (caller("other", subject="bob"), OPERATOR):
            with pytest.raises(KeysteadError) as caught:
                longer(watched, who)
            assert caught.value.code == "access_denied"
        assert stored(watched, LOOSEN_POLICY)["stage"] == "proposed"

    @every_dangerous_act
    def test_who_does_not_want_it_needs_nobody(self, world: World, act: Act, action: str) -> None:
        configure(OWN)(world, ALICE)
        if act is not DANGEROUS["turn the second person off"][0]:
            done(world, act, ALICE)
        assert MemoryTenantStore.read(world.tenants, "acme", PREFIX + action) is None


class TestOneIsEnough:
    def test_for_a_first_key(self, world: World) -> None:
        policy(approval="second_person")(world, ALICE)
        done(world, configure(OWN), ALICE)
        assert record(world).state is State.ACTIVE

    def test_for_a_first_key_on_a_date_and_to_cancel_it(self, world: World) -> None:
        policy(approval="second_person")(world, ALICE)
        done(world, configure(replace(OWN, activation="2027-02-01T00:00:00.000000Z")), ALICE)
        assert record(world).state is State.SCHEDULED
        done(world, revert, ALICE)

    @pytest.mark.parametrize(
        "act",
        [
            policy(lease=59),
            policy(outage_grace=0),
            policy(rotation_days=1),
            policy(rotation_days=365),
            policy(lease=1, rotation_days=100),
            configure(replace(OWN, nickname="ours")),
        ],
    )
    def test_for_what_does_not_weaken(self, watched: World, act: Act) -> None:
        done(watched, act, ALICE)

    def test_to_turn_the_fallback_off(self, watched: World) -> None:
        watched.change(policy=replace(WATCHED, fallback="platform"))
        done(watched, policy(fallback=""), ALICE)

    def test_to_go_on_with_what_was_approved(self, watched: World) -> None:
        trouble(watched, Silence, unwrap_of_old_rows)
        needed(watched, replaced, ALICE)
        with pytest.raises(KeyUnreachable):
            replaced(watched, BOB)
        assert record(watched).moving_from == OTHER_KEK.locator
        assert stored(watched, REPLACE_KEY)["stage"] == "done"
        watched.clock.advance(2 * DAY)
        calm(watched)
        done(watched, replaced, CAROL)
        assert (record(watched).kek, record(watched).moving_from) == (THIRD_KEK.locator, None)

    def test_to_go_on_with_going_back(self, watched: World) -> None:
        trouble(watched, Silence, unwrap_of_old_rows)
        needed(watched, revert, ALICE)
        with pytest.raises(KeyUnreachable):
            revert(watched, BOB)
        watched.clock.advance(2 * DAY)
        calm(watched)
        assert done(watched, revert, CAROL).state is State.PLATFORM

    def test_but_not_to_take_it_back(self, watched: World) -> None:
        trouble(watched, Silence, unwrap_of_old_rows)
        needed(watched, replaced, ALICE)
        with pytest.raises(KeyUnreachable):
            replaced(watched, BOB)
        calm(watched)
        needed(watched, configure(OWN), BOB)
        done(watched, configure(OWN), CAROL)

    def test_nor_to_give_up_again_what_was_taken_back(self, watched: World) -> None:
        """Half way back to the tenant's own key the record looks like half way to its first one."""
        watched.change(moving_from=PLATFORM.locator)
        needed(watched, revert, ALICE)
        assert done(watched, revert, BOB).state is State.PLATFORM


def unwrap_of_old_rows(operation: str, context: Mapping[str, str]) -> bool:
    return operation == "unwrap" and context.get("type", "").startswith("branch:")


def wrap_of_a_probe(operation: str, context: Mapping[str, str]) -> bool:
    return operation == "wrap" and context.get("type") == "keystead:probe"


def trouble(world: World, error: type[Silence | Denial], when: Callable[[str, Mapping[str, str]], bool]) -> None:
    """Have the KMS not do something."""

    def raising(operation: str, context: Mapping[str, str]) -> None:
        if when(operation, context):
            raise Denial("no", cause="disabled") if error is Denial else Silence("no")

    world.kms.trouble = raising


def calm(world: World) -> None:
    world.kms.trouble = lambda operation, context: None


class TestWhatIsBound:
    @pytest.mark.parametrize(
        "other",
        [
            configure(replace(SECOND, nickname="another")),
            configure(replace(SECOND, activation="2027-01-15T00:00:00.000000Z")),
            configure(KeyTarget("local:platform-2")),
        ],
    )
    def test_another_key_or_another_way_is_another_proposal(self, watched: World, other: Act) -> None:
        watched.kms.keys["local:platform-2"] = bytes(32)
        needed(watched, replaced, ALICE)
        needed(watched, other, BOB)
        needed(watched, replaced, ALICE)  # Bob's took the place of hers
        needed(watched, other, BOB)
        done(watched, other, CAROL)

    @pytest.mark.parametrize("other", [{"lease": 601}, {"lease": 600, "outage_grace": 901}, {"fallback": "platform"}])
    def test_another_policy_is_another_proposal(self, watched: World, other: dict[str, Any]) -> None:
        needed(watched, longer, ALICE)
        needed(watched, policy(**other), BOB)
        needed(watched, longer, ALICE)

    def test_the_same_policy_in_other_words_is_the_same(self, watched: World) -> None:
        needed(watched, longer, ALICE)
        done(watched, policy(lease=600.0, rotation_days=90), BOB)

    def test_kinds_of_acts_do_not_disturb_each_other(self, watched: World) -> None:
        for act in (replaced, longer, revert):
            needed(watched, act, ALICE)
        done(watched, longer, BOB)
        done(watched, revert, BOB)

    def test_a_proposal_does_not_outlive_the_key_it_was_about(self, watched: World) -> None:
        needed(watched, revert, ALICE)
        needed(watched, longer, ALICE)
        needed(watched, replaced, ALICE)
        done(watched, replaced, BOB)
        needed(watched, revert, BOB)
        needed(watched, longer, BOB)
        assert stored(watched, REVERT_KEY)["proposer"]["subject"] == "bob"

    def test_a_proposal_does_not_outlive_the_policy_it_was_about(self, watched: World) -> None:
        needed(watched, longer, ALICE)
        done(watched, policy(rotation_days=1), CAROL)
        needed(watched, longer, BOB)

    def test_even_where_it_would_come_to_the_same(self, watched: World) -> None:
        both = policy(lease=600, rotation_days=5)
        needed(watched, both, ALICE)
        done(watched, policy(rotation_days=5), CAROL)
        needed(watched, both, BOB)

    @pytest.mark.parametrize("who", [BOB, OPERATOR])
    def test_who_tightens_voids_what_was_proposed(self, watched: World, who: Caller) -> None:
        needed(watched, longer, ALICE)
        done(watched, policy(outage_grace=899), who)
        assert stored(watched, LOOSEN_POLICY)["stage"] == "done"
        watched.change(policy=WATCHED)
        needed(watched, longer, BOB)

    def test_a_key_that_does_not_pass_is_not_proposed(self, watched: World) -> None:
        good = watched.connector.report
        watched.connector.report = Report((Check("round_trip", Result.FAIL, "no", "Do."),))
        with pytest.raises(KeyCheckFailed):
            replaced(watched, ALICE)
        watched.connector.report = good
        needed(watched, replaced, ALICE)
        watched.connector.report = Report((Check("round_trip", Result.FAIL, "no", "Do."),))
        with pytest.raises(KeyCheckFailed):
            replaced(watched, BOB)
        assert stored(watched, REPLACE_KEY)["stage"] == "proposed"

    def test_what_cannot_be_is_not_proposed(self, watched: World) -> None:
        watched.change(reversible=False)
        for act in (revert, configure(replace(SECOND, reversible=True))):
            with pytest.raises(Conflict) as caught:
                act(watched, ALICE)
            assert not isinstance(caught.value, ApprovalNeeded)
        watched.walk_to(State.HOLD)
        with pytest.raises(Conflict, match="hold"):
            longer(watched, ALICE)
        assert [name for _, name in watched.tenants._documents if name.startswith(PREFIX + "re")] == []

    def test_nothing_is_claimed_before_it_is_approved(self, watched: World) -> None:
        claims = {name for _, name in watched.tenants._documents if name.startswith("kek:")}
        needed(watched, replaced, ALICE)
        assert {name for _, name in watched.tenants._documents if name.startswith("kek:")} == claims


class TestFailingActs:
    def test_either_may_try_again_for_ten_minutes(self, watched: World) -> None:
        needed(watched, replaced, ALICE)
        trouble(watched, Silence, wrap_of_a_probe)
        for who in (BOB, ALICE, BOB):
            before = record(watched)
            with pytest.raises(KeyUnreachable):
                replaced(watched, who)
            assert record(watched) == before
            watched.clock.advance(190)
        calm(watched)
        done(watched, replaced, ALICE)

    def test_nobody_else_may(self, watched: World) -> None:
        needed(watched, replaced, ALICE)
        trouble(watched, Denial, wrap_of_a_probe)
        with pytest.raises(KeyRevoked):
            replaced(watched, BOB)
        calm(watched)
        approved = stored(watched, REPLACE_KEY)
        with pytest.raises(Conflict, match="others have just") as caught:
            replaced(watched, CAROL)
        assert not isinstance(caught.value, ApprovalNeeded)
        assert stored(watched, REPLACE_KEY) == approved

    @pytest.mark.parametrize("who", [ALICE, BOB, CAROL])
    def test_after_ten_minutes_it_takes_two_again(self, watched: World, who: Caller) -> None:
        needed(watched, replaced, ALICE)
        trouble(watched, Silence, wrap_of_a_probe)
        with pytest.raises(KeyUnreachable):
            replaced(watched, BOB)
        watched.clock.advance(600)
        calm(watched)
        needed(watched, replaced, who)

    @pytest.mark.parametrize("wrote", [False, True])
    def test_a_store_that_does_not_answer(self, watched: World, monkeypatch: pytest.MonkeyPatch, wrote: bool) -> None:
        needed(watched, longer, ALICE)
        write = watched.tenants.write

        def unanswered(tenant: str, name: str, body: Any, *, expected_revision: int) -> Document:
            if name != RECORD:
                return write(tenant, name, body, expected_revision=expected_revision)
            if wrote:
                write(tenant, name, body, expected_revision=expected_revision)
            raise StoreUnavailable("no answer")

        monkeypatch.setattr(watched.tenants, "write", unanswered)
        with pytest.raises(StoreUnavailable):
            longer(watched, BOB)
        monkeypatch.undo()
        assert stored(watched, LOOSEN_POLICY)["stage"] == "approved"
        longer(watched, BOB)
        assert record(watched).policy.lease == 600

    def test_an_approval_that_could_not_be_spent_does_not_serve_twice(
        self, watched: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        needed(watched, longer, ALICE)
        unspent(watched, monkeypatch)
        done(watched, longer, BOB)
        monkeypatch.undo()
        assert stored(watched, LOOSEN_POLICY)["stage"] == "approved"
        done(watched, policy(lease=60), CAROL)
        for who in (ALICE, BOB):
            needed(watched, longer, who)
            overwrite(watched, LOOSEN_POLICY, {})

    def test_nor_to_turn_the_second_person_off_again(self, watched: World, monkeypatch: pytest.MonkeyPatch) -> None:
        off = policy(approval="")
        needed(watched, off, ALICE)
        unspent(watched, monkeypatch)
        done(watched, off, BOB)
        monkeypatch.undo()
        done(watched, policy(approval="second_person"), CAROL)
        needed(watched, off, BOB)

    def test_nor_to_change_keys(self, watched: World, monkeypatch: pytest.MonkeyPatch) -> None:
        needed(watched, replaced, ALICE)
        unspent(watched, monkeypatch)
        done(watched, replaced, BOB)
        monkeypatch.undo()
        needed(watched, configure(OWN), BOB)
        done(watched, configure(OWN), CAROL)
        needed(watched, replaced, BOB)


def unspent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever carries out what is approved dies before it says so, as it were."""
    write = world.tenants.write

    def silent(tenant: str, name: str, body: Any, *, expected_revision: int) -> Document:
        if body.get("stage") == "done":
            raise StoreUnavailable("no answer")
        return write(tenant, name, body, expected_revision=expected_revision)

    monkeypatch.setattr(world.tenants, "write", silent)


class TestAtTheSameInstant:
    def test_one_of_two_approvals_carries_it_out(self, watched: World, monkeypatch: pytest.MonkeyPatch) -> None:
        needed(watched, longer, ALICE)
        first(watched, PREFIX + LOOSEN_POLICY, lambda: done(watched, longer, CAROL), monkeypatch)
        with pytest.raises(Conflict, match="others have just") as caught:
            longer(watched, BOB)
        assert not isinstance(caught.value, ApprovalNeeded)
        entries = watched.audit_log.read("acme", limit=1000)[-2:]
        assert [(entry.subject, entry.outcome) for entry in entries] == [("carol", "ok"), ("bob", "conflict")]
        assert (record(watched).policy.lease, stored(watched, LOOSEN_POLICY)["stage"]) == (600, "done")
        longer(watched, BOB)  # asked again, it is as he wants it

    def test_the_other_is_told_of_the_first(self, watched: World, monkeypatch: pytest.MonkeyPatch) -> None:
        needed(watched, replaced, ALICE)

        def carol() -> None:
            trouble(watched, Silence, wrap_of_a_probe)
            with pytest.raises(KeyUnreachable):
                replaced(watched, CAROL)
            calm(watched)

        first(watched, PREFIX + REPLACE_KEY, carol, monkeypatch)
        before = record(watched)
        with pytest.raises(Conflict, match="others have just"):
            replaced(watched, BOB)
        assert record(watched) == before
        done(watched, replaced, CAROL)

    def test_what_was_approved_of_another_state_of_things_is_not_done(
        self, watched: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The key changes between the approval and the write that it is for."""
        needed(watched, longer, ALICE)
        first(watched, RECORD, lambda: watched.change(configuration_revision=9), monkeypatch)
        with pytest.raises(ApprovalNeeded):
            longer(watched, BOB)
        assert record(watched).policy == WATCHED

    def test_the_second_person_is_turned_on_meanwhile(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        configure(OWN)(world, ALICE)
        first(world, RECORD, lambda: policy(approval="second_person")(world, BOB), monkeypatch)
        with pytest.raises(ApprovalNeeded):
            longer(world, ALICE)
        assert record(world).policy == WATCHED

    def test_what_is_proposed_while_an_act_is_done_stays(self, watched: World, monkeypatch: pytest.MonkeyPatch) -> None:
        needed(watched, longer, ALICE)
        first(watched, RECORD, lambda: needed(watched, policy(lease=700), CAROL), monkeypatch)
        done(watched, longer, BOB)
        assert stored(watched, LOOSEN_POLICY)["stage"] == "proposed"
        assert stored(watched, LOOSEN_POLICY)["proposer"]["subject"] == "carol"

    def test_two_proposals(self, watched: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """One after the other, whoever is first: the same request of two people is what it takes."""
        first(watched, PREFIX + LOOSEN_POLICY, lambda: needed(watched, longer, ALICE), monkeypatch)
        done(watched, longer, BOB)


class TestStoreWriters:
    """Somebody who can write the store, and no more, proposes nothing and approves nothing."""

    @pytest.mark.parametrize(
        "forged",
        [
            {"proposer": {"subject": "carol", "issuer": "test"}},
            {"stage": "approved", "approver": {"subject": "bob", "issuer": "test"}},
            {"ends": "2099-01-01T00:00:00.000000Z"},
            {"digest": "0" * 64},
            {"stage": "proposed"},
            {"more": 1},
            {MAC_FIELD: "0" * 64},
            {MAC_FIELD: "\ud800"},
            {MAC_FIELD: None},
        ],
        ids=str,
    )
    def test_a_forged_proposal_counts_for_nothing(self, watched: World, forged: dict[str, Any]) -> None:
        needed(watched, longer, ALICE)
        genuine = stored(watched, LOOSEN_POLICY)
        if forged == {"stage": "proposed"}:
            done(watched, longer, BOB)
            genuine = stored(watched, LOOSEN_POLICY)
            watched.change(policy=WATCHED)
        overwrite(watched, LOOSEN_POLICY, {**genuine, **forged})
        watched.events.events.clear()
        needed(watched, longer, BOB)
        assert ("keystead.alarm.store_corrupt", "acme") in [event[:2] for event in watched.events.events]
        assert stored(watched, LOOSEN_POLICY)["proposer"]["subject"] == "bob"
        done(watched, longer, ALICE)  # and stands in nobody's way

    def test_one_acts_proposal_is_not_anothers(self, watched: World) -> None:
        needed(watched, replaced, ALICE)
        overwrite(watched, REVERT_KEY, stored(watched, REPLACE_KEY))
        needed(watched, revert, BOB)
        assert stored(watched, REVERT_KEY)["proposer"]["subject"] == "bob"
        assert "keystead.alarm.store_corrupt" in watched.events.types()

    def test_one_tenants_proposal_is_not_anothers(self, watched: World) -> None:
        watched.tenant("other")
        bob, theirs = caller("other", subject="bob"), PolicyChange(lease=600)
        watched.app.keystead.set_policy(bob, "other", PolicyChange(approval="second_person"))
        needed(watched, longer, ALICE)
        overwrite(watched, LOOSEN_POLICY, stored(watched, LOOSEN_POLICY), tenant_id="other")
        with pytest.raises(ApprovalNeeded):
            watched.app.keystead.set_policy(bob, "other", theirs)
        assert "keystead.alarm.store_corrupt" in watched.events.types()

    def test_a_spent_proposal_put_back_is_about_what_is_no_more(self, watched: World) -> None:
        needed(watched, replaced, ALICE)
        proposed = stored(watched, REPLACE_KEY)
        done(watched, replaced, BOB)
        needed(watched, configure(OWN), ALICE)
        done(watched, configure(OWN), BOB)
        overwrite(watched, REPLACE_KEY, proposed)
        needed(watched, replaced, BOB)


def test_without_a_person_nothing_dangerous_passes(watched: World) -> None:
    before = record(watched)
    with pytest.raises(ApprovalNeeded):
        watched.app.key_configuration.configure("acme", SECOND, {})
    with pytest.raises(ApprovalNeeded):
        watched.app.key_configuration.revert("acme", {})
    assert record(watched) == before
    watched.app.key_configuration.configure("acme", OWN, {})


@pytest.mark.parametrize("seed", range(20))
def test_one_person_alone_never_weakens_anything(watched: World, seed: int) -> None:
    """Whatever Alice does, in whatever order, while things fail: her rights are those of one person."""
    dice = random.Random(seed)
    acts = [act for act, _ in DANGEROUS.values()]
    acts += [policy(lease=30), policy(rotation_days=9), configure(OWN), policy(outage_grace=5)]
    lowest = record(watched).policy
    for _ in range(60):
        when = dice.choice([wrap_of_a_probe, unwrap_of_old_rows, lambda operation, context: False])
        trouble(watched, dice.choice([Silence, Denial]), when)
        watched.clock.advance(dice.choice([0, 1, 300, 601, 90_000]))
        with suppress(KeysteadError):
            dice.choice(acts)(watched, replace(ALICE, request_id=str(dice.random())))
        found = record(watched)
        assert (found.kek, found.moving_from, found.policy.approval) == (OTHER_KEK.locator, None, "second_person")
        assert found.policy.lease <= lowest.lease
        assert found.policy.outage_grace <= lowest.outage_grace
        assert found.policy.fallback == ""
        lowest = found.policy


def test_who_displaces_a_proposal_is_told_whose(watched: World) -> None:
    first_one = needed(watched, policy(lease=61), ALICE)
    assert "in place of" not in first_one.detail
    assert "in place of" not in needed(watched, policy(lease=61), ALICE).detail, "the same again"
    assert needed(watched, policy(lease=62), BOB).detail.endswith("in place of another one by alice")
    assert audited(watched)[1]["displaced"]["proposer"]["subject"] == "alice"
    assert needed(watched, policy(lease=61), ALICE).detail.endswith("in place of another one by bob")
    watched.clock.advance(DAY + 1)
    assert "in place of" not in needed(watched, policy(lease=62), BOB).detail, "what is over is displaced by nothing"
    assert "in place of" not in needed(watched, revert, ALICE).detail, "another act has a proposal of its own"
