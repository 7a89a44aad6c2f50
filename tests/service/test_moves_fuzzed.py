"""Random stories: three processes, nested interleavings, kills, denials and silences. In the end nothing is lost.

Afterwards every KEK is restored and one check runs: then every message decrypts, all rows lie under the KEK in force,
and none of the others is needed. On the way no operation may call a stored row corrupt or a message invalid.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from core.bootstrap import Application
from core.domain.branch_keys import ACTIVE, CREATE_TIME_FORMAT
from core.domain.kek import Kek
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.errors import Denial, KeysteadError, MessageInvalid, ProviderSignal, ServiceFault, Silence, StoreUnavailable
from tests.service.injection import KMS, Injector, Killed, injected
from tests.service.world import ENTRA_TENANT, OTHER_KEK, PLATFORM, THIRD_KEK, VAULT_KEK, World

FOURTH = "local:fourth"
OWN = (OTHER_KEK.locator, THIRD_KEK.locator, FOURTH, VAULT_KEK.locator)
STORIES, BLOCKS = 240, 8
NEVER = (ServiceFault, MessageInvalid, ProviderSignal)
"""What no operation of a story may end with: nothing in it is broken."""


class Process:
    """One process, and what happens in the middle of its calls."""

    def __init__(self, world: World) -> None:
        self.injector = Injector()
        self.app: Application = injected(world.app, self.injector)


class Story:
    """One story, told by a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.world = World()
        self.world.kms.keys[FOURTH] = bytes(32)
        self.world.tenant()
        self.world.kms.trouble = self._trouble
        self.withdrawn: dict[str, type[KeysteadError] | None] = {}
        self.messages: list[tuple[bytes, bytes]] = []
        self.reversible = self.rng.random() < 0.5
        self.processes = [Process(self.world) for _ in range(3)]
        self.depth = 0

    def _trouble(self, operation: str, context: object) -> None:
        assert isinstance(context, dict)
        kek = Kek(context.get("kms-arn", ""))
        error = self.withdrawn.get(kek.key.locator) or self.withdrawn.get(kek.locator)
        if error is Denial:
            raise Denial("no", cause="disabled")
        if error is not None:
            raise error("no answer")

    def tell(self) -> None:
        """Let everything happen."""
        for _ in range(self.rng.randint(5, 30)):
            index = self.rng.randrange(len(self.processes))
            process = self.processes[index]
            if self.rng.random() < 0.2:
                self.withdrawn[self._any_kek()] = self.rng.choice([Denial, Silence, None, None])
            if self.rng.random() < 0.3:
                self.world.clock.advance(self.rng.choice([1, 6, 11, 61]))
            if self.rng.random() < 0.5:
                process.injector.arm(
                    self.rng.randint(0, 40), self.rng.choice(["before", "after"]), self._disturbance(process)
                )
            try:
                self._act(process)
            except Killed:
                self.processes[index] = Process(self.world)
            finally:
                process.injector.armed = False

    def end(self) -> None:
        """What must hold when every KEK is back and one check has run."""
        world = self.world
        self.withdrawn.clear()
        world.clock.advance(61)
        world.process().checks.check("acme", forced=True)
        world.process().key_configuration.check("acme", {})
        fresh = world.process()
        self._all_decrypt(fresh)
        assert fresh.encryption.decrypt("acme", fresh.encryption.encrypt("acme", b"new", {}), {}) == b"new"
        fresh.rotation.rotate("acme")
        record = fresh.tenants.read("acme")
        assert (record.moving_from, record.lost_keks) == (None, ())
        rows = [
            row for bk in record.branch_keys for row in (*world.keys.list_versions(bk), world.keys.read(bk, ACTIVE))
        ]
        in_force = world.kms.versions[-1] if Kek(record.kek).versioned else Kek(record.kek)
        assert {row.row.kek for row in rows if row} == {in_force}
        pending = record.state is State.SCHEDULED
        assert (record.state in (State.PLATFORM, State.SCHEDULED)) == (record.kek == PLATFORM.locator) or pending
        for locator in OWN:
            self.withdrawn[locator] = None if locator == record.kek else Denial
        for version in world.kms.versions[:-1]:
            self.withdrawn[version.locator] = Denial
        self._all_decrypt(world.process())

    def _any_kek(self) -> str:
        return self.rng.choice([*OWN, *(version.locator for version in self.world.kms.versions)])

    def _all_decrypt(self, app: Application) -> None:
        for message, plaintext in self.messages:
            assert app.encryption.decrypt("acme", message, {}) == plaintext

    def _act(self, process: Process) -> None:
        app = process.app
        acts: dict[str, Callable[[], object]] = {
            "encrypt": lambda: self._encrypt(app),
            "decrypt": lambda: self._decrypt(app),
            "rotate": lambda: app.rotation.rotate("acme"),
            "configure": lambda: self._configure(app, None),
            "schedule": lambda: self._configure(app, self.rng.choice([1, 5, 30])),
            "revert": lambda: app.key_configuration.revert("acme", {}),
            "check": lambda: app.key_configuration.check("acme", {}),
            "new version": self.world.kms.new_version,
            "status": lambda: app.keystead._parts.status.status("acme"),
            "export": lambda: app.keystead._parts.key_exports.export("acme"),
        }
        name = self.rng.choice([*acts, "encrypt", "configure"])
        try:
            acts[name]()
        except NEVER as error:
            raise AssertionError(f"{name}: {error!r}") from error
        except KeysteadError:
            return

    def _encrypt(self, app: Application) -> None:
        plaintext = b"%d" % self.rng.randrange(10**9)
        self.messages.append((app.encryption.encrypt("acme", plaintext, {}), plaintext))

    def _decrypt(self, app: Application) -> None:
        if self.messages:
            message, plaintext = self.rng.choice(self.messages)
            assert app.encryption.decrypt("acme", message, {}) == plaintext

    def _configure(self, app: Application, delay: int | None) -> None:
        at = ""
        if delay is not None:
            at = datetime.fromtimestamp(self.world.clock.wall_time + delay, UTC).strftime(CREATE_TIME_FORMAT)
        locator = self.rng.choice(OWN)
        entra_tenant = ENTRA_TENANT if Kek(locator).versioned else ""
        target = KeyTarget(locator, reversible=self.reversible, activation=at, entra_tenant=entra_tenant)
        app.key_configuration.configure("acme", target, {})

    def _disturbance(self, process: Process) -> Callable[[str], None]:
        def disturb(name: str) -> None:
            chance = self.rng.random()
            if chance < 0.5:
                self._meanwhile(process)
            elif chance < 0.65:
                self.withdrawn[self._any_kek()] = self.rng.choice([Denial, Silence, None])
            elif chance < 0.8:
                raise Killed
            else:
                raise Silence("no answer") if name in KMS else StoreUnavailable("no answer")

        return disturb

    def _meanwhile(self, process: Process) -> None:
        # Other processes act between two calls of this one, and are themselves undisturbed.
        if self.depth == 2:
            return
        self.depth += 1
        try:
            for _ in range(self.rng.randint(1, 3)):
                other = self.rng.choice([found for found in self.processes if found is not process])
                armed, other.injector.armed = other.injector.armed, False
                try:
                    self._act(other)
                finally:
                    other.injector.armed = armed
        finally:
            self.depth -= 1


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_story_loses_anything(block: int) -> None:
    for seed in range(block, STORIES, BLOCKS):
        story = Story(seed)
        try:
            story.tell()
            story.end()
        except (AssertionError, KeysteadError) as error:
            raise AssertionError(f"story {seed}: {error!r}") from error
