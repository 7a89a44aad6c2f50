"""A tenant's knobs: ranges, the operator's caps, who may do what in which state, and how fast it takes effect."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import pytest

from core.bootstrap import Application, Config
from core.domain.key_policy import KeyPolicy, PolicyChange
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.domain.tenants import RECORD, TenantRecord
from core.errors import (
    AccessDenied,
    Conflict,
    InvalidRequest,
    KeysteadError,
    KeyUnreachable,
    NotFound,
    Silence,
    StoreUnavailable,
)
from core.ports import Document
from core.service.access import Permission
from core.service.approvals import NOBODY
from core.service.key_policies import _looseness
from tests.service.world import OPERATOR, OTHER_KEK, World, caller

ALICE = caller()
LOOSER = PolicyChange(lease=120)
FALLBACK = PolicyChange(fallback="platform")


@pytest.fixture
def own(world: World) -> World:
    """A world whose tenant has a key of its own."""
    world.app.key_configuration.configure("acme", KeyTarget(OTHER_KEK.locator), {})
    return world


def record(world: World) -> TenantRecord:
    return world.app.tenants.read("acme")


def put(world: World, change: PolicyChange, who: Any = ALICE, app: Application | None = None) -> KeyPolicy:
    """Change knobs; gives the policy as stored."""
    (app or world.app).keystead.set_policy(who, "acme", change)
    return record(world).policy


def refused(world: World, error: type[KeysteadError], change: PolicyChange, who: Any = ALICE) -> KeysteadError:
    """A change is refused, for exactly this reason, and nothing changes."""
    before = record(world)
    with pytest.raises(KeysteadError) as caught:
        put(world, change, who)
    assert type(caught.value) is error
    assert record(world) == before
    return caught.value


def audited(world: World) -> tuple[str, str, dict[str, Any]]:
    entry = world.audit_log.read("acme", limit=1000)[-1]
    return entry.action, entry.outcome, dict(entry.details)


def test_each_knob(own: World) -> None:
    expected = KeyPolicy()
    for change in (
        {"lease": 0.5},
        {"lease": 3600},
        {"outage_grace": 0},
        {"outage_grace": 86400},
        {"rotation_days": 1},
        {"rotation_days": 365},
        {"fallback": "platform"},
        {"fallback": ""},
        {"approval": "second_person"},
    ):
        expected = replace(expected, **change)
        assert put(own, PolicyChange(**change)) == expected


def test_all_or_nothing(own: World) -> None:
    assert put(own, PolicyChange(lease=1, outage_grace=2, rotation_days=3)) == KeyPolicy(1, 2, 3)
    refused(own, InvalidRequest, PolicyChange(lease=2, rotation_days=0))


@pytest.mark.parametrize(
    "change",
    [
        {"lease": -1},
        {"lease": 3600.1},
        {"lease": math.nan},
        {"lease": math.inf},
        {"lease": True},
        {"lease": "60"},
        {"outage_grace": -0.1},
        {"outage_grace": 86401},
        {"outage_grace": math.nan},
        {"outage_grace": -math.inf},
        {"rotation_days": 0},
        {"rotation_days": 366},
        {"rotation_days": 1.5},
        {"rotation_days": True},
        {"fallback": "other"},
        {"fallback": 1},
        {"approval": "third_person"},
        {},
    ],
    ids=str,
)
def test_out_of_range(own: World, change: dict[str, Any]) -> None:
    refused(own, InvalidRequest, PolicyChange(**change))
    assert own.process().tenants.read("acme").policy == KeyPolicy()  # what is stored can still be read


def test_the_operators_caps() -> None:
    world = World(config=Config(max_lease=300, max_outage_grace=600))
    world.tenant()
    assert put(world, PolicyChange(lease=300, outage_grace=600)) == KeyPolicy(300, 600)
    for change, hint in ((PolicyChange(lease=301), "300 seconds"), (PolicyChange(outage_grace=601), "600 seconds")):
        assert hint in (refused(world, InvalidRequest, change).hint or "")


def test_a_cap_lowered_later_binds_who_chose_more_before(own: World) -> None:
    put(own, PolicyChange(lease=1000, outage_grace=2000))
    own.config = Config(max_lease=100, max_outage_grace=200)
    capped = own.process()
    found = capped.tenants.read("acme")
    assert (found.lease, found.outage_grace) == (100, 200)
    assert put(own, PolicyChange(rotation_days=7), app=capped) == KeyPolicy(1000, 2000, 7)  # the choice is kept
    assert put(own, PolicyChange(lease=100), app=capped) == KeyPolicy(100, 2000, 7)
    own.config = Config()
    found = own.process().tenants.read("acme")
    assert (found.lease, found.outage_grace) == (100, 2000)


class TestTheOperator:
    @pytest.mark.parametrize(
        "change",
        [
            PolicyChange(lease=59),
            PolicyChange(outage_grace=0),
            PolicyChange(rotation_days=89),
            PolicyChange(lease=0, outage_grace=0, rotation_days=1),
            PolicyChange(fallback=""),
        ],
        ids=str,
    )
    def test_tightens(self, own: World, change: PolicyChange) -> None:
        before = put(own, FALLBACK)
        assert put(own, change, OPERATOR) == change.apply(before)

    @pytest.mark.parametrize(
        "change",
        [
            PolicyChange(lease=61),
            PolicyChange(outage_grace=901),
            PolicyChange(rotation_days=91),
            PolicyChange(fallback="platform"),
            PolicyChange(approval="second_person"),
            PolicyChange(approval=""),
            PolicyChange(lease=1, outage_grace=901),
            PolicyChange(lease=1, approval=""),
        ],
        ids=str,
    )
    def test_never_loosens_nor_touches_approval(self, own: World, change: PolicyChange) -> None:
        refused(own, AccessDenied, change, OPERATOR)
        assert audited(own)[:2] == ("key.policy", "access_denied")

    def test_never_turns_the_second_person_off(self, own: World) -> None:
        put(own, PolicyChange(approval="second_person"))
        refused(own, AccessDenied, PolicyChange(approval=""), OPERATOR)

    def test_who_is_the_operator(self, own: World) -> None:
        operator = Permission.PLATFORM_OPERATE.value
        refused(own, AccessDenied, LOOSER, caller("acme", operator))
        refused(own, AccessDenied, LOOSER, caller("other", operator, Permission.KEY_MANAGE.value))
        assert put(own, LOOSER, caller("acme", operator, Permission.KEY_MANAGE.value)).lease == 120
        assert put(own, PolicyChange(lease=5), caller("other", operator, Permission.KEY_MANAGE.value)).lease == 5


STATES = {
    State.ACTIVE: (),
    State.DEGRADED: (State.DEGRADED,),
    State.UNREACHABLE: (State.UNREACHABLE,),
    State.WRITE_BLOCKED: (State.WRITE_BLOCKED,),
    State.NETWORK_BLOCKED: (State.NETWORK_BLOCKED,),
    State.HOLD: (State.HOLD,),
    State.REVOKED: (State.HOLD, State.REVOKED),
    State.SUSPENDED: (State.SUSPENDED,),
}
STRICT = {State.HOLD, State.REVOKED, State.SUSPENDED}


class TestStates:
    @pytest.mark.parametrize("state", STATES)
    def test_tightening_is_always_possible(self, own: World, state: State) -> None:
        put(own, FALLBACK)
        own.walk_to(*STATES[state])
        change = PolicyChange(lease=1, outage_grace=2, rotation_days=3, fallback="", approval="second_person")
        assert put(own, change) == change.apply(KeyPolicy())
        assert record(own).state is state

    @pytest.mark.parametrize("state", STATES)
    def test_loosening(self, own: World, state: State) -> None:
        own.walk_to(*STATES[state])
        for change in (LOOSER, PolicyChange(outage_grace=1000)):
            if state in STRICT:
                error = refused(own, Conflict, change)
                assert f"while the key's state is {state}" in error.detail
            else:
                put(own, change)
        assert put(own, PolicyChange(rotation_days=91)).rotation_days == 91

    @pytest.mark.parametrize("state", STATES)
    def test_fallback(self, own: World, state: State) -> None:
        own.walk_to(*STATES[state])
        if state is State.ACTIVE:
            assert put(own, FALLBACK).fallback == "platform"
        else:
            refused(own, Conflict, FALLBACK)

    def test_no_fallback_without_a_key_of_ones_own(self, world: World) -> None:
        refused(world, Conflict, FALLBACK)
        assert put(world, LOOSER).lease == 120

    def test_asking_for_what_is_there_changes_nothing(self, own: World) -> None:
        put(own, FALLBACK)
        own.walk_to(State.HOLD, State.REVOKED)
        before = own.tenants.read("acme", RECORD)
        put(own, PolicyChange(lease=60, fallback="platform"))
        assert own.tenants.read("acme", RECORD) == before

    def test_a_custom_key_store_has_no_grace_whatever_is_set(self, own: World) -> None:
        found = record(own)
        own.change(binding=replace(found.binding, custom_key_store=True))
        assert put(own, PolicyChange(outage_grace=86400)).outage_grace == 86400
        assert record(own).outage_grace == 0

    def test_a_state_that_changes_meanwhile_is_heeded(self, own: World, monkeypatch: pytest.MonkeyPatch) -> None:
        first(own, RECORD, lambda: own.walk_to(State.HOLD), monkeypatch)
        with pytest.raises(Conflict, match="while the key's state is hold"):
            put(own, LOOSER)
        assert record(own).policy == KeyPolicy()


def first(world: World, name: str, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have somebody else act right before the next write of a document."""
    write = world.tenants.write

    def slow(tenant_id: str, document: str, body: Mapping[str, Any], *, expected_revision: int) -> Document:
        if document == name:
            monkeypatch.undo()
            act()
        return write(tenant_id, document, body, expected_revision=expected_revision)

    monkeypatch.setattr(world.tenants, "write", slow)


def test_another_writers_change_is_not_undone(own: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first(own, RECORD, lambda: own.change(display_name="Acme", policy=KeyPolicy(outage_grace=5)), monkeypatch)
    assert put(own, PolicyChange(lease=7)) == KeyPolicy(lease=7, outage_grace=5)
    assert record(own).display_name == "Acme"


def test_what_is_audited(own: World) -> None:
    put(own, PolicyChange(lease=5, rotation_days=90))
    action, outcome, details = audited(own)
    assert (action, outcome) == ("key.policy", "ok")
    assert (details["before"], details["after"]) == ({"lease": 60}, {"lease": 5})
    put(own, PolicyChange(fallback="platform", approval="second_person"))
    _, _, details = audited(own)
    assert details["before"] == {"approval": "", "fallback": ""}
    assert details["after"] == {"approval": "second_person", "fallback": "platform"}


def test_who_is_not_there(world: World) -> None:
    with pytest.raises(NotFound):
        world.app.keystead.set_policy(caller("nobody"), "nobody", LOOSER)
    world.change(deleted=True)
    with pytest.raises(Conflict):
        world.app.keystead.set_policy(ALICE, "acme", LOOSER)


def alone(world: World, change: PolicyChange) -> None:
    """Change knobs without showing the status afterwards, for which the record is read."""
    world.app.keystead._parts.key_policies.set("acme", change, {}, by=NOBODY, by_operator=False)


def silence(world: World) -> None:
    """The tenant's KMS stops answering."""

    def trouble(operation: str, context: Any) -> None:
        if context.get("kms-arn") == OTHER_KEK.locator:
            raise Silence("no")

    world.kms.trouble = trouble


class TestTakingEffect:
    def test_here_the_next_call_and_elsewhere_within_the_state_age(self, own: World) -> None:
        put(own, PolicyChange(lease=3600, outage_grace=3600))
        other = own.process()
        message = own.encrypt()
        assert other.encryption.decrypt("acme", message, {}) == b"secret"
        silence(own)
        assert own.decrypt(message) == b"secret"
        put(own, PolicyChange(lease=0, outage_grace=0))
        with pytest.raises(KeyUnreachable):
            own.decrypt(message)
        assert other.encryption.decrypt("acme", message, {}) == b"secret"
        own.clock.advance(10.1)
        with pytest.raises(KeyUnreachable):
            other.encryption.decrypt("acme", message, {})

    def test_a_lease_of_zero_has_every_call_ask(self, own: World) -> None:
        message = own.encrypt()
        alone(own, PolicyChange(lease=0))
        for _ in range(3):
            unwraps = own.kms.branch_unwraps()
            own.decrypt(message)
            assert own.kms.branch_unwraps() == unwraps + 1

    @pytest.mark.parametrize(("change", "seconds"), [({"lease": 1}, 900), ({"lease": 1, "outage_grace": 20}, 20)])
    def test_it_takes_effect_here_though_the_record_cannot_be_read_again(
        self, own: World, change: dict[str, Any], seconds: float
    ) -> None:
        own.app.gate._store_silence = 10_000
        message = own.encrypt()
        alone(own, PolicyChange(**change))
        own.tenants.silent = True
        silence(own)
        unwraps = own.kms.branch_unwraps()
        assert own.decrypt(message) == b"secret"
        assert own.kms.branch_unwraps() == unwraps + 1  # not by the lease of before
        own.clock.advance(seconds - 0.1)
        assert own.decrypt(message) == b"secret"
        own.clock.advance(0.2)
        with pytest.raises(KeyUnreachable):
            own.decrypt(message)

    def test_a_reading_that_began_before_does_not_undo_it(self, own: World, monkeypatch: pytest.MonkeyPatch) -> None:
        message, read = own.encrypt(), own.tenants.read
        inside, go = threading.Event(), threading.Event()

        def slow(tenant_id: str, name: str) -> Document | None:
            found = read(tenant_id, name)
            if threading.current_thread() is reader and name == RECORD:
                inside.set()
                assert go.wait(10)
            return found

        reader = threading.Thread(target=lambda: own.app.gate.reread(own.app.gate.enter_any("acme")))
        monkeypatch.setattr(own.tenants, "read", slow)
        reader.start()
        assert inside.wait(10)
        changer = threading.Thread(target=lambda: alone(own, PolicyChange(lease=0)))
        changer.start()
        while own.app.records.read("acme")[0].policy.lease:  # type: ignore[index]
            time.sleep(0.001)
        go.set()
        reader.join()
        changer.join()
        unwraps = own.kms.branch_unwraps()
        for _ in range(2):
            own.decrypt(message)
        assert own.kms.branch_unwraps() == unwraps + 2

    def test_the_next_call_here_reads_what_was_loosened(self, own: World) -> None:
        own.encrypt()
        alone(own, LOOSER)
        assert own.app.gate.enter_any("acme").record.lease == 120

    def test_a_fallback_ends_here_though_the_record_cannot_be_read_again(self, own: World) -> None:
        put(own, FALLBACK)
        own.walk_to(State.UNREACHABLE)
        own.clock.advance(1000)
        silence(own)
        own.encrypt()
        alone(own, PolicyChange(fallback=""))
        own.tenants.silent = True
        with pytest.raises(KeyUnreachable):
            own.encrypt()

    def test_what_lost_a_race_and_was_then_refused_ends_nothing(
        self, own: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        message = own.encrypt()
        own.decrypt(message)
        first(own, RECORD, lambda: own.change(policy=KeyPolicy(outage_grace=10)), monkeypatch)
        refused_now = PolicyChange(lease=0, outage_grace=20)  # which loosens, by now
        with pytest.raises(AccessDenied):
            own.app.keystead._parts.key_policies.set("acme", refused_now, {}, by=NOBODY, by_operator=True)
        silence(own)
        assert own.decrypt(message) == b"secret"

    def test_loosening_that_may_not_be_stored_loosens_nothing(
        self, own: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(own, PolicyChange(lease=5, outage_grace=5))
        message = own.encrypt()

        def unanswered(*_arguments: Any, **_more: Any) -> Document:
            own.tenants.silent = True
            raise StoreUnavailable("no answer")

        monkeypatch.setattr(own.tenants, "write", unanswered)
        with pytest.raises(StoreUnavailable):
            put(own, PolicyChange(lease=600, outage_grace=600))
        silence(own)
        own.clock.advance(5)
        with pytest.raises(KeyUnreachable):
            own.decrypt(message)

    def test_a_shorter_grace_counts_here_from_the_next_call(self, own: World) -> None:
        put(own, PolicyChange(outage_grace=3600))
        message = own.encrypt()
        own.clock.advance(100)
        silence(own)
        assert own.decrypt(message) == b"secret"
        put(own, PolicyChange(outage_grace=90))
        with pytest.raises(KeyUnreachable):
            own.decrypt(message)

    def test_loosening_keeps_what_is_cached(self, own: World) -> None:
        message = own.encrypt()
        own.decrypt(message)
        unwraps = own.kms.branch_unwraps()
        put(own, LOOSER)
        own.decrypt(message)
        assert own.kms.branch_unwraps() == unwraps

    def test_a_store_that_does_not_answer_may_have_written(self, own: World, monkeypatch: pytest.MonkeyPatch) -> None:
        message = own.encrypt()
        write = own.tenants.write

        def unanswered(tenant: str, name: str, body: Any, *, expected_revision: int) -> Document:
            found = write(tenant, name, body, expected_revision=expected_revision)
            if name == RECORD:
                monkeypatch.undo()
                raise StoreUnavailable("no answer")
            return found

        monkeypatch.setattr(own.tenants, "write", unanswered)
        with pytest.raises(StoreUnavailable):
            put(own, PolicyChange(lease=0, outage_grace=0))
        silence(own)
        with pytest.raises(KeyUnreachable):
            own.decrypt(message)


def test_a_policy_is_what_it_is_declared_to_be() -> None:
    """A knob that is new must be thought of where looser and tighter are told apart."""
    assert asdict(KeyPolicy()).keys() == _looseness(KeyPolicy()).keys() == asdict(PolicyChange()).keys()
