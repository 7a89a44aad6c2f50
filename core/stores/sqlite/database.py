"""Connections to the database: one per thread, durable, and never a `sqlite3` exception to the outside."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from core.errors import StoreUnavailable
from core.stores.sqlite import files
from core.stores.sqlite.connection import connect, connect_to_read
from core.stores.sqlite.faults import mapped_faults
from core.stores.sqlite.handles import Handles


class SqliteDatabase:
    """One database file. Safe to use from many threads, from many processes, and across `os.fork`.

    Args:
        path: The file; made, with its directory, where it is missing.
        busy_timeout: Seconds to wait for a lock that another connection holds.
        read_only: Make, mend and write nothing, on any disk, whoever owns the file: for auditors. A store that nobody
            has open is read without locks, as a file that stands still; if it does not, reading fails.

    Raises:
        StoreUnavailable: The file cannot be used: its permissions, its owner, a newer schema, a fault of the system.
        StoreCorrupt: The file is damaged, or not Keystead's.
    """

    def __init__(self, path: Path, *, busy_timeout: float = 5.0, read_only: bool = False) -> None:
        self._path = path.absolute()
        self._closed = False
        self._read_only = read_only
        self._still: tuple[object, ...] | None = None
        open_one = partial(connect, self._path, busy_timeout)
        with mapped_faults():
            if read_only:
                # SQLite would make a log and its index anew where there are none.
                if not files.has_log(self._path):
                    self._still = files.state(self._path)
                open_one = partial(connect_to_read, self._path, busy_timeout, still=self._still is not None)
            else:
                files.prepare(self._path)
            self._identity = files.identity(self._path)
        self._handles = Handles(open_one)
        try:
            with self.reading():
                pass
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"SqliteDatabase({str(self._path)!r})"

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, for single statements: each sees everything committed before it began.

        Raises:
            StoreUnavailable, StoreCorrupt: In place of whatever `sqlite3` raises inside.
        """
        handle = self._handles.own()
        with handle.lock, mapped_faults():
            self._check_usable()
            try:
                yield handle.connection()
            finally:
                self._check_still()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection in a transaction that no other writer shares.

        It is committed, to the disk, at the end of the block, and rolled back if anything is raised inside.

        Raises:
            StoreUnavailable, StoreCorrupt: In place of whatever `sqlite3` raises inside.
            StoreUnavailable: The database is read only.
        """
        if self._read_only:
            raise StoreUnavailable("the embedded database was opened to be read only")
        with self.reading() as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                self._roll_back(connection)
                raise

    def close(self) -> None:
        """Close all connections, waiting for operations under way; later ones meet `StoreUnavailable`."""
        self._closed = True
        self._handles.close()

    def _check_usable(self) -> None:
        if self._closed:
            raise StoreUnavailable("the embedded database is closed")
        # An open connection would go on writing, without complaint, to a file that was deleted or moved away.
        if files.identity(self._path) != self._identity:
            raise StoreUnavailable(
                "the embedded database's file was replaced while it was open",
                hint="restart the service; put a backup in place only while it is stopped",
            )

    def _check_still(self) -> None:
        # Whatever was found, or found damaged, does not count if the file was written to meanwhile.
        if self._still is not None and files.state(self._path) != self._still:
            raise StoreUnavailable("the store was written to while it was read", hint="run the command again")

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return
        # What the connection still holds is not known: the next use opens another.
        self._handles.own().close()
