"""`system_clock`: the contract of clocks on this machine's."""

from __future__ import annotations

import sys
import time

import pytest

from core.ports import Clock
from core.providers.system_clock import SystemClock
from tests.conformance.clock import ClockContract


class TestContract(ClockContract):
    @pytest.fixture(autouse=True)
    def _set_up(self) -> None:
        self.clock: Clock = SystemClock()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="CLOCK_BOOTTIME is Linux's")
def test_the_boot_clock_counts_suspension() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    found = SystemClock().boot()
    assert before <= found <= time.clock_gettime(time.CLOCK_BOOTTIME)
