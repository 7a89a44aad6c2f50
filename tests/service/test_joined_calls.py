"""Requests that wait for another's call to a KMS, if that call or their own time comes to nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from core.errors import Denial, KeyRevoked, KeyUnreachable, Unasked
from core.service.kms_budget import RESERVE
from core.service.single_flight import WAIT, OwnShortage, SingleFlight, StillWaiting
from tests.service.revocation.withdrawing import Owned

LONG = 60.0


class Announced(threading.Event):
    """An event that tells when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.set()
        return super().wait(LONG)


class Leader:
    """A call that is under way until it is let go, and then ends as it is told."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool = pool
        self.entered, self.let_go = threading.Event(), threading.Event()
        self.thread = 0

    def hold(self) -> None:
        """To be called by the call."""
        self.thread = threading.get_ident()
        self.entered.set()
        assert self.let_go.wait(LONG)

    def lead(self, act: Callable[[], Any]) -> Future[Any]:
        future = self.pool.submit(act)
        assert self.entered.wait(LONG)
        return future

    def join(self, flights: SingleFlight[Any], act: Callable[[], Any]) -> Future[Any]:
        """Have another thread wait for the call."""
        (flight,) = flights._flights.values()
        flight.done = announced = Announced()
        future = self.pool.submit(act)
        assert announced.waited.wait(LONG)
        return future


@pytest.fixture
def leader() -> Any:
    with ThreadPoolExecutor(4) as pool:
        found = Leader(pool)
        yield found
        found.let_go.set()


@pytest.fixture
def owned() -> Owned:
    """A tenant under a KEK of its own."""
    return Owned()


KEY: Hashable = "key"


@pytest.mark.parametrize("join_running", [True, False])
def test_who_joined_a_call_that_was_not_made_makes_one(leader: Leader, join_running: bool) -> None:
    flights: SingleFlight[str] = SingleFlight(lambda: 0.0)

    def short() -> str:
        leader.hold()
        raise OwnShortage("no time left")

    first = leader.lead(lambda: flights.run(KEY, short, join_running=True))
    second = leader.join(flights, lambda: flights.run(KEY, lambda: "asked", join_running=join_running))
    leader.let_go.set()
    assert second.result(LONG) == "asked"
    with pytest.raises(OwnShortage):
        first.result(LONG)


def test_any_other_error_is_for_all_who_joined(leader: Leader) -> None:
    flights: SingleFlight[str] = SingleFlight(lambda: 0.0)

    def fails() -> str:
        leader.hold()
        raise KeyUnreachable("no answer")

    first = leader.lead(lambda: flights.run(KEY, fails, join_running=True))
    second = leader.join(flights, lambda: flights.run(KEY, lambda: "asked", join_running=True))
    leader.let_go.set()
    for future in (first, second):
        with pytest.raises(KeyUnreachable) as found:
            future.result(LONG)
        assert type(found.value) is KeyUnreachable


@pytest.mark.parametrize("join_running", [True, False])
def test_nobody_waits_longer_than_the_own_time(leader: Leader, join_running: bool) -> None:
    flights: SingleFlight[str] = SingleFlight(lambda: 0.0)
    asked: list[str] = []

    def asks() -> str:
        asked.append("second")
        return "second"

    def holds() -> str:
        leader.hold()
        return "first"

    first = leader.lead(lambda: flights.run(KEY, holds, join_running=True))
    with pytest.raises(StillWaiting):
        flights.run(KEY, asks, join_running=join_running, seconds=0)
    leader.let_go.set()
    assert first.result(LONG) == "first"
    assert asked == []


@pytest.mark.parametrize(("seconds", "waits"), [(0.0, 0.0), (2.5, 2.5), (WAIT + 1, WAIT)])
def test_so_long_a_caller_waits(leader: Leader, seconds: float, waits: float) -> None:
    flights: SingleFlight[str] = SingleFlight(lambda: 7.0)
    timeouts: list[float | None] = []

    class Impatient(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            timeouts.append(timeout)
            return False

    def holds() -> str:
        leader.hold()
        return "first"

    first = leader.lead(lambda: flights.run(KEY, holds, join_running=True))
    flights._flights[KEY].done = Impatient()
    with pytest.raises(StillWaiting):
        flights.run(KEY, lambda: "second", join_running=True, seconds=seconds)
    assert timeouts == [waits]
    leader.let_go.set()
    assert first.result(LONG) == "first"


def test_a_request_asks_for_itself_if_the_one_it_joined_ran_out_of_time(owned: Owned, leader: Leader) -> None:
    app = owned.world.process()
    app.gate.enter_any("acme")

    def trouble(operation: str, context: Mapping[str, str]) -> None:
        if "branch-key-id" not in context:
            return
        if not leader.entered.is_set():
            leader.hold()
        if threading.get_ident() == leader.thread:
            raise Unasked("no time left")

    owned.world.kms.trouble = trouble
    first = leader.lead(lambda: app.encryption.decrypt("acme", owned.message, {}))
    second = leader.join(app.branch_keys._flights, lambda: app.encryption.decrypt("acme", owned.message, {}))
    leader.let_go.set()
    assert second.result(LONG) == b"secret"
    with pytest.raises(OwnShortage):
        first.result(LONG)


class Renewing:
    """A cached key whose lease is over, and whose renewal another request waits for."""

    def __init__(self, owned: Owned, leader: Leader, seconds: float) -> None:
        self.owned, self.leader, self.app = owned, leader, owned.world.process()
        assert owned.outcome(self.app) == "ok"
        owned.world.clock.advance(seconds)
        self.app.gate.reread(self.app.gate.enter_any("acme"))
        self.answer: Denial | None = None
        owned.world.kms.trouble = self._trouble
        self.first = leader.lead(lambda: self.app.encryption.decrypt("acme", owned.message, {}))

    def _trouble(self, operation: str, context: Mapping[str, str]) -> None:
        if "branch-key-id" in context:
            if threading.get_ident() != self.leader.thread:
                self.leader.hold()
            if self.answer is not None:
                raise self.answer

    def without_time(self) -> bytes:
        """A request that has no time left for a KMS."""
        with self.app.branch_keys._budget.within(RESERVE):
            return self.app.encryption.decrypt("acme", self.owned.message, {})

    def ends(self) -> list[tuple[float, float]]:
        return [(key.wall_until, key.boot_until) for key in self.app.branch_keys._held._keys.values()]


def test_who_runs_out_of_time_is_served_from_the_cache_inside_the_grace_and_prolongs_nothing(
    owned: Owned, leader: Leader
) -> None:
    renewing = Renewing(owned, leader, owned.policy.lease + 1)
    ends = renewing.ends()
    assert ends
    for _ in range(3):
        assert renewing.without_time() == b"secret"
    assert renewing.ends() == ends
    renewing.answer = Denial("no", cause="disabled", kms_code="Disabled", request_id="r-1")
    leader.let_go.set()
    with pytest.raises(KeyRevoked):
        renewing.first.result(LONG)
    with pytest.raises(KeyRevoked):
        renewing.without_time()


def test_who_runs_out_of_time_beyond_the_grace_is_refused(owned: Owned, leader: Leader) -> None:
    renewing = Renewing(owned, leader, max(owned.policy.lease, owned.policy.outage_grace) + 1)
    with pytest.raises(StillWaiting):
        renewing.without_time()
    leader.let_go.set()
    assert renewing.first.result(LONG) == b"secret"
