"""From SQLite's result codes to our errors: by code, never by message text (https://www.sqlite.org/rescode.html)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import KeysteadError, StoreCorrupt, StoreUnavailable

_PRIMARY = 0xFF
"""The low byte of an extended result code is its primary code."""

CORRUPT = frozenset(
    {
        sqlite3.SQLITE_ERROR,  # a table or column that the schema has is missing
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_NOTADB,
    }
)
"""Waiting does not mend these; everything else (busy, locked, full, I/O, read-only, ...) may pass."""

BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

UNREADABLE = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR})
"""Where nothing may be written, what a missing file, a missing index or a log to be recovered gives."""


def primary_code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code, or None where Python's own module raised the error."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & _PRIMARY if isinstance(code, int) else None


def translated(error: sqlite3.Error) -> KeysteadError:
    """The error of ours that stands for one of SQLite's."""
    code, name = primary_code(error), getattr(error, "sqlite_errorname", type(error).__name__)
    # Python's module itself reports text that is not UTF-8, with no result code.
    if code in CORRUPT or (code is None and type(error) is sqlite3.OperationalError):
        return StoreCorrupt(
            f"the embedded database is damaged ({name})",
            hint="stop the service, keep a copy of the file, and restore the last backup",
        )
    return StoreUnavailable(f"the embedded database does not answer ({name})")


@contextmanager
def mapped_faults() -> Iterator[None]:
    """Raise our errors in place of SQLite's and the operating system's.

    Raises:
        StoreUnavailable: Busy, locked, full, unreadable, closed, or any other fault that may pass.
        StoreCorrupt: The file is damaged, or not ours.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error) from error
    except UnicodeError as error:
        # A damaged schema makes a message that Python's module cannot decode.
        raise translated(sqlite3.OperationalError()) from error
    except OSError as error:
        raise StoreUnavailable(
            f"the embedded database's file cannot be used ({type(error).__name__}, errno {error.errno})"
        ) from error
