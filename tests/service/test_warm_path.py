"""Every check of the warm path, each by a case that only this check catches (DESIGN 5, rules 1, 2, 9).

``lease=5`` is shorter than the state's 10 s, so that lease and state age cannot stand in for one another.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.domain.key_policy import KeyPolicy
from core.domain.states import State
from core.errors import KeySuspended
from tests.service.world import World

Use = Callable[[], object]


def warm(policy: KeyPolicy, direction: str) -> tuple[World, Use]:
    """A world whose next call of ``use`` is served from its caches."""
    world = World(policy=policy)
    world.tenant()
    message = world.encrypt()
    world.decrypt(message)
    use: Use = world.encrypt if direction == "encrypt" else lambda: world.decrypt(message)
    asked, reads = world.kms.branch_unwraps(), world.tenants.reads
    use()
    assert (world.kms.branch_unwraps(), world.tenants.reads) == (asked, reads)
    return world, use


def costs(world: World, use: Use) -> tuple[int, int]:
    """Unwraps and state reads that a call makes."""
    asked, reads = world.kms.branch_unwraps(), world.tenants.reads
    use()
    return world.kms.branch_unwraps() - asked, world.tenants.reads - reads


both = pytest.mark.parametrize("direction", ["encrypt", "decrypt"])
clocks = pytest.mark.parametrize("clock", ["wall_time", "boot_time"])


@both
@clocks
def test_lease_on_either_clock(direction: str, clock: str) -> None:
    world, use = warm(KeyPolicy(lease=5), direction)
    setattr(world.clock, clock, getattr(world.clock, clock) + 4.9)
    assert costs(world, use)[0] == 0
    setattr(world.clock, clock, getattr(world.clock, clock) + 0.2)
    assert costs(world, use)[0] == 1


@both
@clocks
def test_state_age_on_either_clock(direction: str, clock: str) -> None:
    world, use = warm(KeyPolicy(lease=60), direction)
    setattr(world.clock, clock, getattr(world.clock, clock) + 9.9)
    assert costs(world, use) == (0, 0)
    setattr(world.clock, clock, getattr(world.clock, clock) + 0.2)
    assert costs(world, use) == (0, 1)


@both
def test_generation(direction: str) -> None:
    world, use = warm(KeyPolicy(), direction)
    world.app.gate.purge("acme")
    assert costs(world, use)[0] == 1
    assert costs(world, use)[0] == 0


@both
def test_wall_clock_stepping_back_purges_and_alarms(direction: str) -> None:
    world, use = warm(KeyPolicy(), direction)
    world.clock.wall_time -= 0.001
    assert costs(world, use) == (1, 1)
    assert "keystead.alarm.clock_stepped_back" in world.events.types()
    assert costs(world, use) == (0, 0)


def test_a_wall_clock_behind_that_of_another_thread_is_no_step() -> None:
    """A reading taken before another thread's later one must not look like a step back."""
    world, use = warm(KeyPolicy(), "decrypt")
    real = world.clock.wall

    def wall() -> float:
        reading = real()
        world.app.encryption._tick.__self__._high = reading + 0.001  # type: ignore[attr-defined]  # the other thread
        world.clock.advance(0.002)
        return reading

    world.app.encryption._tick.__self__._wall = wall  # type: ignore[attr-defined]
    use()
    assert "keystead.alarm.clock_stepped_back" not in world.events.types()


class _OnSecondRead:
    # A decrypt reads the clock before it starts and before it releases; what happens in between happens here.
    def __init__(self, world: World, act: Callable[[], None]) -> None:
        self.world, self.act, self.reads = world, act, 0
        self.real = world.clock.wall
        world.app.encryption._tick.__self__._wall = self  # type: ignore[attr-defined]

    def __call__(self) -> float:
        self.reads += 1
        if self.reads == 2:
            self.act()
        return self.real()


def test_decrypt_stopped_past_its_lease_releases_nothing_from_cache() -> None:
    world, use = warm(KeyPolicy(lease=5), "decrypt")
    _OnSecondRead(world, lambda: world.clock.advance(6))
    assert costs(world, use)[0] == 1


def test_decrypt_stopped_past_state_age_looks_again() -> None:
    world, use = warm(KeyPolicy(), "decrypt")
    world.walk_to(State.SUSPENDED)
    _OnSecondRead(world, lambda: world.clock.advance(11))
    with pytest.raises(KeySuspended):
        use()


def test_decrypt_purged_while_it_runs_starts_over() -> None:
    world, use = warm(KeyPolicy(), "decrypt")
    _OnSecondRead(world, lambda: world.app.gate.purge("acme"))
    assert costs(world, use)[0] == 1


def test_stopped_between_the_kms_answer_and_the_cache() -> None:
    """Frozen after the answer, past the lease: the answer neither serves nor is served from later."""
    world = World(policy=KeyPolicy(lease=5))
    world.tenant()
    message = world.encrypt()
    world.app = world.process()
    world.app.tenants.read("acme")  # unwraps the key that authenticates records
    freezes = [6.0, 0.0]
    world.kms.after_unwrap = lambda: world.clock.advance(freezes.pop(0) if freezes else 0)
    asked = world.kms.branch_unwraps()
    assert world.decrypt(message) == b"secret"
    assert world.kms.branch_unwraps() == asked + 2


def test_a_result_that_arrives_after_a_purge_is_not_cached() -> None:
    world = World()
    world.tenant()
    message = world.encrypt()
    world.app = world.process()
    world.app.tenants.read("acme")  # unwraps the key that authenticates records
    purges = [True]

    def purge_once() -> None:
        if purges:
            purges.pop()
            world.app.gate.purge("acme")

    world.kms.after_unwrap = purge_once
    world.app.gate.enter("acme", "read")
    asked = world.kms.branch_unwraps()
    assert world.decrypt(message) == b"secret"
    assert world.kms.branch_unwraps() == asked + 2


@pytest.mark.parametrize("skew", [-5.5, 5.5])
def test_a_kms_whose_clock_differs_purges(skew: float) -> None:
    world, use = warm(KeyPolicy(lease=5), "decrypt")
    world.kms.server_time = world.clock.wall_time + 6 + skew
    world.clock.advance(6)
    for _ in range(2):
        assert costs(world, use)[0] == 1  # every answer serves the call that asked, and nothing is kept
    assert "keystead.alarm.clock_skewed" in world.events.types()
    world.kms.server_time = world.clock.wall_time
    assert costs(world, use)[0] == 1
    assert costs(world, use)[0] == 0


def test_a_kms_whose_clock_agrees_is_heard_quietly() -> None:
    world, use = warm(KeyPolicy(lease=5), "decrypt")
    world.clock.advance(6)
    world.kms.server_time = world.clock.wall_time + 4
    assert costs(world, use)[0] == 1
    assert world.events.types() == []
