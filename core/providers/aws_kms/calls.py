"""Calls to KMS and STS: what is asked, and the time it may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.providers._lines import Line
from core.providers._timed_calls import ABANDONED, ATTEMPTS, OPERATION_SECONDS, Budget, TimedCalls
from core.providers.aws_kms.failures import Failure, silent

__all__ = ["ATTEMPTS", "OPERATION_SECONDS", "Answer", "Budget", "Calls", "Request"]

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One call.

    Attributes:
        operation: As the service names it, such as ``Decrypt``.
        params: Its parameters; they may hold keys.
        accept: Whether an answer is the one that was asked for; anything else is silence.
    """

    operation: str
    params: Mapping[str, Any] = field(repr=False)
    accept: Callable[[Answer], bool] = field(repr=False)


class Calls:
    """Makes calls, on threads that can be left behind.

    Args:
        abandoned: Most threads left behind at one time, per endpoint.
        pause: Waits a number of seconds between attempts.
    """

    def __init__(self, *, abandoned: int = ABANDONED, pause: Callable[[float], None] = time.sleep) -> None:
        self._timed: TimedCalls[Answer, Failure] = TimedCalls(
            "aws",
            Failure,
            lambda operation, seen, again: silent(operation, seen, again=again),
            abandoned=abandoned,
            pause=pause,
        )

    def make(
        self, request: Request, call: Callable[[Line], Answer | Failure], budget: Budget, endpoint: str = ""
    ) -> Answer | Failure:
        """The first answer of up to three attempts, or the last failure; see `TimedCalls.attempt`."""
        return self._timed.attempt(request.operation, request.accept, call, budget, endpoint)
