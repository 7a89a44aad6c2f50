"""How long a request may wait for key management systems in all, however many keys it names (DESIGN 5).

A batch of messages may name a hundred branch key versions; with a KMS that does not answer, a time-out for each would
hold the request, and the thread that serves it, for minutes. Where the host ends a request after a time of its own, the
KMS gets no more than what is left of that.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from threading import local
from typing import Any

SECONDS = 2.5
"""KMS time of one request, and of one call outside of any request."""
RESERVE = 0.3
"""Seconds of a host's time that are kept for everything else: cached keys, records, the answer."""


class _Thread(local):
    # What the request that a thread works on has left; `left` is None outside of any, `since` while none is spent.
    left: float | None = None
    since: float | None = None
    kept = 0.0
    until: float | None = None
    memo: dict[Hashable, Any] | None = None


class KmsBudget:
    """Counts the KMS time of the request that the current thread works on.

    Args:
        boot: Reads the boot clock, in seconds.
        seconds: KMS time of one request.
    """

    def __init__(self, boot: Callable[[], float], seconds: float = SECONDS) -> None:
        self._boot = boot
        self._seconds = seconds
        self._thread = _Thread()

    def begin(self) -> None:
        """Start to count for a request."""
        self._thread.left, self._thread.since, self._thread.kept = self._seconds, None, 0.0
        self._thread.memo = {}

    def end(self) -> None:
        """Stop counting."""
        self._thread.left, self._thread.kept, self._thread.memo = None, 0.0, None

    def memo(self) -> dict[Hashable, Any]:
        """What the request that the thread works on may keep until it ends; outside of any request, nothing lasts."""
        memo = self._thread.memo
        return {} if memo is None else memo

    def remaining(self) -> float:
        """Seconds that the next call to a KMS may take; never below 0. Falls while it is spent."""
        thread = self._thread
        left = self._seconds if thread.left is None else thread.left
        if thread.left is not None and thread.since is not None:
            left -= self._boot() - thread.since
        if thread.until is not None:
            left = min(left, thread.until - self._boot())
        return max(0.0, left - thread.kept)

    @contextmanager
    def within(self, seconds_left: float) -> Iterator[None]:
        """Keep the KMS time of the body within a host's; of two bounds, one inside another, the earlier counts.

        Args:
            seconds_left: What the host has left for the request. `RESERVE` of it is not the KMS's.
        """
        thread, outer = self._thread, self._thread.until
        until = self._boot() + seconds_left - RESERVE
        thread.until = until if outer is None else min(until, outer)
        try:
            yield
        finally:
            thread.until = outer

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count what the body takes; once, where one is inside another."""
        thread = self._thread
        if thread.left is None or thread.since is not None:
            yield
            return
        began = thread.since = self._boot()
        try:
            yield
        finally:
            thread.since = None
            if thread.left is not None:
                thread.left -= self._boot() - began

    @contextmanager
    def keeping(self, seconds: float) -> Iterator[None]:
        """Keep some of what is left for after the body; outside of any request nothing is kept."""
        thread = self._thread
        if thread.left is None:
            yield
            return
        thread.kept += seconds
        try:
            yield
        finally:
            thread.kept = max(0.0, thread.kept - seconds)
