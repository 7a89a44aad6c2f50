"""The three standard streams, which whoever starts a program may have closed."""

from __future__ import annotations

import os
import sys


def open_standard_streams() -> None:
    """Put something in the place of streams that are closed, before a file is opened and gets one's number.

    Reading a closed stdin and writing to a closed stdout fail, as they should: an input that is not there is not an
    empty one, and output must not vanish. What is said on a closed stderr is heard by nobody, and fails nothing.
    """
    # In order of number: what is opened gets the lowest that is free. Python sets a stream that is closed to None.
    if sys.stdin is None:
        sys.stdin = os.fdopen(_null(os.O_WRONLY), encoding="utf-8")
    if sys.stdout is None:
        sys.stdout = os.fdopen(_null(os.O_RDONLY), "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(_null(os.O_WRONLY), "w", encoding="utf-8", errors="replace")


def _null(flags: int) -> int:
    return os.open(os.devnull, flags)
