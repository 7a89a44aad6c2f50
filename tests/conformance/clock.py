"""What every Clock must do. Subclass and set ``clock`` in an autouse fixture."""

from __future__ import annotations

from core.ports import Clock


class ClockContract:
    """The suite.

    Attributes:
        clock: Under test.
    """

    clock: Clock

    def test_it_reads_both_clocks(self) -> None:
        assert isinstance(self.clock.wall(), float)
        assert isinstance(self.clock.boot(), float)

    def test_the_boot_clock_never_goes_back(self) -> None:
        readings = [self.clock.boot() for _ in range(1000)]
        assert readings == sorted(readings)

    def test_the_wall_clock_counts_from_the_epoch(self) -> None:
        assert self.clock.wall() > 1_700_000_000
