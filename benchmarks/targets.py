"""What a run must reach. A number here is a promise of the project's: change it only with the promise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results import Results
from benchmarks.speed import Direction

MIB = 1 << 20


@dataclass(frozen=True)
class Verdict:
    """One target, and what a run made of it.

    Attributes:
        name: What is promised.
        limit: The number it is held to.
        at_least: Whether the value must not be below the limit; else not above it.
        value: What was measured.
        unit: Of both numbers.
        about_speed: Whether a run that was too short cannot tell.
    """

    name: str
    limit: float
    at_least: bool
    value: float
    unit: str
    about_speed: bool = True

    @property
    def held(self) -> bool:
        """Whether it was reached."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{self.name}: {self.value:.4g} {self.unit} ({sign} {self.limit:g})".replace(" x ", "x ")


_RATIOS: list[tuple[str, Direction, str, float, bool]] = [
    # size, direction, ratio, limit, whether at least
    ("1 KiB", "encrypt", "official hierarchical / cached", 90, True),
    ("1 KiB", "decrypt", "official hierarchical / cached", 80, True),
    ("1 KiB", "encrypt", "cached / bare", 8, False),
    ("1 KiB", "decrypt", "cached / bare", 11, False),
    ("1 KiB", "encrypt", "official hierarchical / fresh", 45, True),
    ("1 KiB", "decrypt", "official hierarchical / fresh", 45, True),
    ("16 MiB", "encrypt", "cached / bare", 1.25, False),
    ("16 MiB", "decrypt", "cached / bare", 1.25, False),
]


def judge(results: Results) -> list[Verdict]:
    """Every target with this run's value: the median over its rounds."""
    return [*_ratios(results), *_others(results)]


def _ratios(results: Results) -> Iterator[Verdict]:
    for size, direction, name, limit, at_least in _RATIOS:
        value = results.case(size, direction).ratios[name].median
        yield Verdict(f"{direction} {size}, {name}", limit, at_least, value, "x")


def _others(results: Results) -> Iterator[Verdict]:
    stream, startup, mutations = results.stream, results.startup, results.mutations
    growth, imported = stream.growth / MIB, startup.seconds["message path"].median
    damaged = f"{mutations.count:,} damaged messages"
    yield Verdict(f"{stream.mebibytes} MiB streamed, memory added", 48, False, growth, "MiB")
    yield Verdict("message path imported, whole process", 0.12, False, imported, "s")
    yield Verdict(f"{damaged}, accepted", 0, False, mutations.accepted, "messages", about_speed=False)
    yield Verdict(f"{damaged}, other errors", 0, False, mutations.crashed, "messages", about_speed=False)
