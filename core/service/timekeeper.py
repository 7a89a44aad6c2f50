"""Watches the clock for everything that expires (DESIGN 5, rule 9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from core.domain.timing import Instant

if TYPE_CHECKING:
    from core.ports import Clock

MAX_SKEW = 5.0
"""Seconds our wall clock may differ from a KMS's or a store's answer."""


class Timekeeper:
    """Reads the clock, and calls an alarm when the wall clock cannot be trusted.

    Args:
        clock: The clock.
        on_fault: Called with a reason when the wall clock stepped back or is skewed; it must purge every cached key.
    """

    def __init__(self, clock: Clock, on_fault: Callable[[str], None]) -> None:
        self._wall = clock.wall
        self._boot = clock.boot
        self._on_fault = on_fault
        self._high = float("-inf")
        self.trusted = True
        """Whether our wall clock agreed with the last answer of another machine that told its own."""

    def tick(self) -> tuple[float, float]:
        """Wall and boot clock, in seconds. Purges first if the wall clock went back since any earlier reading."""
        # The mark is read before the clock: a thread that is held up in between must not see another's later mark.
        high, read_wall, read_boot = self._high, self._wall, self._boot
        wall = read_wall()
        if wall < high:
            self._high = wall
            self._on_fault("clock_stepped_back")
        elif wall > self._high:
            self._high = wall
        return wall, read_boot()

    def now(self) -> Instant:
        """As `tick`, for arithmetic."""
        return Instant(*self.tick())

    def compare(self, server_time: float | None, sent: Instant, received: Instant) -> bool:
        """Compare our wall clock with the time another machine put into its answer.

        Args:
            server_time: Its wall clock, seconds since the epoch; None if it told none.
            sent: Our clocks before the request was sent.
            received: Our clocks when the answer had arrived.

        Returns:
            Whether they agree; if not, everything was purged.
        """
        if server_time is None:
            return True
        self.trusted = sent.wall - MAX_SKEW <= server_time <= received.wall + MAX_SKEW
        if not self.trusted:
            self._on_fault("clock_skewed")
        return self.trusted
