"""Connections to the database: one per thread, durable, and never a `sqlite3` exception to the outside."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from core.errors import StoreUnavailable
from core.stores.sqlite import files
from core.stores.sqlite.connection import connect
from core.stores.sqlite.faults import mapped_faults
from core.stores.sqlite.handles import Handles


class SqliteDatabase:
    """One database file. Safe to use from many threads, from many processes, and across `os.fork`.

    Args:
        path: The file; made, with its directory, where it is missing.
        busy_timeout: Seconds to wait for a lock that another connection holds.

    Raises:
        StoreUnavailable: The file cannot be used: its permissions, its owner, a newer schema, a fault of the system.
        StoreCorrupt: The file is damaged, or not Keystead's.
    """

    def __init__(self, path: Path, *, busy_timeout: float = 5.0) -> None:
        self._path = path.absolute()
        self._closed = False
        self._handles = Handles(partial(connect, self._path, busy_timeout))
        with mapped_faults():
            files.prepare(self._path)
            self._identity = files.identity(self._path)
        with self.reading():
            pass

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
            yield handle.connection()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection in a transaction that no other writer shares.

        It is committed, to the disk, at the end of the block, and rolled back if anything is raised inside.

        Raises:
            StoreUnavailable, StoreCorrupt: In place of whatever `sqlite3` raises inside.
        """
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

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return
        # What the connection still holds is not known: the next use opens another.
        self._handles.own().close()
