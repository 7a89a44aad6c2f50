"""Faults on order, and the record of calls: what tests and demonstrations steer the emulator with and look at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Corruption = Literal[
    "",
    "bytes",
    "truncated",
    "no_plaintext",
    "no_ciphertext",
    "other_key_id",
    "plaintext_length",
    "signature",
    "public_key",
]
CORRUPTIONS: tuple[Corruption, ...] = (
    "",
    "bytes",
    "truncated",
    "no_plaintext",
    "no_ciphertext",
    "other_key_id",
    "plaintext_length",
    "signature",
    "public_key",
)
MAX_FAULTS = 1000
MAX_NUMBER = 10**6


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with calls that match.

    Attributes:
        operation: Such as ``Decrypt`` or ``AssumeRole``; ``*`` is any.
        code: Refuse with this error.
        status: HTTP status of the refusal or of ``body``; None for the one that goes with it.
        message: Text of the refusal.
        times: How often; None is until cleared.
        after: How many matching calls pass first.
        key_arn: Only calls that name this key (for AssumeRole: this role).
        principal_arn: Only calls of this role or user.
        latency: Seconds before anything else happens.
        hang: Never answer, until the faults are cleared or the server closes. In process: a read time-out at once.
        reset: Break the connection instead of acting.
        body: Answer with these bytes instead of acting, as a proxy would.
        content_type: Of ``body``.
        corrupt: Act, then damage the answer: ``bytes`` is no UTF-8, ``truncated`` is no JSON, ``signature`` and
            ``public_key`` put those of another key in, the others lack or change a field.
        lost: Act, then break the connection: done, but the answer is lost.
    """

    operation: str = "*"
    code: str = ""
    status: int | None = None
    message: str = "as ordered"
    times: int | None = None
    after: int = 0
    key_arn: str | None = None
    principal_arn: str | None = None
    latency: float = 0
    hang: bool = False
    reset: bool = False
    body: bytes | None = None
    content_type: str = "text/html"
    corrupt: Corruption = ""
    lost: bool = False

    def __post_init__(self) -> None:
        if self.corrupt not in CORRUPTIONS:
            raise ValueError(f"corrupt is one of {', '.join(filter(None, CORRUPTIONS))}")

    @property
    def acts_first(self) -> bool:
        """Whether the operation is carried out at all."""
        return not (self.code or self.hang or self.reset or self.body is not None)

    @property
    def outcome(self) -> str:
        """What the record of calls says of a call that was not carried out."""
        return self.code or ("hang" if self.hang else "reset" if self.reset else "body")


@dataclass(frozen=True, slots=True)
class Call:
    """A call that arrived.

    Attributes:
        operation: Such as ``Decrypt``.
        principal_arn: The role or user; "" if unknown.
        key_arn: The key it was about (for AssumeRole the role), or "".
        context: Encryption context (ReEncrypt: the source's).
        access_key_id: As presented.
        outcome_code: "" if it was answered well, else the error's code; ``hang``, ``reset``, ``body`` for such faults.
        region: Of the endpoint.
        service: ``kms`` or ``sts``.
    """

    operation: str
    principal_arn: str
    key_arn: str
    context: Mapping[str, str]
    access_key_id: str
    outcome_code: str
    region: str = ""
    service: str = "kms"


@dataclass(slots=True)
class _Ordered:
    fault: Fault
    seen: int = 0

    @property
    def spent(self) -> bool:
        return self.fault.times is not None and self.seen >= self.fault.after + self.fault.times


@dataclass(slots=True)
class Faults:
    """The faults in force; the first that matches a call is its own. Safe across threads."""

    ordered: list[_Ordered] = field(default_factory=list)
    generation: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, fault: Fault) -> None:
        """Put a fault in force.

        Raises:
            ValueError: There are too many.
        """
        with self.changed:
            if len(self.ordered) >= MAX_FAULTS:
                raise ValueError("there are too many faults; clear them first")
            self.ordered.append(_Ordered(fault))

    def clear(self) -> None:
        """End all faults, and let go what hangs."""
        with self.changed:
            self.ordered.clear()
            self.generation += 1
            self.changed.notify_all()

    def take(self, operation: str, resource_arn: str, principal_arn: str) -> Fault | None:
        """The fault that befalls a call, counted as used."""
        if not self.ordered:
            return None
        with self.changed:
            for order in self.ordered:
                fault = order.fault
                if (
                    fault.operation not in ("*", operation)
                    or fault.key_arn not in (None, resource_arn)
                    or fault.principal_arn not in (None, principal_arn)
                ):
                    continue
                order.seen += 1
                if order.seen <= fault.after:
                    continue
                if order.spent:
                    self.ordered.remove(order)
                return fault
        return None

    def wait(self, until: Callable[[], bool], seconds: float | None) -> None:
        """Wait until the faults are cleared, something else is so, or seconds have passed (None: no limit)."""
        with self.changed:
            start = self.generation
            self.changed.wait_for(lambda: self.generation != start or until(), seconds)

    def wake(self) -> None:
        """Make those who wait look again."""
        with self.changed:
            self.changed.notify_all()


def fault_from(body: Mapping[str, Any]) -> Fault:
    """A fault from the control API's JSON; ``body`` is text there.

    Raises:
        TypeError, ValueError: It is none.
    """
    fields = dict(body)
    if isinstance(fields.get("body"), str):
        fields["body"] = fields["body"].encode()
    fault = Fault(**fields)
    texts: tuple[Any, ...] = (fault.operation, fault.code, fault.message, fault.content_type, fault.key_arn or "")
    numbers: tuple[Any, ...] = (fault.status or 0, fault.times or 0, fault.after, fault.latency)
    if not all(isinstance(t, str) for t in texts) or not all(isinstance(n, int | float) for n in numbers):
        raise TypeError("a field has another type")
    if not all(0 <= number <= MAX_NUMBER for number in numbers):
        raise ValueError(f"a number is below 0 or above {MAX_NUMBER}")
    return fault
