"""Lines: what a call holds of the network, so that whoever stops waiting for it can end it.

A server that sends a byte now and then keeps a read from timing out. Breaking its connection off ends the call, and
the thread that it runs on. The SDK offers no way to do that, so its connection pools are told to name their sockets.
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


def tell_lines(client: Any) -> None:
    """Have a client of the SDK tell the line in use of every connection that it sends a request over."""
    # There is no public way. Where the SDK is built otherwise, calls still end with their budget, and only their
    # threads live as long as the server likes.
    with suppress(AttributeError):
        session = client._endpoint.http_session  # noqa: SLF001
        pools = _pools(tuple(session._pool_classes_by_scheme.items()))  # noqa: SLF001
        session._manager.pool_classes_by_scheme = session._pool_classes_by_scheme = pools  # noqa: SLF001


@cache
def _pools(known: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    return {scheme: type("TellingPool", (pool,), {"_validate_conn": _validator(pool)}) for scheme, pool in known}


def _validator(pool: Any) -> Any:
    def validate(self: Any, connection: Any) -> None:
        pool._validate_conn(self, connection)  # noqa: SLF001 - the base class's own
        if connection.sock is None:  # without TLS it would connect a moment later
            connection.connect()
        line = getattr(_current, "line", None)
        if line is not None:
            line.hold(connection.sock)

    return validate
