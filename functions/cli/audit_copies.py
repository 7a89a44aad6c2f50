"""Files of copies of audit chains, as ``keystead audit export`` writes them: read line by line, whatever their size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from core.domain.audit_copies import ChainCopy
from core.errors import InvalidRequest

MAX_LINE = 512 * 1024 * 1024
"""Bytes of one chain: a million entries."""


@dataclass(frozen=True, slots=True)
class _Place:
    path: Path
    offset: int
    entries: int


class CopyFiles:
    """The copies of each chain in some files.

    Args:
        paths: The files.

    Raises:
        InvalidRequest: A file holds something else.
        OSError: It cannot be read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._places: dict[str, dict[bytes, _Place]] = {}
        for path in paths:
            found = False
            for offset, digest, copy in _copies(path):
                found = True
                places = self._places.setdefault(copy.chain, {})
                places.setdefault(digest, _Place(path, offset, len(copy.entries)))
            if not found:
                raise _no_copies(path)  # what was to be replayed is not in it

    @property
    def chains(self) -> Sequence[str]:
        """Whose chains there are copies of."""
        return tuple(self._places)

    def read(self, chain: str) -> Iterator[Callable[[], ChainCopy]]:
        """How to read each copy of a chain, the longest first: of two that are true and of one time it holds the other.

        What is given raises InvalidRequest or OSError if its file has changed.
        """
        places = self._places.get(chain, {}).values()
        for place in sorted(places, key=lambda each: each.entries, reverse=True):
            yield partial(_read, place)


def _read(place: _Place) -> ChainCopy:
    with place.path.open("rb") as file:
        file.seek(place.offset)
        return _parsed(place.path, _line(place.path, file))


def _copies(path: Path) -> Iterator[tuple[int, bytes, ChainCopy]]:
    with path.open("rb") as file:
        while True:
            offset = file.tell()
            line = _line(path, file)
            if not line:
                return
            if line.strip():
                yield offset, sha256(line.strip()).digest(), _parsed(path, line)


def _line(path: Path, file: BinaryIO) -> bytes:
    line = file.readline(MAX_LINE + 1)
    if len(line) > MAX_LINE:
        raise _no_copies(path)
    return line


def _parsed(path: Path, line: bytes) -> ChainCopy:
    try:
        return ChainCopy.from_line(line.decode())
    except (UnicodeDecodeError, InvalidRequest):
        raise _no_copies(path) from None


def _no_copies(path: Path) -> InvalidRequest:
    hint = "'keystead audit export' writes such files"
    return InvalidRequest(f"{path} is not a file of copies of audit chains", hint=hint)
