"""The order after a restore: a process dies, or a call fails, at every single one. Run again, it completes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from core.bootstrap import Application, assemble
from core.domain.audit_copies import ChainCopy
from core.domain.states import RULES, State
from core.errors import KeysteadError, Silence, StoreUnavailable
from tests.service.injection import KMS, Injector, Killed, injected_leaves
from tests.service.revocation.restoring import (
    DIVERGED,
    SWITCH,
    Backup,
    configured,
    entries,
    go_on,
    holds,
    moved,
    order,
    resume,
    suspend,
)
from tests.service.revocation.withdrawing import Owned
from tests.service.world import THIRD_KEK, caller


@dataclass(frozen=True)
class Story:
    """What happened since the backup, what went on after the restore, and what the order leads to."""

    since: Callable[[Owned], object]
    after: Callable[[Application], object]
    leads_to: State
    reasons: tuple[str, ...] = ()


STORIES = {
    "nothing": Story(lambda owned: None, lambda app: None, State.HOLD),
    "withdrawn": Story(lambda owned: owned.revoke(), lambda app: None, State.HOLD),
    "suspended": Story(lambda owned: suspend(owned.app), lambda app: None, State.SUSPENDED, (SWITCH,)),
    "suspended, gone on": Story(lambda owned: suspend(owned.app), go_on, State.SUSPENDED, (SWITCH,)),
    "another key": Story(
        lambda owned: configured(owned.app, THIRD_KEK.locator),
        lambda app: None,
        State.SUSPENDED,
        (moved(THIRD_KEK.locator),),
    ),
}
HOW = ("killed before", "killed after", "fails before", "fails after")
MOST = 120


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", STORIES)
def test_disturbed_at_every_call(name: str, how: str) -> None:
    story, points = STORIES[name], 0
    owned = Owned()
    start = Backup(owned.world)
    for at in range(MOST):
        owned.world.app = start.restore()
        backup = Backup(owned.world)
        story.since(owned)
        owned.serve()
        copy = owned.world.process().audit_copies.make("acme")
        restored = backup.restore()
        story.after(restored)
        gone_on = len(entries(restored)) if story.after is go_on else 0
        injector = Injector()
        leaves = injected_leaves(restored.leaves, injector)
        audit_log = injector.wrap(restored.leaves.audit_log, "head", "append", "read")
        app = assemble(restored.config, replace(leaves, audit_log=audit_log))

        def disturb(point: str) -> None:
            if how.startswith("killed"):
                raise Killed
            raise Silence("no answer") if point in KMS else StoreUnavailable("no answer")

        injector.arm(at, "before" if how.endswith("before") else "after", disturb)
        with suppress(Killed, KeysteadError):
            order(app, copy)
        injector.armed = False
        if at >= len(injector.points):
            break
        points += 1
        # Until all of the copy is in its place, nothing of today stands in its way.
        if not gone_on:
            now = entries(restored)
            assert now[: len(copy.entries)] == list(copy.entries[: len(now)])
        assert owned.state in {State.ACTIVE, State.HOLD, State.SUSPENDED}
        owned.world.clock.advance(11)
        again = owned.world.process()
        found = order(again, copy)
        assert found.after == story.leads_to.value
        # Suspended by the first, the chain tells of that as well.
        assert found.reasons in (story.reasons, (SWITCH, *story.reasons))
        assert found.lost == ((DIVERGED,) if gone_on else ())
        settled(owned, again, story, [] if gone_on else [copy])
    assert 10 < points < MOST


def settled(owned: Owned, app: Application, story: Story, copies: list[ChainCopy]) -> None:
    """What must be so after the order was given again."""
    assert owned.state is story.leads_to
    assert owned.record.untold == ()
    holds(app, *copies)
    timeline = app.keystead.key_status(caller(), "acme").timeline
    signals = [change.signal for change in timeline]
    assert signals.count("store_restored") == 1
    assert signals.count("suspend") == (story.leads_to is State.SUSPENDED)
    for earlier, later in pairwise(timeline):
        assert earlier.after == later.before
    audited = [entry.details["id"] for entry in entries(app) if entry.action == "key.state"]
    assert len(set(audited)) == len(audited), "told once"
    assert {change.id for change in timeline} <= set(audited)
    assert RULES[owned.state].proves or not RULES[owned.state].may_read
    # Nothing is lost.
    if story.leads_to is State.SUSPENDED:
        assert owned.outcome(app) == "key_suspended"
        resume(app)
    app.checks.check("acme", forced=True)
    assert owned.state is State.ACTIVE
    assert owned.outcome(owned.world.process()) == "ok"
