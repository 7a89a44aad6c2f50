"""What ends leases and not what is cached: it is renewed before it serves again, and serves in its grace."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from core.domain.key_policy import KeyPolicy
from core.domain.message import own_section
from core.domain.message_header import parse_header
from core.domain.states import State
from core.domain.tenants import TenantRecord
from core.errors import Denial, KeyUnreachable, KeyWriteBlocked, Silence, Unasked
from core.service.single_flight import OwnShortage
from core.service.state_gate import StateGate
from core.service.tenant_view import TenantView
from tests.service.revocation.withdrawing import Owned
from tests.service.world import OTHER_KEK, World


def silence(_operation: str, _context: Mapping[str, str]) -> None:
    raise Silence("no answer")


class TestTheNumbers:
    def test_a_lapse_ends_what_serves_and_keeps_what_is_held(self) -> None:
        view = TenantView("acme")
        before = view.generation
        view.lapse()
        assert view.generation != before
        assert view.holds(before)
        assert view.holds(view.generation)

    def test_a_purge_ends_both_whatever_lapsed_before(self) -> None:
        view = TenantView("acme")
        numbers = [view.generation]
        for _ in range(3):
            view.lapse()
            numbers.append(view.generation)
        view.purge()
        assert not any(view.holds(number) for number in numbers)
        assert view.holds(view.generation)

    def test_a_retired_view_holds_nothing_and_no_lapse_or_purge_brings_it_back(self) -> None:
        view = TenantView("acme")
        number = view.generation
        view.retire()
        for act in (view.lapse, view.purge, view.retire):
            act()
            assert view.generation != view.generation  # equals nothing
            assert not view.holds(number)
            assert not view.holds(view.generation)

    def test_another_view_of_the_same_tenant_holds_nothing_of_it(self) -> None:
        before = TenantView("acme").generation
        assert not TenantView("acme").holds(before)


@pytest.mark.parametrize("policy", [KeyPolicy(lease=5), KeyPolicy(lease=0)])
def test_who_finds_a_new_generation_finds_the_new_terms(
    world: World, policy: KeyPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a key cached in between would serve for the lease of before."""
    seen: list[float] = []
    view = world.app.gate.enter("acme", "read")
    for name in ("lapse", "purge"):
        monkeypatch.setattr(TenantView, name, lambda self: seen.append(self.record.lease))
    world.change(policy=policy)
    world.app.gate.refresh(view, forced=True)
    assert seen == [policy.lease]


def ended(gate: StateGate, act: str) -> None:
    getattr(gate, act)("acme")


@pytest.mark.parametrize("direction", ["encrypt", "decrypt"])
def test_after_a_lapse_the_kms_is_asked_once_and_data_keys_live_on(world: World, direction: str) -> None:
    message = world.encrypt()
    world.decrypt(message)
    asked = world.kms.branch_unwraps()
    world.app.gate.lapse("acme")
    for _ in range(3):
        if direction == "encrypt":
            assert own_section(world.encrypt()) == own_section(message)
        else:
            assert world.decrypt(message) == b"secret"
    assert world.kms.branch_unwraps() == asked + 1


def test_a_lapse_in_an_outage_again_and_again_neither_ends_nor_lengthens_the_grace(world: World) -> None:
    message = world.encrypt()
    world.decrypt(message)
    world.kms.trouble = silence
    for _ in range(90):
        world.clock.advance(9.99)
        world.app.gate.lapse("acme")
        assert world.decrypt(message) == b"secret"
        assert world.encrypt()
    world.clock.advance(1)
    uses: tuple[Callable[[], bytes], ...] = (world.encrypt, lambda: world.decrypt(message))
    for use in uses:
        with pytest.raises(KeyUnreachable):
            use()


@pytest.mark.parametrize("during", ["lapse", "purge"])
def test_a_lapse_while_the_kms_is_asked_has_it_asked_again(world: World, during: str) -> None:
    """What was asked for before may have been decided by the policy of before."""
    message = world.encrypt()
    world.decrypt(message)
    world.clock.advance(61)
    world.decrypt(message)
    once: list[Callable[[], None]] = [lambda: ended(world.app.gate, during)]
    world.kms.after_unwrap = lambda: once.pop()() if once else None
    world.clock.advance(61)
    asked = world.kms.branch_unwraps()
    assert world.decrypt(message) == b"secret"
    assert world.kms.branch_unwraps() == asked + 2


@pytest.mark.parametrize(("during", "served"), [("lapse", True), ("purge", False)])
def test_a_lapse_during_a_silence_leaves_the_grace_and_a_purge_does_not(
    world: World, during: str, served: bool
) -> None:
    message = world.encrypt()
    world.decrypt(message)
    once = [lambda: ended(world.app.gate, during)]

    def silent(operation: str, context: Mapping[str, str]) -> None:
        if once:
            once.pop()()
        silence(operation, context)

    world.kms.trouble = silent
    world.clock.advance(61)
    if served:
        assert world.decrypt(message) == b"secret"
    else:
        with pytest.raises(KeyUnreachable):
            world.decrypt(message)


@pytest.mark.parametrize(("act", "served"), [("lapse", True), ("purge", False)])
def test_who_has_no_time_for_the_kms_is_served_by_what_a_lapse_left(world: World, act: str, served: bool) -> None:
    message = world.encrypt()
    world.decrypt(message)

    def no_time(_operation: str, _context: Mapping[str, str]) -> None:
        raise Unasked("no time left")

    world.kms.trouble = no_time
    ended(world.app.gate, act)
    if served:
        assert world.decrypt(message) == b"secret"
    else:
        with pytest.raises(OwnShortage):
            world.decrypt(message)


def test_a_rotation_leaves_what_is_held_to_the_grace(world: World) -> None:
    """The process that rotates is no worse off than the others, whom nobody tells."""
    message = world.encrypt()
    world.decrypt(message)
    rotation = world.app.rotation.rotate("acme")
    world.kms.trouble = silence
    assert world.decrypt(message) == b"secret"
    assert world.decrypt(world.encrypt()) == b"secret"
    world.kms.trouble = lambda _operation, _context: None
    world.clock.advance(6)
    assert parse_header(world.encrypt()).edks[0].version_id == rotation.version


def test_who_finds_out_that_a_key_may_not_wrap_reads_on_in_an_outage() -> None:
    owned = Owned()
    assert owned.outcome() == "ok"

    def unwraps_only(operation: str, context: Mapping[str, str]) -> None:
        if operation == "wrap" and context.get("kms-arn") == OTHER_KEK.locator:
            raise Denial("no", cause="expired", kms_code="No")

    owned.world.kms.trouble = unwraps_only
    assert owned.check() is State.WRITE_BLOCKED
    with pytest.raises(KeyWriteBlocked):
        owned.world.encrypt()  # at once, whatever data keys were cached
    owned.world.kms.trouble = silence
    assert owned.outcome() == "ok"
    owned.world.clock.advance(800)
    assert owned.outcome() == "ok"


def test_nothing_is_encrypted_while_it_is_told_that_a_key_may_not_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request of another thread, between the write of the state and its telling, must not cache a data key."""
    owned = Owned()
    owned.world.encrypt()

    def unwraps_only(operation: str, context: Mapping[str, str]) -> None:
        if operation == "wrap" and context.get("kms-arn") == OTHER_KEK.locator:
            raise Denial("no", cause="expired", kms_code="No")

    owned.world.kms.trouble = unwraps_only
    tell, heard = owned.app.checks._teller.tell, []

    def slow(record: TenantRecord) -> None:
        with pytest.raises(KeyWriteBlocked):
            owned.world.encrypt()
        heard.append(record.state)
        tell(record)

    monkeypatch.setattr(owned.app.checks._teller, "tell", slow)
    assert owned.check() is State.WRITE_BLOCKED
    assert heard == [State.WRITE_BLOCKED]
    with pytest.raises(KeyWriteBlocked):
        owned.world.encrypt()
