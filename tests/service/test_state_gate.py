"""DESIGN 5, rule 2: nothing happens without a fresh tenant state."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.domain.states import RULES, State
from core.errors import KeysteadError, NotFound, StoreCorrupt, StoreUnavailable
from tests.samples import path_to
from tests.service.world import World


@pytest.mark.parametrize("state", list(State))
def test_each_state_allows_what_its_rule_says(world: World, state: State) -> None:
    message = world.encrypt()
    world.decrypt(message)
    world.walk_to(*path_to(state))
    world.clock.advance(10)
    rule = RULES[state]
    uses: tuple[tuple[bool, Callable[[], bytes]], ...] = (
        (rule.may_write, world.encrypt),
        (rule.may_read, lambda: world.decrypt(message)),
    )
    for allowed, use in uses:
        if allowed:
            assert use()
        else:
            assert rule.error is not None
            with pytest.raises(rule.error) as caught:
                use()
            assert caught.value.detail == rule.wording


@pytest.mark.parametrize("direction", ["encrypt", "decrypt"])
def test_another_process_change_of_state_bites_within_state_age(world: World, direction: str) -> None:
    message = world.encrypt()
    world.decrypt(message)
    world.walk_to(State.SUSPENDED)

    def use() -> object:
        return world.encrypt() if direction == "encrypt" else world.decrypt(message)

    world.clock.advance(9.9)
    assert use()
    world.clock.advance(0.1)
    with pytest.raises(KeysteadError) as caught:
        use()
    assert caught.value.code == "key_suspended"


def test_a_state_that_comes_and_goes_still_ends_what_was_cached(world: World) -> None:
    message = world.encrypt()
    world.decrypt(message)
    asked = world.kms.branch_unwraps()
    world.walk_to(State.HOLD)
    world.clock.advance(10)
    assert world.decrypt(message) == b"secret"
    # Served again only after its own new unwraps: of the ACTIVE row, and of the one wanted.
    assert world.kms.branch_unwraps() == asked + 2
    world.walk_to(State.PLATFORM)
    world.clock.advance(10)
    assert world.decrypt(message) == b"secret"
    assert world.kms.branch_unwraps() == asked + 3


def test_within_state_age_the_store_is_not_read(world: World) -> None:
    message = world.encrypt()
    world.decrypt(message)
    reads = world.tenants.reads
    for _ in range(100):
        world.decrypt(message)
        world.encrypt()
    assert world.tenants.reads == reads
    world.clock.advance(10)
    world.decrypt(message)
    world.encrypt()
    assert world.tenants.reads == reads + 1


@pytest.mark.parametrize("direction", ["encrypt", "decrypt"])
def test_a_silent_store_leaves_the_last_state_for_thirty_seconds(world: World, direction: str) -> None:
    message = world.encrypt()
    world.decrypt(message)
    world.tenants.silent = True

    def use() -> object:
        return world.encrypt() if direction == "encrypt" else world.decrypt(message)

    for _ in range(29):
        world.clock.advance(1)
        assert use()
    world.clock.advance(1)
    with pytest.raises(StoreUnavailable) as caught:
        use()
    assert caught.value.retry_after
    world.tenants.silent = False
    assert use()


def test_a_silent_store_with_nothing_known_refuses(world: World) -> None:
    world.tenants.silent = True
    with pytest.raises(StoreUnavailable):
        world.process().encryption.encrypt("acme", b"x", {})


def test_unknown_tenant(world: World) -> None:
    with pytest.raises(NotFound):
        world.app.encryption.encrypt("nobody", b"x", {})


def test_a_tombstone_is_no_tenant(world: World) -> None:
    message = world.encrypt()
    world.change(deleted=True)
    world.clock.advance(10)
    for _ in range(2):
        with pytest.raises(NotFound):
            world.decrypt(message)
    world.tenants.silent = True
    with pytest.raises(StoreUnavailable):  # a silent store does not bring it back
        world.decrypt(message)


def test_an_unreadable_record_is_ours(world: World) -> None:
    world.tenants.spoil = True
    with pytest.raises(StoreCorrupt):
        world.process().encryption.encrypt("acme", b"x", {})
