"""The machine's clocks."""

from __future__ import annotations

import time
from functools import partial


class SystemClock:
    """`core.ports.Clock` of this machine.

    The boot clock is ``CLOCK_BOOTTIME``, which goes on while the machine is suspended; where there is none (outside
    Linux), the monotonic clock, which stops there on some systems: the wall clock then tells the suspension.
    """

    def __init__(self) -> None:
        self.wall = time.time
        self.boot = partial(time.clock_gettime, time.CLOCK_BOOTTIME) if _HAS_BOOTTIME else time.monotonic


_HAS_BOOTTIME = hasattr(time, "CLOCK_BOOTTIME")
