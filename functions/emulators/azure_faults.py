"""Faults on order for the Azure emulator, and the record of calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from core.domain.vaults import VaultKey
from functions.emulators.azure_errors import AADSTS
from functions.emulators.faults import MAX_FAULTS, MAX_NUMBER

Corruption = Literal[
    "",
    "bytes",
    "truncated",
    "no_object",
    "no_value",
    "value",
    "value_length",
    "no_kid",
    "other_key",
    "other_version",
    "public_key",
]
CORRUPTIONS: tuple[Corruption, ...] = (
    *("", "bytes", "truncated", "no_object", "no_value", "value", "value_length", "no_kid"),
    *("other_key", "other_version", "public_key"),
)


@dataclass(frozen=True, slots=True)
class AzureFault:
    """Something that goes wrong with calls that match.

    Attributes:
        operation: As in `Call`; ``*`` is any. ``challenge`` is a request without a token, ``token`` one for a token.
        host: Only calls of this host.
        key: Only calls of this key, by identifier; with a version, only of that version.
        tenant: Only calls of Entra that ask this tenant.
        client_id: Only calls of this application.
        times: How often; None is until cleared.
        after: How many matching calls pass first.
        latency: Seconds before anything else happens.
        status: HTTP status of a refusal, or of ``body``.
        code: Code of a refusal (of Entra: the OAuth error); "" for the one that goes with the status.
        inner: Inner code of a refusal.
        message: Text of a refusal.
        headers: On top of a refusal's own.
        aadsts: Refuse as Entra does, with this number.
        challenge: Refuse with 401 as if the token were not good.
        body: Answer with these bytes instead of acting, as a proxy would.
        content_type: Of ``body``.
        redirect: Answer 302 to this address instead of acting.
        dropped: End the connection in order instead of answering.
        reset: Break the connection instead of answering.
        hang: Never answer, until the faults are cleared or the server closes.
        drip: Act, then send the answer byte by byte, with so many seconds between.
        corrupt: Act, then damage the answer.
        lost: Act, then break the connection: done, but the answer is lost.
    """

    operation: str = "*"
    host: str | None = None
    key: str | None = None
    tenant: str | None = None
    client_id: str | None = None
    times: int | None = None
    after: int = 0
    latency: float = 0
    status: int | None = None
    code: str = ""
    inner: str = ""
    message: str = "as ordered"
    headers: Mapping[str, str] = field(default_factory=dict)
    aadsts: int = 0
    challenge: bool = False
    body: bytes | None = None
    content_type: str = "text/html"
    redirect: str = ""
    dropped: bool = False
    reset: bool = False
    hang: bool = False
    drip: float = 0
    corrupt: Corruption = ""
    lost: bool = False

    def __post_init__(self) -> None:
        if self.corrupt not in CORRUPTIONS:
            raise ValueError(f"corrupt is one of {', '.join(filter(None, CORRUPTIONS))}")
        if self.aadsts and self.aadsts not in AADSTS:
            raise ValueError(f"aadsts is one of {', '.join(map(str, AADSTS))}")
        if self.key is not None:
            VaultKey.parse(self.key)

    @property
    def acts_first(self) -> bool:
        """Whether the operation is carried out at all."""
        return not (self.breaks or self.refuses or self.body is not None or self.redirect)

    @property
    def breaks(self) -> bool:
        """Whether there is no answer."""
        return self.dropped or self.reset or self.hang

    @property
    def refuses(self) -> bool:
        """Whether the answer is a refusal in the service's own words."""
        otherwise = self.breaks or self.body is not None or self.redirect
        return not otherwise and bool(self.aadsts or self.challenge or self.code or self.status or self.inner)

    def befalls(self, call: Call) -> bool:
        """Whether a call matches."""
        named = None if self.key is None else VaultKey.parse(self.key)
        return (
            self.operation in ("*", call.operation)
            and self.host in (None, call.host)
            and self.tenant in (None, call.tenant)
            and self.client_id in (None, call.client_id)
            and (
                named is None
                or ((named.host, named.name) == (call.host, call.key.lower()) and named.version in ("", call.version))
            )
        )


@dataclass(frozen=True, slots=True)
class Call:
    """A call that arrived.

    Attributes:
        host: Whom it was for.
        operation: Of Entra ``token``, ``discovery``, ``identity`` (a managed identity's token). Of a vault
            ``challenge`` (no token was presented), ``get``, ``versions``, ``list``, ``create``, ``rotate``, ``update``,
            ``delete``, ``wrapkey``, ``unwrapkey``, ``encrypt``, ``decrypt``, ``sign``, ``rotationpolicy``,
            ``set-rotationpolicy``, ``deleted``, ``list-deleted``, ``recover``, ``purge``, or ``unknown``.
        key: Name of the key as asked for, or "".
        version: As asked for: "" where none was.
        status: HTTP status of the answer; 0 if the connection was broken instead.
        client_id: The application, as it claims to be; "" if unknown.
        tenant: Entra: the directory asked. A vault: the one that issued the token.
        code: Why it was refused: the inner code, else the code; AADSTS and a number. "" if it was not.
    """

    host: str
    operation: str
    key: str
    version: str
    status: int
    client_id: str
    tenant: str = ""
    code: str = ""


@dataclass(slots=True)
class _Ordered:
    fault: AzureFault
    seen: int = 0

    @property
    def spent(self) -> bool:
        return self.fault.times is not None and self.seen >= self.fault.after + self.fault.times


@dataclass(slots=True)
class AzureFaults:
    """The faults in force; the first that matches a call is its own. Safe across threads."""

    ordered: list[_Ordered] = field(default_factory=list)
    generation: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, fault: AzureFault) -> None:
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

    def take(self, call: Call) -> AzureFault | None:
        """The fault that befalls a call, counted as used."""
        with self.changed:
            for order in self.ordered:
                if not order.fault.befalls(call):
                    continue
                order.seen += 1
                if order.seen <= order.fault.after:
                    continue
                if order.spent:
                    self.ordered.remove(order)
                return order.fault
        return None

    def wait(self, until: Callable[[], bool], seconds: float | None) -> bool:
        """Wait until the faults are cleared, something else is so, or seconds have passed (None: no limit).

        Returns:
            Whether it was for another reason than time.
        """
        with self.changed:
            start = self.generation
            return self.changed.wait_for(lambda: self.generation != start or until(), seconds)

    def wake(self) -> None:
        """Make those who wait look again."""
        with self.changed:
            self.changed.notify_all()


def azure_fault_from(body: Mapping[str, Any]) -> AzureFault:
    """A fault from the control API's JSON; ``body`` is text there.

    Raises:
        TypeError, ValueError, InvalidRequest: It is none.
    """
    fields = dict(body)
    if isinstance(fields.get("body"), str):
        fields["body"] = fields["body"].encode()
    fault = AzureFault(**fields)
    texts: tuple[Any, ...] = (
        *(fault.operation, fault.host or "", fault.tenant or "", fault.client_id or "", fault.code, fault.inner),
        *(fault.message, fault.content_type, fault.redirect),
        *(text for pair in fault.headers.items() for text in pair),
    )
    numbers: tuple[Any, ...] = (fault.status or 0, fault.times or 0, fault.after, fault.latency, fault.drip)
    if not all(isinstance(t, str) for t in texts) or not all(isinstance(n, int | float) for n in numbers):
        raise TypeError("a field has another type")
    if not all(0 <= number <= MAX_NUMBER for number in numbers):
        raise ValueError(f"a number is below 0 or above {MAX_NUMBER}")
    return fault
