"""Strict JSON: refuses what two readers could read differently, and what has more parts than any input of ours.

The former are duplicate names, NaN, lone surrogates and another encoding than UTF-8. No error repeats a value.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from core.errors import InvalidRequest

MAX_PARTS = 8192
"""Objects, names and numbers of one document: twice what the largest batch needs."""
MAX_DIGITS = 15
"""Of an integer; no field of the API needs more."""


class _Reader:
    """The hooks of one parse; they give up as soon as there is too much, so that the parser does."""

    def __init__(self, max_digits: int) -> None:
        self._max_digits = max_digits
        self._left = MAX_PARTS

    def object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        self._count(1 + len(pairs))
        out = dict(pairs)
        if len(out) != len(pairs):
            raise InvalidRequest("the JSON names a field twice")
        return out

    def integer(self, text: str) -> int:
        self._count(1)
        if len(text) > self._max_digits:
            raise InvalidRequest("a number in the JSON has too many digits")
        return int(text)

    def float(self, text: str) -> float:
        self._count(1)
        return float(text)

    def constant(self, _name: str) -> NoReturn:
        raise InvalidRequest("NaN and Infinity are not JSON")

    def _count(self, parts: int) -> None:
        self._left -= parts
        if self._left < 0:
            raise InvalidRequest("the JSON has more parts than any valid input")


def parse_json(data: bytes, *, what: str = "the request body", max_digits: int = MAX_DIGITS) -> Any:
    """Parse strict JSON.

    Args:
        data: UTF-8.
        what: Names the input in errors.
        max_digits: Of integers.

    Raises:
        InvalidRequest: It is not JSON, or JSON that readers disagree about, or has more than `MAX_PARTS` parts.
    """
    reader = _Reader(max_digits)
    try:
        document = json.loads(
            data.decode(),
            object_pairs_hook=reader.object,
            parse_constant=reader.constant,
            parse_int=reader.integer,
            parse_float=reader.float,
        )
        # Only an escape can make a lone surrogate: a raw one is not UTF-8.
        if b"\\u" in data:
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{what} is not UTF-8") from None
    except UnicodeEncodeError:
        raise InvalidRequest(f"{what} holds a lone surrogate") from None
    except json.JSONDecodeError as error:
        position = f"line {error.lineno} column {error.colno}"
        raise InvalidRequest(f"{what} is not valid JSON ({position})") from None
    except RecursionError:
        raise InvalidRequest(f"{what} is nested too deeply") from None
    return document
