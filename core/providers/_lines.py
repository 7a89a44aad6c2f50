"""Lines: what a call holds of the network, so that whoever stops waiting for it can end it.

A server that sends a byte now and then keeps a read from timing out. Breaking its connection off ends the call, and
the thread that it runs on.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from threading import Lock, local
from typing import Any

_current = local()


class Line:
    """The socket of one call, once it has one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._socket: socket.socket | None = None
        self._is_cut = False

    @property
    def is_cut(self) -> bool:
        """Whether nobody waits for the call any longer."""
        return self._is_cut

    def hold(self, found: socket.socket) -> None:
        """Note the call's socket.

        Raises:
            ConnectionAbortedError: Nobody waits for the call any longer.
        """
        with self._lock:
            self._socket = found
            if self._is_cut:
                raise ConnectionAbortedError("nobody waits for this call any longer")

    def cut(self) -> None:
        """Break the call off."""
        with self._lock:
            self._is_cut = True
            if self._socket is not None:
                with suppress(OSError):  # it has ended by itself
                    # Not TLS's own, which would take the socket apart under the thread that reads it.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    @contextmanager
    def used(self) -> Iterator[None]:
        """What is sent on this thread meanwhile goes over this line."""
        _current.line = self
        try:
            yield
        finally:
            del _current.line


@cache
def telling(pool: type[Any]) -> type[Any]:
    """A connection pool of urllib3, made so that it tells the line in use of every connection it sends a request over.

    Args:
        pool: ``urllib3.HTTPConnectionPool`` or a class derived from it; the same class always gives the same one.
    """

    def validate(self: Any, connection: Any) -> None:
        pool._validate_conn(self, connection)  # noqa: SLF001 - the base class's own; there is no public place for this
        if connection.sock is None:  # without TLS it would connect a moment later
            connection.connect()
        line = getattr(_current, "line", None)
        if line is not None:
            line.hold(connection.sock)

    return type("TellingPool", (pool,), {"_validate_conn": validate})
