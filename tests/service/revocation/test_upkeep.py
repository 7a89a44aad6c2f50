"""Upkeep: what a tenant's key has half done is finished in time, and never while its KEK is withheld."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from core.bootstrap import Application
from core.domain.audit import AuditEntry
from core.domain.branch_keys import ACTIVE
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.domain.tenants import TenantRecord
from core.domain.withdrawals import instant
from core.errors import Denial, KeysteadError, StoreUnavailable
from core.service.revocation.upkeep import SERVING, VERSIONS_EVERY, WAITING_EVERY, Upkeep
from tests.domain.withdrawn import withdrawal
from tests.service.injection import Killed
from tests.service.world import ENTRA_TENANT, OTHER_KEK, PLATFORM, THIRD_KEK, VAULT_KEK, World

OWN = KeyTarget(OTHER_KEK.locator, reversible=True)
SECOND = KeyTarget(THIRD_KEK.locator)
VAULT = KeyTarget(VAULT_KEK.locator, entra_tenant=ENTRA_TENANT)
WITHHELD = sorted(set(State) - {State.PLATFORM, State.SCHEDULED, State.ACTIVE, State.WRITE_BLOCKED})


@pytest.fixture
def world() -> World:
    """A tenant under the platform's key, with a message."""
    world = World()
    world.tenant()
    world.encrypt()
    return world


def configure(world: World, target: KeyTarget, app: Application | None = None) -> None:
    (app or world.app).key_configuration.configure("acme", target, {})


def record(world: World) -> TenantRecord:
    return world.app.tenants.read("acme")


def upkeep(app: Application) -> Upkeep:
    return app.schedules._upkeep


def audited(world: World) -> list[AuditEntry]:
    return [entry for entry in world.app.audit.read("acme", limit=1000) if entry.action == "key.check"]


def refuse(world: World, *locators: str) -> None:
    """Have KEKs refuse."""

    def trouble(operation: str, context: Mapping[str, str]) -> None:
        if context.get("kms-arn") in locators and context.get("type") != "keystead:probe":
            raise Denial("no", cause="disabled")

    world.kms.trouble = trouble


def calm(world: World) -> None:
    world.kms.trouble = lambda operation, context: None


def halfway(world: World) -> None:
    """Begin to replace the tenant's KEK, and let the process die over it."""
    configure(world, OWN)

    def die(operation: str, context: Mapping[str, str]) -> None:
        if record(world).moving_from is not None and context.get("kms-arn") == THIRD_KEK.locator:
            raise Killed

    world.kms.trouble = die
    with pytest.raises(Killed):
        configure(world, SECOND, world.process())
    calm(world)
    assert record(world).moving_from == OTHER_KEK.locator


def due(world: World) -> None:
    """A scheduled key whose date has come."""
    configure(world, replace(OWN, activation=instant(world.clock.wall_time + 10)))
    world.clock.advance(10)


def rotated(world: World) -> None:
    """A KEK of which there is a new version."""
    configure(world, VAULT)
    world.kms.new_version()


def returned(world: World) -> None:
    """A KEK that was lost, another in its place, and the first is back."""
    configure(world, OWN)
    world.encrypt()
    refuse(world, OTHER_KEK.locator)
    configure(world, SECOND)
    assert record(world).lost_keks
    calm(world)


TO_DO: dict[str, tuple[Callable[[World], None], str, str]] = {
    "a move that was cut short": (halfway, THIRD_KEK.locator, "rewrapped"),
    "an activation": (due, OTHER_KEK.locator, "activated"),
    "a new version": (rotated, VAULT_KEK.locator, "rotated"),
    "a key that returned": (returned, THIRD_KEK.locator, "rewrapped"),
}


def finished(world: World, kek: str) -> bool:
    """Whether nothing is left to do: every row under the KEK's newest version."""
    found = record(world)
    newest = world.kms.versions[-1].locator if kek == VAULT_KEK.locator else kek
    rows = [
        stored
        for branch_key_id in found.branch_keys
        for stored in (*world.keys.list_versions(branch_key_id), world.keys.read(branch_key_id, ACTIVE))
    ]
    under = {stored.row.kek.locator for stored in rows if stored is not None}
    return (found.state, found.kek, found.moving_from, found.lost_keks, found.pending, under) == (
        State.ACTIVE,
        kek,
        None,
        (),
        None,
        {newest},
    )


@pytest.mark.parametrize("name", TO_DO)
def test_what_is_half_done_is_finished_and_audited(world: World, name: str) -> None:
    prepare, kek, fact = TO_DO[name]
    prepare(world)
    assert not finished(world, kek)
    other = world.process()
    assert other.schedules.run("check", 60).failed == {}
    assert finished(world, kek)
    (entry,) = audited(world)
    assert (entry.subject, entry.outcome, entry.details["reason"]) == ("keystead", "ok", "HEALTH_CHECK")
    assert entry.details[fact]
    assert other.encryption.decrypt("acme", other.encryption.encrypt("acme", b"new", {}), {}) == b"new"
    for _ in range(5):
        world.clock.advance(3600)
        assert other.schedules.run("check", 60).failed == {}
    assert audited(world) == [entry], "nothing more was done, so nothing more is told"
    other.close()


@pytest.mark.parametrize(
    ("name", "state"),
    # What moves may end the trouble; it has a test of its own.
    [
        (name, state)
        for name in TO_DO
        for state in WITHHELD
        if TO_DO[name][0] is not halfway or state is State.SUSPENDED
    ],
)
def test_nothing_is_done_while_the_key_is_withheld(world: World, name: str, state: State) -> None:
    TO_DO[name][0](world)
    if state is State.REVOKED:
        world.change(state=State.HOLD, withdrawal=withdrawal())
    if record(world).state is State.SCHEDULED and state not in {State.HOLD, State.REVOKED, State.SUSPENDED}:
        world.change(state=State.ACTIVE)  # there is no other way there
    world.change(state=state)
    before, calls = record(world), (world.kms.branch_unwraps(), world.kms.wraps)
    upkeep(world.process()).mend("acme")
    world.clock.advance(10 * VERSIONS_EVERY)
    upkeep(world.app).mend("acme")
    assert (record(world), audited(world)) == (before, [])
    assert (world.kms.branch_unwraps(), world.kms.wraps) == calls
    assert state not in SERVING


@pytest.mark.parametrize("state", sorted({*WITHHELD, *SERVING} - {State.SUSPENDED, State.PLATFORM, State.SCHEDULED}))
def test_a_move_is_finished_in_every_state_but_suspended(world: World, state: State) -> None:
    halfway(world)
    if state is State.REVOKED:
        world.change(state=State.HOLD, withdrawal=withdrawal(kek=OTHER_KEK.locator, receipt=""))
    world.change(state=state)
    upkeep(world.process()).mend("acme")
    assert finished(world, THIRD_KEK.locator)


def test_a_key_whose_date_lies_ahead_waits(world: World) -> None:
    configure(world, replace(OWN, activation=instant(world.clock.wall_time + 100)))
    world.clock.advance(99.9)
    upkeep(world.app).mend("acme")
    assert record(world).state is State.SCHEDULED
    world.clock.advance(0.1)
    upkeep(world.app).mend("acme")
    assert (record(world).state, record(world).kek) == (State.ACTIVE, OTHER_KEK.locator)


class Counted:
    """Counts how often the key is looked at."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.count = 0
        self.check = world.app.key_configuration.check
        monkeypatch.setattr(world.app.key_configuration, "check", self)

    def __call__(self, tenant_id: str, facts: dict[str, Any]) -> None:
        self.count += 1
        self.check(tenant_id, facts)

    def seconds(self, step: float, span: float) -> list[float]:
        """The seconds at which it is, if upkeep runs every so often."""
        found, elapsed = [], 0.0
        while elapsed <= span:
            before = self.count
            upkeep(self.world.app).mend("acme")
            if self.count > before:
                found.append(elapsed)
            self.world.clock.advance(step)
            elapsed += step
        return found


def test_a_key_of_which_nothing_is_due_is_left_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(world, monkeypatch)
    for target in (None, OWN):
        if target is not None:
            configure(world, target)
        before = record(world)
        assert counted.seconds(VERSIONS_EVERY, 5 * VERSIONS_EVERY) == []
        assert (record(world), audited(world)) == (before, [])


def test_a_new_version_is_looked_for_hourly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(world, VAULT)
    counted = Counted(world, monkeypatch)
    assert counted.seconds(60, 2.5 * 3600) == [0, 3600, 7200]
    assert VERSIONS_EVERY == 3600
    newest = world.kms.new_version()
    assert counted.seconds(60, 3600) != []
    active = world.keys.read(record(world).branch_key_id, ACTIVE)
    assert active is not None
    assert active.row.kek == newest


def test_a_lost_key_is_tried_every_quarter_of_an_hour(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(world, OWN)
    message = world.encrypt(b"lost")
    refuse(world, OTHER_KEK.locator)
    configure(world, SECOND)
    counted = Counted(world, monkeypatch)
    assert counted.seconds(60, 3000) == [0, 900, 1800, 2700]
    assert WAITING_EVERY == 900
    assert record(world).lost_keks
    assert audited(world) == []
    calm(world)
    assert counted.seconds(60, 900) == [600.0 - 60.0]
    assert not record(world).lost_keks
    assert world.decrypt(message) == b"lost"
    assert [entry.details["rewrapped"] for entry in audited(world)] == [3], "two versions and an ACTIVE row"


@pytest.mark.parametrize("name", ["a move that was cut short", "an activation"])
def test_what_cannot_be_finished_is_tried_at_every_look_and_told_to_who_runs_it(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, kek, _ = TO_DO[name]
    prepare(world)

    def broken(operation: str, context: Mapping[str, str]) -> None:
        if context.get("kms-arn") == kek:
            raise Denial("no", cause="disabled")

    world.kms.trouble = broken
    for _ in range(3):
        with pytest.raises(KeysteadError) as refusal:
            upkeep(world.app).mend("acme")
        assert refusal.value.code == "key_revoked"
        world.clock.advance(1)
    assert audited(world) == []
    calm(world)
    upkeep(world.app).mend("acme")
    assert finished(world, kek)


def test_what_could_not_be_audited_is_done_all_the_same(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    halfway(world)
    append = world.audit_log.append

    def silent(entry: AuditEntry) -> None:
        if entry.action == "key.check":
            raise StoreUnavailable("the audit log does not answer")
        append(entry)

    monkeypatch.setattr(world.audit_log, "append", silent)
    with caplog.at_level("WARNING", "keystead.revocation"):
        upkeep(world.app).mend("acme")
    assert finished(world, THIRD_KEK.locator)
    (line,) = [found for found in caplog.records if "audited" in found.message]
    assert vars(line)["fields"] == {"tenant": "acme", "code": "store_unavailable"}


def test_who_is_not_there_is_left_alone(world: World) -> None:
    due(world)
    upkeep(world.app).mend("nobody")
    world.change(deleted=True)
    upkeep(world.app).mend("acme")
    assert world.app.records.read("acme") is not None
    assert audited(world) == []


def test_a_store_in_trouble_is_told_to_who_runs_it(world: World) -> None:
    due(world)
    world.tenants.silent = True
    with pytest.raises(StoreUnavailable):
        upkeep(world.app).mend("acme")
    world.tenants.silent = False
    upkeep(world.app).mend("acme")
    assert record(world).state is State.ACTIVE


def test_in_which_states_a_key_is_kept_up() -> None:
    assert sorted(SERVING) == ["active", "platform", "scheduled", "write_blocked"]


def test_an_enablement_that_was_cut_short_is_finished(world: World) -> None:
    def die(operation: str, context: Mapping[str, str]) -> None:
        if record(world).moving_from is not None and context.get("kms-arn") == OTHER_KEK.locator:
            raise Killed

    world.kms.trouble = die
    with pytest.raises(Killed):
        configure(world, OWN, world.process())
    calm(world)
    assert (record(world).state, record(world).moving_from) == (State.PLATFORM, PLATFORM.locator)
    upkeep(world.process()).mend("acme")
    assert finished(world, OTHER_KEK.locator)
