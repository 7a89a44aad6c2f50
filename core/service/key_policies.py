"""Sets a tenant's knobs, within the operator's caps and by the tenant's own rules (DESIGN 5 and 7)."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from core.domain.key_policy import KeyPolicy, PolicyChange
from core.domain.policy_caps import PolicyCaps
from core.domain.states import State
from core.domain.tenants import TenantRecord
from core.errors import AccessDenied, Conflict, InvalidRequest, NotFound
from core.service.approvals import LOOSEN_POLICY, Approver
from core.service.state_gate import StateGate
from core.service.tenant_records import TenantRecords
from core.service.tenants import Tenants

DANGEROUS = frozenset({"lease", "outage_grace", "fallback", "approval"})
"""Knobs whose loosening weakens the tenant's control over its key."""
SERVING = frozenset({"lease", "outage_grace", "fallback"})
"""Knobs that decide what serves while the KMS does not."""
WITHHELD = frozenset({State.HOLD, State.REVOKED, State.SUSPENDED})


class KeyPolicies:
    """Sets knobs.

    Args:
        tenants: Read the tenants.
        records: Hold their records.
        gate: Reads a record anew that was written here.
        caps: The operator's.
    """

    def __init__(self, tenants: Tenants, records: TenantRecords, gate: StateGate, caps: PolicyCaps) -> None:
        caps.check()
        self._tenants = tenants
        self._records = records
        self._gate = gate
        self._caps = caps

    def set(
        self, tenant_id: str, change: PolicyChange, facts: dict[str, Any], *, by: Approver, by_operator: bool
    ) -> TenantRecord:
        """Change some of a tenant's knobs, all or none of them.

        Args:
            tenant_id: The tenant.
            change: What to change.
            facts: The knobs that change, as they were and as they shall be, are added to these, for the audit.
            by: Asked before anything dangerous is loosened; proposals to loosen are void once somebody tightens.
            by_operator: Whether it is the operator that asks, and not the tenant itself: it may tighten only.

        Returns:
            The record afterwards.

        Raises:
            NotFound: There is no such tenant.
            InvalidRequest: A value is out of its range, or above the operator's cap.
            AccessDenied: The operator would loosen a knob, or touch ``approval``.
            ApprovalNeeded: It takes a second person; nothing was changed.
            Conflict: The state of the key does not allow it, or others kept changing the record.
            StoreUnavailable, StoreCorrupt, VendorFault, KeyUnreachable: A store does not answer, or the record is
                refused.
        """
        _check_types(change)
        self._tenants.read(tenant_id)  # refuses what does not exist, and spent ids
        stored: KeyPolicy | None = None

        def changed(record: TenantRecord) -> TenantRecord:
            nonlocal stored
            stored = None  # what lost a race was not written
            policy = change.apply(record.policy)
            self._caps.admit(change)
            loosened, tightened = compared(record.policy, policy), compared(policy, record.policy)
            facts.update(_shown(record.policy, policy, loosened | tightened))
            if by_operator and (loosened or change.approval is not None):
                raise AccessDenied(
                    "the operator may tighten a tenant's policy, not loosen it",
                    hint="it takes a token of this tenant with the scope key:manage",
                )
            _check_state(record.state, loosened)
            if loosened & DANGEROUS:
                by.require(record, LOOSEN_POLICY, {"before": _plain(record.policy), "after": _plain(policy)})
            elif tightened & DANGEROUS:
                by.withdraw(record, LOOSEN_POLICY)
            stored = policy
            return replace(record, policy=policy)

        try:
            record = self._records.change(tenant_id, changed)
        finally:
            if stored is not None:  # a store that did not answer may have written
                self._gate.tighten(tenant_id, stored)
        if record is None:
            raise NotFound("there is no such tenant")
        by.done()
        return record


def compared(old: KeyPolicy, new: KeyPolicy) -> frozenset[str]:
    """The knobs that are looser in a new policy than in an old one."""
    before, after = _looseness(old), _looseness(new)
    return frozenset(name for name, value in after.items() if value > before[name])


def _looseness(policy: KeyPolicy) -> dict[str, float]:
    return {
        "lease": policy.lease,
        "outage_grace": policy.outage_grace,
        "rotation_days": policy.rotation_days,
        "fallback": policy.fallback != "",
        "approval": policy.approval == "",
    }


def _check_types(change: PolicyChange) -> None:
    # A record with another type in its policy could not be read any more.
    numbers = (change.lease, change.outage_grace)
    if not (
        all(value is None or type(value) in (int, float) for value in numbers)
        and (change.rotation_days is None or type(change.rotation_days) is int)
        and all(value is None or type(value) is str for value in (change.fallback, change.approval))
    ):
        raise InvalidRequest("a value of the policy has another type than it must have")
    if change == PolicyChange():
        raise InvalidRequest("nothing to change was named")


def _check_state(state: State, loosened: frozenset[str]) -> None:
    if loosened & SERVING and state in WITHHELD:
        raise Conflict(
            f"lease, outage grace and fallback cannot be loosened while the key's state is {state}",
            hint="tightening them is possible at any time",
        )
    if "fallback" in loosened and state is not State.ACTIVE:
        raise Conflict(
            f"the fallback can be turned on only while the tenant's own key is active, and its state is {state}"
        )


def _plain(policy: KeyPolicy) -> dict[str, Any]:
    # Whether a number was written with a point must not make two requests differ.
    return asdict(replace(policy, lease=float(policy.lease), outage_grace=float(policy.outage_grace)))


def _shown(old: KeyPolicy, new: KeyPolicy, names: frozenset[str]) -> dict[str, Any]:
    before, after = asdict(old), asdict(new)
    return {
        "before": {name: before[name] for name in sorted(names)},
        "after": {name: after[name] for name in sorted(names)},
    }
