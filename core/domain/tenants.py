"""A tenant's record: the one document that the state gate reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from core.domain.bindings import UNBOUND, Binding, LostKek
from core.domain.kek import Kek, KeyAccess
from core.domain.key_policy import DEFAULT_POLICY, KeyPolicy
from core.domain.policy_caps import UNCAPPED, PolicyCaps
from core.domain.states import RULES, Signal, State, next_state
from core.errors import InvalidRequest, StoreCorrupt

if TYPE_CHECKING:
    from core.domain.key_target import KeyTarget
    from core.domain.withdrawals import StateChange, Withdrawal

TENANT_ID = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}\Z")
RECORD = "tenant"
"""Name of the document that holds a `TenantRecord`."""
MAC_FIELD = "mac"
"""Field beside a record's own that holds its MAC (`core.service.tenant_records`)."""
SYSTEM = "_system"
"""Partition of the service's own documents; no tenant id can equal it."""
MAX_DISPLAY_NAME = 200
MAX_FORMER_BRANCH_KEYS = 100
"""The record must stay small: it is read at every look at the state."""
DEFAULT_OFFERING = "default"
INTERRUPTS = frozenset({State.HOLD, State.REVOKED, State.NETWORK_BLOCKED, State.SUSPENDED})
FALLS_BACK = frozenset({State.UNREACHABLE, State.NETWORK_BLOCKED})
"""States in which a tenant's choice of a fallback takes effect: never on denial, hold or suspension."""


def check_tenant_id(text: str) -> str:
    """Give a tenant id back if it is well formed.

    Raises:
        InvalidRequest: It does not match ``^[a-z0-9][a-z0-9-]{0,62}$``.
    """
    if not TENANT_ID.match(text):
        raise InvalidRequest(
            "a tenant id is 1 to 63 lower-case letters, digits and hyphens, and does not start with a hyphen"
        )
    return text


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """Everything a request must know of a tenant before it starts.

    Attributes:
        tenant_id: Immutable, never reused.
        display_name: For people; may be empty.
        state: State of its key.
        cause: Why it is in that state; empty for ``platform`` and ``active``.
        since: UTC time of the last change of state, ISO 8601.
        created: UTC time of creation, ISO 8601.
        kek: Locator of the KEK in force; where keys have versions, of the key itself.
        moving_from: Locator of the former KEK while rows are being rewrapped, or None.
        configuration_revision: Counts configurations of the key from 1; fences row writes.
        branch_key_id: The primary branch key's id.
        sequence_floor: Lowest sequence an ACTIVE row may have; 0 until the branch key was first written.
        policy: The tenant's knobs.
        deleted: Tombstone: the id is spent.
        offering: What the tenant has bought; the operator's table says which clouds that covers.
        unbound_policy_accepted: The operator's word that a key policy not bound to the tenant may pass.
        external_id: What AssumeRole presents for this tenant; random, immutable, never reused. "" until first needed.
        binding: What is known of ``kek``.
        moving_binding: What is known of ``moving_from``.
        reversible: Whether going back to the platform's key is possible; fixed at enablement.
        exclusive_from: UTC: when the last backup that holds a row under the former KEK has expired; "" if none does.
        probe_digest: SHA-256 of the probe envelope under ``kek``, hex; "" for the platform's.
        pending: What is to come into force at its activation date, or None.
        former_branch_keys: Branch keys begun anew because their KEK was gone; they still decrypt.
        lost_keks: KEKs that rows of former branch keys still wait under.
        withdrawal: The denial that the state hangs on, or None.
        resume_to: While suspended: the state to resume; else "".
        untold: Changes of state that audit chain, timeline and events have not heard of yet.
        fallback_branch_key: Id of the branch key under the platform's KEK that new data goes under while the tenant's
            own cannot be reached; "" if there is none. One of ``former_branch_keys``.
        interruptions: How often the key came into a state that ends what is cached: a process that missed one between
            two looks must see that.
        caps: The operator's, which are not stored.
    """

    tenant_id: str
    branch_key_id: str
    kek: str
    since: str
    created: str
    display_name: str = ""
    state: State = State.PLATFORM
    cause: str = ""
    moving_from: str | None = None
    configuration_revision: int = 1
    sequence_floor: int = 0
    policy: KeyPolicy = DEFAULT_POLICY
    deleted: bool = False
    offering: str = DEFAULT_OFFERING
    unbound_policy_accepted: bool = False
    external_id: str = ""
    binding: Binding = UNBOUND
    moving_binding: Binding = UNBOUND
    reversible: bool = False
    exclusive_from: str = ""
    probe_digest: str = ""
    pending: KeyTarget | None = None
    former_branch_keys: tuple[str, ...] = ()
    lost_keks: tuple[LostKek, ...] = ()
    withdrawal: Withdrawal | None = None
    resume_to: str = ""
    untold: tuple[StateChange, ...] = ()
    fallback_branch_key: str = ""
    interruptions: int = 0
    caps: PolicyCaps = UNCAPPED

    @property
    def lease(self) -> float:
        """Seconds for which an unwrapped branch key serves, within the operator's cap."""
        return min(self.policy.lease, self.caps.lease)

    @property
    def falls_back(self) -> bool:
        """Whether new data goes under the platform's key now, by the tenant's choice (DESIGN 5, rule 8)."""
        return self.policy.fallback == "platform" and self.state in FALLS_BACK and self.withdrawal is None

    @property
    def may_read(self) -> bool:
        """Whether data may be decrypted in this state."""
        return RULES[self.state].may_read

    @property
    def may_write(self) -> bool:
        """Whether data may be encrypted in this state."""
        return RULES[self.state].may_write or self.falls_back

    @property
    def keks(self) -> frozenset[str]:
        """Locators of the KEKs whose rows may be opened."""
        return frozenset({self.kek} if self.moving_from is None else {self.kek, self.moving_from})

    @property
    def branch_keys(self) -> tuple[str, ...]:
        """Ids of every branch key whose messages may be decrypted, the primary first."""
        return (self.branch_key_id, *self.former_branch_keys)

    @property
    def outage_grace(self) -> float:
        """Seconds a cached key serves on if the KEK in force is silent at its renewal."""
        return self.grace(self.kek)

    def grace(self, locator: str) -> float:
        """Seconds a cached key serves on if the KEK that its row lies under is silent at its renewal."""
        binding = self.every_binding().get(Kek(locator).key.locator)
        return 0 if binding is None or binding.custom_key_store else self.caps.capped(self.policy).outage_grace

    def every_binding(self) -> dict[str, Binding]:
        """Every KEK that any row of the tenant may lie under, by locator."""
        found = {lost.locator: lost.binding for lost in self.lost_keks}
        if self.moving_from is not None:
            found[self.moving_from] = self.moving_binding
        found[self.kek] = self.binding
        return found

    def bindings(self, branch_key_id: str) -> Mapping[str, Binding]:
        """The KEKs that rows of a branch key may lie under, by locator."""
        found = self.every_binding()
        return found if branch_key_id != self.branch_key_id else {kek: found[kek] for kek in self.keks}

    def access(self, kek: Kek) -> KeyAccess:
        """How this tenant's KEK is reached.

        Raises:
            StoreCorrupt: It is not one of the tenant's.
        """
        binding = self.every_binding().get(kek.key.locator)
        if binding is None:
            raise StoreCorrupt("a key was asked for that is not one of the tenant's")
        return self.access_as(kek, binding)

    def access_as(self, kek: Kek, through: Binding | KeyTarget) -> KeyAccess:
        """How a KEK that need not be the tenant's yet would be reached."""
        return KeyAccess(
            tenant_id=self.tenant_id,
            revision=self.configuration_revision,
            kek=kek.key,
            role_arn=through.role_arn,
            entra_tenant=through.entra_tenant,
            external_id=self.external_id,
            lease=self.lease,
        )

    def after(
        self,
        signal: Signal,
        now: float,
        *,
        change_id: str,
        cause: str = "",
        kek: str = "",
        request_id: str = "",
        by: str = "",
        back_to: State | None = None,
    ) -> TenantRecord:
        """The same record after a signal, with the change of state to be told; itself if the signal changes nothing.

        Args:
            signal: What happened.
            now: Seconds since the epoch.
            change_id: Names the change: random.
            cause, kek, request_id, by: As in `StateChange`.
            back_to: As in `core.domain.states.next_state`.
        """
        state = next_state(self.state, signal, back_to)
        if state is self.state:
            return self
        from core.domain.withdrawals import MAX_UNTOLD, StateChange, instant

        at = instant(now)
        change = StateChange(
            change_id, at, self.state.value, state.value, signal.value, cause, kek or self.kek, request_id, by
        )
        untold = (*self.untold, change)[-MAX_UNTOLD:]
        interruptions = self.interruptions + (state in INTERRUPTS)
        return replace(self, state=state, cause=cause, since=at, untold=untold, interruptions=interruptions)

    def with_floor(self, sequence: int) -> TenantRecord:
        """The same record with the floor raised to a sequence that was seen."""
        return replace(self, sequence_floor=max(self.sequence_floor, sequence))

    def to_body(self) -> dict[str, Any]:
        """JSON form for a `TenantStore`."""
        return {
            "tenant_id": self.tenant_id,
            "branch_key_id": self.branch_key_id,
            "kek": self.kek,
            "since": self.since,
            "created": self.created,
            "display_name": self.display_name,
            "state": self.state.value,
            "cause": self.cause,
            "moving_from": self.moving_from,
            "configuration_revision": self.configuration_revision,
            "sequence_floor": self.sequence_floor,
            "policy": self.policy.to_body(),
            "deleted": self.deleted,
            "offering": self.offering,
            "unbound_policy_accepted": self.unbound_policy_accepted,
            "external_id": self.external_id,
            "binding": self.binding.to_body(),
            "moving_binding": self.moving_binding.to_body(),
            "reversible": self.reversible,
            "exclusive_from": self.exclusive_from,
            "probe_digest": self.probe_digest,
            "pending": None if self.pending is None else self.pending.to_body(),
            "former_branch_keys": list(self.former_branch_keys),
            "lost_keks": [lost.to_body() for lost in self.lost_keks],
            **self._of_withdrawals(),
        }

    def _of_withdrawals(self) -> dict[str, Any]:
        # What is empty is left out: processes of before withdrawals were kept read the record, too.
        found: dict[str, Any] = {
            "withdrawal": None if self.withdrawal is None else self.withdrawal.to_body(),
            "resume_to": self.resume_to,
            "untold": [change.to_body() for change in self.untold],
            "fallback_branch_key": self.fallback_branch_key,
            "interruptions": self.interruptions,
        }
        return {name: value for name, value in found.items() if value}

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> TenantRecord:
        """Read a stored document.

        Raises:
            StoreCorrupt: It is not a tenant record.
        """
        try:
            record = cls(
                **{
                    **{name: value for name, value in body.items() if name != MAC_FIELD},
                    "state": State(body["state"]),
                    "policy": KeyPolicy(**body["policy"]),
                    **_nested(body),
                },
            )
            record._check_types()
            record.policy.check()
        except (AttributeError, KeyError, TypeError, ValueError, InvalidRequest):
            raise StoreCorrupt("a stored tenant record cannot be read") from None
        return record

    def _check_types(self) -> None:
        # A JSON document can hold anything; what is compared and counted later must be what it is declared to be.
        policy, moving_from = self.policy, "" if self.moving_from is None else self.moving_from
        texts = (
            *(self.tenant_id, self.branch_key_id, self.kek, self.since, self.created, self.display_name, self.cause),
            *(self.offering, self.external_id, self.exclusive_from, self.probe_digest, *self.former_branch_keys),
            *(self.resume_to, self.fallback_branch_key, policy.fallback, policy.approval),
        )
        counts = (self.configuration_revision, self.sequence_floor, policy.rotation_days, self.interruptions)
        if not (
            all(type(value) is str for value in (*texts, moving_from))
            and all(type(value) is int and value >= 0 for value in counts)
            and all(type(value) in (int, float) for value in (policy.lease, policy.outage_grace))
            and all(type(value) is bool for value in (self.deleted, self.reversible, self.unbound_policy_accepted))
        ):
            raise TypeError("a field has another type")
        if self.resume_to:
            State(self.resume_to)


def _nested(body: Mapping[str, Any]) -> dict[str, Any]:
    # Records of before a tenant could bring its own key lack these.
    found: dict[str, Any] = {}
    for name in ("binding", "moving_binding"):
        if name in body:
            found[name] = Binding.from_body(body[name])
    if body.get("pending") is not None:
        # Few records have one, and its patterns take a cold function's time.
        from core.domain.key_target import KeyTarget

        found["pending"] = KeyTarget.from_body(body["pending"])
    for name in ("former_branch_keys", "lost_keks", "untold"):
        if name in body and type(body[name]) is not list:
            raise TypeError("a field has another type")
    if "former_branch_keys" in body:
        found["former_branch_keys"] = tuple(body["former_branch_keys"])
    if "lost_keks" in body:
        found["lost_keks"] = tuple(LostKek.from_body(lost) for lost in body["lost_keks"])
    if "withdrawal" in body or "untold" in body:
        from core.domain.withdrawals import StateChange, Withdrawal  # few records have one either

        if "withdrawal" in body:
            found["withdrawal"] = Withdrawal.from_body(body["withdrawal"])
        if "untold" in body:
            found["untold"] = tuple(StateChange.from_body(change) for change in body["untold"])
    return found
