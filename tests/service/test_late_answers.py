"""Answers of a KMS that arrive late, out of order or spoilt, and what they may still change."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from core.domain.kek import UnwrappedKey, WrappedKey
from core.domain.key_policy import KeyPolicy, PolicyChange
from core.domain.message_header import parse_header
from core.domain.states import State
from core.domain.timing import Instant
from core.errors import Denial, KeyUnreachable, Silence, VendorFault
from core.service.approvals import NOBODY
from core.service.branch_key import BranchKey
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


@pytest.mark.parametrize(("lease", "served"), [(0, True), (0.5, False), (0.7, False), (0.9, True), (3, True)])
def test_a_lease_shorter_than_the_kms_takes_is_over_when_it_answers(lease: float, served: bool) -> None:
    """A slow answer cannot be told from a process that was stopped after it."""
    owned = Owned(policy=KeyPolicy(lease=lease))
    service = owned.app.keystead
    owned.world.kms.after_unwrap = lambda: owned.world.clock.advance(0.8)
    for _ in range(3):
        owned.world.clock.advance(lease + 0.01)
        if served:
            assert service.decrypt(caller(), "acme", owned.message, {}) == b"secret"
        else:
            with pytest.raises(KeyUnreachable, match="its lease ended while the request ran"):
                service.decrypt(caller(), "acme", owned.message, {})


class Spoilt:
    """Answers of a KMS that are spoilt on their way.

    Args:
        owned: Whose KMS.
        times: How many, of those about rows.
        row: About which type of row, by how it begins.
        give: Makes what arrives.
    """

    def __init__(self, owned: Owned, times: int, row: str = "", give: Callable[[], bytes] = lambda: os.urandom(32)):
        self._real, self.left, self._row, self._give = owned.world.kms.unwrap, times, row, give
        owned.world.kms.unwrap = self._unwrap  # type: ignore[method-assign]

    def _unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> UnwrappedKey:
        found = self._real(wrapped, context)
        if not self.left or not context.get("type", "").startswith(self._row or "branch:"):
            return found
        self.left -= 1
        return UnwrappedKey(self._give(), found.server_time, found.proved_ago)


class TestAnotherKey:
    """A version's key never changes: what says otherwise was spoilt, or what is held was."""

    def alarmed(self, owned: Owned) -> bool:
        return "keystead.alarm.kms_contradicts" in owned.world.events.types()

    @pytest.mark.parametrize("times", [1, 2, 1000])
    def test_spoilt_answers_replace_nothing(self, times: int) -> None:
        owned = Owned()
        owned.world.encrypt()
        assert owned.outcome() == "ok"
        owned.world.clock.advance(61)
        spoilt = Spoilt(owned, times)
        assert owned.outcome() == "ok"
        message = owned.world.encrypt(b"meanwhile")
        assert self.alarmed(owned)
        assert owned.state is (State.ACTIVE if times == 1 else State.DEGRADED)  # one: the second answer was right
        spoilt.left = 0
        owned.world.clock.advance(61)
        assert owned.outcome() == "ok"
        assert owned.world.process().encryption.decrypt("acme", message, {}) == b"meanwhile"

    def test_a_first_answer_that_was_spoilt_is_found_by_the_next(self) -> None:
        owned = Owned(policy=KeyPolicy(outage_grace=86400))
        other = owned.world.process()
        Spoilt(owned, 1)
        other.encryption.encrypt("acme", b"lost", {})
        for _ in range(5):
            owned.world.clock.advance(61)
            message = other.encryption.encrypt("acme", b"later", {})
            assert owned.world.process().encryption.decrypt("acme", message, {}) == b"later"
        assert self.alarmed(owned)

    def test_a_read_that_was_spoilt_loses_no_write(self) -> None:
        owned = Owned()
        other = owned.world.process()
        Spoilt(owned, 1, "branch:version")
        assert owned.outcome(other) == "message_invalid"
        message = other.encryption.encrypt("acme", b"new", {})
        assert owned.world.process().encryption.decrypt("acme", message, {}) == b"new"
        assert owned.outcome(other) == "ok"

    @pytest.mark.parametrize("purged", [False, True])
    def test_two_answers_that_agree_are_believed_and_kept_unless_there_was_a_purge_meanwhile(
        self, purged: bool
    ) -> None:
        owned = Owned()
        assert owned.outcome() == "ok"
        owned.world.clock.advance(61)
        Spoilt(owned, 1000, give=lambda: b"k" * 32)
        acts = [lambda: owned.app.gate.purge("acme") if purged else None, lambda: None]
        owned.world.kms.after_unwrap = lambda: acts.pop()() if acts else None
        asked = owned.world.kms.branch_unwraps()
        assert owned.outcome() == "message_invalid"
        assert owned.world.kms.branch_unwraps() == asked + 2
        assert owned.outcome() == "message_invalid"
        assert owned.world.kms.branch_unwraps() == asked + 2 + purged


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


def test_a_process_stopped_between_the_answer_and_its_cache_serves_nothing_by_it() -> None:
    owned = Owned(policy=KeyPolicy(outage_grace=0))
    assert owned.outcome() == "ok"
    owned.world.clock.advance(61)
    once = [owned.deny]

    def stopped() -> None:
        if once:
            owned.world.clock.advance(600)
            once.pop()()

    owned.world.kms.after_unwrap = stopped
    assert owned.outcome() == "key_revoked"


@pytest.mark.parametrize("trouble", ["another time", "hold"])
def test_what_proves_nothing_for_the_next_call_is_not_kept(trouble: str) -> None:
    owned = Owned()
    if trouble == "hold":
        owned.deny()
        owned.check()
        owned.serve()
    else:
        owned.world.clock.advance(61)
        owned.world.kms.server_time = owned.world.clock.wall() - 30
    for _ in range(3):
        asked = owned.world.kms.branch_unwraps()
        assert owned.outcome() == "ok"
        assert owned.world.kms.branch_unwraps() > asked
