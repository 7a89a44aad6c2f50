"""The vendor-fault guard in the path of requests: fast, and fair to tenants."""

from __future__ import annotations

from threading import Condition, Event, Thread

import pytest

from core.service import single_flight
from core.service.revocation.guard import GuardFinding
from tests.service.revocation.sites import ONE, OURS, PASSED, UNKNOWN, Site, no_answer, refused, tenant
from tests.service.world import OTHER_KEK


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_request_may_take_an_excuse_of_a_moment_ago_but_no_acquittal(site: Site) -> None:
    guard = site.served(ONE)
    assert guard.ask_lately(tenant(), OTHER_KEK) is PASSED
    site.kms.signals = {ONE.kek: refused("policy")}
    assert guard.ask_lately(tenant(), OTHER_KEK) is OURS
    assert len(site.kms.told()) == 2
    site.kms.signals = {}
    site.clock.advance(9.9)
    assert guard.ask_lately(tenant(), OTHER_KEK) is OURS
    assert guard.ask_lately(tenant(), OTHER_KEK, within=5) is PASSED
    assert site.kms.told() == [("unwrap", ONE.kek)]
    assert guard.ask_lately(tenant(), OTHER_KEK) is PASSED


def test_an_excuse_ends(site: Site) -> None:
    guard = site.served(ONE)
    site.kms.signals = {ONE.kek: refused("policy")}
    assert guard.ask(tenant(), OTHER_KEK) is OURS
    site.kms.signals = {}
    assert guard.ask_lately(tenant(), OTHER_KEK) is OURS
    site.clock.advance(10)
    assert guard.ask_lately(tenant(), OTHER_KEK) is PASSED


def test_silent_canaries_do_not_hold_every_request(site: Site) -> None:
    guard = site.served(ONE)
    site.kms.signals = {ONE.kek: no_answer()}
    for _ in range(3):
        assert guard.ask_lately(tenant(), OTHER_KEK) is UNKNOWN
    assert len(site.kms.told()) == 1
    site.clock.advance(2)
    site.kms.signals = {}
    assert guard.ask_lately(tenant(), OTHER_KEK) is PASSED


def test_a_request_without_time_left_asks_nobody_and_tells_others_nothing(site: Site) -> None:
    guard = site.served(ONE)
    site.clock.advance(60)
    site.budget.begin()
    with site.budget.spending():
        site.clock.advance(2.5)
    site.reads()
    assert guard.ask_lately(tenant(), OTHER_KEK) is UNKNOWN
    assert site.kms.told() == []
    assert site.reads() == []
    site.budget.end()
    assert guard.ask_lately(tenant(), OTHER_KEK) is PASSED


def test_a_request_that_runs_out_of_time_at_a_canary_tells_others_nothing(site: Site) -> None:
    guard = site.served(ONE)
    site.clock.advance(60)

    def slow() -> None:
        site.clock.advance(0.5)
        raise no_answer()

    site.kms.before = slow
    site.budget.begin()
    with site.budget.spending():
        site.clock.advance(2)
    assert guard.ask_lately(tenant(), OTHER_KEK) is UNKNOWN
    site.budget.end()
    site.kms.before = lambda: None
    assert guard.ask_lately(tenant(), OTHER_KEK) is PASSED


class Waits:
    """Counts who waits for another's look, and waits for as many."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self._changed = Condition()
        waits = self

        class Counted(Event):
            def wait(self, timeout: float | None = None) -> bool:
                waits._count()
                return super().wait(timeout)

        monkeypatch.setattr(single_flight, "Event", Counted)

    def _count(self) -> None:
        with self._changed:
            self.begun += 1
            self._changed.notify_all()

    def until(self, number: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.begun >= number, 10)


@pytest.mark.parametrize("what", ["ask", "ask_lately"])
def test_a_herd_of_denials_asks_a_canary_twice(site: Site, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Once for who came first, and once for all who came while that was under way: it proves nothing to them."""
    guard = site.served(ONE)
    waits, began = Waits(monkeypatch), Event()
    herd = 6
    holds = [herd, herd + herd - 1]

    def held() -> None:
        began.set()
        waits.until(holds.pop(0))
        site.clock.advance(0.5)

    site.kms.before = held
    findings: list[GuardFinding] = []
    threads = [
        Thread(target=lambda: findings.append(getattr(guard, what)(tenant(), OTHER_KEK))) for _ in range(1 + herd)
    ]
    threads[0].start()
    assert began.wait(10)
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert findings == [PASSED] * (1 + herd)
    assert site.kms.told() == [("unwrap", ONE.kek)] * 2


def test_waiting_for_anothers_look_counts_as_kms_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    guard, waits = site.served(ONE), Waits(monkeypatch)
    left: list[float] = []

    def waiter() -> None:
        site.budget.begin()
        guard.ask_lately(tenant(), OTHER_KEK)
        left.append(site.budget.remaining())

    thread = Thread(target=waiter)

    def held() -> None:
        site.kms.before = lambda: None
        thread.start()
        waits.until(1)
        site.clock.advance(1)

    site.kms.before = held
    guard.ask_lately(tenant(), OTHER_KEK)
    thread.join(10)
    assert left == [1.5]


def test_a_request_does_not_wait_for_a_check(site: Site) -> None:
    """A check may ask many canaries, for longer than a request has time."""
    guard = site.served(ONE)
    asked: list[GuardFinding] = []

    def meanwhile() -> None:
        site.kms.before = lambda: None
        thread = Thread(target=lambda: asked.append(guard.ask_lately(tenant(), OTHER_KEK)))
        thread.start()
        thread.join(10)

    site.kms.before = meanwhile
    assert guard.ask(tenant(), OTHER_KEK) is PASSED
    assert asked == [PASSED]


def test_a_look_that_does_not_end_tells_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_flight, "WAIT", 0)
    guard = site.served(ONE)
    asked: list[GuardFinding] = []

    def meanwhile() -> None:
        thread = Thread(target=lambda: asked.append(guard.ask(tenant(), OTHER_KEK)))
        thread.start()
        thread.join(10)

    site.kms.before = meanwhile
    guard.ask(tenant(), OTHER_KEK)
    assert asked == [UNKNOWN]
