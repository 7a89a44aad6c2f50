"""Progress bars: on stderr, on a terminal, for what takes a while."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from stat import S_ISREG
from typing import BinaryIO

import click

LARGE = 16 * 1024 * 1024
"""Bytes from which a bar is shown."""
STEP = 1024 * 1024
"""Bytes between two drawings."""


@contextmanager
def progress(label: str, source: BinaryIO) -> Iterator[Callable[[int], None]]:
    """Show a bar while a stream is read, if it is large and somebody watches.

    Args:
        label: What is being done.
        source: The stream; only a regular file tells how large it is.

    Returns:
        To be called with the bytes done since the last call.
    """
    size = _size(source)
    if size < LARGE or not sys.stderr.isatty():
        yield lambda _done: None
        return
    with click.progressbar(length=size, label=label, file=sys.stderr, update_min_steps=STEP) as bar:
        yield bar.update


def _size(source: BinaryIO) -> int:
    try:
        found = os.fstat(source.fileno())
    except (OSError, ValueError):
        return 0
    return found.st_size if S_ISREG(found.st_mode) else 0
