"""All that can happen to a simulated fleet: what tenants, operators, clouds, hosts and networks do, and its end."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

from core.domain.kek import Kek
from core.domain.key_policy import PolicyChange
from core.domain.states import State
from tests.service.revocation.simulation_backups import Backup
from tests.service.revocation.simulation_clouds import ACCESS, CAUSES, GLOBEX, KEKS, PLAIN, TENANTS
from tests.service.revocation.simulation_fleet import Fleet, target
from tests.service.revocation.simulation_processes import Process
from tests.service.revocation.simulation_promises import ALLOWED
from tests.service.world import OPERATOR, caller

SPANS = (0.4, 1.0, 2.0, 5.5, 11.0, 31.0, 61.0, 95.0, 400.0, 1000.0)
LOOKS, CONFIRMED = 5, 260.0
"""Seconds within which a withdrawal is confirmed, if nothing else is the matter: a check, a session, a minute."""
LEASES, GRACES = (0.0, 5.0, 60.0), (0.0, 30.0, 900.0)
SKEWS = (0.0, 0.0, 3.0, -3.0, 20.0, -20.0)


class Simulation(Fleet):
    """A fleet, and what happens to it."""

    backup: Backup | None = None

    def something(self, rng: random.Random) -> None:
        """One thing that happens, by chance."""
        process, tenant = rng.choice(self.fleet), rng.choice(TENANTS)
        index, span = self.fleet.index(process), rng.choice(SPANS)
        things: list[Callable[[], object]] = [
            lambda: self.pass_time(span),
            lambda: self.pass_time(span),
            lambda: self.decrypt(process, tenant, rng.randrange(50)),
            lambda: self.load(tenant, rng.randrange(50), rng.choice([1.0, 3.0]), rng.randrange(1, 30)),
            lambda: self.load(tenant, rng.randrange(50), rng.choice([1.0, 3.0]), rng.randrange(1, 30)),
            lambda: self.encrypt(process, tenant),
            lambda: self.withdraw(tenant, rng.choice(CAUSES)),
            lambda: self.withdraw(tenant, rng.choice(CAUSES), lingers=True),
            lambda: self.reinstate(tenant),
            lambda: setattr(self.moods[self.kek(tenant)], "silent", rng.random() < 0.5),
            lambda: setattr(process, "cut_off", rng.random() < 0.5),
            lambda: process.store.cut(silent=rng.random() < 0.5),
            lambda: setattr(process, "frozen", rng.random() < 0.5),
            lambda: process.plans.append((rng.choice(["asked", "answered"]), lambda: self.pass_time(span))),
            lambda: process.plans.append((rng.choice(["asked", "answered"]), lambda: self.something(rng))),
            lambda: process.clock.set_skew(rng.choice(SKEWS)),
            lambda: self.crash(index),
            lambda: self.suspend(process, tenant),
            lambda: self.resume(process, tenant),
            lambda: self.move(process, tenant),
            lambda: self.store_restored(process, tenant),
            lambda: self.rotate(process, tenant),
            lambda: self.check(process, tenant),
            lambda: self.set_terms(process, tenant, rng.choice(LEASES), rng.choice(GRACES)),
            lambda: self.set_terms(process, tenant, self.lease, rng.choice(GRACES)),
            lambda: self.overtake(
                process,
                tenant,
                rng.choice(
                    [
                        lambda: self.rotate(process, tenant),
                        lambda: self.move(process, tenant),
                        lambda: self.set_terms(process, tenant, rng.choice(LEASES), rng.choice(GRACES)),
                        lambda: self.set_terms(process, tenant, rng.choice(LEASES), rng.choice(GRACES)),
                    ]
                ),
                rng.choice(["", "disabled"]),
                rng.choice(SPANS[:7]),
            ),
            lambda: self.set_fallback(process, tenant, rng.choice(["", "platform"])),
            lambda: self.outlast(process, tenant, refused=rng.random() < 0.3),
        ]
        if self.backup is None:
            things += [self.back_up, self.back_up]
        else:
            things.append(lambda: self.roll_back(whole=rng.random() < 0.7, copied=rng.random() < 0.7))
        if self.vault:
            things += [
                lambda: self.new_version(),
                lambda: self.disable(GLOBEX, rng.randrange(4)),
            ]
        if self.canary:
            things.append(lambda: self.set_own_fault(rng.choice(["", "", "policy", "credentials"])))
        rng.choice(things)()

    def outlast(self, process: Process, tenant: str, *, refused: bool) -> None:
        """The tenant's KEK is away for longer than the grace: silent, or refused by a network rule."""
        if refused:
            self.withdraw(tenant, "network")
        else:
            self.moods[self.kek(tenant)].silent = True
        self.decrypt(process, tenant, 0)
        self.pass_time(max(self.lease, self.outage_grace) + 45)
        for one in self.fleet:
            self.encrypt(one, tenant)
            self.decrypt(one, tenant, -1)

    def overtake(self, process: Process, tenant: str, act: Callable[[], object], cause: str, seconds: float) -> None:
        """Something is ordered while all hold the key, which is away, or withdrawn, before all have heard of it."""
        for one in self.fleet:
            self.encrypt(one, tenant)
            self.decrypt(one, tenant, -1)
        act()
        if cause:
            self.withdraw(tenant, cause)
        else:
            self.moods[self.kek(tenant)].silent = True
        self.pass_time(seconds)
        for one in (process, *self.fleet):
            self.decrypt(one, tenant, -1)
            self.encrypt(one, tenant)

    def withdraw(self, tenant: str, cause: str, *, lingers: bool = False) -> None:
        """The tenant turns its KEK in force off, or takes our access: that lingers if sessions of before stay good."""
        kek = self.active(tenant)
        self._turn_off(kek if cause == "disabled" else kek.key, cause, lingers=lingers)
        self._upset(tenant)

    def disable(self, tenant: str, which: int) -> None:
        """The tenant turns one version off."""
        versions = [kek for kek in self.versions if kek.key == self.kek(tenant)]
        if versions:
            self._turn_off(versions[which % len(versions)], "disabled")
            self._upset(tenant)

    def _turn_off(self, kek: Kek, cause: str, *, lingers: bool = False) -> None:
        mood = self.moods[kek]
        if not mood.cause:
            mood.cause, mood.since, mood.refused, mood.told = cause, self.time, None, None
            mood.lingers = lingers and cause in ACCESS

    def reinstate(self, tenant: str) -> None:
        """The tenant turns all its KEKs on."""
        for kek in self.keks(tenant):
            mood = self.moods[kek]
            if mood.cause:
                mood.cause, mood.since, mood.refused, mood.told = "", self.time, None, None

    def crash(self, index: int) -> None:
        """A process dies, and another starts in its place."""
        self.fleet[index] = Process(self)

    def set_own_fault(self, fault: str) -> None:
        """Our own access breaks, or is mended."""
        if fault != self.own_fault:
            self.own_fault = fault
            for tenant in TENANTS:
                self._upset(tenant)

    def suspend(self, process: Process, tenant: str) -> None:
        """Turn the kill switch on."""
        self._upset(tenant)
        self._order(process, lambda: process.app.keystead.suspend_key(caller(tenant), tenant))

    def resume(self, process: Process, tenant: str) -> None:
        """Turn it off."""
        self._order(process, lambda: process.app.keystead.resume_key(caller(tenant), tenant))

    def move(self, process: Process, tenant: str) -> None:
        """Replace the tenant's KEK by its other one."""
        one, two = KEKS[tenant]
        other = target(two if self.kek(tenant) == one else one)
        self._ask(process, tenant, lambda: process.app.keystead.configure_key(caller(tenant), tenant, other))

    def store_restored(self, process: Process, tenant: str) -> None:
        """The operator orders what follows a restore."""
        began, alone = self.time, not process.plans
        before = self.record(tenant) if alone else None
        process.upset[tenant] = self.time
        if self._order(process, lambda: process.app.keystead.store_restored(OPERATOR, tenant)):
            self.promises.ordered(tenant, began, before)

    def rotate(self, process: Process, tenant: str) -> None:
        """Make a new version of the branch key."""
        self._order(
            process,
            lambda: self.promises.rotations.append(process.app.keystead.rotate(caller(tenant), tenant)),
        )

    def check(self, process: Process, tenant: str) -> None:
        """The tenant has its key looked at now, and what is due be done: a new version is taken up."""
        self._ask(process, tenant, lambda: process.app.keystead.check_key(caller(tenant), tenant))

    def set_fallback(self, process: Process, tenant: str, fallback: str) -> None:
        """The tenant chooses what becomes of new data while its key is away."""
        self._set_policy(process, tenant, PolicyChange(fallback=fallback))

    def set_terms(self, process: Process, tenant: str, lease: float, outage_grace: float) -> None:
        """The tenant tightens its lease and grace, or loosens them again: never beyond what they were at first."""
        lease, grace = min(lease, self.lease), min(outage_grace, self.outage_grace)
        self._set_policy(process, tenant, PolicyChange(lease=lease, outage_grace=grace))

    def _set_policy(self, process: Process, tenant: str, change: PolicyChange) -> None:
        self._order(process, lambda: process.app.keystead.set_policy(caller(tenant), tenant, change))

    def back_up(self) -> None:
        """Keep what the stores hold."""
        self.backup = Backup.of(self)

    def roll_back(self, *, whole: bool, copied: bool) -> None:
        """Put back what was kept, and have done what must be done then; not while somebody is held up."""
        if self.backup is not None and not any(process.busy for process in self.fleet):
            self.backup.put_back(self, whole=whole, copied=copied)

    def load(self, tenant: str, which: int, seconds: float, times: int) -> None:
        """Every process decrypts again and again."""
        for _ in range(times):
            for process in self.fleet:
                self.decrypt(process, tenant, which)
            self.pass_time(seconds)

    def end(self) -> None:
        """Take all trouble back, the withdrawals last; then all that was promised must hold."""
        for process in self.fleet:
            process.frozen = process.cut_off = False
            process.clock.skew, process.plans = 0.0, []
            process.store.cut(silent=False)
        self.own_fault = ""
        for mood in self.moods.values():
            mood.silent = False
        withdrawn = {tenant: self.active(tenant) for tenant in TENANTS}
        withdrawn = {tenant: kek for tenant, kek in withdrawn.items() if self.mood(kek).cause in ACCESS | PLAIN}
        if withdrawn:
            for _ in range(LOOKS):  # a key that is not used is checked much later
                for tenant in withdrawn:
                    self.encrypt(self.fleet[0], tenant)
                self.pass_time(CONFIRMED * (1 + self.off) / LOOKS)
            self.promises.confirmed(withdrawn)
        for mood in self.moods.values():
            mood.cause, mood.refused, mood.told = "", None, None
        for tenant in TENANTS:
            if self.record(tenant)["state"] == State.SUSPENDED:
                self.resume(self.fleet[0], tenant)
        self.promises.end()

    def _order(self, process: Process, act: Callable[[], object]) -> bool:
        # A process does one thing at a time; what holds one up inside lets the others go on.
        if not self._idle(process):
            return False
        process.busy = True
        try:
            with suppress(*ALLOWED):
                act()
                return True
        finally:
            process.busy = False
        return False

    def _ask(self, process: Process, tenant: str, act: Callable[[], object]) -> None:
        # An act that asks the tenant's KEKs: a no purges, whatever it was asked for.
        troubled = self.in_trouble(tenant)
        self._order(process, act)
        if troubled or self.in_trouble(tenant):
            self._upset(tenant)

    def _upset(self, tenant: str) -> None:
        # Something happens to a tenant that may rightly end what is cached.
        for process in self.fleet:
            process.upset[tenant] = self.time
