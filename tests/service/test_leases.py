"""DESIGN 5, rule 1: a cached branch key serves for its lease, and through silence for the grace."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import pytest

from core.domain.key_policy import KeyPolicy
from core.domain.message import own_section
from core.errors import Denial, KeyUnreachable, Silence, VendorFault
from tests.service.world import World


def silence(_operation: str, _context: Mapping[str, str]) -> None:
    raise Silence("no answer")


def denial(_operation: str, _context: Mapping[str, str]) -> None:
    raise Denial("disabled", cause="disabled")


def quiet(_operation: str, _context: Mapping[str, str]) -> None:
    return None


def test_within_the_lease_the_kms_is_not_asked_again(world: World) -> None:
    message = world.encrypt()
    asked = world.kms.branch_unwraps()
    for _ in range(5):
        world.clock.advance(9)
        assert world.decrypt(world.encrypt()) == b"secret"
        assert world.decrypt(message) == b"secret"
    assert world.kms.branch_unwraps() == asked


@pytest.mark.parametrize("direction", ["encrypt", "decrypt"])
def test_after_the_lease_the_kms_is_asked(world: World, direction: str) -> None:
    message = world.encrypt()
    world.decrypt(message)
    asked = world.kms.branch_unwraps()
    world.clock.advance(60)
    assert world.encrypt() if direction == "encrypt" else world.decrypt(message)
    assert world.kms.branch_unwraps() == asked + 1


@pytest.mark.parametrize("renewed", [False, True])
def test_a_lease_counts_from_when_the_access_was_last_proved(world: World, renewed: bool) -> None:
    """A session that is used again hides a removed trust: what it unwrapped late serves the shorter."""
    if renewed:
        world.encrypt()
        world.clock.advance(61)
    world.kms.proved_ago = 45
    world.encrypt()
    asked = world.kms.branch_unwraps()
    world.clock.advance(14)
    world.encrypt()
    assert world.kms.branch_unwraps() == asked
    world.clock.advance(2)
    world.kms.trouble = denial
    with pytest.raises(VendorFault):
        world.encrypt()


def test_an_access_proved_just_a_lease_ago_is_proved_again(world: World) -> None:
    world.kms.proved_ago = 60
    before = world.kms.branch_unwraps()

    def fresh(_operation: str, _context: Mapping[str, str]) -> None:
        if world.kms.branch_unwraps() > before + 1:
            world.kms.proved_ago = 0

    world.kms.trouble = fresh
    assert world.encrypt()
    assert world.kms.branch_unwraps() == before + 2


def test_a_data_key_lives_on_under_a_renewed_lease_but_not_over_its_own_age(world: World) -> None:
    edk = own_section(world.encrypt())
    world.clock.advance(61)
    assert own_section(world.encrypt()) == edk
    for _ in range(4):
        world.clock.advance(61)
        world.encrypt()
    assert own_section(world.encrypt()) != edk


@pytest.mark.parametrize("direction", ["encrypt", "decrypt"])
def test_silence_serves_until_the_grace_ends(world: World, direction: str) -> None:
    message = world.encrypt()
    world.decrypt(message)
    world.kms.trouble = silence

    def use() -> object:
        return world.encrypt() if direction == "encrypt" else world.decrypt(message)

    world.clock.advance(60)
    assert use()
    world.clock.advance(839.9)
    assert use()
    world.clock.advance(0.2)
    with pytest.raises(KeyUnreachable) as caught:
        use()
    assert caught.value.retry_after == 5
    world.kms.trouble = quiet
    with pytest.raises(KeyUnreachable):
        use()  # not asked again so soon
    world.clock.advance(5)
    assert use()


def test_a_silent_kms_is_asked_every_five_seconds_only(world: World) -> None:
    world.encrypt()
    world.clock.advance(60)
    world.kms.trouble = silence
    asked = world.kms.branch_unwraps()
    for _ in range(50):
        world.encrypt()
    assert world.kms.branch_unwraps() == asked + 1
    world.clock.advance(5.1)
    world.encrypt()
    assert world.kms.branch_unwraps() == asked + 2


def test_silence_with_a_cold_cache_refuses(world: World) -> None:
    world.encrypt()
    world.kms.trouble = silence
    other = world.process()
    world.kms.trouble = quiet
    other.encryption.encrypt("acme", b"x", {})  # has the row MAC key now
    world.kms.trouble = silence
    world.clock.advance(2000)
    with pytest.raises(KeyUnreachable):
        other.encryption.encrypt("acme", b"x", {})


def test_a_silent_row_store_is_no_reason_not_to_ask_the_kms(world: World) -> None:
    message = world.encrypt()
    world.decrypt(message)
    world.keys.silent = True
    asked = world.kms.branch_unwraps()
    for _ in range(3):
        world.clock.advance(61)
        assert world.decrypt(message) == b"secret"
    assert world.kms.branch_unwraps() == asked + 3
    world.clock.advance(61)
    world.kms.trouble = denial
    with pytest.raises(VendorFault):
        world.decrypt(message)


@pytest.mark.parametrize("seconds", [2.5, 4.9, 5, 10, 60])
def test_a_silence_that_takes_its_time_serves_in_the_grace(world: World, seconds: float) -> None:
    """The state's record is read anew within each call; the key serves for a while counted from the silence's end."""
    world.change(policy=KeyPolicy(lease=600, outage_grace=3600))
    world.clock.advance(10)
    message = world.encrypt()
    world.decrypt(message)
    world.clock.advance(600)

    def slow(operation: str, context: Mapping[str, str]) -> None:
        world.clock.advance(seconds)
        silence(operation, context)

    world.kms.trouble = slow
    asked = world.kms.branch_unwraps()
    assert world.decrypt(message) == b"secret"
    assert world.encrypt()
    assert world.kms.branch_unwraps() == asked + 1, "the same KMS is not asked about another row so soon"


def test_lease_zero_joins_only_unwraps_that_began_later() -> None:
    world = World(policy=KeyPolicy(lease=0))
    world.tenant()
    message = world.encrypt()
    inside, go = threading.Event(), threading.Event()
    results: list[object] = []

    def held_up(_operation: str, _context: Mapping[str, str]) -> None:
        world.kms.trouble = denial  # whoever asks after this one is refused
        inside.set()
        assert go.wait(10)

    def use() -> None:
        try:
            results.append(world.decrypt(message))
        except VendorFault as refused:
            results.append(refused.code)

    world.kms.trouble = held_up
    first, second = threading.Thread(target=use), threading.Thread(target=use)
    first.start()
    assert inside.wait(10)
    world.clock.advance(0.01)
    second.start()
    go.set()
    first.join()
    second.join()
    assert "vendor_fault" in results  # the later call did not live on the earlier one's answer


@pytest.mark.parametrize("direction", ["encrypt", "decrypt"])
def test_a_denial_ends_everything_at_once(world: World, direction: str) -> None:
    message = world.encrypt()
    other = world.encrypt(context={"app": "x"})
    world.decrypt(message)
    world.clock.advance(60)
    world.kms.trouble = denial
    with pytest.raises(VendorFault):  # the platform's own key: our fault, never the tenant's
        _ = world.encrypt() if direction == "encrypt" else world.decrypt(message)
    world.kms.trouble = silence
    uses: tuple[Callable[[], bytes], ...] = (
        lambda: world.decrypt(message),
        lambda: world.decrypt(other, {"app": "x"}),
        world.encrypt,
    )
    for use in uses:
        with pytest.raises(KeyUnreachable):  # no grace after a denial: the keys are gone
            use()


def test_the_lease_starts_before_the_request_is_sent(world: World) -> None:
    world.kms.after_unwrap = lambda: world.clock.advance(20)
    world.encrypt()
    world.kms.after_unwrap = lambda: None
    asked = world.kms.branch_unwraps()
    world.clock.advance(39)
    world.encrypt()
    assert world.kms.branch_unwraps() == asked
    world.clock.advance(2)
    world.encrypt()
    assert world.kms.branch_unwraps() == asked + 1


def test_lease_zero_caches_nothing() -> None:
    world = World(policy=KeyPolicy(lease=0))
    world.tenant()
    message = world.encrypt()
    for count in range(1, 4):
        asked = world.kms.branch_unwraps()
        world.decrypt(message)
        world.encrypt()
        assert world.kms.branch_unwraps() == asked + 2, count
    world.kms.trouble = denial
    with pytest.raises(VendorFault):
        world.decrypt(message)
    world.kms.trouble = silence
    with pytest.raises(KeyUnreachable):
        world.decrypt(message)
