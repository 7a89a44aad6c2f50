"""What must hold in a simulation, whatever happens: compared with what callers got and what the KMS answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.domain import receipts
from core.domain.branch_keys import ACTIVE, VERSION_PREFIX
from core.domain.instants import parse_instant
from core.domain.kek import Kek
from core.domain.message_header import parse_header
from core.domain.states import State
from core.domain.tenants import MAC_FIELD, TenantRecord
from core.errors import (
    Conflict,
    KeyCheckFailed,
    KeyNetworkBlocked,
    KeyRevoked,
    KeySuspended,
    KeyUnreachable,
    KeyWriteBlocked,
    StoreUnavailable,
    VendorFault,
)
from core.service.access import Permission
from core.service.branch_key import UNCACHED_USE
from core.service.results import Rotation
from tests.service.revocation.simulation_clouds import TENANTS, TIMED_OUT
from tests.service.revocation.simulation_stores import STATE_AGE
from tests.service.world import PLATFORM, caller

if TYPE_CHECKING:
    from tests.service.revocation.simulation_fleet import Fleet
    from tests.service.revocation.simulation_processes import Process, Unwrapped

PROMISE = 60.0
"""Seconds after the cloud's first refusal in which plaintext may still be given out."""
RESTORED = 30.0
ALLOWED = (
    *(KeyRevoked, KeyUnreachable, KeyNetworkBlocked, KeyWriteBlocked, KeySuspended),
    *(KeyCheckFailed, VendorFault, StoreUnavailable, Conflict),
)
"""What callers may hear in a simulation."""
SERVING = frozenset({State.ACTIVE, State.DEGRADED, State.UNREACHABLE})
TIGHTER = {State.SUSPENDED: {State.SUSPENDED}, State.PLATFORM: {State.PLATFORM}}
"""What an order after a restore may make of a state; of others, `hold`."""


def _undisturbed(before: TenantRecord, now: TenantRecord) -> bool:
    # Whether nothing came between that ends what was unwrapped: no refusal, no KEK given up, or back after another one.
    bound, lost = before.every_binding(), {gone.locator for gone in now.lost_keks}
    return (
        (before.interruptions, before.branch_key_id) == (now.interruptions, now.branch_key_id)
        and lost <= {gone.locator for gone in before.lost_keks}
        and all(bound[kek].since == binding.since for kek, binding in now.every_binding().items() if kek in bound)
    )


class Broken(AssertionError):
    """A promise does not hold."""


@dataclass
class Order:
    """An order after a restore: when it was given, and when it was carried out."""

    began: float
    done: float


@dataclass
class Promises:
    """Watches over them."""

    fleet: Fleet
    given: list[tuple[float, str]] = field(default_factory=list)
    """When plaintext of whose was given out."""
    largest: float = 0.0
    """The longest that plaintext was still given out after the first refusal."""
    slowest: float = 0.0
    """The longest that a restoration took."""
    orders: dict[str, Order] = field(default_factory=dict)
    fallen_back: int = 0
    """How many messages were written under the platform's key."""
    rotations: list[Rotation] = field(default_factory=list)
    _marked: dict[str, State] = field(default_factory=dict)
    _recorded: dict[str, State] = field(default_factory=dict)

    def must_serve(self, process: Process, tenant: str, row: str) -> bool:
        """Whether a process holds the key, its state is fresh, and nothing but silence has come since."""
        fleet, unwrapped = self.fleet, self._unwrapped(process, tenant, row)
        if unwrapped is None or process.store.silent or process.clock.skew or process.plans:
            return False
        if fleet.in_trouble(tenant):
            return False
        record = TenantRecord.from_body({k: v for k, v in fleet.record(tenant).items() if k != MAC_FIELD})
        if unwrapped.known is None or not _undisturbed(unwrapped.known, record):
            return False
        if not all(known.lease for known in fleet.tenant_store.lately(tenant, fleet.time - unwrapped.answered)):
            return False
        known = fleet.tenant_store.lately(tenant, process.store.sees_within())
        ends = unwrapped.proved + min(one.serves for one in known) - 2 * TIMED_OUT
        disturbed = max(process.clock.set_at, process.upset.get(tenant, 0.0))
        return record.state in SERVING and disturbed < unwrapped.answered and fleet.time < ends

    def _unwrapped(self, process: Process, tenant: str, row: str) -> Unwrapped | None:
        # The ACTIVE row holds its version's key: whoever has unwrapped one can use the other in silence.
        rows = [row]
        active = self.fleet.key_store.read(self.fleet.record(tenant)["branch_key_id"], ACTIVE)
        if active is not None and row in (ACTIVE, VERSION_PREFIX + active.row.version_id):
            rows = [ACTIVE, VERSION_PREFIX + active.row.version_id]
        found = [process.unwrapped[tenant, one] for one in rows if (tenant, one) in process.unwrapped]
        return max(found, key=lambda one: one.proved, default=None)

    def served(self, process: Process, tenant: str, row: str) -> None:
        """A process has just served a tenant, by a row: after a restore, only by its own new unwrap."""
        order = self.orders.get(tenant)
        if order is None or self.fleet.time <= order.done + process.store.sees_within(order.done):
            return
        if process.unwrapped[tenant, row].asked < order.began:
            raise Broken("a process serves by what it unwrapped before the order that followed a restore")

    def must_fall_back(self, process: Process, tenant: str) -> bool:
        """Whether a process must encrypt under the platform's key: by the tenant's choice, since some time."""
        if process.store.sees_within() > STATE_AGE or process.plans or process.clock.skew:
            return False
        return all(known.falls_back for known in self.fleet.tenant_store.lately(tenant, STATE_AGE))

    def must_read(self, process: Process, tenant: str, message: bytes) -> bool:
        """Whether a process must decrypt a message that lies under the platform's key: whatever the tenant's does."""
        if process.store.sees_within() > STATE_AGE or process.plans or process.clock.skew:
            return False
        known = self.fleet.tenant_store.lately(tenant, STATE_AGE)
        return self._under_platform(message) and all(one.state in SERVING for one in known)

    def written(self, process: Process, tenant: str, message: bytes, *, must_fall_back: bool) -> None:
        """A process has just written a message: under the platform's key only by the tenant's choice, in silence."""
        fell_back = self._under_platform(message)
        self.fallen_back += fell_back
        known = self.fleet.tenant_store.lately(tenant, process.store.sees_within())
        if fell_back and not any(one.falls_back for one in known):
            raise Broken(f"a message was written under the platform's key in {[one.state.value for one in known]}")
        if must_fall_back and not fell_back and self.must_fall_back(process, tenant):
            raise Broken("a message was not written under the platform's key, against the tenant's choice")

    def _under_platform(self, message: bytes) -> bool:
        return self._kek_of(message) == PLATFORM

    def _kek_of(self, message: bytes) -> Kek:
        named = parse_header(message).edks[0]
        stored = self.fleet.key_store.read(named.branch_key_id, VERSION_PREFIX + named.version_id)
        if stored is None:
            raise Broken("a version is lost")
        return stored.row.kek

    def plaintext(self, process: Process, tenant: str, message: bytes) -> None:
        """A caller has just got plaintext of a message."""
        fleet, record = self.fleet, self.fleet.record(tenant)
        self.given.append((fleet.time, tenant))
        mood = fleet.mood(fleet.active(tenant))
        # Who hears of a refusal and cannot write it down leaves the others to ask for themselves; if then nothing
        # answers, they serve for lease and outage grace, as published.
        silent = fleet.moods[fleet.kek(tenant)].silent or process.cut_off
        refused = mood.told if silent else mood.refused
        if mood.cause and refused is not None:
            late = fleet.time - refused
            self.largest = max(self.largest, late)
            if late > PROMISE:
                raise Broken(f"plaintext {late:.1f} s after the first refusal")
        mood = fleet.mood(self._kek_of(message))
        ago = fleet.time - mood.since
        known = fleet.tenant_store.lately(tenant, process.store.sees_within())
        if mood.cause and ago > max(*(one.serves for one in known), UNCACHED_USE):
            raise Broken(f"plaintext {ago:.1f} s after the withdrawal, beyond lease and outage grace")
        if record["state"] == State.SUSPENDED and fleet.time - parse_instant(record["since"]) > 30 + 10:
            raise Broken("plaintext under the kill switch")

    def ordered(self, tenant: str, began: float, before: Mapping[str, Any] | None, *, replayed: bool = False) -> None:
        """An order after a restore was carried out: it only tightens.

        Args:
            tenant: Whose.
            began: When it was given.
            before: The record of before, None where others may have changed it meanwhile.
            replayed: Whether the audit chain may tell of more than the record: of a kill switch, or another key.
        """
        self.orders[tenant] = Order(began, self.fleet.time)
        state = State(self.fleet.record(tenant)["state"])
        tighter = TIGHTER.get(State(before["state"]) if before else state, {State.HOLD}) | (
            {State.SUSPENDED} if replayed else set()
        )
        if before is not None and state not in tighter:
            raise Broken(f"an order after a restore made {state} of {before['state']}")

    def recorded(self, record: TenantRecord) -> None:
        """A tenant's record was written: what it says of a withdrawal is about the KEK that new data hangs on."""
        if record.state is self._recorded.get(record.tenant_id) or not record.sequence_floor:
            return
        self._recorded[record.tenant_id] = record.state
        if (
            record.withdrawal is not None
            and record.withdrawal.request_id
            and record.state in (State.HOLD, State.REVOKED)
        ):
            active = self.fleet.key_store.read(record.branch_key_id, ACTIVE)
            if active is not None and active.row.kek.locator != record.withdrawal.kek:
                raise Broken(f"{record.state} because of {record.withdrawal.kek}, not of {active.row.kek}")

    def restored(self, record: TenantRecord) -> None:
        """A tenant's record was put back as it was once."""
        self._recorded[record.tenant_id] = self._marked[record.tenant_id] = record.state

    def look(self) -> None:
        """No tenant is marked but by its own KMS."""
        for tenant in TENANTS:
            record = self.fleet.record(tenant)
            state = State(record["state"])
            if state is State.REVOKED and self._marked.get(tenant) is not State.REVOKED:
                withdrawal = record["withdrawal"]
                whole = Kek(withdrawal["kek"]).key  # the probe may lie under another version
                calls = {call.request_id for call in self.fleet.refusals if call.kek.key == whole}
                if not {withdrawal["request_id"], withdrawal["confirmed_request_id"]} <= calls:
                    raise Broken("a tenant is marked whose KMS did not refuse")
                if withdrawal["confirmed_request_id"].startswith("ours"):
                    raise Broken("a tenant is marked by our own fault")
            self._marked[tenant] = state

    def confirmed(self, withdrawn: Mapping[str, Kek]) -> None:
        """Keys, or versions, that new data hung on have been withdrawn for a while; nothing else was the matter."""
        for tenant, kek in withdrawn.items():
            state = self.fleet.record(tenant)["state"]
            # A move that was half done may have been finished meanwhile, and a new version taken up.
            if self.fleet.active(tenant) == kek and state not in {State.REVOKED, State.SUSPENDED}:
                raise Broken(f"a withdrawal is not confirmed: {state}")

    def end(self) -> None:
        """All is well again: nothing is lost, and every statement made on the way was true."""
        self._restored()
        for tenant in TENANTS:
            self._receipts(tenant)
            self._told(tenant)
            self._rows(tenant)

    def _restored(self) -> None:
        fleet, began, waiting = self.fleet, self.fleet.time, set(TENANTS)
        while waiting:
            for tenant in sorted(waiting):
                if all(self._serves(process, tenant) for process in fleet.fleet):
                    waiting.discard(tenant)
            if not waiting:
                break
            if fleet.time - began > RESTORED + 20 * fleet.off:
                states = {tenant: fleet.record(tenant)["state"] for tenant in waiting}
                raise Broken(f"not restored: {states}")
            fleet.pass_time(1)
        self.slowest = 0.0 if fleet.off else fleet.time - began

    def _serves(self, process: Process, tenant: str) -> bool:
        for message, plaintext in self.fleet.messages[tenant]:
            try:
                if process.app.encryption.decrypt(tenant, message, {}) != plaintext:
                    raise Broken("a message decrypts to something else")
            except ALLOWED:
                return False
        return True

    def _receipts(self, tenant: str) -> None:
        who = caller(tenant, Permission.AUDIT_READ)
        app = self.fleet.fleet[0].app
        for entry in app.keystead.list_receipts(who, tenant):
            statement = app.keystead.receipt(who, tenant, entry.id).statement
            body = receipts.verify(statement, self.fleet.signer.jwks())
            begins = parse_instant(entry.not_served_after)
            ends = parse_instant(entry.holds_until) if entry.reinstated else self.fleet.time
            for at, whose in self.given:
                if whose == tenant and begins < at < ends:
                    raise Broken(f"a receipt says nothing was served at {at}, {at - begins:.1f} s after its instant")
            known = {call.request_id: call for call in self.fleet.refusals}
            for name in ("kms_request_id", "confirmation_request_id"):
                if body[name] not in known or known[body[name]].kek.key.locator != body["kek"]:
                    raise Broken("a receipt names a request that was not refused")

    def _told(self, tenant: str) -> None:
        fleet = self.fleet
        fleet.pass_time(120)  # what was left untold by a process that died is told by the next look
        timeline = fleet.fleet[0].app.keystead._parts.status._teller.timeline(tenant)
        if len({change.id for change in timeline}) != len(timeline):
            raise Broken("a change is told twice in the timeline")
        audited = {
            entry.details["id"] for entry in fleet.audit_log.read(tenant, limit=10_000) if entry.action == "key.state"
        }
        if {change.id for change in timeline} - audited:
            raise Broken("a change is in the timeline and not in the chain")
        if fleet.record(tenant).get("untold"):
            raise Broken("a change was never told")
        if not fleet.fleet[0].app.audit.verify(tenant).ok:
            raise Broken("the audit chain does not hold")

    def _rows(self, tenant: str) -> None:
        record = self.fleet.record(tenant)
        rows = [
            stored
            for branch_key_id in (record["branch_key_id"], *record["former_branch_keys"])
            for stored in self.fleet.key_store.list_versions(branch_key_id)
        ]
        if record.get("fallback_branch_key") or any(stored.row.kek == PLATFORM for stored in rows):
            raise Broken("a fallback has not ended though the tenant's key serves")
        active = self.fleet.key_store.read(record["branch_key_id"], ACTIVE)
        if active is None or active.mac is None or active.mac.sequence < record["sequence_floor"]:
            raise Broken("the ACTIVE version is older than one seen before")
        made = {stored.row.type: stored for stored in rows}
        for rotation in self.rotations:
            if rotation.tenant_id == tenant and VERSION_PREFIX + rotation.version not in made:
                raise Broken("a version that was made is lost")
        numbered = [(stored.row.branch_key_id, stored.mac.sequence) for stored in rows if stored.mac]
        if len(set(numbered)) != len(numbered):
            raise Broken("two versions have the same number")
