"""The connections of a process's threads, and what becomes of them when a thread ends or the process forks."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress


class Handle:
    """One thread's connection, if it is open.

    Args:
        connect: Opens a connection.

    Attributes:
        lock: Held by whoever uses or closes the connection; others than the thread itself close it.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self.lock = threading.RLock()
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._close: Callable[[], object] = lambda: None

    def connection(self) -> sqlite3.Connection:
        """The connection, opened if it is not."""
        if self._connection is None:
            connection = self._connect()
            # A thread that ends takes its handle along, and the connection with it.
            self._close = weakref.finalize(self, connection.close)
            self._connection = connection
        return self._connection

    def close(self) -> None:
        """Close the connection; a later use opens another."""
        self._connection = None
        with suppress(sqlite3.Error):
            self._close()


class Handles:
    """One handle per thread, all closed while the process forks.

    SQLite keeps a table of the locks that a process holds. A child inherits the table, not the locks, and its own new
    connections would rely on them: its parent could delete a write-ahead log that the child still writes to
    (https://www.sqlite.org/howtocorrupt.html, 2.6). A child of a process without open connections inherits nothing.

    Args:
        connect: Opens a connection.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._held: list[Handle] = []
        self._start_afresh()
        os.register_at_fork(
            before=_weakly(self._before_fork),
            after_in_parent=_weakly(self._after_in_parent),
            after_in_child=_weakly(self._after_in_child),
        )

    def own(self) -> Handle:
        """The calling thread's handle."""
        handle: Handle | None = getattr(self._local, "handle", None)
        if handle is None:
            handle = Handle(self._connect)
            with self._lock:
                self._all.add(handle)
                self._local.handle = handle
        return handle

    def close(self) -> None:
        """Close every connection, waiting for operations under way."""
        with self._lock:
            handles = list(self._all)
        for handle in handles:
            with handle.lock:
                handle.close()

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._all: weakref.WeakSet[Handle] = weakref.WeakSet()
        self._local = threading.local()

    def _before_fork(self) -> None:
        self._lock.acquire()
        for handle in list(self._all):
            handle.lock.acquire()
            self._held.append(handle)
            handle.close()

    def _after_in_parent(self) -> None:
        while self._held:
            self._held.pop().lock.release()
        self._lock.release()

    def _after_in_child(self) -> None:
        self._held.clear()
        self._start_afresh()


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    # Fork hooks cannot be taken back: they must not keep alive what they are for.
    reference = weakref.WeakMethod(method)

    def call() -> None:
        alive = reference()
        if alive is not None:
            alive()

    return call
