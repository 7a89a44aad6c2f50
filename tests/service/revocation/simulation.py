"""A fleet over one store with a clock of its own: several processes, several tenants, a KMS and all that happens.

Time passes only by `Fleet.pass_time`, which lets every process that is not frozen run its watch each second and its
check of all each minute. What the KMS answered and what callers got is kept, and compared with what is promised.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from core.bootstrap import Application, Config, Leaves, assemble
from core.domain import receipts
from core.domain.branch_keys import ACTIVE, VERSION_PREFIX
from core.domain.canaries import Canary
from core.domain.instants import parse_instant
from core.domain.kek import Kek, KekDescription, KeyAccess, UnwrappedKey, WrappedKey
from core.domain.key_policy import KeyPolicy
from core.domain.key_target import KeyTarget
from core.domain.message_header import parse_header
from core.domain.states import State
from core.errors import (
    Conflict,
    Denial,
    KeyNetworkBlocked,
    KeyRevoked,
    KeysteadError,
    KeySuspended,
    KeyUnreachable,
    OwnFault,
    ProviderSignal,
    Silence,
    StoreUnavailable,
    VendorFault,
)
from core.ports import Document, KeyProvider
from core.service.access import Permission
from core.service.timekeeper import MAX_SKEW
from core.stores.memory import MemoryAuditLog, MemoryKeyStore, MemoryTenantStore
from tests.service.world import PLATFORM, MemorySigner, RecordedEvents, ScriptedConnector, ScriptedKms, caller

ACME, GLOBEX = "acme", "globex"
TENANTS = (ACME, GLOBEX)
CANARY = Kek("local:canary")
KEKS = {tenant: (Kek(f"local:{tenant}-one"), Kek(f"local:{tenant}-two")) for tenant in TENANTS}
PROMISE = 60.0
"""Seconds after the cloud's first refusal in which plaintext may still be given out."""
RESTORED = 30.0
ACCESS = frozenset({"policy", "identity"})
TIMED_OUT = 2.5
CAUSES = ("disabled", "pending_deletion", "not_found", "policy", "identity", "unknown", "network")
SPANS = (0.4, 1.0, 2.0, 5.5, 11.0, 31.0, 61.0, 95.0, 400.0, 1000.0)


class Broken(AssertionError):
    """A promise does not hold."""


class Clock:
    """One process's clock: the fleet's time, its wall clock off by something."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.skew = self.set_at = 0.0

    def set_skew(self, seconds: float) -> None:
        """Have the wall clock be off from now on; one that goes back purges everything, rightly."""
        self.skew, self.set_at = seconds, self._fleet.time
        self._fleet.off |= abs(seconds) > MAX_SKEW

    def wall(self) -> float:
        return self._fleet.time + self.skew

    def boot(self) -> float:
        return self._fleet.time


class Store(MemoryTenantStore):
    """One process's way to the one store, which can be cut."""

    def __init__(self, shared: MemoryTenantStore) -> None:
        super().__init__()
        self._shared = shared
        self.silent = False

    def read(self, tenant_id: str, name: str) -> Document | None:
        self._reach()
        return self._shared.read(tenant_id, name)

    def write(self, tenant_id: str, name: str, body: Mapping[str, Any], *, expected_revision: int) -> Document:
        self._reach()
        return self._shared.write(tenant_id, name, body, expected_revision=expected_revision)

    def list_tenants(self, *, after: str = "", limit: int = 100) -> Any:
        self._reach()
        return self._shared.list_tenants(after=after, limit=limit)

    def _reach(self) -> None:
        if self.silent:
            raise StoreUnavailable("the store does not answer")


@dataclass
class Call:
    """A call that the KMS answered with a refusal."""

    time: float
    request_id: str
    kek: Kek


@dataclass
class Mood:
    """How the KMS treats a KEK."""

    cause: str = ""
    silent: bool = False
    since: float = 0.0
    refused: float | None = None
    """When it first refused since it was withdrawn."""


class Kms:
    """One process's way to the KMS."""

    def __init__(self, fleet: Fleet, process: Process) -> None:
        self._fleet = fleet
        self._process = process

    def wrap(self, kek: Kek, key: bytes, context: Mapping[str, str]) -> WrappedKey:
        self._ask(kek)
        return self._fleet.kms.wrap(kek, key, context)

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> UnwrappedKey:
        self._ask(wrapped.kek)
        found = self._fleet.kms.unwrap(wrapped, context)
        if self._process.tenant and context.get("tenant_id") == self._process.tenant:
            for row in (context["type"], context.get("version", "")):
                self._process.unwrapped[(self._process.tenant, row)] = self._fleet.time
                view = self._process.app.gate._views.get(self._process.tenant)
                known = None if view is None else view.record.interruptions
                self._process.known[(self._process.tenant, row)] = known
        self._process.hold_up("answered")
        return replace(found, server_time=self._fleet.time)

    def describe(self, kek: Kek) -> KekDescription:
        self._ask(kek)
        return KekDescription(kek, enabled=True, detail="Enabled")

    def _ask(self, kek: Kek) -> None:
        fleet, mood = self._fleet, self._fleet.moods[kek]
        self._process.hold_up("asked")
        if kek != PLATFORM and (mood.silent or self._process.cut_off):
            fleet.time += TIMED_OUT
            raise Silence("no answer")
        if kek != PLATFORM and fleet.own_fault == "credentials":
            raise OwnFault("our own credentials", kms_code="Expired")
        if mood.cause:
            fleet.refusals.append(Call(fleet.time, f"r-{len(fleet.refusals)}", kek))
            mood.refused = fleet.time if mood.refused is None else mood.refused
            raise fleet.denial(mood.cause)
        if kek != PLATFORM and fleet.own_fault == "policy":
            # To the tenant it is a refusal like any other, but not one of its making.
            fleet.refusals.append(Call(fleet.time, f"ours-{len(fleet.refusals)}", kek))
            raise fleet.denial("policy")


class Connector:
    """Reaches tenants' KEKs for one process."""

    def __init__(self, kms: Kms, real: Any) -> None:
        self._kms, self._real = kms, real

    def connect(self, access: KeyAccess) -> KeyProvider:
        return self._kms

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Process:
    """One process, and what holds it up."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.clock = Clock(fleet)
        self.store = Store(fleet.tenant_store)
        self.frozen = False
        self.cut_off = False
        self.busy = False
        self.tenant = ""
        """Whose request it works on, if it does."""
        self.unwrapped: dict[tuple[str, str], float] = {}
        """When it last unwrapped a row for a request of a tenant."""
        self.known: dict[tuple[str, str], int | None] = {}
        """How many interruptions of the tenant's key it knew of then."""
        self.upset: dict[str, float] = {}
        """When something last happened after which a tenant's cached keys need not serve."""
        self.plans: list[tuple[str, Callable[[], None]]] = []
        self.app: Application = fleet.assemble(self)
        self.minute = fleet.time

    def hold_up(self, where: str) -> None:
        """Let what was planned for a moment inside a KMS call happen."""
        if self.plans and self.plans[0][0] == where:
            self.plans.pop(0)[1]()

    def idle_until(self) -> float:
        """When its scheduler next has something to do."""
        return min([self.minute + 60, *self.app.schedules._watch._due.values()])

    def background(self) -> None:
        """What the host's scheduler does."""
        if self.frozen or self.busy:
            return
        self.busy = True
        try:
            for tenant_id in [one for some in self.app.schedules._watch.due() for one in some]:
                self._quietly(lambda tenant_id=tenant_id: self.app.checks.check(tenant_id))  # type: ignore[misc]
            if self.fleet.time - self.minute >= 60:
                self.minute = self.fleet.time
                for tenant_id in TENANTS:
                    self._quietly(lambda tenant_id=tenant_id: self._check_and_mend(tenant_id))  # type: ignore[misc]
        finally:
            self.busy = False

    def _check_and_mend(self, tenant_id: str) -> None:
        self.app.checks.check(tenant_id)
        self.app.schedules._upkeep.mend(tenant_id)

    def _quietly(self, act: Callable[[], object]) -> None:
        try:
            act()
        except KeysteadError as error:
            if isinstance(error, ProviderSignal):
                raise


@dataclass
class Told:
    """A caller's outcome."""

    process: Process
    tenant: str
    error: KeysteadError | None


@dataclass
class Fleet:
    """Everything there is."""

    processes: int = 3
    canary: bool = True
    lease: float = 60
    outage_grace: float = 900
    time: float = 1_800_000_000.0
    own_fault: str = ""
    off: bool = False
    """Whether a clock was off by more than is allowed for: turns that it wrote may come late, and nothing else."""
    refusals: list[Call] = field(default_factory=list)
    largest: float = 0.0
    """The longest that plaintext was still given out after the first refusal."""
    slowest: float = 0.0
    """The longest that a restoration took."""

    def __post_init__(self) -> None:
        self.kms = ScriptedKms()
        self.moods: dict[Kek, Mood] = {}
        for kek in (PLATFORM, CANARY, *(kek for keks in KEKS.values() for kek in keks)):
            self.kms.keys[kek.locator] = bytes(len(kek.locator)).ljust(32, b"k")[:32]
            self.moods[kek] = Mood()
        self.tenant_store, self.key_store = MemoryTenantStore(), MemoryKeyStore()
        self.audit_log, self.events, self.signer = MemoryAuditLog(), RecordedEvents(), MemorySigner()
        self.messages: dict[str, list[tuple[bytes, bytes]]] = {tenant: [] for tenant in TENANTS}
        self.given: list[tuple[float, str]] = []
        self.marked: dict[str, State] = {}
        self.fleet = [Process(self) for _ in range(self.processes)]
        first = self.fleet[0].app
        for tenant in TENANTS:
            first.tenants.create(tenant)
            first.key_configuration.configure(tenant, KeyTarget(KEKS[tenant][0].locator), {})
        for process in self.fleet:
            for tenant in TENANTS:
                self.encrypt(process, tenant)
            self.pass_time(7)  # leases and looks at the state must not end together

    def assemble(self, process: Process) -> Application:
        """A process's application."""
        kms = Kms(self, process)
        leaves = Leaves(
            clock=process.clock,
            key_store=self.key_store,
            tenant_store=process.store,
            audit_log=self.audit_log,
            signer=self.signer,
            events=self.events,
            platform=kms,
            platform_kek=PLATFORM,
            connectors={"local": Connector(kms, ScriptedConnector(self.kms))},
        )
        config = Config(
            policy=KeyPolicy(lease=self.lease, outage_grace=self.outage_grace),
            offerings={"default": frozenset({"local"})},
            canaries=(Canary(CANARY.locator),) if self.canary else (),
        )
        return assemble(config, leaves)

    # -- what happens ------------------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        """Let time pass for everybody who is not frozen: by the second where somebody has something to do."""
        end = self.time + seconds
        while self.time < end:
            awake = [process.idle_until() for process in self.fleet if not process.frozen]
            idle = min(awake, default=end) - self.time
            self.time = min(self.time + max(1.0, idle), end)
            for process in self.fleet:
                process.background()
            self._look()

    def withdraw(self, tenant: str, cause: str) -> None:
        """The tenant turns its KEK in force off."""
        mood = self.moods[self.kek(tenant)]
        if not mood.cause:
            mood.cause, mood.since, mood.refused = cause, self.time, None
        self._upset(tenant)

    def reinstate(self, tenant: str) -> None:
        """The tenant turns all its KEKs on."""
        for kek in KEKS[tenant]:
            mood = self.moods[kek]
            if mood.cause:
                mood.cause, mood.since, mood.refused = "", self.time, None

    def kek(self, tenant: str) -> Kek:
        """A tenant's KEK in force, as recorded."""
        return Kek(self.record(tenant)["kek"])

    def record(self, tenant: str) -> Mapping[str, Any]:
        """A tenant's record as stored."""
        document = self.tenant_store.read(tenant, "tenant")
        assert document is not None
        return document.body

    def crash(self, index: int) -> None:
        """A process dies, and another starts in its place."""
        self.fleet[index] = Process(self)

    def denial(self, cause: str) -> Denial:
        """What the KMS says to the request that it refused last."""
        request_id = self.refusals[-1].request_id
        return Denial("no", cause=cause, kms_code="No", request_id=request_id, server_time=self.time)

    def set_own_fault(self, fault: str) -> None:
        """Our own access breaks, or is mended."""
        if fault != self.own_fault:
            self.own_fault = fault
            for tenant in TENANTS:
                self._upset(tenant)

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
            lambda: self.withdraw(tenant, rng.choice(CAUSES)),
            lambda: self.reinstate(tenant),
            lambda: setattr(self.moods[self.kek(tenant)], "silent", rng.random() < 0.5),
            lambda: setattr(process, "cut_off", rng.random() < 0.5),
            lambda: setattr(process.store, "silent", rng.random() < 0.5),
            lambda: setattr(process, "frozen", rng.random() < 0.5),
            lambda: process.plans.append((rng.choice(["asked", "answered"]), lambda: self.pass_time(span))),
            lambda: process.clock.set_skew(rng.choice([0.0, 0.0, 3.0, -3.0, 20.0, -20.0])),
            lambda: self.crash(index),
            lambda: self.suspend(process, tenant),
            lambda: self.resume(process, tenant),
            lambda: self.move(process, tenant),
        ]
        if self.canary:
            things.append(lambda: self.set_own_fault(rng.choice(["", "", "policy", "credentials"])))
        rng.choice(things)()

    def load(self, tenant: str, which: int, seconds: float, times: int) -> None:
        """Every process decrypts again and again."""
        for _ in range(times):
            for process in self.fleet:
                self.decrypt(process, tenant, which)
            self.pass_time(seconds)

    def suspend(self, process: Process, tenant: str) -> None:
        """Turn the kill switch on."""
        self._upset(tenant)
        self._order(process, lambda: process.app.kill_switch.suspend(tenant, "alice", {}))

    def resume(self, process: Process, tenant: str) -> None:
        """Turn it off."""
        self._order(process, lambda: process.app.kill_switch.resume(tenant, "alice", {}))

    def move(self, process: Process, tenant: str) -> None:
        """Replace the tenant's KEK by its other one."""
        self._upset(tenant)
        one, two = KEKS[tenant]
        target = two if self.kek(tenant) == one else one
        configure = process.app.key_configuration.configure
        self._order(process, lambda: configure(tenant, KeyTarget(target.locator), {}))
        self._upset(tenant)

    def _order(self, process: Process, act: Callable[[], object]) -> None:
        # A process does one thing at a time; what holds one up inside lets the others go on.
        if process.frozen or process.busy:
            return
        process.busy = True
        try:
            with suppress(*ALLOWED):
                act()
        finally:
            process.busy = False

    def encrypt(self, process: Process, tenant: str) -> None:
        """A caller encrypts."""
        plaintext = f"{tenant} {len(self.messages[tenant])}".encode()
        encrypt = process.app.encryption.encrypt
        message = self._operate(process, tenant, ACTIVE, lambda: encrypt(tenant, plaintext, {}))
        if message is not None:
            self.messages[tenant].append((message, plaintext))

    def decrypt(self, process: Process, tenant: str, which: int) -> None:
        """A caller decrypts one of its messages."""
        message, plaintext = self.messages[tenant][which % len(self.messages[tenant])]
        row, decrypt = VERSION_PREFIX + parse_header(message).edks[0].version_id, process.app.encryption.decrypt
        found = self._operate(process, tenant, row, lambda: decrypt(tenant, message, {}))
        if found is not None:
            if found != plaintext:
                raise Broken("a message decrypts to something else")
            self._given(tenant)

    # -- what must hold ----------------------------------------------------------------------------------------------

    def _operate(self, process: Process, tenant: str, row: str, act: Callable[[], bytes]) -> bytes | None:
        if process.frozen or process.busy:
            return None
        process.busy = True
        must = self._must_serve(process, tenant, row)
        process.tenant = tenant
        try:
            return act()
        except ALLOWED as error:
            if must and self._must_serve(process, tenant, row):
                raise Broken(f"refused inside the grace: {error!r} {error.hint}") from error
            return None
        finally:
            process.busy, process.tenant = False, ""

    def _must_serve(self, process: Process, tenant: str, row: str) -> bool:
        # Whether a process holds the key, its state is fresh, and nothing but silence has come since.
        unwrapped = process.unwrapped.get((tenant, row))
        if not self.lease or unwrapped is None or process.store.silent or process.clock.skew or process.plans:
            return False
        if any(self.moods[kek].cause for kek in KEKS[tenant]):
            return False
        if process.known.get((tenant, row)) != self.record(tenant).get("interruptions", 0):
            return False  # unwrapped before an interruption, whether it saw that one or not
        disturbed = max(process.clock.set_at, self.upset_at(tenant))
        state = State(self.record(tenant)["state"])
        calm = state in {State.ACTIVE, State.DEGRADED, State.UNREACHABLE}
        grace = max(self.lease, self.outage_grace)
        return calm and disturbed < unwrapped and self.time < unwrapped + grace - 2 * TIMED_OUT and not self.own_fault

    def upset_at(self, tenant: str) -> float:
        """When something last happened to a tenant that may rightly end what is cached."""
        return max(process.upset.get("*" + tenant, 0.0) for process in self.fleet)

    def _upset(self, tenant: str) -> None:
        for process in self.fleet:
            process.upset["*" + tenant] = self.time

    def _given(self, tenant: str) -> None:
        self.given.append((self.time, tenant))
        for kek in KEKS[tenant]:
            mood = self.moods[kek]
            if kek == self.kek(tenant) and mood.cause and mood.refused is not None:
                late = self.time - mood.refused
                self.largest = max(self.largest, late)
                if late > PROMISE:
                    raise Broken(f"plaintext {late:.1f} s after the first refusal")
        if self.record(tenant)["state"] == State.SUSPENDED and self.time - self._since(tenant) > 30 + 10:
            raise Broken("plaintext under the kill switch")

    def _since(self, tenant: str) -> float:
        return parse_instant(self.record(tenant)["since"])

    def _look(self) -> None:
        for tenant in TENANTS:
            state = State(self.record(tenant)["state"])
            if state is State.REVOKED and self.marked.get(tenant) is not State.REVOKED:
                withdrawal = self.record(tenant)["withdrawal"]
                calls = {call.request_id for call in self.refusals if call.kek.locator == withdrawal["kek"]}
                if not {withdrawal["request_id"], withdrawal["confirmed_request_id"]} <= calls:
                    raise Broken("a tenant is marked whose KMS did not refuse")
                if withdrawal["confirmed_request_id"].startswith("ours"):
                    raise Broken("a tenant is marked by our own fault")
            self.marked[tenant] = state

    def end(self) -> None:
        """Take everything back; then nothing is lost, and every statement made on the way was true."""
        for process in self.fleet:
            process.frozen = process.cut_off = process.store.silent = False
            process.clock.skew, process.plans = 0.0, []
        self.own_fault = ""
        for mood in self.moods.values():
            mood.cause, mood.silent, mood.refused = "", False, None
        for tenant in TENANTS:
            if self.record(tenant)["state"] == State.SUSPENDED:
                self.resume(self.fleet[0], tenant)
        self._restored()
        for tenant in TENANTS:
            self._receipts(tenant)
            self._told(tenant)

    def _restored(self) -> None:
        began, waiting = self.time, set(TENANTS)
        while waiting:
            for tenant in sorted(waiting):
                with_all = all(self._serves(process, tenant) for process in self.fleet)
                if with_all:
                    waiting.discard(tenant)
            if not waiting:
                break
            if self.time - began > RESTORED + 20 * self.off:
                states = {tenant: self.record(tenant)["state"] for tenant in waiting}
                raise Broken(f"not restored: {states}")
            self.pass_time(1)
        self.slowest = 0.0 if self.off else self.time - began

    def _serves(self, process: Process, tenant: str) -> bool:
        for message, plaintext in self.messages[tenant]:
            try:
                if process.app.encryption.decrypt(tenant, message, {}) != plaintext:
                    raise Broken("a message decrypts to something else")
            except ALLOWED:
                return False
        return True

    def _receipts(self, tenant: str) -> None:
        who = caller(tenant, Permission.AUDIT_READ)
        app = self.fleet[0].app
        for entry in app.keystead.list_receipts(who, tenant):
            body = receipts.verify(app.keystead.receipt(who, tenant, entry.id).statement, self.signer.jwks())
            begins = parse_instant(entry.not_served_after)
            ends = parse_instant(entry.reinstated) if entry.reinstated else self.time
            for at, whose in self.given:
                if whose == tenant and begins < at < ends:
                    raise Broken(f"a receipt says nothing was served at {at}, {at - begins:.1f} s after its instant")
            known = {call.request_id: call for call in self.refusals}
            for name in ("kms_request_id", "confirmation_request_id"):
                if body[name] not in known or known[body[name]].kek.locator != body["kek"]:
                    raise Broken("a receipt names a request that was not refused")

    def _told(self, tenant: str) -> None:
        self.pass_time(120)  # what was left untold by a process that died is told by the next look
        timeline = self.fleet[0].app.keystead._parts.status._teller.timeline(tenant)
        if len({change.id for change in timeline}) != len(timeline):
            raise Broken("a change is told twice in the timeline")
        audited = {
            entry.details["id"] for entry in self.audit_log.read(tenant, limit=10_000) if entry.action == "key.state"
        }
        if {change.id for change in timeline} - audited:
            raise Broken("a change is in the timeline and not in the chain")
        if self.record(tenant).get("untold"):
            raise Broken("a change was never told")
        if not self.fleet[0].app.audit.verify(tenant).ok:
            raise Broken("the audit chain does not hold")


ALLOWED = (KeyRevoked, KeyUnreachable, KeyNetworkBlocked, KeySuspended, VendorFault, StoreUnavailable, Conflict)
"""What callers may hear in a simulation."""
