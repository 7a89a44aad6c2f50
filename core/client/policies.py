"""What a tenant tuned of its key, as the service tells it."""

from __future__ import annotations

from dataclasses import dataclass

from core.client.values import Fields


@dataclass(frozen=True, slots=True)
class Policy:
    """What a tenant tuned of its key.

    Attributes:
        lease: Seconds a cached branch key serves after its unwrap was asked for.
        outage_grace: Seconds it serves if renewal meets silence.
        rotation_days: Days after which a new branch key version is made.
        fallback: ``platform`` puts new data under the platform's key while the tenant's cannot be reached; or "".
        approval: ``second_person`` wants two people for what weakens the tenant's control; or "".
    """

    lease: float
    outage_grace: float
    rotation_days: int
    fallback: str
    approval: str


def policy(fields: Fields) -> Policy:
    """Read a policy.

    Raises:
        UnexpectedAnswer: A member is missing.
    """
    return Policy(
        fields.get("lease", float),
        fields.get("outage_grace", float),
        fields.get("rotation_days", int),
        fields.get("fallback", str),
        fields.get("approval", str),
    )
