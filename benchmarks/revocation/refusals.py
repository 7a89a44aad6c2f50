"""When a cloud refused what: the emulators, with a note of the time of every refusal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from functions.emulators.azure_messages import Answer as AzureAnswer
from functions.emulators.azure_messages import Request
from functions.emulators.azure_world import AzureEmulator
from functions.emulators.kms import Answer, Incoming, KmsEmulator


class Refusals:
    """The refusals so far. Safe across threads."""

    def __init__(self) -> None:
        self._found: list[tuple[float, str]] = []
        self._changed = threading.Condition()

    def note(self, named: str) -> None:
        """A call was refused, just now.

        Args:
            named: What it was about: an ARN, or a host with a path.
        """
        with self._changed:
            self._found.append((time.monotonic(), named))
            self._changed.notify_all()

    def first(self, names: frozenset[str], since: float, seconds: float) -> float | None:
        """When the first call that was about one of these was refused, at an instant or later.

        Args:
            names: What to look for in what calls were about.
            since: The instant, as `time.monotonic`.
            seconds: How long to wait for it.

        Returns:
            The instant; None if there was none in time.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for at, named in self._found:
                    if at >= since and any(name in named for name in names):
                        return at
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)


class TimedKms(KmsEmulator):
    """The emulator of AWS KMS and STS.

    Args:
        refusals: Where the times go.
    """

    def __init__(self, refusals: Refusals) -> None:
        super().__init__(now=time.time)
        self._refusals = refusals

    def answer(
        self,
        incoming: Incoming,
        authenticate: Callable[[str], None] | None = None,
        pause: Callable[[float], None] | None = None,
    ) -> Answer:
        """As the emulator's."""
        answer = super().answer(incoming, authenticate, pause)
        if answer.error is not None:
            self._refusals.note(named(incoming.params))
        return answer


class TimedAzure(AzureEmulator):
    """The emulator of Azure Key Vault and Entra.

    Args:
        refusals: Where the times go.
    """

    def __init__(self, refusals: Refusals) -> None:
        super().__init__(now=time.time)
        self._refusals = refusals

    def answer(self, request: Request, pause: Callable[[float], object]) -> AzureAnswer:
        """As the emulator's."""
        answer = super().answer(request, pause)
        # A challenge refuses nobody: it asks for a token.
        if answer.status >= 400 and "WWW-Authenticate" not in answer.headers:
            self._refusals.note(f"{request.host}{request.path}")
        return answer


def named(params: Mapping[str, Any]) -> str:
    """What a call to AWS is about.

    Args:
        params: Of the call.
    """
    return str(params.get("KeyId") or params.get("RoleArn") or "")
