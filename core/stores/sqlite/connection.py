"""Opens a connection: write-ahead log, full durability, deleted content overwritten, the schema in place.

Or one that reads and leaves everything as it is.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from time import sleep
from urllib.parse import quote_from_bytes

from core.errors import StoreUnavailable
from core.stores.sqlite import schema
from core.stores.sqlite.faults import BUSY, UNREADABLE, primary_code

_PAUSE = 0.02
"""Seconds between two attempts to set a new connection up."""


def connect(path: Path, busy_timeout: float) -> sqlite3.Connection:
    """Open the database.

    Args:
        path: Absolute path of a file that exists.
        busy_timeout: Seconds to wait for a lock that another connection holds.

    Returns:
        A connection in autocommit mode that any thread may use, one at a time.

    Raises:
        StoreUnavailable: A newer schema, or a file system that cannot hold the database.
        StoreCorrupt: Not Keystead's database.
        sqlite3.Error: SQLite refuses.
    """
    # mode=rw: a file that has vanished since it was prepared must not come back empty.
    connection = sqlite3.connect(
        f"file:{quote_from_bytes(os.fsencode(path))}?mode=rw",
        uri=True,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        use_write_ahead_log(connection, busy_timeout)
        for pragma in (
            f"busy_timeout = {round(busy_timeout * 1000)}",
            "synchronous = FULL",
            "fullfsync = ON",
            "secure_delete = ON",
            "foreign_keys = ON",
            "trusted_schema = OFF",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        schema.prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_read(path: Path, busy_timeout: float, *, still: bool) -> sqlite3.Connection:
    """Open the database without making, mending or writing anything, on any disk.

    Args:
        path: Absolute path of the file.
        busy_timeout: Seconds to wait for a lock that another connection holds.
        still: Whether it is read as a file that nobody writes to, without locks. Else its index is read and its locks
            are taken, and both stay as they are.

    Returns:
        As `connect`, but it cannot write.

    Raises:
        StoreUnavailable: It cannot be read without writing, or another version of Keystead made it.
        StoreCorrupt: Not Keystead's database, or none at all.
        sqlite3.Error: SQLite refuses.
    """
    mode = "immutable=1" if still else "readonly_shm=1"
    try:
        connection = sqlite3.connect(
            f"file:{quote_from_bytes(os.fsencode(path))}?mode=ro&{mode}",
            uri=True,
            timeout=busy_timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            for pragma in ("query_only = ON", "trusted_schema = OFF"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            schema.check(connection)
        except BaseException:
            connection.close()
            raise
    except sqlite3.OperationalError as error:
        if primary_code(error) not in UNREADABLE:
            raise
        raise StoreUnavailable(
            f"the embedded database cannot be read as it stands ({error.sqlite_errorname})",
            hint="a store with a log (-wal) beside it needs its index (-shm), too: start the service on it once",
        ) from error
    return connection


def use_write_ahead_log(connection: sqlite3.Connection, busy_timeout: float) -> None:
    """Switch a database to write-ahead logging, or find that it is.

    Args:
        connection: Just opened, in autocommit mode, with no time-out of its own.
        busy_timeout: Seconds to try.

    Raises:
        StoreUnavailable: The file system does not allow it.
        sqlite3.Error: SQLite refuses.
    """
    # The switch needs the file alone and does not always wait for it, so several first openings at once collide.
    for remaining in range(int(busy_timeout / _PAUSE), -1, -1):
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if primary_code(error) not in BUSY or not remaining:
                raise
            sleep(_PAUSE)
        else:
            if mode != ("wal",):
                raise StoreUnavailable(
                    "the file system under the embedded database does not support write-ahead logging",
                    hint="use a local disk",
                )
            return
