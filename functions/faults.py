"""Exceptions for the log: types and places. Messages and local values may hold plaintext, keys or tokens."""

from __future__ import annotations

import traceback
from pathlib import PurePath
from typing import Any

_MAX_FRAMES = 20
_MAX_CAUSES = 5


def facts(error: BaseException) -> dict[str, Any]:
    """What may be logged of an exception.

    Returns:
        ``exception``: the types of the exception and of what it was raised from; ``frames``: innermost last, as
        ``file:line function``.
    """
    types: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(types) < _MAX_CAUSES:
        types.append(f"{type(cause).__module__}.{type(cause).__qualname__}")
        cause = cause.__cause__ or cause.__context__
    frames = [
        f"{'/'.join(PurePath(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
    ]
    return {"exception": types, "frames": frames}
