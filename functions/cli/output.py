"""Where bytes come from and go to: files that appear whole, pipes that get output only when it is whole, terminals
that never get binary."""

from __future__ import annotations

import codecs
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

import click

from core.errors import InvalidRequest
from functions.cli.options import usage_error

SPOOL_MEMORY = 8 * 1024 * 1024
"""Bytes of output for a pipe that are kept in memory; more goes to a nameless temporary file."""


@contextmanager
def opened(source: str) -> Iterator[BinaryIO]:
    """Open a file for reading; ``-`` is stdin.

    Raises:
        OSError: It cannot be read.
    """
    if source == "-":
        yield sys.stdin.buffer
        return
    with Path(source).open("rb") as file:
        yield file


@contextmanager
def destination(source: str, output: str | None, *, force: bool, private: bool) -> Iterator[BinaryIO]:
    """Give a stream whose bytes come out only if the block ends without an exception.

    Args:
        source: What is read, so that it is not overwritten; ``-`` is stdin, which may be a file too.
        output: File to write; None or ``-`` for stdout.
        force: Whether an existing file may be replaced.
        private: Whether it is plaintext: a new file is its owner's only, and a terminal may get it if it is text.

    Raises:
        click.UsageError: Stdout is a terminal, and what would come is binary. Or the output's name is empty.
        KeysteadError, OSError: As `core.client.files.check_files`.
    """
    if output == "":
        raise usage_error("the name of the output is empty", "-o FILE, or without -o to stdout")
    if output is None or output == "-":
        if is_terminal() and not private:
            raise binary_refused()
        with spool() as held:
            yield held
            held.seek(0)
            _to_stdout(held)
        return
    from core.client.files import check_files
    from core.client.publish import PRIVATE, SHARED, check_target, published

    target = Path(output)
    if source == "-":
        _check_not_stdin(target)
        check_target(target, overwrite=force)
    else:
        check_files(Path(source), target, overwrite=force)
    with published(target, overwrite=force, mode=PRIVATE if private else SHARED) as file:
        yield file


@contextmanager
def spool() -> Iterator[BinaryIO]:
    """A temporary place without a name, gone with the process."""
    from tempfile import SpooledTemporaryFile

    with SpooledTemporaryFile(max_size=SPOOL_MEMORY) as held:
        yield cast("BinaryIO", held)


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout.isatty()


def binary_refused() -> click.UsageError:
    """The error for binary output that would go to a terminal."""
    return usage_error(
        "the output is binary and stdout is a terminal", "write it to a file with -o FILE, or into a pipe"
    )


def is_text(stream: IO[bytes]) -> bool:
    """Whether a stream, read to its end, is UTF-8 without control characters that could steer a terminal."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while chunk := stream.read(1 << 16):
            if not all(c.isprintable() or c in "\t\n\r" for c in decoder.decode(chunk)):
                return False
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def printable(text: str) -> str:
    """A text from elsewhere with what could steer a terminal written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, one: str, many: str = "") -> str:
    """A number and its noun, in the form that goes with it."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def _check_not_stdin(target: Path) -> None:
    """Refuse to write the file that stdin was redirected from.

    Raises:
        InvalidRequest: It is that file.
    """
    try:
        same = os.path.samestat(os.fstat(sys.stdin.fileno()), target.stat())
    except (OSError, ValueError):  # no such file, or a stdin that is none
        return
    if same:
        raise InvalidRequest("input and output are the same file", hint="name another output; the input is kept")


def _to_stdout(held: BinaryIO) -> None:
    if is_terminal():
        if not is_text(held):
            raise binary_refused()
        held.seek(0)
    out = sys.stdout.buffer
    shutil.copyfileobj(held, out, 1 << 16)
    out.flush()
