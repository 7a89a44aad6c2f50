"""Encrypt and decrypt at four sizes, all contenders of a case in the same rounds."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks import bare
from benchmarks.ours import CACHED, FRESH, Keystead
from benchmarks.peer import CACHING, HIERARCHICAL, peer
from benchmarks.race import Contender, Spread, race, ratio

SIZES = {"100 B": 100, "1 KiB": 1 << 10, "64 KiB": 1 << 16, "16 MiB": 1 << 24}
Direction = Literal["encrypt", "decrypt"]
DIRECTIONS: tuple[Direction, ...] = ("encrypt", "decrypt")
LARGE = 1 << 20

RATIOS = {
    # name: (the slower one, the faster one); a ratio says how many times as long the slower one took
    "official hierarchical / cached": (HIERARCHICAL, CACHED),
    "official hierarchical / fresh": (HIERARCHICAL, FRESH),
    "official caching / cached": (CACHING, CACHED),
    "cached / bare": (CACHED, bare.BARE),
    "fresh / bare": (FRESH, bare.BARE),
    "cached / bare in place": (CACHED, bare.BARE_IN_PLACE),
}


@dataclass(frozen=True)
class Case:
    """What one case gave.

    Attributes:
        size: Name of the plaintext's size.
        direction: ``encrypt`` or ``decrypt``.
        rounds: How many were run.
        microseconds: Per operation, by contender.
        ratios: By name, as in `RATIOS`.
    """

    size: str
    direction: Direction
    rounds: int
    microseconds: dict[str, Spread]
    ratios: dict[str, Spread]


def measure(data_dir: Path, *, rounds: int, large_rounds: int, progress: Callable[[str], None]) -> list[Case]:
    """Run all cases.

    Args:
        data_dir: An empty directory for our keys and store.
        rounds: Of sizes below 1 MiB.
        large_rounds: Of the others.
        progress: Told of each case before it starts.
    """
    keystead = Keystead(data_dir)
    try:
        with peer() as official:
            cases = []
            for size, length in SIZES.items():
                large = length >= LARGE
                # Large values: just enough of them that no two in a row have the same data key.
                plaintexts = [os.urandom(length) for _ in range(2 if large else 64)]
                for direction in DIRECTIONS:
                    progress(f"{direction} {size}")
                    contenders: list[Contender] = []
                    for side in (keystead, bare, official):
                        make = side.encrypting if direction == "encrypt" else side.decrypting
                        contenders += make(plaintexts)
                    cases.append(_case(size, direction, contenders, large_rounds if large else rounds))
            return cases
    finally:
        keystead.close()


def _case(size: str, direction: Direction, contenders: list[Contender], rounds: int) -> Case:
    taken = race(contenders, rounds)
    return Case(
        size,
        direction,
        rounds,
        {name: Spread.of([seconds * 1e6 for seconds in values]) for name, values in taken.items()},
        {name: ratio(taken, *pair) for name, pair in RATIOS.items() if set(pair) <= set(taken)},
    )
