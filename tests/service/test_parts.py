"""The small parts: LRU map, single flight, alarms, cache limits."""

from __future__ import annotations

import threading
import time

import pytest

from core.bootstrap import Config
from core.domain.message import own_section
from core.service.alarms import Alarms
from core.service.encryption import CacheLimits
from core.service.lru import LruCache
from core.service.single_flight import SingleFlight
from core.service.timekeeper import Timekeeper
from tests.service.world import FakeClock, RecordedEvents, World


def test_lru_forgets_what_was_used_longest_ago() -> None:
    evicted: list[int] = []
    cache: LruCache[str, int] = LruCache(2, evicted.append)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
    assert evicted == [2]
    cache.pop("a")
    assert cache.values() == [3]
    assert "3" not in repr(cache)
    with pytest.raises(ValueError, match="at least one"):
        LruCache(0)


def test_lru_holds_its_limit_under_threads() -> None:
    cache: LruCache[int, int] = LruCache(16)

    def churn(seed: int) -> None:
        for number in range(3000):
            key = (number * seed) % 64
            cache.put(key, key)
            assert cache.get((key + 1) % 64) in (None, (key + 1) % 64)

    threads = [threading.Thread(target=churn, args=(seed,)) for seed in (3, 5, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache) == 16


def test_single_flight_gives_everyone_the_same_error() -> None:
    flights: SingleFlight[int] = SingleFlight(time.monotonic)
    inside, go = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def call() -> int:
        inside.set()
        go.wait(10)
        raise LookupError("gone")

    def fly() -> None:
        try:
            flights.run("k", call, join_running=True)
        except LookupError as error:
            errors.append(error)

    threads = [threading.Thread(target=fly) for _ in range(5)]
    threads[0].start()
    assert inside.wait(10)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert len(errors) == 5
    assert flights.run("k", lambda: 7, join_running=True) == 7


def test_without_joining_a_call_waits_for_a_later_flight() -> None:
    """DESIGN 5, rule 1: under ``lease=0`` a call joins only unwraps that began after it arrived."""
    flights: SingleFlight[int] = SingleFlight(time.monotonic)
    inside, go = threading.Event(), threading.Event()
    calls: list[int] = []
    results: list[int] = []

    def call() -> int:
        calls.append(len(calls) + 1)
        if len(calls) == 1:
            inside.set()
            go.wait(10)
        return calls[-1]

    first = threading.Thread(target=lambda: results.append(flights.run("k", call, join_running=False)))
    first.start()
    assert inside.wait(10)
    late = [
        threading.Thread(target=lambda: results.append(flights.run("k", call, join_running=False))) for _ in range(6)
    ]
    for thread in late:
        thread.start()
    go.set()
    for thread in (first, *late):
        thread.join()
    assert sorted(result > 1 for result in results) == [False] + [True] * 6


def test_the_same_alarm_is_raised_once_a_minute() -> None:
    clock, events = FakeClock(), RecordedEvents()
    alarm = Alarms(events, Timekeeper(clock, lambda reason: None).now)
    for _ in range(3):
        alarm("store_corrupt", "acme", "row 1", problem="x")
    alarm("store_corrupt", "acme", "row 2", problem="x")
    assert len(events.events) == 2
    clock.advance(60)
    alarm("store_corrupt", "acme", "row 1", problem="x")
    assert len(events.events) == 3


@pytest.mark.parametrize(
    ("limits", "messages_per_key"),
    [(CacheLimits(messages=3), 3), (CacheLimits(bytes=25), 2), (CacheLimits(messages=1), 1)],
)
def test_a_data_key_is_replaced_at_its_limits(limits: CacheLimits, messages_per_key: int) -> None:
    world = World(config=Config(cache=limits))
    world.tenant()
    sections = [own_section(world.encrypt(b"0123456789")) for _ in range(12)]
    assert [sections.count(section) for section in dict.fromkeys(sections)] == [messages_per_key] * (
        12 // messages_per_key
    )


def test_a_value_over_a_data_keys_bytes_still_encrypts() -> None:
    world = World(config=Config(cache=CacheLimits(bytes=5)))
    world.tenant()
    assert world.decrypt(world.encrypt(b"0123456789")) == b"0123456789"


def test_the_data_key_caches_are_bounded() -> None:
    world = World(config=Config(cache=CacheLimits(entries=4), max_branch_keys=4, max_tenants=4))
    for number in range(12):
        world.tenant(f"t{number}")
        message = world.app.encryption.encrypt(f"t{number}", b"x", {"n": str(number)})
        assert world.app.encryption.decrypt(f"t{number}", message, {"n": str(number)}) == b"x"
    encryption, keys, gate = world.app.encryption, world.app.branch_keys, world.app.gate
    assert len(encryption._encrypting) == len(encryption._decrypting) == len(keys._held._keys) == len(gate._views) == 4


def test_contexts_do_not_share_data_keys(world: World) -> None:
    contexts: list[dict[str, str]] = [{}, {"a": "b"}, {"a": "c"}, {"b": "a"}, {"a": "b", "c": "d"}]
    sections = {own_section(world.encrypt(context=context)) for context in contexts}
    assert len(sections) == len(contexts)
