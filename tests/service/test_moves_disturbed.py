"""Enable, replace and go back, disturbed at every single call to a KMS or a store (DESIGN 4).

Whatever happens there, every earlier message still decrypts, in this process and in a fresh one, and asking again
completes the change: all rows under the KEK asked for, the ACTIVE version born under it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from core.bootstrap import Application
from core.domain.branch_keys import ACTIVE
from core.domain.kek import Kek
from core.domain.key_target import KeyTarget
from core.errors import Conflict, Denial, KeysteadError, KeyUnreachable, Silence, StoreUnavailable
from tests.service.injection import KMS, Injector, Killed, When, injected
from tests.service.world import ENTRA_TENANT, OTHER_KEK, PLATFORM, THIRD_KEK, VAULT_KEK, World

OWN = KeyTarget(OTHER_KEK.locator, reversible=True)
SECOND = KeyTarget(THIRD_KEK.locator)
VAULT = KeyTarget(VAULT_KEK.locator, entra_tenant=ENTRA_TENANT)


def configure(app: Application, target: KeyTarget) -> None:
    app.key_configuration.configure("acme", target, {})


def nothing(world: World) -> None:
    """A tenant under the platform's key."""


def enabled(world: World) -> None:
    configure(world.app, OWN)


def lost(world: World) -> None:
    """The tenant's key is gone."""
    configure(world.app, OWN)
    world.encrypt()

    def trouble(operation: str, context: Any) -> None:
        if context.get("kms-arn") == OTHER_KEK.locator:
            raise Denial("no", cause="disabled")

    world.kms.trouble = trouble


def returned(world: World) -> None:
    """It went, another took its place, and it is back."""
    lost(world)
    configure(world.app, SECOND)
    world.kms.trouble = lambda operation, context: None


def scheduled(world: World) -> None:
    configure(world.app, replace(OWN, activation="2027-01-15T08:00:10.000000Z"))


def in_vault(world: World) -> None:
    """The tenant's key is in a vault, and has been taken up in two versions."""
    configure(world.app, VAULT)
    world.kms.new_version()
    world.app.key_configuration.check("acme", {})


def rotated(world: World) -> None:
    """And now it has a third."""
    in_vault(world)
    world.kms.new_version()


def go_back(app: Application) -> None:
    try:
        app.key_configuration.revert("acme", {})
    except Conflict as error:
        if "already" not in error.detail:
            raise


@dataclass(frozen=True)
class Change:
    """One change.

    Attributes:
        prepare: What comes before it.
        ask: How it is asked for.
        ends: The KEK under which everything is then.
        readable: Whether messages of before decrypt all the time.
        fenced: Whether it raises the fence, against rotations of before.
        delay: Seconds between the last message and the change.
    """

    prepare: Callable[[World], None]
    ask: Callable[[Application], None]
    ends: Kek
    readable: bool = True
    fenced: bool = True
    delay: float = 0


CHANGES = {
    "enable": Change(nothing, lambda app: configure(app, OWN), OTHER_KEK),
    "replace": Change(enabled, lambda app: configure(app, SECOND), THIRD_KEK),
    "replace a lost key": Change(lost, lambda app: configure(app, SECOND), THIRD_KEK, readable=False, fenced=False),
    "fetch what a returned key gives back": Change(
        returned, lambda app: app.key_configuration.check("acme", {}), THIRD_KEK, fenced=False
    ),
    "go back": Change(enabled, go_back, PLATFORM),
    "move into a vault": Change(enabled, lambda app: configure(app, VAULT), VAULT_KEK),
    "move out of a vault": Change(rotated, lambda app: configure(app, SECOND), THIRD_KEK),
    "take up a new version": Change(
        rotated, lambda app: app.key_configuration.check("acme", {}), VAULT_KEK, fenced=False
    ),
    "activate": Change(scheduled, lambda app: app.key_configuration.check("acme", {}), OTHER_KEK, delay=11),
}


@dataclass
class Scene:
    """A tenant with messages under several versions, just before a change."""

    change: Change
    world: World = field(default_factory=World)
    injector: Injector = field(default_factory=Injector)
    messages: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        world = self.world
        world.tenant()
        self.messages.append(world.encrypt(b"first"))
        world.app.rotation.rotate("acme")
        self.change.prepare(world)
        if self.change.readable:
            self.messages.append(world.encrypt(b"second"))
        world.clock.advance(self.change.delay)
        self.app = injected(world.app, self.injector)
        # What a process that has served for a while has read already is not part of the change.
        self.app.gate.enter_any("acme")

    def run(self, at: int = -1, when: When = "before", act: Callable[[str], None] = lambda name: None) -> int:
        """Ask for the change; gives the number of calls it made."""
        self.injector.arm(at, when, act)
        try:
            self.change.ask(self.app)
        finally:
            self.injector.armed = False
        return len(self.injector.points)

    def attempt(self, at: int, when: When, act: Callable[[str], None]) -> BaseException | None:
        """Ask for the change with something happening at a call; gives what came of it."""
        try:
            self.run(at, when, act)
        except (KeysteadError, Killed) as error:
            return error
        finally:
            assert len(self.injector.points) > at
        return None

    def again(self, _: str = "") -> None:
        """Ask for the change in a fresh process."""
        self.change.ask(self.world.process())

    def check_messages(self, app: Application) -> None:
        """Every message of before decrypts, unless its key is lost."""
        if self.change.readable:
            plaintexts = [app.encryption.decrypt("acme", message, {}) for message in self.messages]
            assert plaintexts == [b"first", b"second"]

    def check_done(self) -> None:
        """The change is complete."""
        world, ends = self.world, self.change.ends.locator
        record = world.process().tenants.read("acme")
        assert (record.kek, record.moving_from) == (ends, None)
        active = world.keys.read(record.branch_key_id, ACTIVE)
        assert active is not None
        rows = [*world.keys.list_versions(record.branch_key_id), active]
        newest = world.kms.versions[-1] if self.change.ends.versioned else self.change.ends
        assert {stored.row.kek for stored in rows} == {newest}
        if newest.versioned:
            assert world.process().key_configuration._probes.read("acme", record.probe_digest).kek == newest
        assert {world.keys.read_fence(bk) for bk in record.branch_keys} == {record.configuration_revision}
        world.kms.trouble = lambda operation, context: None
        fresh = world.process()
        assert [fresh.encryption.decrypt("acme", m, {}) for m in self.messages] == [b"first", b"second"][
            : len(self.messages)
        ]
        assert fresh.encryption.decrypt("acme", fresh.encryption.encrypt("acme", b"new", {}), {}) == b"new"

    def complete(self) -> None:
        """Ask again, and see that it is done."""
        self.again()
        self.check_done()


def fail(name: str) -> None:
    """A call fails as its Protocol says it may."""
    raise Silence("no answer") if name in KMS else StoreUnavailable("no answer")


def kill(name: str) -> None:
    raise Killed


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(
    ("trouble", "when"),
    # A kill after a call is a kill before the next one.
    [(fail, "before"), (fail, "after"), (kill, "before")],
    ids=["error before", "error after", "kill"],
)
def test_trouble_at_every_call(
    name: str, trouble: Callable[[str], None], when: When, record_property: Callable[[str, object], None]
) -> None:
    points = Scene(CHANGES[name]).run()
    assert points > 10
    record_property("points", points)
    for at in range(points):
        scene = Scene(CHANGES[name])
        scene.attempt(at, when, trouble)  # some calls are made best effort, and their failure is survived
        scene.check_messages(scene.world.process())
        if trouble is fail:
            scene.world.clock.advance(2)
            scene.check_messages(scene.app)
        scene.complete()


def test_the_routine_ends_undisturbed() -> None:
    for change in CHANGES.values():
        scene = Scene(change)
        scene.run()
        scene.check_done()


class Rotator:
    """Rotates in the middle of a change: as a process that read the record before it, or as one that reads it then."""

    def __init__(self, world: World, *, fresh: bool) -> None:
        self.world, self.fresh, self.outcome = world, fresh, ""
        self.process = world.process()
        self.record = self.process.gate.enter_any("acme").record
        active = world.keys.read(self.record.branch_key_id, ACTIVE)
        assert active is not None
        self.active = active
        self.kek = self.process.rotation._versions.target(self.record, active.row.kek).kek

    def __call__(self, _: str) -> None:
        try:
            if self.fresh:
                self.world.process().rotation.rotate("acme")
            else:
                self.process.rotation._writer.rotate(self.record, self.active, self.kek)
            self.outcome = "rotated"
        except KeysteadError as error:
            self.outcome = error.code


@pytest.mark.parametrize("name", CHANGES)
def test_a_rotation_at_every_call(name: str) -> None:
    outcomes = set()
    for at in range(Scene(CHANGES[name]).run()):
        for fresh in (False, True):
            scene = Scene(CHANGES[name])
            rotator = Rotator(scene.world, fresh=fresh)
            assert isinstance(scene.attempt(at, "before", rotator), Conflict | KeyUnreachable | None)
            outcomes.add(rotator.outcome)
            scene.check_messages(scene.world.process())
            scene.complete()
    if CHANGES[name].fenced:
        assert outcomes == {"rotated", "conflict"}


def test_a_newer_version_taken_up_by_another_process_at_every_call() -> None:
    change = CHANGES["take up a new version"]
    for at in range(Scene(change).run()):
        scene = Scene(change)

        def overtake(_: str, scene: Scene = scene) -> None:
            scene.world.kms.new_version()
            scene.again()

        assert isinstance(scene.attempt(at, "before", overtake), Conflict | None)
        scene.check_done()


@pytest.mark.parametrize("name", CHANGES)
def test_the_same_change_by_another_process_at_every_call(name: str) -> None:
    for at in range(Scene(CHANGES[name]).run()):
        scene = Scene(CHANGES[name])
        assert isinstance(scene.attempt(at, "before", scene.again), Conflict | None)
        scene.complete()
