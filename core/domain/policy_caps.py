"""How far the operator lets tenants loosen their knobs; a cap lowered later binds those who chose more before."""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.domain.key_policy import MAX_LEASE, MAX_OUTAGE_GRACE, KeyPolicy, PolicyChange
from core.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class PolicyCaps:
    """The operator's caps, in seconds.

    Attributes:
        lease: Longest lease.
        outage_grace: Longest outage grace.
    """

    lease: float = MAX_LEASE
    outage_grace: float = MAX_OUTAGE_GRACE

    def check(self) -> None:
        """Refuse caps out of range.

        Raises:
            InvalidRequest: A cap is below 0, or above what a policy may hold.
        """
        if not (0 <= self.lease <= MAX_LEASE and 0 <= self.outage_grace <= MAX_OUTAGE_GRACE):
            raise InvalidRequest(f"the caps are 0-{MAX_LEASE} s for lease and 0-{MAX_OUTAGE_GRACE} s for outage grace")

    def capped(self, policy: KeyPolicy) -> KeyPolicy:
        """The policy in force: what the tenant chose, as far as the caps let it."""
        lease, grace = min(policy.lease, self.lease), min(policy.outage_grace, self.outage_grace)
        return replace(policy, lease=lease, outage_grace=grace)

    def admit(self, change: PolicyChange) -> None:
        """Refuse a change that asks for more than the caps.

        Raises:
            InvalidRequest: It does; the hint names the cap.
        """
        for name, asked, cap in (
            ("lease", change.lease, self.lease),
            ("outage grace", change.outage_grace, self.outage_grace),
        ):
            if asked is not None and asked > cap:
                raise InvalidRequest(f"the {name} is above the operator's cap", hint=f"ask for {cap:g} seconds at most")


UNCAPPED = PolicyCaps()
"""Caps no lower than what a policy may hold at all."""
