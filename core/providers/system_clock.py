"""The machine's clocks."""

from __future__ import annotations

import time

from core.domain.timing import Instant


class SystemClock:
    """`core.ports.Clock` of this machine.

    The boot clock is ``CLOCK_BOOTTIME``, which goes on while the machine is suspended; where there is none (outside
    Linux), the monotonic clock, which stops there on some systems: the wall clock then tells the suspension.
    """

    def read(self) -> Instant:
        """See `core.ports.Clock.read`."""
        return Instant(time.time(), _boot())


if hasattr(time, "CLOCK_BOOTTIME"):

    def _boot() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:  # pragma: no cover - not on Linux

    def _boot() -> float:
        return time.monotonic()
