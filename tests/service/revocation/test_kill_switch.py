"""The kill switch: whatever the state, nothing is served, asked or moved while it is on, and then all is as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from core.bootstrap import Application
from core.domain.key_policy import KeyPolicy
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.domain.tenants import TenantRecord
from core.domain.withdrawals import instant
from core.errors import (
    AccessDenied,
    Conflict,
    Denial,
    InvalidRequest,
    KeysteadError,
    KeySuspended,
    NotFound,
    Silence,
    StoreUnavailable,
)
from core.service.access import Permission
from tests.domain.withdrawn import withdrawal
from tests.service.injection import Injector, Killed, injected
from tests.service.world import OPERATOR, OTHER_KEK, PLATFORM, THIRD_KEK, World, caller

OWN = KeyTarget(OTHER_KEK.locator, reversible=True)
BUT_SUSPENDED = sorted(set(State) - {State.SUSPENDED})
AS_BEFORE = {State.PLATFORM, State.SCHEDULED, State.ACTIVE, State.HOLD, State.REVOKED}
CAUSES = {State.HOLD: "policy", State.REVOKED: "policy", State.NETWORK_BLOCKED: "network"}
STATE_AGE = 10


def standing(state: State) -> tuple[World, list[bytes]]:
    """A tenant in a state, and messages from before it got there."""
    world = World(policy=KeyPolicy(lease=3600))
    world.tenant()
    messages = [world.encrypt(b"first")]
    if state is State.PLATFORM:
        return world, messages
    if state is State.SCHEDULED:
        ahead = instant(world.clock.wall_time + 86400)
        world.app.key_configuration.configure("acme", replace(OWN, activation=ahead), {})
        return world, messages
    world.app.key_configuration.configure("acme", OWN, {})
    messages.append(world.encrypt(b"second"))
    if state is State.REVOKED:
        put(world, State.HOLD)
    put(world, state)
    return world, messages


def put(world: World, state: State) -> None:
    """Have another process write a state."""
    denied = (
        withdrawal(kek=OTHER_KEK.locator, cause="policy", receipt="") if state in {State.HOLD, State.REVOKED} else None
    )
    world.change(state=state, cause=CAUSES.get(state, ""), withdrawal=denied)


def record(world: World) -> TenantRecord:
    return world.app.tenants.read("acme")


def suspend(world: World) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    world.app.kill_switch.suspend("acme", "alice", facts)
    return facts


def resume(world: World) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    world.app.kill_switch.resume("acme", "bob", facts)
    return facts


def withdraw(world: World, error: Callable[[], KeysteadError] = lambda: Denial("no", cause="disabled")) -> None:
    """Have the tenant's KEK refuse."""

    def trouble(operation: str, context: Mapping[str, str]) -> None:
        if context.get("kms-arn") == OTHER_KEK.locator:
            raise error()

    world.kms.trouble = trouble


def kms_calls(world: World) -> tuple[int, int]:
    """Unwraps and wraps of branch keys and probes so far: the row MAC key is the service's own."""
    return world.kms.branch_unwraps(), world.kms.wraps


def refused(world: World, messages: list[bytes], app: Application | None = None) -> None:
    """Nothing is served."""
    encryption = (app or world.app).encryption
    for message in messages:
        with pytest.raises(KeySuspended, match="kill switch"):
            encryption.decrypt("acme", message, {})
    with pytest.raises(KeySuspended, match="kill switch"):
        encryption.encrypt("acme", b"new", {})


def look_around(world: World, app: Application) -> None:
    """Everything that runs on a schedule, for two hours."""
    for _ in range(12):
        world.clock.advance(600)
        assert app.schedules.run("check", 60).failed == {}
        assert app.schedules.run("watch", 60).failed == {}


@pytest.mark.parametrize("state", BUT_SUSPENDED)
def test_every_state_is_suspended_at_once_and_as_often_as_asked(state: State) -> None:
    world, messages = standing(state)
    before, told = record(world), len(world.app.kill_switch._teller.timeline("acme"))
    world.clock.advance(1)
    assert suspend(world) == {"from": state.value, "to": "suspended"}
    resume_to = state if state in AS_BEFORE else State.ACTIVE
    suspended = record(world)
    assert suspended == replace(
        before,
        state=State.SUSPENDED,
        cause="",
        since=instant(world.clock.wall_time),
        resume_to=resume_to.value,
        untold=(),
        interruptions=before.interruptions + 1,
    )
    refused(world, messages)
    world.clock.advance(1)
    assert suspend(world) == {"from": "suspended", "to": "suspended"}
    assert record(world) == suspended
    refused(world, messages, world.process())
    assert len(world.app.kill_switch._teller.timeline("acme")) == told + 1


@pytest.mark.parametrize("state", BUT_SUSPENDED)
def test_what_is_resumed_is_as_it_was(state: State) -> None:
    world, messages = standing(state)
    before = record(world)
    suspend(world)
    world.clock.advance(100)
    assert resume(world) == {"from": "suspended", "to": (state if state in AS_BEFORE else State.ACTIVE).value}
    resumed = record(world)
    assert resumed == replace(
        before,
        state=state if state in AS_BEFORE else State.ACTIVE,
        cause=before.cause if before.withdrawal else "",
        since=instant(world.clock.wall_time),
        interruptions=resumed.interruptions,
    )
    assert resumed.interruptions > before.interruptions
    world.clock.advance(50)
    assert resume(world) == {"from": resumed.state.value, "to": resumed.state.value}
    assert record(world) == resumed
    if state is not State.REVOKED:
        # The KMS serves, so this does; and other processes do no later than they would have stopped.
        assert [world.decrypt(message) for message in messages] == [b"first", b"second"][: len(messages)]
        assert world.decrypt(world.encrypt(b"new")) == b"new"


def test_a_revoked_key_stays_revoked_until_a_check_reinstates_it() -> None:
    world, messages = standing(State.REVOKED)
    suspend(world)
    resume(world)
    with pytest.raises(KeysteadError) as refusal:
        world.decrypt(messages[0])
    assert refusal.value.code == "key_revoked"
    world.clock.advance(1)
    assert world.app.schedules.run("watch", 60).tenants == 1
    assert record(world).state is State.ACTIVE
    world.clock.advance(2)
    assert [world.decrypt(message) for message in messages] == [b"first", b"second"]


def test_a_hold_that_is_resumed_is_confirmed_or_ended_by_the_kms() -> None:
    for withdrawn in (True, False):
        world, _ = standing(State.HOLD)
        suspend(world)
        if withdrawn:
            withdraw(world)
        resume(world)
        known = record(world).withdrawal
        assert known is not None
        assert (known.cause, known.request_id) == ("policy", "req-1")
        world.clock.advance(1)
        world.app.schedules.run("watch", 60)
        world.clock.advance(2)
        world.app.schedules.run("watch", 60)
        assert record(world).state is (State.REVOKED if withdrawn else State.ACTIVE)
        world.app.close()


@pytest.mark.parametrize("state", sorted(set(BUT_SUSPENDED) - AS_BEFORE))
def test_what_is_resumed_as_active_has_its_kms_asked_soon(state: State) -> None:
    world, messages = standing(state)
    withdraw(world, (lambda: Silence("no")) if state is State.UNREACHABLE else (lambda: Denial("no", cause="network")))
    suspend(world)
    resume(world)
    assert record(world).state is State.ACTIVE
    # Nothing cached of before serves.
    with pytest.raises(KeysteadError) as refusal:
        world.decrypt(messages[1])
    assert refusal.value.code in {"key_unreachable", "key_network_blocked"}
    unwraps = world.kms.branch_unwraps()
    world.clock.advance(1)
    world.app.schedules.run("watch", 60)
    assert world.kms.branch_unwraps() > unwraps
    assert record(world).state is (State.DEGRADED if state is State.UNREACHABLE else State.NETWORK_BLOCKED)


def test_a_resumed_key_is_asked_soon_whenever_its_turn_was_to_be() -> None:
    world, _ = standing(State.ACTIVE)
    world.app.schedules.run("check", 60)
    world.clock.advance(100)
    suspend(world)
    world.app.kill_switch._turns.note("acme", due=world.clock.wall_time + 900)
    resume(world)
    unwraps = world.kms.branch_unwraps()
    world.app.schedules.run("watch", 60)
    assert world.kms.branch_unwraps() == unwraps
    resumed = record(world)
    for _ in range(3):
        world.clock.advance(1)
        world.app.schedules._watch.add("acme")
        world.app.schedules.run("watch", 60)
    assert world.kms.branch_unwraps() == unwraps + 1
    assert record(world) == resumed
    world.app.close()


def test_a_record_that_does_not_say_what_to_resume_has_its_key_proved_anew() -> None:
    world, _ = standing(State.ACTIVE)
    world.change(state=State.SUSPENDED)
    assert resume(world) == {"from": "suspended", "to": "hold"}
    assert record(world).state is State.HOLD


def test_another_process_stops_within_the_state_age() -> None:
    world, messages = standing(State.ACTIVE)
    other = world.process()
    assert other.encryption.decrypt("acme", messages[1], {}) == b"second"
    suspend(world)
    refused(world, messages)
    world.clock.advance(STATE_AGE - 0.01)
    assert other.encryption.decrypt("acme", messages[1], {}) == b"second", "what it cached, for its state is fresh"
    world.clock.advance(0.01)
    refused(world, messages, other)
    resume(world)
    world.clock.advance(2)
    unwraps = world.kms.branch_unwraps()
    assert other.encryption.decrypt("acme", messages[1], {}) == b"second"
    assert world.kms.branch_unwraps() == unwraps + 1, "not by what it had cached"


def test_an_operation_under_way_ends_without_plaintext() -> None:
    acts: list[Callable[[Application, bytes], object]] = [
        lambda app, message: app.encryption.encrypt("acme", b"new", {}),
        lambda app, message: app.encryption.decrypt("acme", message, {}),
    ]
    for act in acts:
        world, messages = standing(State.ACTIVE)
        app = world.process()

        def meanwhile(app: Application = app, world: World = world) -> None:
            world.kms.after_unwrap = lambda: None
            app.kill_switch.suspend("acme", "alice", {})

        app.gate.enter("acme", "read")
        world.kms.after_unwrap = meanwhile
        with pytest.raises(KeySuspended):
            act(app, messages[1])


def test_a_process_lets_go_of_its_keys_even_if_the_record_cannot_be_written() -> None:
    world, messages = standing(State.ACTIVE)
    assert world.decrypt(messages[1]) == b"second"
    unwraps = world.kms.branch_unwraps()
    assert world.decrypt(messages[1]) == b"second"
    assert world.kms.branch_unwraps() == unwraps
    world.tenants.silent = True
    with pytest.raises(StoreUnavailable):
        suspend(world)
    world.tenants.silent = False
    assert record(world).state is State.ACTIVE
    assert world.decrypt(messages[1]) == b"second"
    assert world.kms.branch_unwraps() == unwraps + 1


@pytest.mark.parametrize("state", BUT_SUSPENDED)
def test_nothing_is_asked_of_a_kms_while_suspended(state: State) -> None:
    world, messages = standing(state)
    world.app.schedules.run("check", 60)
    suspend(world)
    other = world.process()
    other.tenants.read("acme")
    calls = kms_calls(world)
    for app in (world.app, other):
        look_around(world, app)
        assert app.checks.check("acme", forced=True) is State.SUSPENDED
        refused(world, messages, app)
        app.close()
    assert kms_calls(world) == calls
    assert record(world).state is State.SUSPENDED


def test_a_scheduled_key_is_not_activated_while_suspended() -> None:
    world, messages = standing(State.SCHEDULED)
    suspend(world)
    world.clock.advance(2 * 86400)
    other = world.process()
    refused(world, messages, other)
    assert other.schedules.run("check", 60).failed == {}
    other.key_configuration.check("acme", {})
    found = record(world)
    assert (found.state, found.kek, found.resume_to) == (State.SUSPENDED, PLATFORM.locator, "scheduled")
    assert found.pending is not None
    resume(world)
    assert record(world).state is State.SCHEDULED
    assert world.decrypt(messages[0]) == b"first"  # the first call activates it
    assert (record(world).state, record(world).kek) == (State.ACTIVE, OTHER_KEK.locator)
    other.close()


MOVES: dict[str, Callable[[Application], object]] = {
    "replace": lambda app: app.key_configuration.configure("acme", KeyTarget(THIRD_KEK.locator), {}),
    "the same again": lambda app: app.key_configuration.configure("acme", OWN, {}),
    "go back": lambda app: app.key_configuration.revert("acme", {}),
    "rotate": lambda app: app.rotation.rotate("acme"),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("state", [State.ACTIVE, State.SCHEDULED, State.REVOKED, State.PLATFORM])
def test_nothing_moves_while_suspended(name: str, state: State) -> None:
    world, _ = standing(state)
    suspend(world)
    before = record(world)
    for app in (world.app, world.process()):
        with pytest.raises(KeySuspended, match="kill switch"):
            MOVES[name](app)
    found = record(world)
    assert replace(found, external_id=before.external_id) == before, "an external id is made once, and moves nothing"


def halfway(world: World) -> None:
    """Begin to replace the tenant's KEK, and let the process die over it."""

    def die(operation: str, context: Mapping[str, str]) -> None:
        if record(world).moving_from is not None and context.get("kms-arn") == THIRD_KEK.locator:
            raise Killed

    world.kms.trouble = die
    with pytest.raises(Killed):
        MOVES["replace"](world.process())
    world.kms.trouble = lambda operation, context: None


def test_a_change_of_key_waits_and_is_finished_after() -> None:
    world, messages = standing(State.ACTIVE)
    halfway(world)
    suspend(world)
    before = record(world)
    other = world.process()
    for act in MOVES.values():
        with pytest.raises(KeySuspended):
            act(other)
    with pytest.raises(KeySuspended):
        other.key_configuration.check("acme", {})
    other.schedules.run("check", 60)
    assert record(world) == before
    assert (before.state, before.moving_from, before.kek) == (
        State.SUSPENDED,
        OTHER_KEK.locator,
        THIRD_KEK.locator,
    )
    resume(world)
    world.clock.advance(1000)
    assert other.schedules.run("check", 60).failed == {}
    found = record(world)
    assert (found.state, found.moving_from, found.kek) == (State.ACTIVE, None, THIRD_KEK.locator)
    assert [world.decrypt(message) for message in messages] == [b"first", b"second"]
    other.close()


@pytest.mark.parametrize("answer", [None, Denial("no", cause="disabled"), Silence("no")], ids=["yes", "no", "silence"])
@pytest.mark.parametrize("state", [State.ACTIVE, State.HOLD, State.REVOKED])
def test_an_answer_that_was_asked_for_before_does_not_undo_it(state: State, answer: KeysteadError | None) -> None:
    world, _ = standing(state)
    other = world.process()
    other.tenants.read("acme")

    def late(operation: str, context: Mapping[str, str]) -> None:
        if context.get("kms-arn") == OTHER_KEK.locator:
            world.kms.trouble = lambda operation, context: None
            suspend(world)
            if answer is not None:
                raise answer

    world.kms.trouble = late
    other.checks.check("acme", forced=True)
    found = record(world)
    assert (found.state, found.resume_to) == (State.SUSPENDED, state.value)
    told = [change.after for change in world.app.kill_switch._teller.timeline("acme")]
    assert told[-1] == "suspended"


def test_a_receipt_that_is_pending_is_issued_once_and_stays_what_it_is() -> None:
    world, _ = standing(State.ACTIVE)
    world.signer.silent = True
    withdraw(world)
    app, auditor = world.app, caller("acme")
    app.checks.check("acme", forced=True)
    world.clock.advance(1.1)
    assert app.checks.check("acme", forced=True) is State.REVOKED
    withdrawn = record(world).withdrawal
    assert withdrawn is not None
    suspend(world)
    assert app.keystead.list_receipts(auditor, "acme") == []
    world.signer.silent = False
    look_around(world, app)  # what it states is true while suspended, too
    issued = app.keystead.list_receipts(auditor, "acme")
    assert [entry.id for entry in issued] == [withdrawn.receipt]
    resume(world)
    assert record(world).withdrawal == withdrawn
    world.clock.advance(1)
    app.schedules.run("watch", 60)
    assert record(world).state is State.REVOKED
    assert app.keystead.list_receipts(auditor, "acme") == issued
    app.close()


def test_a_receipt_that_is_pending_at_the_resume_is_issued_after_it() -> None:
    world, _ = standing(State.ACTIVE)
    world.signer.silent = True
    withdraw(world)
    world.app.checks.check("acme", forced=True)
    world.clock.advance(1.1)
    world.app.checks.check("acme", forced=True)
    suspend(world)
    look_around(world, world.app)
    resume(world)
    world.signer.silent = False
    world.clock.advance(1)
    world.app.schedules.run("watch", 60)
    found = record(world)
    assert found.state is State.REVOKED
    assert found.withdrawal is not None
    assert [entry.id for entry in world.app.keystead.list_receipts(caller("acme"), "acme")] == [
        found.withdrawal.receipt
    ]
    world.app.close()


def test_who_did_it_is_audited_and_told() -> None:
    world, _ = standing(State.ACTIVE)
    keystead = world.app.keystead
    shown = keystead.suspend_key(caller("acme", subject="alice"), "acme", "leaked credentials")
    assert (shown.state, shown.may_read, shown.may_write, shown.cause) == (State.SUSPENDED, False, False, "")
    shown = keystead.resume_key(caller("acme", subject="bob"), "acme")
    assert (shown.state, shown.may_read, shown.may_write) == (State.ACTIVE, True, True)
    told = [(change.by, change.signal, change.before, change.after) for change in shown.timeline[-2:]]
    assert told == [("alice", "suspend", "active", "suspended"), ("bob", "resume", "suspended", "active")]
    entries = {entry.action + " " + entry.subject: entry for entry in world.app.audit.read("acme", limit=1000)}
    done = entries["key.suspend alice"]
    assert (done.outcome, done.details["from"], done.details["to"]) == ("ok", "active", "suspended")
    assert done.details["why"] == "leaked credentials"
    done = entries["key.resume bob"]
    assert (done.outcome, done.details["from"], done.details["to"]) == ("ok", "suspended", "active")
    for who, after in (("alice", "suspended"), ("bob", "active")):
        assert entries[f"key.state {who}"].details["after"] == after
    assert world.app.audit.verify("acme").ok
    events = [data["by"] for kind, _, data in world.events.events if kind == "keystead.key.state_changed"]
    assert events[-2:] == ["alice", "bob"]


def test_who_may_turn_it_on_and_who_off() -> None:
    world, _ = standing(State.ACTIVE)
    keystead = world.app.keystead
    manager, guard = caller("acme", Permission.KEY_MANAGE), caller("acme", Permission.KEY_SUSPEND)
    for stranger in (manager, caller("bolt")):
        with pytest.raises(AccessDenied):
            keystead.suspend_key(stranger, "acme")
    assert record(world).state is State.ACTIVE
    keystead.suspend_key(OPERATOR, "acme")
    for stranger in (OPERATOR, guard, caller("bolt")):
        with pytest.raises(AccessDenied):
            keystead.resume_key(stranger, "acme")
    assert record(world).state is State.SUSPENDED
    keystead.resume_key(manager, "acme")
    keystead.suspend_key(guard, "acme")
    assert record(world).state is State.SUSPENDED


@pytest.mark.parametrize("reason", ["x" * 201, "a\nb", "\x00", "\u202e"])
def test_a_reason_that_is_none(reason: str) -> None:
    world, _ = standing(State.ACTIVE)
    with pytest.raises(InvalidRequest, match="reason"):
        world.app.keystead.suspend_key(caller("acme"), "acme", reason)
    assert record(world).state is State.ACTIVE
    assert world.app.keystead.suspend_key(caller("acme"), "acme", "x" * 200).state is State.SUSPENDED


def test_who_is_not_there_is_not_suspended() -> None:
    world, _ = standing(State.ACTIVE)
    for act in (world.app.kill_switch.suspend, world.app.kill_switch.resume):
        with pytest.raises(NotFound):
            act("nobody", "alice", {})
    world.change(deleted=True)
    for act in (world.app.kill_switch.suspend, world.app.kill_switch.resume):
        with pytest.raises(Conflict, match="spent"):
            act("acme", "alice", {})


def test_what_another_writes_meanwhile_is_kept() -> None:
    for act, state in ((suspend, State.SUSPENDED), (resume, State.ACTIVE)):
        world, _ = standing(State.ACTIVE)
        if act is resume:
            suspend(world)
        injector = Injector()
        app = injected(world.app, injector)
        app.tenants.read("acme")

        def meanwhile(name: str, world: World = world) -> None:
            world.change(display_name="Acme")

        injector.arm(2, "before", meanwhile)  # the record is read to see that it is there, and to be changed
        getattr(app.kill_switch, act.__name__)("acme", "alice", {})
        assert [point.name for point in injector.points[:3]] == ["read", "read", "write"]
        found = record(world)
        assert (found.state, found.display_name) == (state, "Acme")
