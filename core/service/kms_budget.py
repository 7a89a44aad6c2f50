"""How long a request may wait for key management systems in all, however many keys it names (DESIGN 5).

A batch of messages may name a hundred branch key versions; with a KMS that does not answer, a time-out for each would
hold the request, and the thread that serves it, for minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import local

SECONDS = 2.5
"""KMS time of one request, and of one call outside of any request."""


class KmsBudget:
    """Counts the KMS time of the request that the current thread works on.

    Args:
        boot: Reads the boot clock, in seconds.
        seconds: KMS time of one request.
    """

    def __init__(self, boot: Callable[[], float], seconds: float = SECONDS) -> None:
        self._boot = boot
        self._seconds = seconds
        self._local = local()

    def begin(self) -> None:
        """Start to count for a request."""
        self._local.left, self._local.since = self._seconds, None

    def end(self) -> None:
        """Stop counting."""
        self._local.left = None

    def remaining(self) -> float:
        """Seconds that the next call to a KMS may take; never below 0. Falls while it is spent."""
        left = getattr(self._local, "left", None)
        if left is None:
            return self._seconds
        since = self._local.since
        return max(0.0, float(left if since is None else left - (self._boot() - since)))

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count what the body takes; once, where one is inside another."""
        if getattr(self._local, "left", None) is None or self._local.since is not None:
            yield
            return
        began = self._local.since = self._boot()
        try:
            yield
        finally:
            self._local.since = None
            if self._local.left is not None:
                self._local.left -= self._boot() - began

    @contextmanager
    def keeping(self, seconds: float) -> Iterator[None]:
        """Keep some of what is left for after the body."""
        if getattr(self._local, "left", None) is None:
            yield
            return
        self._local.left -= seconds
        try:
            yield
        finally:
            if self._local.left is not None:
                self._local.left += seconds
