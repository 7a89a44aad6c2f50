"""After a restore no state of another day is believed: every key of a tenant's own is held, and proves itself."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from core.bootstrap import Application
from core.domain import receipts
from core.domain.audit_copies import ChainCopy
from core.domain.causes import SWITCH_REPLAYED
from core.domain.instants import parse_instant
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.domain.withdrawals import Withdrawal, instant
from core.errors import AccessDenied, Denial, InvalidRequest, StoreCorrupt, StoreUnavailable
from core.service.access import Permission
from core.service.revocation.store_restores import AfterRestore
from core.service.timekeeper import MAX_SKEW
from tests.domain.withdrawn import withdrawal
from tests.service.revocation.restoring import (
    SWITCH,
    Backup,
    entries,
    go_on,
    holds,
    order,
    platform,
    record_of,
    resume,
    suspend,
)
from tests.service.revocation.withdrawing import Owned
from tests.service.world import OTHER_KEK, PLATFORM, World, caller

STATE_AGE = 10

# What becomes of which state

OWN = sorted(set(State) - {State.PLATFORM, State.SCHEDULED, State.SUSPENDED})
CAUSES = {State.HOLD: "policy", State.REVOKED: "policy", State.NETWORK_BLOCKED: "network"}


def scheduled() -> World:
    world = platform()
    ahead = instant(world.clock.wall_time + 86400)
    world.app.key_configuration.configure("acme", KeyTarget(OTHER_KEK.locator, activation=ahead), {})
    return world


def moving(state: State) -> World:
    """On its way to a key of its own: what is new already hangs on that."""
    world = Owned().world
    world.change(state=state, moving_from=PLATFORM.locator, moving_binding=record_of(world.app).binding)
    return world


def own(state: State) -> World:
    world = Owned().world
    denied = (
        withdrawal(kek=OTHER_KEK.locator, cause="policy", receipt="") if state in (State.HOLD, State.REVOKED) else None
    )
    if state is State.REVOKED:
        world.walk_to(State.HOLD)
    world.change(state=state, cause=CAUSES.get(state, ""), withdrawal=denied)
    return world


def switched_off(world: World) -> World:
    world.app.kill_switch.suspend("acme", "alice", {})
    return world


@dataclass(frozen=True)
class Standing:
    """What a backup holds.

    Attributes:
        make: Makes it.
        held: What the tenant goes into.
        new: Whether that is another state, and where it goes back to if the key serves.
    """

    make: Callable[[], World]
    held: State
    new: str = ""


STANDING = {
    "platform": Standing(platform, State.PLATFORM),
    "scheduled": Standing(scheduled, State.SCHEDULED),
    "moving, platform": Standing(lambda: moving(State.PLATFORM), State.HOLD, "platform"),
    **{
        f"own, {state}": Standing(partial(own, state), State.HOLD, "" if state is State.HOLD else "active")
        for state in OWN
    },
}
OFF: dict[str, tuple[Callable[[], World], State]] = {
    "suspended, platform": (lambda: switched_off(platform()), State.PLATFORM),
    "suspended, scheduled": (lambda: switched_off(scheduled()), State.SCHEDULED),
    "suspended, active": (lambda: switched_off(Owned().world), State.ACTIVE),
    "suspended, revoked": (lambda: switched_off(own(State.REVOKED)), State.REVOKED),
}


def told(app: Application, before: int) -> list[tuple[str, str, str, str]]:
    """Changes of state since a point of the timeline: before, after, signal, by."""
    timeline = app.keystead.key_status(caller(), "acme").timeline[before:]
    audited = [entry for entry in entries(app) if entry.action == "key.state"][-len(timeline) :] if timeline else []
    assert [entry.details["id"] for entry in audited] == [change.id for change in timeline]
    assert {entry.subject for entry in audited} <= {"operator"}
    return [(change.before, change.after, change.signal, change.by) for change in timeline]


@pytest.mark.parametrize("on", [False, True], ids=["", "suspended since"])
@pytest.mark.parametrize("name", STANDING)
def test_every_state(name: str, on: bool) -> None:
    standing = STANDING[name]
    world = standing.make()
    backup = Backup(world)
    known = len(entries(world.app))
    before = record_of(world.app)
    if on:
        world.clock.advance(1)
        suspend(world.app)
    copy = world.app.audit_copies.make("acme")
    app = backup.restore()
    assert record_of(app) == before
    timeline = len(app.keystead.key_status(caller(), "acme").timeline)
    world.clock.advance(5)
    world.events.events.clear()
    unwraps = world.kms.branch_unwraps()

    found = order(app, copy)

    after = State.SUSPENDED if on else standing.held
    put_back = len(copy.entries) - known
    assert put_back == (2 if on else 0)
    assert found == AfterRestore("acme", before.state.value, after.value, (SWITCH,) if on else (), (), put_back)
    now = instant(world.clock.wall_time)
    expected = before
    if before.state is State.HOLD and before.withdrawal is not None:
        expected = replace(before, withdrawal=replace(before.withdrawal, first_denial="", last_denial=""))
        expected = replace(expected, withdrawal=replace(expected.withdrawal, restored=True))  # type: ignore[type-var]
    if standing.new:
        held = Withdrawal(
            OTHER_KEK.locator, "", "", "", "", back_to=standing.new, lease=60, outage_grace=900, restored=True
        )
        expected = replace(expected, state=State.HOLD, cause="", withdrawal=held, since=now)
        expected = replace(expected, interruptions=expected.interruptions + 1)
    if on:
        expected = replace(
            expected, state=State.SUSPENDED, cause=SWITCH_REPLAYED, since=now, resume_to=standing.held.value
        )
        expected = replace(expected, interruptions=expected.interruptions + 1)
    assert record_of(app) == expected
    changes = [(before.state.value, "hold", "store_restored", "operator")] if standing.new else []
    changes += [(standing.held.value, "suspended", "suspend", "operator")] if on else []
    assert told(app, timeline) == changes
    assert world.events.types().count("keystead.key.state_changed") == len(changes)
    assert world.kms.branch_unwraps() == unwraps, "no KMS is asked by the order itself"
    last = entries(app)[-1]
    assert (last.action, last.subject, last.outcome) == ("store.restored", "operator", "ok")
    assert last.details == {
        "issuer": "test",
        "request_id": "req-0",
        "reason": "SUPPORT",
        "entries_put_back": put_back,
        "diverged": False,
        "from": before.state.value,
        "to": after.value,
        "kek": before.kek,
        "why": [SWITCH] if on else [],
        "lost": [],
    }
    holds(app, copy)
    assert entries(app)[: len(copy.entries)] == list(copy.entries)

    # Once more, with the copy and without: nothing changes but the chain tells of the order.
    for again in (copy, None):
        world.clock.advance(5)
        documents = deepcopy(world.tenants._documents)
        repeated = order(world.process(), again)
        assert repeated == AfterRestore("acme", after.value, after.value, (SWITCH,) if on else (), (), 0)
        assert world.tenants._documents == documents
        assert record_of(app) == expected
    assert told(app, timeline) == changes


def test_on_the_way_back_to_the_platforms_key(owned: Owned) -> None:
    """New data already hangs on the platform's key; what is old does on the tenant's own."""
    owned.world.change(kek=PLATFORM.locator, moving_from=OTHER_KEK.locator, moving_binding=owned.record.binding)
    app = Backup(owned.world).restore()
    owned.deny()
    assert order(app).after == "hold"
    assert owned.outcome(app) == "key_revoked"


@pytest.mark.parametrize("since", ["", "resumed", "resumed and suspended"])
@pytest.mark.parametrize("name", OFF)
def test_a_kill_switch_that_was_on_stays_on(name: str, since: str) -> None:
    """Only ever tightens, even where the copy knows that it was turned off since."""
    make, resume_to = OFF[name]
    world = make()
    backup = Backup(world)
    world.clock.advance(1)
    if since:
        resume(world.app)
    if since == "resumed and suspended":
        suspend(world.app)
    copy = world.app.audit_copies.make("acme")
    app = backup.restore()
    before = record_of(app)
    found = order(app, copy)
    reasons = () if since == "resumed" else (SWITCH,)
    assert (found.before, found.after, found.reasons) == ("suspended", "suspended", reasons)
    assert before.resume_to == resume_to.value
    if resume_to in (State.PLATFORM, State.SCHEDULED):
        assert record_of(app) == before
        return
    held = Withdrawal(OTHER_KEK.locator, "", "", "", "", lease=60, outage_grace=900, restored=True)
    assert record_of(app) == replace(before, resume_to="hold", withdrawal=held), "who resumes it has its KMS asked"


@pytest.mark.parametrize("state", [state for state in OWN if state not in (State.HOLD, State.REVOKED)])
def test_whatever_the_backup_says_of_the_key_the_kms_decides(state: State) -> None:
    for withdrawn in (False, True):
        owned = Owned()
        owned.world.change(state=state, cause=CAUSES.get(state, ""))
        app = Backup(owned.world).restore()
        if withdrawn:
            owned.deny()
        order(app)
        assert owned.outcome(app) == ("key_revoked" if withdrawn else "ok")
        owned.world.clock.advance(1)
        app.checks.check("acme")
        owned.world.clock.advance(2)
        app.checks.check("acme", forced=True)
        assert owned.state is (State.REVOKED if withdrawn else State.ACTIVE)


# Withdrawn since, or not


@pytest.mark.parametrize("reinstated", [False, True], ids=["revoked", "revoked and reinstated and revoked"])
@pytest.mark.parametrize("kept", ["a copy", "no copy"])
@pytest.mark.parametrize("cause", ["disabled", "policy"])
def test_a_key_that_was_withdrawn_since(owned: Owned, cause: str, kept: str, reinstated: bool) -> None:
    backup = Backup(owned.world)
    owned.revoke(cause)
    if reinstated:
        owned.serve()
        owned.check()
        owned.world.clock.advance(300)
        owned.revoke(cause)
    copy = owned.app.audit_copies.make("acme") if kept == "a copy" else None
    owned.world.clock.advance(3600)
    app = backup.restore()
    assert record_of(app).state is State.ACTIVE, "so it would be served from caches, were it not for the order"
    ordered = owned.world.clock.wall_time
    assert order(app, copy).after == "hold"
    assert owned.outcome(app) == "key_revoked"
    owned.world.clock.advance(1)
    app.checks.check("acme", forced=True)
    assert record_of(owned.app).state is State.HOLD
    first = owned.withdrawal.first_denial
    assert parse_instant(first) >= ordered
    assert owned.withdrawal.cause == cause
    app.checks.check("acme", forced=True)
    assert record_of(owned.app).state is State.HOLD, "one denial is no withdrawal, and two in one second are none"
    owned.world.clock.advance(61)
    app.checks.check("acme", forced=True)
    assert record_of(owned.app).state is State.REVOKED
    who = caller("acme", Permission.AUDIT_READ)
    (entry,) = app.keystead.list_receipts(who, "acme")
    body = receipts.verify(app.keystead.receipt(who, "acme", entry.id).statement, app.keystead.jwks())
    assert parse_instant(body["first_denial"]) >= ordered
    assert parse_instant(body["confirmed"]) > parse_instant(body["first_denial"])
    assert owned.outcome(app) == "key_revoked"
    # And nothing is lost.
    owned.serve()
    app.checks.check("acme", forced=True)
    assert record_of(owned.app).state is State.ACTIVE
    assert owned.outcome(owned.world.process()) == "ok"
    holds(app, *([copy] if copy else []))


@pytest.mark.parametrize("now", ["serves", "refuses"])
@pytest.mark.parametrize("since", ["nothing", "reinstated", "reinstated and revoked"])
@pytest.mark.parametrize("kept", ["a copy", "no copy", "a false copy"])
def test_a_receipt_out_of_the_backup_states_nothing_of_what_came_after_it(
    owned: Owned, kept: str, since: str, now: str
) -> None:
    """The backup does not know that it has ended: served since, it would deny that."""
    clock, who = owned.world.clock, caller("acme", Permission.AUDIT_READ)
    owned.revoke()
    first_one, written = owned.withdrawal.receipt, parse_instant(owned.withdrawal.written)
    clock.advance(100)
    backup = Backup(owned.world)
    clock.advance(100)
    ended = clock.wall_time
    if since != "nothing":
        owned.serve()
        owned.check()
        assert owned.outcome() == "ok"
        clock.advance(100)
    if since == "reinstated and revoked":
        owned.revoke()
    if since == "nothing":
        owned.app.audit.record("acme", "tenant.update", "operator", "ok")
    copy = owned.app.audit_copies.make("acme") if kept != "no copy" else None
    if kept == "a false copy" and copy is not None:
        copy = replace(copy, checkpoint="")
    clock.advance(3600)
    app = backup.restore()
    restored = clock.wall_time
    if kept == "a false copy":
        with pytest.raises(InvalidRequest):
            order(app, copy)
    else:
        assert order(app, copy).after == "hold"
    assert owned.state is State.HOLD
    (entry,) = app.keystead.list_receipts(who, "acme")
    assert entry.id == first_one
    assert parse_instant(entry.reinstated) >= restored
    known = ended if kept == "a copy" and since != "nothing" else written
    assert known - MAX_SKEW - 1 <= parse_instant(entry.holds_until) <= known
    owned.serve() if now == "serves" else owned.deny()
    for _ in range(3):
        clock.advance(2)
        app.checks.check("acme", forced=True)
    if now == "serves":
        assert (owned.state, owned.outcome(app)) == (State.ACTIVE, "ok")
        return
    assert (owned.state, owned.outcome(app)) == (State.REVOKED, "key_revoked")
    *_, latest = app.keystead.list_receipts(who, "acme")
    assert latest.id != first_one
    assert latest.reinstated == ""
    assert parse_instant(latest.first_denial) >= restored


def test_a_hold_out_of_the_backup_counts_from_a_denial_of_today(owned: Owned) -> None:
    owned.deny()
    owned.check()
    assert record_of(owned.app).state is State.HOLD
    backup = Backup(owned.world)
    owned.world.clock.advance(3600)
    app = backup.restore()
    ordered = owned.world.clock.wall_time
    assert order(app) == AfterRestore("acme", "hold", "hold")
    app.checks.check("acme", forced=True)
    assert record_of(owned.app).state is State.HOLD
    assert parse_instant(owned.withdrawal.first_denial) >= ordered


def test_a_key_that_serves_is_served_by_proof_and_then_as_ever(owned: Owned) -> None:
    backup = Backup(owned.world)
    owned.world.clock.advance(3600)
    app = backup.restore()
    assert order(app).after == "hold"
    for _ in range(3):
        asked = len(owned.asked)
        assert owned.outcome(app) == "ok"
        assert len(owned.asked) > asked, "each call asks"
    app.encryption.encrypt("acme", b"new", {})
    owned.world.clock.advance(1)
    app.schedules.run("watch", 5)
    assert record_of(owned.app).state is State.ACTIVE, "the order has it looked at soon"
    assert record_of(app).withdrawal is None
    owned.world.clock.advance(2)
    assert owned.outcome(app) == "ok"
    asked = len(owned.asked)
    assert [owned.outcome(app) for _ in range(3)] == ["ok"] * 3
    assert len(owned.asked) == asked, "what was unwrapped since is cached"
    assert app.keystead.list_receipts(caller("acme", Permission.AUDIT_READ), "acme") == []


def test_a_key_that_nobody_uses_is_looked_at_soon_as_well(owned: Owned) -> None:
    owned.check()
    app = Backup(owned.world).restore()
    order(app)
    for seconds in (0, 1):
        assert record_of(app).state is State.HOLD
        owned.world.clock.advance(seconds)
        app.schedules.run("watch", 5)
    assert record_of(app).state is State.ACTIVE


def test_while_the_kms_is_silent_nothing_is_served(owned: Owned) -> None:
    assert owned.outcome() == "ok"
    app = Backup(owned.world).restore()
    order(app)
    owned.silence()
    assert owned.outcome(app) == "key_unreachable"
    for _ in range(3):
        owned.world.clock.advance(61)
        app.checks.check("acme", forced=True)
        assert record_of(owned.app).state is State.HOLD, "silence is no answer"
        assert owned.outcome(app) == "key_unreachable"
    owned.serve()
    owned.world.clock.advance(61)
    app.checks.check("acme", forced=True)
    assert record_of(owned.app).state is State.ACTIVE


@pytest.mark.parametrize("settled", [False, True], ids=["in hold", "after a check"])
def test_who_holds_the_key_cached_asks_for_itself(owned: Owned, settled: bool) -> None:
    """Workers that were started on the restored store before the order serve from no cache of before it."""
    backup = Backup(owned.world)
    workers = [backup.restore() for _ in range(2)]
    for worker in workers:
        assert owned.outcome(worker) == "ok"
        asked = len(owned.asked)
        assert owned.outcome(worker) == "ok"
        assert len(owned.asked) == asked, "it is cached"
    app = owned.world.process()
    order(app)
    if settled:
        app.checks.check("acme", forced=True)
        assert record_of(owned.app).state is State.ACTIVE
    owned.world.clock.advance(STATE_AGE + 1)
    owned.deny()
    for worker in workers:
        assert owned.outcome(worker) == "key_revoked"
    owned.serve()
    owned.world.clock.advance(2)
    for worker in workers:
        asked = len(owned.asked)
        assert owned.outcome(worker) == "ok"
        assert len(owned.asked) > asked


def test_the_process_that_orders_serves_nothing_of_before(owned: Owned) -> None:
    app = Backup(owned.world).restore()
    assert owned.outcome(app) == "ok"
    order(app)
    owned.deny()
    assert owned.outcome(app) == "key_revoked"


# Refused, damaged


def edited(owned: Owned, copy: ChainCopy) -> ChainCopy:
    return replace(copy, entries=(*copy.entries[:-1], replace(copy.entries[-1], details={})))


def foreign(owned: Owned, copy: ChainCopy) -> ChainCopy:
    owned.app.audit.record("globex", "test.entry", "alice", "ok")
    return owned.app.audit_copies.make("globex")


def everything(world: World) -> list[Any]:
    return [deepcopy(getattr(store, name)) for store, name, _ in Backup(world).kept]


@pytest.mark.parametrize("spoil", [edited, foreign])
def test_after_a_copy_that_is_refused_the_key_is_held_and_the_right_one_is_taken(
    owned: Owned, spoil: Callable[[Owned, ChainCopy], ChainCopy]
) -> None:
    backup = Backup(owned.world)
    suspend(owned.app)
    copy = owned.app.audit_copies.make("acme")
    false = spoil(owned, copy)
    app = backup.restore()
    before = entries(app)
    for _ in range(2):
        with pytest.raises(InvalidRequest) as refused:
            order(app, false)
        assert "is in hold all the same" in str(refused.value.hint)
        assert owned.state is State.HOLD
    assert entries(app) == before, "what is appended now would keep the right copy from being put back"
    assert owned.record.untold
    assert order(app, copy) == AfterRestore("acme", "hold", "suspended", (SWITCH,), (), 2)
    assert not owned.record.untold
    holds(app, copy)


@pytest.mark.parametrize("chain", ["", "Acme", "../acme", "_systems"])
def test_a_chain_of_nobody(owned: Owned, chain: str) -> None:
    before = everything(owned.world)
    with pytest.raises(InvalidRequest):
        order(owned.app, None, chain)
    assert everything(owned.world) == before


def test_only_an_operator_may(owned: Owned) -> None:
    backup = Backup(owned.world)
    suspend(owned.app)
    copy = owned.app.audit_copies.make("acme")
    app = backup.restore()
    before = entries(app)
    with pytest.raises(AccessDenied):
        app.keystead.store_restored(caller(), "acme", copy)
    assert owned.state is State.ACTIVE
    assert entries(app)[: len(before)] == before
    assert copy.entries[len(before)] not in entries(app)


def test_an_order_that_fails_has_purged_what_was_cached(owned: Owned) -> None:
    """As a kill switch does: whoever orders it has reason to."""
    app = Backup(owned.world).restore()
    assert owned.outcome(app) == "ok"
    owned.world.tenants.silent = True
    with pytest.raises(StoreUnavailable):
        order(app)
    owned.world.tenants.silent = False
    owned.deny()
    assert owned.outcome(app) == "key_revoked"


def test_a_damaged_record_is_refused_and_audited(owned: Owned) -> None:
    app = Backup(owned.world).restore()
    owned.world.tenants.spoil = True
    with pytest.raises(StoreCorrupt):
        order(app)
    last = entries(app)[-1]
    assert (last.action, last.outcome) == ("store.restored", "store_corrupt")


@pytest.mark.parametrize("state", [State.ACTIVE, State.HOLD, State.REVOKED, None])
def test_a_fault_of_our_own_takes_nobody_out_of_hold(state: State | None) -> None:
    """That the key served once is hearsay: it was refused since, perhaps, and there is nothing to go back to."""
    owned = Owned(canary=True)
    owned.app.schedules.run("check", 5)
    if state is State.HOLD:
        owned.deny("policy")
        assert owned.check() is State.HOLD
    elif state is State.REVOKED:
        owned.revoke("policy")
    elif state is None:  # of a hold that nobody knows the beginning of
        owned.world.change(state=State.HOLD, withdrawal=None)
    order(owned.app)
    owned.deny("policy")
    owned.canary_signal = lambda: Denial("no", cause="policy", kms_code="No", request_id="c-1")
    for _ in range(4):
        owned.world.clock.advance(61)
        assert owned.check() is State.HOLD
    assert owned.outcome() != "ok"
    owned.canary_signal = None
    owned.world.clock.advance(61)
    assert owned.check() is State.REVOKED
    owned.serve()
    assert owned.check() is State.ACTIVE


def test_a_damaged_chain_keeps_nobody_out_of_hold(owned: Owned) -> None:
    for _ in range(4):
        go_on(owned.app)
    app = Backup(owned.world).restore()
    owned.world.audit_log._entries["acme"][2] = "no entry"
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match="audit entry"):
            order(app)
        assert owned.state is State.HOLD
        last = owned.world.audit_log.read("acme", after=2, limit=100)[-1]
        assert (last.action, last.outcome) == ("store.restored", "store_corrupt")
    assert owned.outcome(app) == "ok", "by proof"


def test_a_damaged_row_is_told(owned: Owned) -> None:
    app = Backup(owned.world).restore()
    owned.world.keys.tamper = lambda row_type, stored: None if stored is None else replace(stored, mac=None)
    found = order(app)
    assert found.after == "hold"
    assert found.lost == (
        "the branch key cannot be read: a stored branch key row is refused: its MAC is missing or wrong",
    )
    assert entries(app)[-1].details["lost"] == list(found.lost)


def test_a_row_that_cannot_be_read_now_is_not_called_lost(owned: Owned) -> None:
    app = Backup(owned.world).restore()
    owned.world.keys.silent = True
    with pytest.raises(StoreUnavailable):
        order(app)
    assert owned.state is State.HOLD
    owned.world.keys.silent = False
    assert order(app).lost == ()
