"""A tenant's record: the one document that the state gate reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from core.domain.bindings import UNBOUND, Binding, LostKek
from core.domain.kek import Kek, KeyAccess
from core.domain.states import State, check_transition
from core.errors import Conflict, InvalidRequest, StoreCorrupt

if TYPE_CHECKING:
    from core.domain.key_target import KeyTarget

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
class KeyPolicy:
    """What a tenant may tune. Seconds unless named; limits and meaning in DESIGN 5.

    Attributes:
        lease: How long a cached branch key serves after its unwrap was asked for; 0 caches nothing.
        outage_grace: How long it serves if renewal meets silence.
        rotation_days: Age at which a new branch key version is made.
    """

    lease: float = 60
    outage_grace: float = 900
    rotation_days: int = 90

    def check(self) -> None:
        """Refuse values out of range.

        Raises:
            InvalidRequest: A value is out of its range.
        """
        if not (0 <= self.lease <= 3600 and 0 <= self.outage_grace <= 86400 and 1 <= self.rotation_days <= 365):
            raise InvalidRequest("lease is 0-3600 s, outage grace 0-86400 s, rotation 1-365 days")


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
    policy: KeyPolicy = KeyPolicy()
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
        return 0 if binding is None or binding.custom_key_store else self.policy.outage_grace

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
            lease=self.policy.lease,
        )

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
            "policy": {
                "lease": self.policy.lease,
                "outage_grace": self.policy.outage_grace,
                "rotation_days": self.policy.rotation_days,
            },
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
        }

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
        )
        counts = (self.configuration_revision, self.sequence_floor, policy.rotation_days)
        if not (
            all(type(value) is str for value in (*texts, moving_from))
            and all(type(value) is int and value >= 0 for value in counts)
            and all(type(value) in (int, float) for value in (policy.lease, policy.outage_grace))
            and all(type(value) is bool for value in (self.deleted, self.reversible, self.unbound_policy_accepted))
        ):
            raise TypeError("a field has another type")


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
    for name in ("former_branch_keys", "lost_keks"):
        if name in body and type(body[name]) is not list:
            raise TypeError("a field has another type")
    if "former_branch_keys" in body:
        found["former_branch_keys"] = tuple(body["former_branch_keys"])
    if "lost_keks" in body:
        found["lost_keks"] = tuple(LostKek.from_body(lost) for lost in body["lost_keks"])
    return found


def check_first(body: Mapping[str, Any]) -> None:
    """What every `TenantStore` checks before it stores the first record of a tenant.

    Raises:
        Conflict: It does not start in state ``platform``.
        StoreCorrupt: It is not a tenant record.
    """
    if TenantRecord.from_body(body).state is not State.PLATFORM:
        raise Conflict("a tenant starts in state platform")


def check_rewrite(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """What every `TenantStore` checks before it replaces a tenant record.

    Args:
        old: The stored body.
        new: The body to put in its place.

    Raises:
        Conflict: A transition not in the state table, a changed identity, a counter going back, or a spent id.
        StoreCorrupt: One of the two is not a tenant record.
    """
    before, after = TenantRecord.from_body(old), TenantRecord.from_body(new)
    check_transition(before.state, after.state)
    if before.deleted:
        raise Conflict("this tenant id is spent")
    if (before.tenant_id, before.created) != (after.tenant_id, after.created):
        raise Conflict("a tenant's identity cannot change")
    if after.configuration_revision < before.configuration_revision:
        raise Conflict("a tenant's configuration revision cannot go back")
    if after.branch_key_id == before.branch_key_id and after.sequence_floor < before.sequence_floor:
        raise Conflict("a tenant's sequence floor cannot go back")
    if before.external_id and after.external_id != before.external_id:
        raise Conflict("a tenant's external id cannot change")
    if not {*before.branch_keys} <= {*after.branch_keys}:
        raise Conflict("a tenant's branch key cannot be dropped")
