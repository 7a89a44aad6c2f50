"""How often keys are asked, by whom, and what a key that comes and goes costs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from itertools import pairwise

import pytest

from core.domain.key_policy import KeyPolicy
from core.domain.states import State
from core.errors import Denial, Silence
from core.service.revocation.schedules import THREADS
from tests.service.revocation.test_schedules import LONG, Fleet
from tests.service.revocation.withdrawing import Owned
from tests.service.world import OTHER_KEK

FLAPS = 600
"""Seconds for which a key comes and goes."""
MOST_AUDITED = {"policy": 80, "disabled": 350}
"""Entries of the audit chain that this may cost. A key that is off is revoked after a second: three entries each time,
at the pace at which it can be asked."""


def asked_at(owned: Owned, span: int, step: int) -> list[int]:
    """Seconds at which a run of the check of all asked the key."""
    found = []
    for second in range(step, span, step):
        owned.world.clock.advance(step)
        owned.asked.clear()
        owned.app.schedules.run("check", LONG)
        if ("unwrap", "branch:ACTIVE") in owned.asked:
            found.append(second)
    return found


def test_a_key_used_lately_is_asked_by_the_minute(owned: Owned) -> None:
    owned.app.schedules.run("check", LONG)
    found = asked_at(owned, 600, 5)
    assert max(later - earlier for earlier, later in pairwise([0, *found])) <= 65
    owned.app.close()


def test_an_idle_key_is_asked_every_quarter_of_an_hour(owned: Owned) -> None:
    owned.world.clock.advance(5000)
    owned.app.schedules.run("check", LONG)
    assert 3 <= len(asked_at(owned, 3600, 20)) <= 6
    owned.app.close()


def test_a_check_is_no_use_of_a_key(owned: Owned) -> None:
    owned.world.process().encryption.decrypt("acme", owned.message, {})
    uses = owned.app.checks._uses
    used = uses.last("acme")
    assert used
    owned.world.clock.advance(5000)
    owned.check()
    uses.flush("acme")
    assert uses.last("acme") == used


def test_a_key_that_may_not_wrap_is_write_blocked_again_soon_after_it_was_suspended(owned: Owned) -> None:
    def no_wrap(operation: str, context: Mapping[str, str]) -> None:
        if operation == "wrap" and context.get("kms-arn") == OTHER_KEK.locator:
            raise Denial("no", cause="wrap_not_permitted")

    owned.world.kms.trouble = no_wrap
    assert owned.check() is State.WRITE_BLOCKED
    owned.app.kill_switch.suspend("acme", "alice", {})
    owned.app.kill_switch.resume("acme", "alice", {})
    for _ in range(60):
        owned.world.clock.advance(1)
        owned.app.schedules.run("watch", LONG)
    assert owned.state is State.WRITE_BLOCKED
    owned.app.close()


@pytest.mark.parametrize(("cause", "period"), [("policy", 1), ("policy", 10), ("disabled", 1), ("disabled", 3)])
def test_a_key_that_comes_and_goes_costs_a_bounded_number_of_writes_and_serves_once_it_stays(
    cause: str, period: int
) -> None:
    owned = Owned(policy=KeyPolicy(lease=0))

    def looked_at() -> str:
        owned.world.clock.advance(1)
        owned.app.schedules.run("watch", LONG)
        return owned.outcome()

    before = len(owned.app.audit.read("acme", limit=1000))
    heard = set()
    for second in range(FLAPS):
        if second % period == 0:
            owned.deny(cause) if second // period % 2 else owned.serve()
        if second % 60 == 0:
            owned.app.schedules.run("check", LONG)
        heard.add(looked_at())
    assert {"ok", "key_revoked"} <= heard
    audited = len(owned.app.audit.read("acme", limit=1000)) - before
    assert 0 < audited < MOST_AUDITED[cause]
    owned.serve()
    assert "ok" in [looked_at() for _ in range(30)]
    assert {looked_at() for _ in range(30)} == {"ok"}
    assert owned.state is State.ACTIVE
    owned.app.close()


class Hanging:
    """Tenants whose KMS does not answer until it is let go, and one more, the last, whose KMS does."""

    def __init__(self, hanging: int) -> None:
        self.fleet = Fleet(hanging + 1)
        *self.hanging, self.last = self.fleet.own
        self.let_go, self.entered = threading.Event(), threading.Semaphore(0)

    def hang(self, tenant_id: str) -> None:
        """A call to a KMS."""
        if tenant_id in self.hanging:
            self.entered.release()
            assert self.let_go.wait(LONG)
        else:
            raise Denial("no", cause="disabled", kms_code="Disabled", request_id="r-1")

    def hangs(self) -> None:
        """Wait until every thread there is hangs."""
        for _ in range(THREADS):
            assert self.entered.acquire(timeout=LONG)

    def assert_the_last_is_looked_at(self) -> None:
        """By a run of the watch, which waits for nobody else."""
        self.fleet.app.schedules._watch.add(self.last)
        assert self.fleet.app.schedules.run("watch", LONG).tenants == 1
        assert self.fleet.app.tenants.read(self.last).state is State.HOLD
        assert not self.let_go.is_set()


def test_who_waits_for_a_thread_of_the_check_is_looked_at_by_the_watch() -> None:
    hanging = Hanging(THREADS)
    hanging.fleet.before = hanging.hang
    try:
        hanging.fleet.app.schedules.run("check", 0.05)
        hanging.hangs()
        hanging.assert_the_last_is_looked_at()
    finally:
        hanging.let_go.set()
        hanging.fleet.app.close()


def test_who_was_withdrawn_is_looked_at_while_many_silent_ones_wait() -> None:
    hanging = Hanging(30)
    app = hanging.fleet.app

    def silent(tenant_id: str) -> None:
        if tenant_id in hanging.hanging:
            raise Silence("no answer")

    hanging.fleet.before = silent
    assert app.schedules.run("check", LONG).failed == {}
    assert {app.tenants.read(name).state for name in hanging.hanging} == {State.DEGRADED}
    hanging.fleet.world.clock.advance(1000)
    assert app.schedules._watch.due() == ([], hanging.hanging)
    hanging.fleet.before = hanging.hang
    try:
        assert app.schedules.run("watch", 0.05).tenants == 30
        hanging.hangs()
        hanging.assert_the_last_is_looked_at()
    finally:
        hanging.let_go.set()
        app.close()
