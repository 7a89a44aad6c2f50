"""What a tenant's record keeps of a withdrawal of its key, and of changes of state that are yet to be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from core.domain.branch_keys import CREATE_TIME_FORMAT
from core.domain.states import State

PLAIN_CAUSES = frozenset({"disabled", "deleted", "pending_deletion", "not_found"})
"""Causes that say of the key itself that it is off: confirmed soon, and never excused by a fault of ours."""
ACCESS_CAUSES = frozenset({"policy", "identity"})
"""Causes that a fault of our own access would bring about as well: confirmed late, and only if canaries serve."""
MAX_UNTOLD = 64


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A denial, and what came of it. All instants UTC, ``CREATE_TIME_FORMAT``, or "" where it did not come to that.

    Attributes:
        kek: Locator of the KEK that refused, with its version where there are versions.
        cause: As in `core.errors.Denial`, of the last denial.
        kms_code: The KMS's own code of the first denial.
        request_id: The KMS's id of the request that it denied first.
        first_denial: When this service heard that denial; "" if by a clock that is not to be believed.
        last_denial: When it heard the last one; "" while there is but one.
        back_to: The state to go back to if it is not confirmed: ``active``, or where an enablement was under way.
        lease: Seconds: the longest lease in force when it began.
        outage_grace: Likewise of the grace.
        receipt: Id of the receipt to be issued; "" before the confirmation.
        confirmed: When the denial that confirmed it was heard.
        confirmed_code: The KMS's own code of that.
        confirmed_request_id: The KMS's id of that request.
        guard: What the vendor-fault guard found: ``not_needed``, ``passed`` or ``no_canary``.
        written: When this service began to write ``revoked``; every process reads it within its state age.
        last_use: The last use of the tenant's keys that was recorded; a lower bound.
        data_keys: At most so many data keys were handed out to callers by then.
        restored: Whether it began with an order after a restore: that the key served before is hearsay.
    """

    kek: str
    cause: str
    kms_code: str
    request_id: str
    first_denial: str
    last_denial: str = ""
    back_to: str = State.ACTIVE.value
    lease: float = 0
    outage_grace: float = 0
    receipt: str = ""
    confirmed: str = ""
    confirmed_code: str = ""
    confirmed_request_id: str = ""
    guard: str = ""
    written: str = ""
    last_use: str = ""
    data_keys: int = 0
    restored: bool = False

    def to_body(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Withdrawal:
        """Read the JSON form.

        Raises:
            TypeError, ValueError: It is none.
        """
        found = cls(**body)
        numbers = {"lease": (int, float), "outage_grace": (int, float), "data_keys": (int,), "restored": (bool,)}
        for name, value in asdict(found).items():
            if type(value) not in numbers.get(name, (str,)):
                raise TypeError("a field has another type")
        State(found.back_to)
        return found


@dataclass(frozen=True, slots=True)
class StateChange:
    """One change of state, as the timeline, the audit chain and events tell it.

    Attributes:
        id: Random; who hears of a change twice knows by it.
        at: UTC, ``CREATE_TIME_FORMAT``.
        before: The former state.
        after: The new one.
        signal: `core.domain.states.Signal` that led to it.
        cause: Of the denial, or "".
        kek: Locator of the KEK it is about, with its version where there are versions.
        request_id: The KMS's request that it hangs on, or "".
        by: Subject of who ordered it, or "" where nobody did.
    """

    id: str
    at: str
    before: str
    after: str
    signal: str
    cause: str = ""
    kek: str = ""
    request_id: str = ""
    by: str = ""

    def to_body(self) -> dict[str, str]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> StateChange:
        """Read the JSON form.

        Raises:
            TypeError: It is none.
        """
        found = cls(**body)
        if not all(type(value) is str for value in asdict(found).values()):
            raise TypeError("a field has another type")
        return found


def instant(wall: float) -> str:
    """An instant as it is stored.

    Args:
        wall: Seconds since the epoch.
    """
    return datetime.fromtimestamp(wall, UTC).strftime(CREATE_TIME_FORMAT)
