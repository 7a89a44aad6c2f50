"""Schedules: all tenants are looked at, page by page, whatever one of them does, and each key once at a time."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest

from core.bootstrap import Application
from core.domain.kek import Kek, KekDescription
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.domain.tenants import SYSTEM
from core.errors import Denial, InvalidRequest, KeysteadError, Silence, StoreCorrupt, StoreUnavailable
from core.service.revocation import schedules as module
from core.service.revocation.schedules import CURSOR, THREADS, Ran
from tests.service.revocation.withdrawing import Owned
from tests.service.world import World

LONG = 60.0
"""Seconds that no run here takes, and nothing here waits for unless it fails."""
AN_INTERVAL = 1000.0
"""Seconds after which every key is due again."""


class Fleet:
    """Tenants with KEKs of their own, and what each of these was asked."""

    def __init__(self, tenants: int, *, platform: int = 0, gone: int = 0) -> None:
        self.world = World()
        self.before: Callable[[str], None] = lambda tenant_id: None
        self.names = [f"t-{number:03}" for number in range(tenants + platform + gone)]
        self.own = self.names[:tenants]
        for name in self.names:
            self.world.tenant(name)
        for name in self.own:
            self.world.kms.keys[f"local:{name}"] = os.urandom(32)
            self.world.app.key_configuration.configure(name, KeyTarget(f"local:{name}"), {})
        for name in self.names[tenants + platform :]:
            self.world.change(name, deleted=True)
        self.asked: list[str] = []
        self._lock = threading.Lock()
        self.world.kms.trouble = self._trouble

    @property
    def app(self) -> Application:
        """The first process."""
        return self.world.app

    def _trouble(self, operation: str, context: Mapping[str, str]) -> None:
        tenant_id = context.get("kms-arn", "").removeprefix("local:")
        if tenant_id in self.own and operation == "unwrap":
            with self._lock:
                self.asked.append(tenant_id)
            self.before(tenant_id)

    def told(self) -> dict[str, int]:
        """How often each tenant's KEK was asked to unwrap since the last time."""
        with self._lock:
            asked, self.asked = self.asked, []
        return dict(Counter(asked))

    def once(self, *names: str) -> dict[str, int]:
        """What is told if each was asked once; all of them if none is named."""
        return dict.fromkeys(names or self.own, 1)

    def cursor(self) -> object:
        document = self.world.tenants.read(SYSTEM, CURSOR)
        return None if document is None else document.body


@pytest.fixture
def pages_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 3)


def after(calls: int) -> Callable[[], bool]:
    """Tells to stop once it was asked so often."""
    count = 0

    def stopping() -> bool:
        nonlocal count
        count += 1
        return count > calls

    return stopping


# -- pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("pages_of_three")
@pytest.mark.parametrize("tenants", range(8))
def test_every_tenant_is_looked_at_and_every_key_asked(tenants: int) -> None:
    fleet = Fleet(tenants)
    assert fleet.app.schedules.run("check", LONG) == Ran("check", tenants, {}, finished=True)
    assert fleet.told() == fleet.once(*fleet.own) if tenants else not fleet.asked
    assert fleet.cursor() == {"after": ""}
    assert fleet.app.schedules.run("check", LONG) == Ran("check", tenants, {}, finished=True)
    assert fleet.told() == {}, "no key is due again"
    fleet.world.clock.advance(AN_INTERVAL)
    assert fleet.app.schedules.run("check", LONG).finished
    assert fleet.told() == (fleet.once() if tenants else {})
    fleet.app.close()


@pytest.mark.usefixtures("pages_of_three")
def test_who_is_gone_is_left_out_and_the_platforms_key_is_not_asked() -> None:
    fleet = Fleet(4, platform=2, gone=3)
    unwraps = fleet.world.kms.branch_unwraps()
    assert fleet.app.schedules.run("check", LONG) == Ran("check", 9, {}, finished=True)
    assert fleet.told() == fleet.once()
    assert fleet.world.kms.branch_unwraps() == unwraps + 4
    fleet.app.close()


def test_more_tenants_than_a_page_holds() -> None:
    fleet = Fleet(1, platform=module.PAGE)
    fleet.world.tenant("zz-last")
    fleet.world.kms.keys["local:zz-last"] = os.urandom(32)
    fleet.app.key_configuration.configure("zz-last", KeyTarget("local:zz-last"), {})
    fleet.own.append("zz-last")
    fleet.told()
    assert fleet.app.schedules.run("check", LONG) == Ran("check", module.PAGE + 2, {}, finished=True)
    assert fleet.told() == fleet.once()
    fleet.app.close()


# -- cut short -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("pages_of_three")
@pytest.mark.parametrize("calls", range(13))
def test_who_is_told_to_stop_begins_nothing_more_and_the_next_run_goes_on(calls: int) -> None:
    fleet = Fleet(8)
    ran = fleet.app.schedules.run("check", LONG, after(calls))
    # It asks before each page and before each tenant.
    begun = calls - 1 - (calls - 1) // 4 if calls else 0
    if calls <= 10:
        assert ran == Ran("check", begun, {}, finished=False)
    else:
        assert ran == Ran("check", 8, {}, finished=True)
    first = fleet.told()
    assert first == dict.fromkeys(fleet.own[: ran.tenants], 1)
    assert fleet.cursor() == (
        None if calls < 4 else {"after": ["t-002", "t-005", ""][(calls - 4) // 4 if calls < 11 else 2]}
    )
    other = fleet.world.process()
    assert other.schedules.run("check", LONG).finished
    assert first | fleet.told() == fleet.once(), "each key once, by the one or the other"
    assert fleet.cursor() == {"after": ""}
    fleet.app.close()
    other.close()


@pytest.mark.usefixtures("pages_of_three")
def test_the_next_run_goes_on_where_this_one_stopped_and_the_one_after_begins_anew() -> None:
    fleet = Fleet(8)
    fleet.app.schedules.run("check", LONG, after(4))
    assert fleet.told() == fleet.once("t-000", "t-001", "t-002")
    fleet.world.clock.advance(AN_INTERVAL)
    assert fleet.app.schedules.run("check", LONG).tenants == 5
    assert fleet.told() == fleet.once("t-003", "t-004", "t-005", "t-006", "t-007")
    assert fleet.app.schedules.run("check", LONG).tenants == 8
    assert fleet.told() == fleet.once("t-000", "t-001", "t-002")
    fleet.app.close()


@pytest.mark.usefixtures("pages_of_three")
def test_time_that_is_up_ends_a_run() -> None:
    fleet = Fleet(8)
    assert fleet.app.schedules.run("check", 0) == Ran("check", 0, {}, finished=False)
    assert fleet.told() == {}
    # The last of the second page takes long.
    seen: list[str] = []

    def slow(tenant_id: str) -> None:
        seen.append(tenant_id)
        if len(seen) == 6:
            fleet.world.clock.advance(LONG)

    fleet.before = slow
    assert fleet.app.schedules.run("check", LONG) == Ran("check", 6, {}, finished=False)
    assert fleet.told() == fleet.once(*fleet.own[:6])
    assert fleet.cursor() == {"after": "t-005"}
    assert fleet.app.schedules.run("check", LONG) == Ran("check", 2, {}, finished=True)
    assert fleet.told() == fleet.once("t-006", "t-007")
    fleet.app.close()


@pytest.mark.usefixtures("pages_of_three")
@pytest.mark.parametrize("body", [{}, {"after": None}, {"after": 7}, {"after": ["t-005"]}, {"x": "t-005"}], ids=str)
def test_a_cursor_that_makes_no_sense_begins_anew(body: dict[str, object]) -> None:
    fleet = Fleet(4)
    fleet.world.tenants.write(SYSTEM, CURSOR, body, expected_revision=0)
    assert fleet.app.schedules.run("check", LONG) == Ran("check", 4, {}, finished=True)
    assert fleet.told() == fleet.once()
    fleet.app.close()


def test_a_cursor_behind_the_last_tenant_ends_a_round() -> None:
    fleet = Fleet(2)
    fleet.world.tenants.write(SYSTEM, CURSOR, {"after": "zzz"}, expected_revision=0)
    assert fleet.app.schedules.run("check", LONG) == Ran("check", 0, {}, finished=True)
    assert fleet.app.schedules.run("check", LONG) == Ran("check", 2, {}, finished=True)
    fleet.app.close()


def test_a_cursor_that_cannot_be_kept_costs_a_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(2)
    write = fleet.world.tenants.write

    def silent(tenant_id: str, *args: Any, **kwargs: Any) -> object:
        if tenant_id == SYSTEM:
            raise StoreUnavailable("the store does not answer")
        return write(tenant_id, *args, **kwargs)

    monkeypatch.setattr(fleet.world.tenants, "write", silent)
    assert fleet.app.schedules.run("check", LONG) == Ran("check", 2, {}, finished=True)
    assert fleet.cursor() is None
    fleet.app.close()


def test_tenants_that_cannot_be_read_are_told_to_who_runs_it() -> None:
    fleet = Fleet(1)
    fleet.world.tenants.silent = True
    with pytest.raises(StoreUnavailable):
        fleet.app.schedules.run("check", LONG)


# -- several at a time -----------------------------------------------------------------------------------------------


def test_a_run_of_another_process_in_the_middle_asks_no_key_twice() -> None:
    for middle in range(4):
        fleet = Fleet(4)
        other = fleet.world.process()
        ran: list[Ran] = []
        inside = threading.Lock()

        def meanwhile(
            tenant_id: str,
            fleet: Fleet = fleet,
            other: Application = other,
            ran: list[Ran] = ran,
            middle: int = middle,
            inside: threading.Lock = inside,
        ) -> None:
            if tenant_id == fleet.own[middle] and inside.acquire(blocking=False):
                ran.append(other.schedules.run("check", LONG))

        fleet.before = meanwhile
        assert fleet.app.schedules.run("check", LONG) == Ran("check", 4, {}, finished=True)
        assert ran == [Ran("check", 4, {}, finished=True)]
        assert fleet.told() == fleet.once()
        fleet.app.close()
        other.close()


def test_processes_that_run_at_once_ask_each_key_once_an_interval() -> None:
    fleet = Fleet(12)
    processes = [fleet.world.process() for _ in range(3)]
    for _ in range(4):
        barrier = threading.Barrier(len(processes))

        def run(app: Application, barrier: threading.Barrier) -> None:
            barrier.wait(LONG)
            app.schedules.run("check", LONG)

        threads = [threading.Thread(target=run, args=(app, barrier)) for app in processes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        assert fleet.told() == fleet.once()
        fleet.world.clock.advance(AN_INTERVAL)
    for app in processes:
        app.close()


def test_one_kms_that_hangs_holds_up_nobody_else_and_is_not_asked_again_meanwhile() -> None:
    fleet = Fleet(2 * THREADS)
    let_go, others = threading.Event(), threading.Semaphore(0)

    def hang(tenant_id: str) -> None:
        if tenant_id == "t-003":
            assert let_go.wait(LONG)
        else:
            others.release()

    fleet.before = hang
    count = len(fleet.own)
    ran = fleet.app.schedules.run("check", 0.2)  # it waits no longer for the one that hangs
    assert (ran.tenants, ran.failed) == (count, {})
    for _ in range(count - 1):
        assert others.acquire(timeout=LONG)
    assert fleet.told() == fleet.once()
    fleet.world.clock.advance(AN_INTERVAL)
    ran = fleet.app.schedules.run("check", 0.2)
    assert ran.tenants == count - 1, "the one that still hangs is left alone"
    for _ in range(count - 1):
        assert others.acquire(timeout=LONG)
    assert fleet.told() == fleet.once(*(set(fleet.own) - {"t-003"}))
    let_go.set()
    fleet.app.schedules.close()  # waits for it
    fleet.world.clock.advance(AN_INTERVAL)
    assert fleet.app.schedules.run("check", LONG) == Ran("check", count, {}, finished=True)
    assert fleet.told() == fleet.once()
    fleet.app.close()


def test_a_check_of_all_that_hangs_does_not_hold_up_the_watch() -> None:
    fleet = Fleet(THREADS + 1)
    hanging, troubled = fleet.own[:-1], fleet.own[-1]
    let_go, entered = threading.Event(), threading.Semaphore(0)

    def hang(tenant_id: str) -> None:
        if tenant_id in hanging:
            entered.release()
            assert let_go.wait(LONG)

    fleet.before = hang
    fleet.app.schedules.run("check", 0.05, after(1 + THREADS))
    for _ in hanging:
        assert entered.acquire(timeout=LONG)
    # Every thread of the check waits for a KMS; another tenant's is in trouble.
    fleet.world.change(troubled, state=State.HOLD)
    fleet.app.schedules._watch.add(troubled)
    assert fleet.app.schedules.run("watch", LONG) == Ran("watch", 1, {}, finished=True)
    assert fleet.app.tenants.read(troubled).state is State.ACTIVE
    let_go.set()
    fleet.app.close()


# -- what fails ------------------------------------------------------------------------------------------------------


def test_checks_that_fail_are_counted_and_stop_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = Fleet(6)
    errors: dict[str, Exception] = {
        "t-000": StoreUnavailable("no"),
        "t-001": StoreCorrupt("no"),
        "t-003": ValueError("a bug"),
        "t-004": StoreCorrupt("no"),
    }
    check = fleet.app.checks.check

    def failing(tenant_id: str) -> State | None:
        if tenant_id in errors:
            raise errors[tenant_id]
        return check(tenant_id)

    monkeypatch.setattr(fleet.app.checks, "check", failing)
    failed = {"store_unavailable": 1, "store_corrupt": 2, "internal": 1}
    with caplog.at_level(logging.WARNING, "keystead.schedule"):
        assert fleet.app.schedules.run("check", LONG) == Ran("check", 6, failed, finished=True)
    assert fleet.told() == fleet.once("t-002", "t-005")
    told = {vars(line)["fields"]["tenant"]: line for line in caplog.records}
    assert {name: (line.message, line.levelname) for name, line in told.items()} == {
        **dict.fromkeys(("t-000", "t-001", "t-004"), ("a check failed", "WARNING")),
        "t-003": ("a check broke", "ERROR"),
    }
    assert vars(told["t-001"])["fields"] == {"tenant": "t-001", "code": "store_corrupt"}
    assert told["t-003"].exc_info is not None
    # Those that failed are looked at again soon.
    errors.clear()
    assert fleet.app.schedules.run("watch", LONG).tenants == 0
    fleet.world.clock.advance(5)
    assert fleet.app.schedules.run("watch", LONG) == Ran("watch", 3, {}, finished=True)
    assert fleet.told() == fleet.once("t-000", "t-001", "t-004")
    fleet.world.clock.advance(15)
    assert fleet.app.schedules.run("watch", LONG) == Ran("watch", 1, {}, finished=True)
    assert fleet.told() == fleet.once("t-003")
    fleet.app.close()


def test_a_tenant_whose_row_is_spoiled_is_counted() -> None:
    fleet = Fleet(3)
    spoiled = fleet.app.tenants.read("t-001").branch_key_id
    fleet.world.keys.tamper = lambda row_type, stored: (
        None if stored and stored.row.branch_key_id == spoiled else stored
    )
    ran = fleet.app.schedules.run("check", LONG)
    assert (ran.tenants, ran.finished) == (3, True)
    assert fleet.told() == fleet.once("t-000", "t-002")
    fleet.app.close()


@pytest.mark.parametrize("name", ["", "Check", "check ", "watch\n", "receipts"])
def test_there_is_no_other_schedule(name: str) -> None:
    fleet = Fleet(1)
    with pytest.raises(InvalidRequest, match="no such schedule") as refusal:
        fleet.app.schedules.run(name, LONG)
    assert refusal.value.hint == "there are: check, watch"
    assert fleet.told() == {}


def test_to_close_ends_the_threads_and_can_be_repeated() -> None:
    fleet = Fleet(2)
    fleet.app.schedules.close()
    fleet.app.schedules.run("check", LONG)
    fleet.app.schedules._watch.add("t-000")
    fleet.app.schedules.run("watch", LONG)
    pools = list(fleet.app.schedules._pools.values())
    threads = [thread for pool in pools for thread in pool._threads]
    assert {thread.name.rsplit("_", 1)[0] for thread in threads} == {"keystead-check", "keystead-watch"}
    fleet.app.schedules.close()
    assert not [thread for thread in threads if thread.is_alive()]
    fleet.app.close()


# -- the watch -------------------------------------------------------------------------------------------------------


def test_the_watch_looks_at_nobody_but_those_in_trouble() -> None:
    fleet = Fleet(4)
    assert fleet.app.schedules.run("watch", LONG) == Ran("watch", 0, {}, finished=True)

    def trouble(tenant_id: str) -> None:
        if tenant_id == "t-002":
            raise Silence("no")

    fleet.before = trouble
    fleet.app.schedules.run("check", LONG)
    assert fleet.app.tenants.read("t-002").state is State.DEGRADED
    fleet.told()
    seconds = []
    for second in range(1, 65):
        fleet.world.clock.advance(1)
        assert fleet.app.schedules.run("watch", LONG).failed == {}
        if told := fleet.told():
            assert told == fleet.once("t-002")
            seconds.append(second)
    assert seconds == [1, 2, 4, 9, 19, 39, 59]
    fleet.before = lambda tenant_id: None
    fleet.world.clock.advance(25)
    assert fleet.app.schedules.run("watch", LONG).tenants == 1
    assert fleet.app.tenants.read("t-002").state is State.ACTIVE
    fleet.world.clock.advance(25)
    assert fleet.app.schedules.run("watch", LONG).tenants == 0
    fleet.app.close()


def test_the_watch_can_be_told_to_stop() -> None:
    fleet = Fleet(3)
    for name in fleet.own:
        fleet.app.schedules._watch.add(name)
    assert fleet.app.schedules.run("watch", LONG, after(2)).tenants == 2
    assert fleet.told() == fleet.once("t-000", "t-001")
    fleet.app.close()


# -- how often -------------------------------------------------------------------------------------------------------


def test_a_key_is_not_asked_where_a_request_was_served_by_it_since(owned: Owned) -> None:
    app = owned.app
    app.schedules.run("check", LONG)  # describes, too: that is due hourly
    for _ in range(20):
        owned.expire_lease()
        assert owned.outcome() == "ok"
        owned.asked.clear()
        app.schedules.run("check", LONG)
        assert owned.asked == []
    # Another process knows nothing of what this one's requests met.
    other = owned.world.process()
    owned.world.clock.advance(60)
    other.schedules.run("check", LONG)
    assert ("unwrap", "branch:ACTIVE") in owned.asked
    app.close()
    other.close()


def test_a_request_that_was_refused_counts_for_nothing(owned: Owned) -> None:
    app = owned.app
    app.schedules.run("check", LONG)
    owned.world.clock.advance(61)
    assert owned.outcome() == "ok"
    owned.deny()
    owned.world.clock.advance(55)
    owned.asked.clear()
    owned.expire_lease()
    assert owned.outcome() == "key_revoked"
    owned.serve()
    owned.world.clock.advance(1)
    app.schedules.run("check", LONG)
    assert ("unwrap", "branch:ACTIVE") in owned.asked
    assert owned.state is State.ACTIVE
    app.close()


class Described:
    """Counts how often a KMS is asked what it can tell."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch, warnings: tuple[str, ...] = ()) -> None:
        self.count = 0
        self.warnings = warnings
        monkeypatch.setattr(world.kms, "describe", self.describe)

    def describe(self, kek: Kek) -> KekDescription:
        self.count += 1
        return KekDescription(kek, enabled=True, detail="Enabled", warnings=self.warnings)


@pytest.mark.parametrize(("warnings", "every"), [((), 3600), (("Its end is near.",), 300)])
def test_a_kms_is_asked_what_it_can_tell_hourly_and_more_often_where_it_warned(
    owned: Owned, monkeypatch: pytest.MonkeyPatch, warnings: tuple[str, ...], every: int
) -> None:
    described = Described(owned.world, monkeypatch, warnings)
    found = []
    for second in range(0, 2 * every + 400, 20):
        before = described.count
        owned.app.checks._uses.note("acme")
        owned.app.schedules.run("check", LONG)
        if described.count > before:
            found.append(second)
        owned.world.clock.advance(20)
    pauses = [later - earlier for earlier, later in pairwise(found)]
    assert found[0] == 0
    assert len(found) >= 3
    # Whoever is due to be asked then asks; at least as often as that, and no sooner.
    assert every <= min(pauses) <= max(pauses) <= every + 120
    assert owned.app.kill_switch._turns.read("acme").warnings == warnings
    owned.app.close()


def test_a_warning_goes_when_its_reason_does(owned: Owned, monkeypatch: pytest.MonkeyPatch) -> None:
    described = Described(owned.world, monkeypatch, ("It is to be deleted.",))

    def warned() -> tuple[str, ...]:
        return owned.app.kill_switch._turns.read("acme").warnings

    owned.revoke("pending_deletion")
    assert warned() == ("It is to be deleted.",)
    owned.serve()
    described.warnings = ()
    owned.world.clock.advance(30)
    assert owned.check(forced=False) is State.ACTIVE
    # Coming back comes first; the next check looks at all else, however long it is until the hourly one.
    owned.world.clock.advance(61)
    assert owned.check(forced=False) is State.ACTIVE
    assert warned() == ()
    described.warnings = ("Another.",)
    assert owned.check(forced=True) is State.ACTIVE
    assert warned() == ("Another.",), "whoever asks is told what is so now"
    owned.app.close()


def test_a_denial_that_a_check_hears_is_written_and_the_others_are_served_on() -> None:
    fleet = Fleet(3)

    def withdrawn(tenant_id: str) -> None:
        if tenant_id == "t-001":
            raise Denial("no", cause="disabled", kms_code="Disabled", request_id="r-1")

    fleet.before = withdrawn
    assert fleet.app.schedules.run("check", LONG) == Ran("check", 3, {}, finished=True)
    states = [fleet.app.tenants.read(name).state for name in fleet.own]
    assert states == [State.ACTIVE, State.HOLD, State.ACTIVE]
    fleet.world.clock.advance(1)
    assert fleet.app.schedules.run("watch", LONG) == Ran("watch", 1, {}, finished=True)
    assert fleet.app.tenants.read("t-001").state is State.REVOKED
    fleet.app.close()


def test_a_run_reports_by_code_what_upkeep_met(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(2)

    def failing(tenant_id: str) -> None:
        if tenant_id == "t-000":
            raise KeysteadError("no")

    monkeypatch.setattr(fleet.app.schedules._upkeep, "mend", failing)
    assert fleet.app.schedules.run("check", LONG) == Ran("check", 2, {"internal": 1}, finished=True)
    fleet.app.schedules._watch.add("t-000")
    assert fleet.app.schedules.run("watch", LONG) == Ran("watch", 1, {}, finished=True), "it mends nothing"
    fleet.app.close()
