"""A proposal of something that takes two people, as `core.service.approvals` stores it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

PROPOSED, APPROVED, DONE = "proposed", "approved", "done"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, as a token names them: a subject means something only beside its issuer (RFC 7519, 4.1.2).

    Attributes:
        subject: The token's subject.
        issuer: Who vouches for it.
    """

    subject: str
    issuer: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is proposed, by whom, and how far it is.

    Attributes:
        digest: Of all that makes it another than any other, hex.
        stage: ``proposed``, ``approved`` or ``done``.
        proposer: Who asked first.
        proposed: When; UTC, ``CREATE_TIME_FORMAT``.
        ends: From when on it counts for nothing; likewise.
        approver: Who asked for the same; None before that.
    """

    digest: str
    stage: str
    proposer: Person
    proposed: str
    ends: str
    approver: Person | None = None

    def to_body(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Proposal:
        """Read the JSON form, which has a MAC that holds.

        Raises:
            KeyError, TypeError: It is none.
        """
        people = {"proposer": Person(**body["proposer"])}
        if body["approver"] is not None:
            people["approver"] = Person(**body["approver"])
        return cls(**{**body, **people})
