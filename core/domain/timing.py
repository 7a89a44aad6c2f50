"""Instants and deadlines on two clocks.

Elapsed time is the larger of the wall clock's and the boot clock's delta: a frozen virtual machine stops the one, a
stepped clock falsifies the other (DESIGN 5, rule 9).
"""

from __future__ import annotations

from typing import NamedTuple


class Instant(NamedTuple):
    """One reading of both clocks.

    Attributes:
        wall: Seconds since the epoch.
        boot: Seconds since boot, suspension included.
    """

    wall: float
    boot: float

    def plus(self, seconds: float) -> Instant:
        """The deadline that many seconds later, on both clocks."""
        return Instant(self.wall + seconds, self.boot + seconds)

    def elapsed(self, earlier: Instant) -> float:
        """Seconds since an earlier reading, by the clock that says more."""
        return max(self.wall - earlier.wall, self.boot - earlier.boot)

    def before(self, deadline: Instant) -> bool:
        """Whether a deadline still lies ahead on both clocks."""
        return self.wall < deadline.wall and self.boot < deadline.boot


LONG_AGO = Instant(float("-inf"), float("-inf"))
