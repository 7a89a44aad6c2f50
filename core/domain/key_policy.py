"""What a tenant may tune of its key (DESIGN 5)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from core.errors import InvalidRequest

MAX_LEASE, MAX_OUTAGE_GRACE = 3600, 86400
"""Seconds."""
MAX_ROTATION_DAYS = 365


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """What a tenant may tune. Seconds unless named; limits and meaning in DESIGN 5.

    Attributes:
        lease: How long a cached branch key serves after its unwrap was asked for; 0 caches nothing.
        outage_grace: How long it serves if renewal meets silence.
        rotation_days: Age at which a new branch key version is made.
        fallback: ``platform`` encrypts new data under the platform's key while the tenant's own cannot be reached.
        approval: ``second_person`` wants two people for what weakens the tenant's control.
    """

    lease: float = 60
    outage_grace: float = 900
    rotation_days: int = 90
    fallback: str = ""
    approval: str = ""

    def check(self) -> None:
        """Refuse values out of range.

        Raises:
            InvalidRequest: A value is out of its range.
        """
        if not (
            0 <= self.lease <= MAX_LEASE
            and 0 <= self.outage_grace <= MAX_OUTAGE_GRACE
            and 1 <= self.rotation_days <= MAX_ROTATION_DAYS
        ):
            raise InvalidRequest(
                f"lease is 0-{MAX_LEASE} s, outage grace 0-{MAX_OUTAGE_GRACE} s, rotation 1-{MAX_ROTATION_DAYS} days"
            )
        if self.fallback not in {"", "platform"} or self.approval not in {"", "second_person"}:
            raise InvalidRequest("fallback is empty or platform, approval is empty or second_person")

    def held_to(self, other: KeyPolicy) -> KeyPolicy:
        """This policy, in what serves while the KMS does not held to another wherever that is stricter."""
        return replace(
            self,
            lease=min(self.lease, other.lease),
            outage_grace=min(self.outage_grace, other.outage_grace),
            fallback=self.fallback and other.fallback,
        )

    def to_body(self) -> dict[str, Any]:
        """JSON form; what is empty is left out: processes of before it was known read the record, too."""
        body: dict[str, Any] = {
            "lease": self.lease,
            "outage_grace": self.outage_grace,
            "rotation_days": self.rotation_days,
        }
        return body | {name: found for name in ("fallback", "approval") if (found := getattr(self, name))}


DEFAULT_POLICY = KeyPolicy()


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What to change of a `KeyPolicy`: None leaves a knob as it is, "" takes fallback or approval away."""

    lease: float | None = None
    outage_grace: float | None = None
    rotation_days: int | None = None
    fallback: str | None = None
    approval: str | None = None

    def apply(self, policy: KeyPolicy) -> KeyPolicy:
        """The policy after the change.

        Raises:
            InvalidRequest: A value is out of its range.
        """
        changed = replace(policy, **{name: value for name, value in asdict(self).items() if value is not None})
        changed.check()
        return changed
