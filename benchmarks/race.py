"""Races contenders against each other in rounds, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from statistics import median, quantiles
from time import perf_counter

BATCH_SECONDS = 0.002
"""How long one contender runs at a stretch: far above the clock's resolution, mostly one turn at the processor."""
PASSES = 3
"""How often each runs in a round; the fastest counts, as only others can make a pass slower."""
MAX_REPEAT = 1000


Batch = Callable[[Sequence[bytes]], None]


@dataclass(frozen=True)
class Contender:
    """One thing to measure.

    Attributes:
        name: As reported.
        batch: Performs the operation once for each input; the loop is inside, so that it costs no extra call.
        inputs: What it is given, over and over in this order.
    """

    name: str
    batch: Batch
    inputs: Sequence[bytes] = field(repr=False)


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of what was measured once a round."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of one value or more."""
        low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
        return cls(median(values), low, high)


Rounds = dict[str, list[float]]
"""Seconds per operation, by contender, one entry per round."""


@contextmanager
def without_collections() -> Iterator[None]:
    """Keep the cyclic garbage collector out of the measurement."""
    gc.collect()
    gc.freeze()  # what is loaded by now is never looked at again: collecting between rounds stays cheap
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def race(contenders: Sequence[Contender], rounds: int) -> Rounds:
    """Run every contender in every round, in an order that rotates.

    Args:
        contenders: What to measure.
        rounds: How often; the first pass, which also warms caches, is not counted.
    """
    repeats = {contender.name: _repeat(contender) for contender in contenders}
    batches = {c.name: list(islice(cycle(c.inputs), repeats[c.name])) for c in contenders}
    taken: Rounds = {contender.name: [] for contender in contenders}
    with without_collections():
        for number in range(rounds):
            gc.collect()
            start = number % len(contenders)
            fastest = dict.fromkeys(taken, float("inf"))
            for contender in (*contenders[start:], *contenders[:start]) * PASSES:
                batch = batches[contender.name]
                begun = perf_counter()
                contender.batch(batch)
                fastest[contender.name] = min(fastest[contender.name], (perf_counter() - begun) / len(batch))
            for name, seconds in fastest.items():
                taken[name].append(seconds)
    return taken


def ratio(rounds: Rounds, slower: str, faster: str) -> Spread:
    """How many times as long one contender took as another, round by round."""
    return Spread.of([a / b for a, b in zip(rounds[slower], rounds[faster], strict=True)])


def _repeat(contender: Contender) -> int:
    contender.batch(contender.inputs)  # warms
    begun = perf_counter()
    contender.batch(contender.inputs)
    each = (perf_counter() - begun) / len(contender.inputs)
    return max(1, min(MAX_REPEAT, round(BATCH_SECONDS / each)))
