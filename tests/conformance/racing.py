"""Lets threads run into one another, and tells what became of each."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def race(contenders: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Start all contenders at the same time, each in a thread.

    Returns:
        What each returned or raised, in their order.
    """
    barrier = threading.Barrier(len(contenders))

    def run(contender: Callable[[], T]) -> T | Exception:
        barrier.wait()
        try:
            return contender()
        except Exception as error:  # noqa: BLE001 - an outcome like any other
            return error

    with ThreadPoolExecutor(len(contenders)) as pool:
        return list(pool.map(run, contenders))


def outcomes(results: Sequence[object]) -> Counter[str]:
    """How many contenders returned (``ok``), and how many raised each class of error."""
    return Counter(type(result).__name__ if isinstance(result, Exception) else "ok" for result in results)
