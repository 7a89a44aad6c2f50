"""What happens when something changes in the middle: of an unwrap, of a read, of a fleet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from core.bootstrap import Config
from core.domain.branch_keys import ACTIVE
from core.domain.key_policy import KeyPolicy
from core.domain.message_header import parse_header
from core.domain.states import State
from core.errors import (
    InternalError,
    KeySuspended,
    KeyUnreachable,
    Silence,
    StoreCorrupt,
    StoreUnavailable,
)
from core.service.handed_out_keys import HandedOutKeys
from core.service.single_flight import SingleFlight
from tests.service.world import World


def silence(_operation: str, _context: Mapping[str, str]) -> None:
    raise Silence("no answer")


def during_the_unwrap(world: World, act: Callable[[], None]) -> None:
    """Have something happen once, after the KMS's answer to the next unwrap."""
    once = [act]
    world.kms.after_unwrap = lambda: once.pop()() if once else None


def suspended_meanwhile(world: World) -> None:
    """Another process suspends the tenant, and another thread of this one hears of it."""
    world.walk_to(State.SUSPENDED)
    world.app.gate.refresh(world.app.gate.enter_any("acme"), forced=True)


def operations(world: World, message: bytes, granted: bytes) -> dict[str, Callable[[], object]]:
    handed_out: HandedOutKeys = world.app.keystead._parts.handed_out
    return {
        "encrypt": world.encrypt,
        "decrypt": lambda: world.decrypt(message),
        "grant": lambda: handed_out.grant("acme", {}),
        "open": lambda: handed_out.open("acme", granted, {}),
    }


NAMES = pytest.mark.parametrize("name", ["encrypt", "decrypt", "grant", "open"])


@NAMES
def test_suspended_during_the_unwrap(world: World, name: str) -> None:
    granted = world.app.keystead._parts.handed_out.grant("acme", {}).encrypted_data_key
    use = operations(world, world.encrypt(), granted)[name]
    world.app.gate.purge("acme")
    during_the_unwrap(world, lambda: suspended_meanwhile(world))
    for _ in range(3):  # neither this call nor what it left in a cache
        with pytest.raises(KeySuspended):
            use()


@NAMES
def test_suspended_during_an_unwrap_that_outlives_the_state(name: str) -> None:
    """The lease is long; it is the state's age that runs out while the KMS takes its time."""
    world = World(policy=KeyPolicy(lease=3600))
    world.tenant()
    granted = world.app.keystead._parts.handed_out.grant("acme", {}).encrypted_data_key
    use = operations(world, world.encrypt(), granted)[name]
    world.app.gate.purge("acme")

    def slowly() -> None:
        world.walk_to(State.SUSPENDED)
        world.clock.advance(11)

    during_the_unwrap(world, slowly)
    with pytest.raises(KeySuspended):
        use()


def test_a_rotation_looks_at_the_state_of_now(world: World) -> None:
    world.encrypt()
    world.walk_to(State.SUSPENDED)
    with pytest.raises(KeySuspended):
        world.app.rotation.rotate("acme")


def test_encrypt_purged_during_the_unwrap_starts_over(world: World) -> None:
    asked = world.kms.branch_unwraps()
    during_the_unwrap(world, lambda: world.app.gate.purge("acme"))
    world.encrypt()
    assert world.kms.branch_unwraps() == asked + 2


def test_a_rotation_is_taken_up_even_if_decrypts_renew_first(world: World) -> None:
    other = world.process()
    old = other.encryption.encrypt("acme", b"x", {})
    rotation = world.app.rotation.rotate("acme")
    world.clock.advance(61)
    other.encryption.decrypt("acme", old, {})
    message = other.encryption.encrypt("acme", b"x", {})
    assert parse_header(message).edks[0].version_id == rotation.version


def test_a_lost_active_row_is_noticed_even_if_decrypts_renew_first(world: World) -> None:
    old = world.encrypt()
    world.keys.tamper = lambda row_type, stored: None if row_type == ACTIVE else stored
    world.clock.advance(61)
    assert world.decrypt(old) == b"secret"
    with pytest.raises(StoreCorrupt):
        world.encrypt()


@pytest.mark.parametrize("seconds", [5.0, 29.0, 31.0, 300.0])
def test_a_store_that_takes_long_to_fail(world: World, seconds: float) -> None:
    """The thirty seconds of the last state are counted at the end of the wait."""
    message = world.encrypt()
    world.decrypt(message)
    world.clock.advance(10)
    read = world.tenants.read

    def slow(tenant_id: str, name: str) -> None:
        world.clock.advance(seconds)
        raise StoreUnavailable("timed out")

    world.tenants.read = slow  # type: ignore[method-assign]
    if 10 + seconds < 30:
        assert world.decrypt(message) == b"secret"
    else:
        with pytest.raises(StoreUnavailable):
            world.decrypt(message)
    world.tenants.read = read  # type: ignore[method-assign]


def test_a_record_that_is_old_when_it_arrives_does_not_count(world: World) -> None:
    """As after a stop in the middle of the read."""
    message = world.encrypt()
    world.decrypt(message)
    world.clock.advance(10)
    read, waits = world.tenants.read, [1800.0]

    def stopped(tenant_id: str, name: str) -> object:
        document = read(tenant_id, name)
        if waits:
            world.clock.advance(waits.pop())
            world.walk_to(State.SUSPENDED)
        return document

    world.tenants.read = stopped  # type: ignore[method-assign, assignment]
    with pytest.raises(KeySuspended):
        world.decrypt(message)


def test_threads_that_queued_behind_a_failing_read_do_not_each_fail_anew(world: World) -> None:
    world.encrypt()
    world.clock.advance(31)
    reads: list[int] = []
    barrier, first = threading.Barrier(8), threading.Event()

    def fail(_tenant_id: str, _name: str) -> None:
        reads.append(1)
        first.wait(0.3)  # long enough for the others to queue
        world.clock.advance(0.5)
        raise StoreUnavailable("timed out")

    def use() -> None:
        barrier.wait()
        with pytest.raises(StoreUnavailable):
            world.encrypt()

    world.tenants.read = fail  # type: ignore[method-assign, assignment]
    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads) < 8


def test_what_hangs_on_an_evicted_view_serves_no_more() -> None:
    world = World(config=Config(max_tenants=1))
    world.tenant()
    message = world.encrypt()
    world.decrypt(message)
    view = world.app.gate.enter("acme", "read")
    held = world.app.branch_keys.active(view)
    assert held.serves(world.app.encryption._tick())
    world.tenant("other")
    world.app.encryption.encrypt("other", b"x", {})  # evicts the view of acme
    assert not held.serves(world.app.encryption._tick())
    view.purge()
    assert not world.app.branch_keys.active(view).serves(world.app.encryption._tick())
    world.kms.trouble = silence
    with pytest.raises(KeyUnreachable):
        world.decrypt(message)


@pytest.mark.parametrize(
    ("fields", "asked", "kept"),
    [
        ({"policy": KeyPolicy(lease=60, outage_grace=1800)}, False, True),
        ({"policy": KeyPolicy(lease=120)}, False, True),
        ({"policy": KeyPolicy(rotation_days=1)}, False, True),
        ({"policy": KeyPolicy(lease=59)}, True, True),
        ({"policy": KeyPolicy(lease=60, outage_grace=899)}, True, True),
        ({"policy": KeyPolicy(lease=60, outage_grace=0)}, True, True),  # for the rest of the lease
        ({"policy": KeyPolicy(lease=9, outage_grace=9)}, True, False),
        ({"policy": KeyPolicy(lease=0)}, True, False),
        ({"configuration_revision": 2}, True, True),
        ({"moving_from": "local:customer-acme"}, True, True),
        ({"interruptions": 1}, True, False),
    ],
)
def test_what_another_process_changed_ends_leases_or_what_is_cached_or_neither(
    world: World, fields: dict[str, Any], asked: bool, kept: bool
) -> None:
    """Heard of in the midst of an outage, where nothing can be renewed: a stricter policy leaves what its grace is."""
    message = world.encrypt()
    world.decrypt(message)
    world.kms.trouble = silence
    world.change(**fields)
    world.clock.advance(10)
    before = world.kms.branch_unwraps()
    if kept:
        assert world.decrypt(message) == b"secret"
    else:
        with pytest.raises(KeyUnreachable):
            world.decrypt(message)
    assert world.kms.branch_unwraps() == before + asked


def test_an_outage_that_is_told_of_does_not_end_the_grace(world: World) -> None:
    world.walk_to(State.ACTIVE)
    message = world.encrypt()
    world.decrypt(message)
    world.kms.trouble = silence
    for state in (State.DEGRADED, State.ACTIVE):
        world.walk_to(state)
        world.clock.advance(31)
        assert world.decrypt(message) == b"secret"
    world.walk_to(State.HOLD)
    world.clock.advance(10)
    with pytest.raises(KeyUnreachable):
        world.decrypt(message)


def test_whoever_waits_for_an_interrupted_call_is_not_interrupted() -> None:
    flights: SingleFlight[int] = SingleFlight(lambda: 0.0)
    inside, go = threading.Event(), threading.Event()
    outcomes: list[BaseException] = []

    def call() -> int:
        inside.set()
        go.wait(10)
        raise SystemExit(3)

    def fly() -> None:
        try:
            flights.run("k", call, join_running=True)
        except BaseException as error:  # noqa: BLE001 - what escapes is the point
            outcomes.append(error)

    threads = [threading.Thread(target=fly) for _ in range(3)]
    threads[0].start()
    assert inside.wait(10)
    for thread in threads[1:]:
        thread.start()
    while threading.active_count() < 4:
        pass
    go.set()
    for thread in threads:
        thread.join()
    kinds = sorted(type(outcome).__name__ for outcome in outcomes)
    assert kinds.count("SystemExit") >= 1
    assert set(kinds) <= {"SystemExit", InternalError.__name__}
