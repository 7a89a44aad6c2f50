"""Revoke, restore, suspend, resume: a process dies, or a call fails, at every single one. Run again, it completes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import pytest

from core.bootstrap import Application
from core.domain import receipts
from core.domain.states import State
from core.errors import Denial, KeysteadError, Silence, StoreUnavailable
from core.service.access import Permission
from tests.service.injection import KMS, Injector, Killed, injected
from tests.service.revocation.withdrawing import Owned
from tests.service.world import caller

MOST = 120


@dataclass(frozen=True)
class Act:
    """One thing that is done, from where, and what it leads to."""

    before: Callable[[Owned], None]
    do: Callable[[Owned, Application], object]
    leads_to: State
    receipts: int


def hold(owned: Owned) -> None:
    owned.deny()
    owned.check()
    owned.world.clock.advance(61)


def revoked(owned: Owned) -> None:
    owned.revoke()
    owned.serve()
    owned.world.clock.advance(61)


def suspended(owned: Owned) -> None:
    owned.app.kill_switch.suspend("acme", "alice", {})


def refused(owned: Owned) -> None:
    owned.expire_lease()
    owned.deny()


def decrypt(owned: Owned, app: Application) -> None:
    """A request, and what follows it."""
    with suppress(KeysteadError):
        app.encryption.decrypt("acme", owned.message, {})


def check(owned: Owned, app: Application) -> None:
    app.checks.check("acme", forced=True)


ACTS = {
    "a request is denied": Act(refused, decrypt, State.HOLD, 0),
    "a check is denied": Act(lambda owned: owned.deny(), check, State.HOLD, 0),
    "a denial is confirmed": Act(hold, check, State.REVOKED, 1),
    "a revoked key serves again": Act(revoked, check, State.ACTIVE, 1),
    "suspend": Act(
        lambda owned: None, lambda owned, app: app.kill_switch.suspend("acme", "bob", {}), State.SUSPENDED, 0
    ),
    "resume": Act(suspended, lambda owned, app: app.kill_switch.resume("acme", "bob", {}), State.ACTIVE, 0),
}
HOW = ("killed before", "killed after", "fails before", "fails after")


def disturbed(name: str, how: str, at: int) -> tuple[Owned, bool]:
    """Do an act and disturb it at one call; then have another process do it again, a little later."""
    act = ACTS[name]
    owned = Owned()
    owned.outcome()
    act.before(owned)
    injector = Injector()
    app = injected(owned.app, injector)
    reached: list[str] = []

    def disturb(point: str) -> None:
        reached.append(point)
        if how.startswith("killed"):
            raise Killed
        raise Silence("no answer") if point in KMS else StoreUnavailable("no answer")

    injector.arm(at, "before" if how.endswith("before") else "after", disturb)
    with suppress(Killed, KeysteadError):
        act.do(owned, app)
    injector.armed = False
    owned.world.clock.advance(11)
    return owned, bool(reached) or at < len(injector.points)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", ACTS)
def test_disturbed_at_every_call(name: str, how: str) -> None:
    act, points = ACTS[name], 0
    for at in range(MOST):
        owned, reached = disturbed(name, how, at)
        if not reached:
            break
        points += 1
        again = owned.world.process()
        if act.do is decrypt:
            owned.world.clock.advance(1)
        act.do(owned, again)
        holds(owned, again, act)
    assert points > 4, "the act makes calls"
    assert points < MOST


def holds(owned: Owned, app: Application, act: Act) -> None:
    """What must be so after the act was done again."""
    # A second look at what was held by the first confirms it.
    confirmed = act.leads_to is State.HOLD and act.do is check and owned.state is State.REVOKED
    assert confirmed or owned.state is act.leads_to
    who = caller("acme", Permission.AUDIT_READ)
    if owned.state is State.REVOKED:
        app.checks.check("acme", forced=True)  # a receipt that could not be signed is signed by the next look
    found = app.keystead.list_receipts(who, "acme")
    assert len(found) == act.receipts + confirmed
    for entry in found:
        body = receipts.verify(app.keystead.receipt(who, "acme", entry.id).statement, app.keystead.jwks())
        assert body["kms_request_id"].startswith("r-")
        assert bool(entry.reinstated) is (act.leads_to is State.ACTIVE)
    # Nothing stays untold, and what is told is told once in the timeline and in the chain.
    owned.world.clock.advance(11)
    app.schedules.run("check", 5)
    assert owned.record.untold == ()
    timeline = app.keystead.key_status(caller(), "acme").timeline
    assert [change.after for change in timeline][-1] == owned.state.value
    for earlier, later in pairwise(timeline):
        assert earlier.after == later.before
    assert app.audit.verify("acme").ok
    audited = {
        entry.details["id"] for entry in owned.world.audit_log.read("acme", limit=1000) if entry.action == "key.state"
    }
    assert {change.id for change in timeline} == audited
    # Nothing is lost.
    owned.serve()
    if owned.state is State.SUSPENDED:
        app.kill_switch.resume("acme", "carol", {})
    app.checks.check("acme", forced=True)
    assert owned.state is State.ACTIVE
    assert owned.outcome(owned.world.process()) == "ok"


@pytest.mark.parametrize("how", HOW)
def test_what_serves_meanwhile_is_what_may(how: str) -> None:
    """Whatever the first process was at when it died: another refuses what it has just asked for and was denied."""
    for at in range(MOST):
        owned, reached = disturbed("a request is denied", how, at)
        if not reached:
            break
        assert owned.outcome(owned.world.process()) == "key_revoked"


def test_a_key_turned_off_again_during_a_reinstatement_that_died_gets_a_receipt_of_its_own() -> None:
    seen = set()
    for at in range(MOST):
        owned, reached = disturbed("a revoked key serves again", "killed after", at)
        if not reached:
            break
        owned.signal = lambda: Denial("no", cause="disabled", kms_code="No", request_id="r-again")
        app = owned.world.process()
        app.checks.check("acme", forced=True)
        owned.world.clock.advance(5)
        app.checks.check("acme", forced=True)
        assert owned.state is State.REVOKED
        found = app.keystead.list_receipts(caller("acme", Permission.AUDIT_READ), "acme")
        assert [bool(entry.reinstated) for entry in found][-1] is False, "the present withdrawal has a receipt in force"
        seen.add(len(found))
    assert seen == {1, 2}
