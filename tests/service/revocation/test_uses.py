"""The last recorded use: a lower bound that never goes back, costs little, and stops nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from core.domain.withdrawals import instant
from core.errors import Conflict, KeysteadError, StoreCorrupt, StoreUnavailable
from core.service.revocation.uses import ATTEMPTS, DOCUMENT, WRITTEN_EVERY, Uses
from core.service.timekeeper import Timekeeper
from core.stores.memory import MemoryTenantStore
from tests.service.injection import Injector
from tests.service.world import FakeClock

START = 1_800_000_000.0


def at(seconds: float) -> str:
    return instant(START + seconds)


class Setting:
    """A store in memory, whose calls are counted and can fail, and processes over it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryTenantStore()
        self.injector = Injector()

    def process(self, clock: FakeClock | None = None, *, limit: int = 100) -> Uses:
        now = Timekeeper(clock or self.clock, lambda reason: None).now
        return Uses(self.injector.wrap(self.store, "read", "write"), now, limit=limit)

    def stored(self, tenant_id: str = "acme") -> object:
        document = self.store.read(tenant_id, DOCUMENT)
        return None if document is None else dict(document.body)

    def overwrite(self, body: dict[str, Any]) -> None:
        document = self.store.read("acme", DOCUMENT)
        self.store.write("acme", DOCUMENT, body, expected_revision=document.revision if document else 0)

    def names(self, act: Callable[[], object]) -> list[str]:
        """The calls to the store that an act makes."""
        self.injector.arm()
        act()
        self.injector.armed = False
        return [point.name for point in self.injector.points]


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_nothing_is_known_of_a_tenant_never_used(setting: Setting) -> None:
    uses = setting.process()
    assert uses.last("acme") == ""
    uses.flush("acme")
    assert setting.stored() is None


def test_written_at_once_then_seldom_and_known_at_once_in_the_process(setting: Setting) -> None:
    uses = setting.process()
    written = []
    for second in range(0, int(3 * WRITTEN_EVERY), 30):
        assert uses.last("acme") == ("" if not second else at(second - 30))
        written += setting.names(lambda: uses.note("acme"))
        assert uses.last("acme") == at(second)
        setting.clock.advance(30)
    assert written == ["read", "write"] * 3
    assert setting.stored() == {"at": at(2 * WRITTEN_EVERY)}
    assert setting.process().last("acme") == at(2 * WRITTEN_EVERY)
    uses.flush("acme")
    assert setting.process().last("acme") == at(3 * WRITTEN_EVERY - 30)


def test_each_tenant_has_its_own(setting: Setting) -> None:
    uses = setting.process()
    uses.note("acme")
    setting.clock.advance(1)
    uses.note("globex")
    assert (setting.stored("acme"), setting.stored("globex")) == ({"at": at(0)}, {"at": at(1)})
    assert (uses.last("acme"), uses.last("globex")) == (at(0), at(1))


def test_it_never_goes_back(setting: Setting) -> None:
    behind, ahead = FakeClock(), FakeClock()
    ahead.advance(4)
    setting.process(ahead).note("acme")
    slow = setting.process(behind)
    slow.note("acme")
    slow.flush("acme")
    assert setting.stored() == {"at": at(4)}
    assert slow.last("acme") == at(4)
    behind.wall_time -= 3
    slow.note("acme")
    assert slow.last("acme") == at(4)


def test_a_clock_that_steps_back_does_not_take_a_use_away(setting: Setting) -> None:
    uses = setting.process()
    uses.note("acme")
    setting.clock.advance(9)
    uses.note("acme")
    setting.clock.wall_time -= 3
    uses.note("acme")
    assert (uses.last("acme"), setting.stored()) == (at(9), {"at": at(0)})


@pytest.mark.parametrize("error", [StoreUnavailable("silent"), StoreCorrupt("no document")])
@pytest.mark.parametrize("call", ["read", "write"])
def test_a_store_in_trouble_stops_nothing_and_is_not_asked_all_the_time(
    setting: Setting, error: KeysteadError, call: str
) -> None:
    uses = setting.process()

    def trouble(name: str) -> None:
        if name == call:
            raise error

    setting.injector.arm(("read", "write").index(call), "before", trouble)
    uses.note("acme")
    setting.injector.armed = False
    assert setting.stored() is None
    assert uses.last("acme") == at(0)
    assert setting.names(lambda: uses.note("acme")) == []
    setting.injector.arm(0, "before", trouble)
    assert uses.last("acme") == at(0)
    setting.injector.armed = False
    setting.clock.advance(WRITTEN_EVERY)
    uses.note("acme")
    assert setting.stored() == {"at": at(WRITTEN_EVERY)}


def test_flush_writes_what_note_could_not(setting: Setting) -> None:
    uses = setting.process()

    def silent(name: str) -> None:
        raise StoreUnavailable("silent")

    setting.injector.arm(0, "before", silent)
    uses.note("acme")
    setting.injector.arm(0, "before", silent)
    uses.flush("acme")
    assert setting.stored() is None
    setting.injector.armed = False
    uses.flush("acme")
    assert setting.stored() == {"at": at(0)}


@pytest.mark.parametrize("other", [-1.0, 1.0])
def test_another_process_writes_in_between(setting: Setting, other: float) -> None:
    uses = setting.process()
    setting.injector.arm(1, "before", lambda name: setting.overwrite({"at": at(other)}))
    uses.note("acme")
    assert setting.stored() == {"at": at(max(other, 0))}
    assert len(setting.injector.points) == (4 if other < 0 else 3)


def test_others_that_always_come_first(setting: Setting) -> None:
    class Busy(MemoryTenantStore):
        writes = 0

        def write(self, *args: Any, **kwargs: Any) -> Any:
            self.writes += 1
            raise Conflict("the document changed meanwhile")

    busy = setting.store = Busy()
    uses = setting.process()
    uses.note("acme")
    assert busy.writes == ATTEMPTS
    assert uses.last("acme") == at(0)


@pytest.mark.parametrize(
    "body", [{}, {"at": 7}, {"at": "whenever"}, {"at": ""}, {"at": at(20)}, {"at": "9999-01-01T00:00:00.000000Z"}]
)
def test_what_makes_no_sense_is_not_told_and_is_replaced(setting: Setting, body: dict[str, Any]) -> None:
    setting.overwrite(body)
    uses = setting.process()
    assert uses.last("acme") == ""
    uses.note("acme")
    assert setting.stored() == {"at": at(0)}
    assert uses.last("acme") == at(0)


def test_memory_is_bounded(setting: Setting) -> None:
    uses = setting.process(limit=2)
    for name in ("a", "b", "c"):
        uses.note(name)
    assert len(uses._uses) == 2
    assert uses.last("a") == at(0), "from the store"


def test_threads_write_once(setting: Setting) -> None:
    uses, barrier = setting.process(), threading.Barrier(8)

    def run() -> None:
        barrier.wait()
        uses.note("acme")

    setting.injector.arm()
    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [point.name for point in setting.injector.points] == ["read", "write"]
