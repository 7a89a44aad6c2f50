"""uvicorn's HTTP protocol with bounds on connections and heads, and its own answers as problem+json."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core.errors import InvalidRequest, KeysteadError, TooManyRequests
from functions.messages import choose_request_id
from functions.problems import problem_response

MAX_HEAD = 32 * 1024
"""Bytes of request line and headers: a token of 8 KiB and a context of 11 KiB fit with room."""
MAX_CONNECTIONS = 1024
"""Connections of one process, idle ones included."""
HEAD_SECONDS = 10
"""How long a head may take to arrive, on a new connection or after its first byte."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose head is too long, too slow or not HTTP."""

    _head_size = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as the base class
        """Start the clock on the first request, unless there are too many connections."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(TooManyRequests("too many connections", retry_after=1))
        else:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start the clock on a later request."""
        self._head_size = 0
        self._start_timer()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the clock."""
        self._stop_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text is not ours
        """Answer what is no HTTP request, in the form of all errors, and close the connection."""
        self._stop_timer()
        self._refuse(InvalidRequest("this is no HTTP request, or its head is too long"))

    def _refuse(self, error: KeysteadError) -> None:
        response = problem_response(error, choose_request_id({}))
        lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        lines += [f"content-length: {len(response.body)}", "connection: close", "", ""]
        self.transport.write("\r\n".join(lines).encode() + response.body)
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: an offer to upgrade may be declined in silence (RFC 9110, 7.8)."""

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MAX_HEAD:
            # Reaches `send_400_response` through the parser.
            raise ValueError("head too long")

    def _start_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()
