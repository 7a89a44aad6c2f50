"""What takes a while, told on stderr, on a terminal: progress bars, and waiting for a service."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from stat import S_ISREG
from typing import BinaryIO

import click

from core.errors import KeysteadError

LARGE = 16 * 1024 * 1024
"""Bytes from which a bar is shown."""
STEP = 1024 * 1024
"""Bytes between two drawings."""
LONG = 1.0
"""Seconds of waiting from which a word is said."""


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


def tell_wait(error: KeysteadError, seconds: float) -> None:
    """Say why nothing happens for a while, if somebody watches.

    Args:
        error: What is waited for to pass.
        seconds: Until the next attempt.
    """
    if seconds >= LONG and sys.stderr.isatty():
        click.echo(f"note: {error.detail}; trying again in {seconds:g} s", err=True)


def tell_long(what: str) -> None:
    """Say what is being done that may take up to a minute, if somebody watches."""
    if sys.stderr.isatty():
        click.echo(f"note: {what}; this may take a minute", err=True)


def _size(source: BinaryIO) -> int:
    try:
        found = os.fstat(source.fileno())
    except (OSError, ValueError):
        return 0
    return found.st_size if S_ISREG(found.st_mode) else 0
