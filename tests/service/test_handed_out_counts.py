"""The count of handed-out data keys: never below what left, whatever crashes, and complete once a key is revoked."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from core.bootstrap import Application
from core.domain.states import State
from core.domain.withdrawals import instant
from core.errors import Conflict, KeyRevoked, KeysteadError, KeyWithheld, StoreCorrupt, StoreUnavailable
from core.service.handed_out_counts import ATTEMPTS, BLOCK, DOCUMENT, HandedOut, HandedOutCounts
from core.service.timekeeper import Timekeeper
from core.stores.memory import MemoryTenantStore
from tests.service.injection import Injector, Killed, When, injected
from tests.service.revocation.withdrawing import MACS
from tests.service.world import FakeClock, World

START = 1_800_000_000.0
WHENS: tuple[When, ...] = ("before", "after")


def nothing() -> None:
    """The state is as it was."""


class Setting:
    """A store in memory, whose calls are counted and can fail, and processes over it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryTenantStore()
        self.injector = Injector()

    def process(self, *, limit: int = 100) -> HandedOutCounts:
        now = Timekeeper(self.clock, lambda reason: None).now
        return HandedOutCounts(self.injector.wrap(self.store, "read", "write"), now, MACS, limit=limit)

    def overwrite(self, body: dict[str, Any]) -> None:
        document = self.store.read("acme", DOCUMENT)
        self.store.write("acme", DOCUMENT, body, expected_revision=document.revision if document else 0)


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_none_was_handed_out(setting: Setting) -> None:
    assert setting.process().read("acme") == HandedOut()
    assert setting.process().at_most("acme") == 0


def test_a_block_is_reserved_before_its_first_key(setting: Setting) -> None:
    counts = setting.process()
    setting.injector.arm()
    for number in range(1, 2 * BLOCK + 2):
        counts.reserve("acme", nothing)
        setting.clock.advance(1)
        assert counts.at_most("acme") == -(-number // BLOCK) * BLOCK
    assert [point.name for point in setting.injector.points].count("write") == 3
    assert counts.read("acme") == HandedOut(3 * BLOCK, instant(START), instant(START + 2 * BLOCK))
    assert counts.at_most("globex") == 0


def test_processes_and_tenants_have_blocks_of_their_own(setting: Setting) -> None:
    one, other = setting.process(), setting.process()
    for counts in (one, other, one):
        counts.reserve("acme", nothing)
    one.reserve("globex", nothing)
    assert (one.at_most("acme"), other.at_most("acme"), one.at_most("globex")) == (2 * BLOCK, 2 * BLOCK, BLOCK)


def test_a_block_let_go_of_counts_as_handed_out(setting: Setting) -> None:
    counts = setting.process(limit=1)
    for tenant_id in ("acme", "globex", "acme"):
        counts.reserve(tenant_id, nothing)
    assert counts.at_most("acme") == 2 * BLOCK


def silent(name: str) -> None:
    raise StoreUnavailable("silent")


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("call", [0, 1])
def test_no_key_leaves_uncounted_while_the_store_is_silent(setting: Setting, call: int, when: When) -> None:
    counts = setting.process()
    for _ in range(BLOCK):
        counts.reserve("acme", nothing)
    for _ in range(3):
        setting.clock.advance(1)
        setting.injector.arm(call, when, silent)
        with pytest.raises(StoreUnavailable):
            counts.reserve("acme", nothing)
    setting.injector.armed = False
    counts.reserve("acme", nothing)
    assert counts.at_most("acme") >= 2 * BLOCK


def test_what_is_left_of_a_block_serves_while_the_store_is_silent(setting: Setting) -> None:
    counts = setting.process()
    counts.reserve("acme", nothing)
    setting.injector.arm(0, "before", silent)
    for _ in range(BLOCK - 1):
        counts.reserve("acme", nothing)
    assert setting.injector.points == []
    with pytest.raises(StoreUnavailable):
        counts.reserve("acme", nothing)


def test_a_block_is_given_up_if_the_state_cannot_be_read_anew(setting: Setting) -> None:
    counts, looked = setting.process(), []

    def look() -> None:
        looked.append(counts.at_most("acme"))
        if len(looked) == 1:
            raise StoreUnavailable("silent")

    with pytest.raises(StoreUnavailable):
        counts.reserve("acme", look)
    setting.clock.advance(1)
    for _ in range(BLOCK):
        counts.reserve("acme", look)
    assert looked == [BLOCK, 2 * BLOCK], "read after the block was reserved, once for each"


def test_threads_that_waited_for_the_same_silence_do_not_wait_again(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = setting.process()
    reading, go_on = threading.Event(), threading.Event()
    heard: list[KeysteadError] = []

    def slow(name: str) -> None:
        reading.set()
        assert go_on.wait(10)
        setting.clock.advance(2)
        raise StoreUnavailable("silent")

    def run() -> None:
        try:
            counts.reserve("acme", nothing)
        except KeysteadError as error:
            heard.append(error)

    setting.injector.arm(0, "before", slow)
    first = threading.Thread(target=run)
    first.start()
    assert reading.wait(10)
    arrived = [counts._now()]
    arrivals = counts._now
    queued = threading.Semaphore(0)

    def noted() -> Any:
        queued.release()
        return arrived[0] if not go_on.is_set() else arrivals()

    monkeypatch.setattr(counts, "_now", noted)
    others = [threading.Thread(target=run) for _ in range(3)]
    for thread in others:
        thread.start()
        assert queued.acquire(timeout=10)
    go_on.set()
    for thread in (first, *others):
        thread.join()
    assert [type(error) for error in heard] == [StoreUnavailable] * 4
    assert len(setting.injector.points) == 1
    counts.reserve("acme", nothing)
    assert counts.at_most("acme") == BLOCK


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("call", [0, 1])
def test_another_process_reserves_in_between(setting: Setting, call: int, when: When) -> None:
    counts, other = setting.process(), HandedOutCounts(setting.store, Timekeeper(setting.clock, print).now, MACS)
    setting.injector.arm(call, when, lambda name: other.reserve("acme", nothing))
    counts.reserve("acme", nothing)
    assert counts.at_most("acme") == 2 * BLOCK


def test_others_that_always_come_first(setting: Setting) -> None:
    class Busy(MemoryTenantStore):
        writes = 0

        def write(self, *args: Any, **kwargs: Any) -> Any:
            self.writes += 1
            raise Conflict("the document changed meanwhile")

    busy = setting.store = Busy()
    with pytest.raises(StoreUnavailable):
        setting.process().reserve("acme", nothing)
    assert busy.writes == ATTEMPTS


def test_threads_count_every_key(setting: Setting) -> None:
    processes = [setting.process() for _ in range(3)]

    def run(number: int) -> None:
        for _ in range(100):
            processes[number % 3].reserve("acme", nothing)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Each process had 300 keys: 5 blocks.
    assert processes[0].at_most("acme") == 3 * 5 * BLOCK


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reserved": 64},
        {"reserved": "64", "since": instant(0), "last": instant(0)},
        {"reserved": True, "since": instant(0), "last": instant(0)},
        {"reserved": 6.4, "since": instant(0), "last": instant(0)},
        {"reserved": -1, "since": instant(0), "last": instant(0)},
        {"reserved": 64, "since": "whenever", "last": instant(0)},
        {"reserved": 64, "since": instant(0), "last": 0},
        {"reserved": 64, "since": instant(0), "last": instant(0), "more": 1},
    ],
)
def test_a_count_that_is_none(setting: Setting, body: dict[str, Any]) -> None:
    setting.overwrite(body)
    counts = setting.process()
    for act in (lambda: counts.reserve("acme", nothing), lambda: counts.at_most("acme")):
        with pytest.raises(StoreCorrupt):
            act()


def test_a_store_put_back_to_an_earlier_time_does_not_lower_it(setting: Setting) -> None:
    counts = setting.process()
    for _ in range(BLOCK):
        counts.reserve("acme", nothing)
    earlier = setting.store.read("acme", DOCUMENT)
    assert earlier is not None
    for _ in range(2 * BLOCK):
        counts.reserve("acme", nothing)
    setting.overwrite(dict(earlier.body))
    counts.reserve("acme", nothing)
    assert counts.at_most("acme") == 4 * BLOCK


@pytest.mark.parametrize("forge", [{"reserved": 0}, {"since": ""}, {"last": ""}, {"mac": "0" * 64}, {"mac": 7}])
def test_who_can_write_the_store_cannot_make_a_count(setting: Setting, forge: dict[str, object]) -> None:
    setting.process().reserve("acme", nothing)
    found = setting.store.read("acme", DOCUMENT)
    assert found is not None
    setting.overwrite({**found.body, **forge})
    with pytest.raises(StoreCorrupt):
        setting.process().at_most("acme")


# With the service around it


def grant(app: Application) -> bytes:
    return app.keystead._parts.handed_out.grant("acme", {}).data_key


def stored(world: World) -> int:
    document = world.tenants.read("acme", DOCUMENT)
    return 0 if document is None else int(document.body["reserved"])


def test_every_grant_is_counted(world: World) -> None:
    for _ in range(BLOCK):
        grant(world.app)
    assert stored(world) == BLOCK
    grant(world.app)
    grant(world.process())
    assert stored(world) == 3 * BLOCK


def test_opening_and_encrypting_are_not_counted(world: World) -> None:
    handed_out = world.app.keystead._parts.handed_out
    found = handed_out.grant("acme", {})
    for _ in range(2 * BLOCK):
        handed_out.open("acme", found.encrypted_data_key, {})
    world.decrypt(world.encrypt())
    assert stored(world) == BLOCK


def test_a_grant_that_is_tried_again_counts_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, tries = world.app.keystead._parts.handed_out._counts, []
    reserve = counts.reserve

    def purged(*arguments: Any) -> None:
        tries.append(arguments)
        reserve(*arguments)
        world.app.gate.purge("acme")  # the key at hand serves no more

    monkeypatch.setattr(counts, "reserve", purged)
    grant(world.app)
    assert len(tries) == 1


def test_refused_grants_are_not_counted(world: World) -> None:
    world.walk_to(State.SUSPENDED)
    for _ in range(3):
        with pytest.raises(KeyWithheld):
            grant(world.app)
    assert stored(world) == 0


def grant_calls() -> int:
    world, injector = World(), Injector()
    world.tenant()
    app = injected(world.app, injector)
    injector.arm()
    grant(app)
    return len(injector.points)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("call", range(grant_calls()))
def test_killed_anywhere_a_key_that_left_is_counted(world: World, call: int, when: When) -> None:
    injector = Injector()
    app, left = injected(world.app, injector), []

    def killed(name: str) -> None:
        raise Killed

    injector.arm(call, when, killed)
    with pytest.raises(Killed):
        left.append(grant(app))
    left.append(grant(world.process()))
    assert stored(world) >= len(left)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("call", range(grant_calls()))
@pytest.mark.parametrize("warm", [False, True])
def test_a_count_read_after_the_revocation_misses_no_key(world: World, call: int, when: When, warm: bool) -> None:
    # The processes' states are fresh for seconds when another process writes `revoked` and reads the count.
    injector = Injector()
    app, left, read = injected(world.app, injector), [], []
    if warm:
        left += [grant(app) for _ in range(BLOCK)]

    def revoke(name: str) -> None:
        world.walk_to(State.HOLD, State.REVOKED)
        read.append(stored(world))

    injector.arm(call, when, revoke)
    refused: list[BaseException] = []
    for _ in range(2):
        try:
            left.append(grant(app))
        except KeyRevoked as error:
            refused.append(error)
    if read:  # a warm process makes fewer calls
        assert len(left) <= read[0]
        assert read[0] > len(left) or refused


def test_a_view_let_go_of_does_not_hide_the_revocation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # The block is reserved by a thread whose view the gate has let go of; others look at another one.
    handed_out = world.app.keystead._parts.handed_out
    grant(world.app)
    reserve = handed_out._counts._reserve
    read: list[int] = []

    def reserved(tenant_id: str, highest: int) -> int:
        world.app.gate.enter_any("acme").retire()
        world.app.gate._views.clear()
        world.app.gate.enter_any("acme")
        world.walk_to(State.HOLD, State.REVOKED)
        read.append(stored(world))
        return reserve(tenant_id, highest)

    for _ in range(BLOCK - 1):
        grant(world.app)
    monkeypatch.setattr(handed_out._counts, "_reserve", reserved)
    for _ in range(2):
        with pytest.raises(KeyRevoked):
            grant(world.app)
    assert read == [BLOCK]
