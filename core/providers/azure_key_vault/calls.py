"""Calls to Key Vault and Entra: what is asked, what is answered, and the time it may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.providers._lines import Line
from core.providers._timed_calls import ABANDONED, ATTEMPTS, OPERATION_SECONDS, Budget, TimedCalls
from core.providers.azure_key_vault.credentials import HeldToken, Proof
from core.providers.azure_key_vault.failures import TOKEN, Failure, own, silent
from core.providers.azure_key_vault.meanings import Kind

__all__ = ["ATTEMPTS", "OPERATION_SECONDS", "Answer", "Budget", "Calls", "Request"]
PROOF_SECONDS = 0.2
"""What a proof of who we are may take. Where a caller has less left, its end says nothing of us."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A vault's successful answer.

    Attributes:
        body: The JSON object in it; it may hold keys.
        headers: With lower-case names.
        request_id: The service's own.
        server_time: The service's wall clock, in seconds since the epoch, or None if it told none.
    """

    body: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    request_id: str
    server_time: float | None


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a vault.

    Attributes:
        operation: A name for it, such as ``unwrapkey``.
        method: Of HTTP.
        path: In the vault, without a query.
        body: A JSON object to send, or None; it may hold keys.
        accept: Whether an answer is the one that was asked for; anything else is silence.
    """

    operation: str
    method: str
    path: str
    body: Mapping[str, str] | None = field(repr=False)
    accept: Callable[[Answer], bool] = field(repr=False)


class Calls:
    """Makes calls, on threads that can be left behind.

    Args:
        abandoned: Most threads left behind at one time, per vault, and per directory.
        pause: Waits a number of seconds between attempts.
    """

    def __init__(self, *, abandoned: int = ABANDONED, pause: Callable[[float], None] = time.sleep) -> None:
        def as_failure(operation: str, seen: str, again: bool) -> Failure:
            return silent(operation, seen, again=again)

        self._vaults: TimedCalls[Answer, Failure] = TimedCalls(
            "azure", Failure, as_failure, abandoned=abandoned, pause=pause
        )
        self._directories: TimedCalls[HeldToken, Failure] = TimedCalls(
            "azure", Failure, as_failure, abandoned=abandoned, pause=pause
        )

        self._proofs: TimedCalls[Proof, Failure] = TimedCalls(
            "azure", Failure, as_failure, abandoned=abandoned, pause=pause
        )

    def make(
        self, request: Request, call: Callable[[Line], Answer | Failure], budget: Budget, host: str
    ) -> Answer | Failure:
        """The first answer of a vault to up to three attempts, or the last failure; see `TimedCalls.attempt`."""
        return self._vaults.attempt(request.operation, request.accept, call, budget, host)

    def token(
        self, call: Callable[[Line], HeldToken | Failure], budget: Budget, entra_tenant: str
    ) -> HeldToken | Failure:
        """The same for a directory and its access token."""
        return self._directories.attempt(TOKEN, lambda _: True, call, budget, entra_tenant)

    def proof(self, call: Callable[[Line], Proof | Failure], budget: Budget) -> Proof | Failure:
        """The same for what proves who we are: nobody else's is at fault if it does not come in time."""
        left = budget.left()
        found = self._proofs.attempt(TOKEN, lambda _: True, call, budget, "")
        if isinstance(found, Failure) and found.kind is Kind.SILENCE and left >= PROOF_SECONDS:
            return own(TOKEN, f"{found.seen}, before we could show who we are")
        return found
