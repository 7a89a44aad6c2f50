"""Answers of a KMS that arrive late, out of order or spoilt, and what they may still change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from core.domain.kek import UnwrappedKey
from core.domain.key_policy import KeyPolicy, PolicyChange
from core.domain.message_header import parse_header
from core.domain.states import State
from core.domain.timing import Instant
from core.errors import Denial, KeyUnreachable, Silence, VendorFault
from core.service.approvals import NOBODY
from core.service.branch_key import BranchKey
from core.service.keystead import Keystead
from tests.service.revocation.withdrawing import Owned
from tests.service.world import World, caller

LATE = "late"
LONG = 60.0


def silence(_operation: str, _context: Mapping[str, str]) -> None:
    raise Silence("no answer")


def denial(_operation: str, context: Mapping[str, str]) -> None:
    if "branch-key-id" in context:
        raise Denial("no", cause="disabled", kms_code="No")


def serving(_operation: str, _context: Mapping[str, str]) -> None:
    return None


def tighten(world: World, **change: Any) -> None:
    policies = world.app.keystead._parts.key_policies
    policies.set("acme", PolicyChange(**change), {}, by=NOBODY, by_operator=False)


class Latecomer:
    """A request in a thread of its own, held up at a point until it is let go.

    Args:
        use: The request.
    """

    def __init__(self, use: Callable[[], object]) -> None:
        self._inside, self._go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=use, name=LATE, daemon=True)

    def pause(self) -> None:
        """To be called at the point, by whoever comes there: holds up the latecomer alone, once."""
        if threading.current_thread() is self._thread and not self._inside.is_set():
            self._inside.set()
            assert self._go.wait(LONG)

    def start(self) -> None:
        """Let it run to the point."""
        self._thread.start()
        assert self._inside.wait(LONG)

    def finish(self) -> None:
        """Let it go on to its end."""
        self._go.set()
        self._thread.join(LONG)
        assert not self._thread.is_alive()


def held_up_before(monkeypatch: pytest.MonkeyPatch, name: str, use: Callable[[], object]) -> Latecomer:
    """A request that is about to change a cached key's terms by a method of its."""
    late, real = Latecomer(use), getattr(BranchKey, name)

    def slow(self: BranchKey, *arguments: Any) -> None:
        late.pause()
        real(self, *arguments)

    monkeypatch.setattr(BranchKey, name, slow)
    late.start()
    return late


def held_up_in_the_kms(world: World, use: Callable[[], object]) -> Latecomer:
    """A request whose answer is on its way."""
    late = Latecomer(use)
    world.kms.after_unwrap = late.pause
    late.start()
    return late


@pytest.mark.parametrize("direction", ["encrypt", "decrypt"])
def test_a_renewal_of_before_brings_no_old_lease_back(direction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(policy=KeyPolicy(lease=3600))
    world.tenant()
    message = world.encrypt()
    world.decrypt(message)

    def use() -> object:
        return world.encrypt() if direction == "encrypt" else world.decrypt(message)

    world.app.gate.lapse("acme")
    late = held_up_before(monkeypatch, "renew", use)
    tighten(world, lease=5, outage_grace=0)
    assert use()
    late.finish()
    world.kms.trouble = denial
    world.clock.advance(6)
    with pytest.raises(VendorFault):
        use()


def test_a_silence_of_before_brings_no_old_grace_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(policy=KeyPolicy(lease=5, outage_grace=900))
    world.tenant()
    message = world.encrypt()
    world.decrypt(message)
    world.kms.trouble = silence
    world.clock.advance(9.9)
    late = held_up_before(monkeypatch, "extend", lambda: world.decrypt(message))
    tighten(world, outage_grace=10)
    assert world.decrypt(message) == b"secret"
    late.finish()
    world.clock.advance(0.2)
    with pytest.raises(KeyUnreachable):
        world.decrypt(message)


def test_a_renewal_of_before_does_not_shorten_the_grace(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    message = world.encrypt()
    world.decrypt(message)
    world.clock.advance(61)
    late = held_up_before(monkeypatch, "renew", lambda: world.decrypt(message))
    world.clock.advance(20)
    world.app.gate.lapse("acme")
    world.decrypt(message)
    late.finish()
    world.kms.trouble = silence
    world.clock.advance(890)
    assert world.decrypt(message) == b"secret"


def test_what_was_asked_before_a_rotation_gives_the_old_version_no_new_lease(world: World) -> None:
    world.encrypt()
    world.clock.advance(61)
    late = held_up_in_the_kms(world, world.encrypt)
    rotation = world.app.rotation.rotate("acme")
    world.kms.trouble = silence
    world.encrypt()
    late.finish()
    world.kms.trouble = serving
    world.clock.advance(6)
    assert parse_header(world.encrypt()).edks[0].version_id == rotation.version


def test_who_is_not_answered_is_served_by_what_another_thread_was_given_meanwhile() -> None:
    owned = Owned()
    other = owned.world.process()
    answered: list[bytes] = []

    def trouble(_operation: str, context: Mapping[str, str]) -> None:
        if context.get("type", "").startswith("branch:version") and not answered:
            answered.append(other.encryption.encrypt("acme", b"x", {}))
            raise Silence("throttled")

    owned.world.kms.trouble = trouble
    assert owned.outcome(other) == "ok"
    assert answered
    owned.silence()
    owned.world.kms.trouble = owned._trouble
    owned.world.clock.advance(59)
    asked = owned.world.kms.branch_unwraps()
    assert owned.outcome(other) == "ok"
    assert owned.world.kms.branch_unwraps() == asked, "the lease that was given was not cut short"


@pytest.mark.parametrize("lease", [0.1, 0.5, 0.8, 2])
@pytest.mark.parametrize("latency", [0.1, 0.6, 0.8, 2.4])
def test_a_lease_shorter_than_the_kms_takes_serves_who_waited(lease: float, latency: float) -> None:
    owned = Owned(policy=KeyPolicy(lease=lease))
    world, service = owned.world, owned.app.keystead
    unhurried = service._parts.budget

    def slow(_operation: str, _context: Mapping[str, str]) -> None:
        left = unhurried.remaining()
        world.clock.advance(min(left, latency))
        if latency > left:
            raise Silence("time was up")

    world.kms.trouble = slow
    for _ in range(5):
        world.clock.advance(lease + 0.01)
        assert decrypted(service, owned) == b"secret"
    world.kms.trouble = silence
    world.clock.advance(60)
    assert decrypted(service, owned) == b"secret"  # kept for the grace


def decrypted(service: Keystead, owned: Owned) -> bytes:
    return service.decrypt(caller(), "acme", owned.message, {})


class TestAnotherKey:
    """A KMS that unwraps a version to another key than before has not answered: a version's key never changes."""

    @pytest.fixture
    def owned(self, monkeypatch: pytest.MonkeyPatch) -> Owned:
        owned = Owned()
        owned.world.encrypt()
        assert owned.outcome() == "ok"
        real = owned.world.kms.unwrap

        def spoilt(*arguments: Any) -> UnwrappedKey:
            found = real(*arguments)
            return UnwrappedKey(bytes(32), found.server_time, found.proved_ago)

        monkeypatch.setattr(owned.world.kms, "unwrap", spoilt)
        owned.world.clock.advance(61)
        return owned

    def test_what_is_held_serves_on_and_nothing_is_lost(self, owned: Owned, monkeypatch: pytest.MonkeyPatch) -> None:
        assert owned.outcome() == "ok"
        message = owned.world.encrypt(b"meanwhile")
        assert "keystead.alarm.kms_contradicts" in owned.world.events.types()
        assert owned.state is State.DEGRADED
        monkeypatch.undo()
        owned.world.clock.advance(61)
        assert owned.outcome() == "ok"
        assert owned.world.process().encryption.decrypt("acme", message, {}) == b"meanwhile"

    def test_after_the_grace_nothing_serves_until_it_is_over(
        self, owned: Owned, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And a key that was spoilt itself is replaced, whatever was held before."""
        owned.world.clock.advance(1000)
        assert owned.outcome() == "message_invalid"  # nothing is held any more that it could be compared with
        monkeypatch.undo()
        owned.world.clock.advance(1000)
        assert owned.outcome() == "ok"


def test_terms_are_changed_whole_and_by_no_older_generation(world: World) -> None:
    world.encrypt()
    view = world.app.gate.enter("acme", "write")
    key = world.app.branch_keys.active(view)
    older = view.generation
    view.lapse()
    asked = world.app.branch_keys._timekeeper.now()
    key.renew(asked, 7, view.generation)
    known = (key.asked, key.wall_until, key.boot_until, key.generation)
    key.renew(Instant(1, 1), 3600, older)
    key.extend(Instant(asked.wall + 9999, asked.boot + 9999), older)
    assert (key.asked, key.wall_until, key.boot_until, key.generation) == known
