"""uvicorn's HTTP protocol with bounds on connections, heads and answers, and its own answers as problem+json."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from core.errors import InvalidRequest, KeysteadError, TooManyRequests
from functions.messages import choose_request_id
from functions.problems import problem_response

MAX_HEAD = 32 * 1024
"""Bytes of request line, headers and trailers: a token of 8 KiB and a context of 11 KiB fit with room."""
MAX_CONNECTIONS = 1024
"""Connections of one process, idle ones included."""
MAX_PIPELINED = 100
"""Requests of one connection that wait behind the one under way."""
HEAD_SECONDS = 10
"""How long a head may take to arrive, on a new connection or after its first byte; and the rest of a request that was
answered before it was read."""
SEND_SECONDS = 30
"""How long an answer may take to be received."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose head is too long, too slow or not HTTP, and those that do not take their answers."""

    _head_size = 0
    _head_done = False
    _head_timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None
    _broken = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as the base class
        """Start the clock on the first request, unless there are too many connections."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(TooManyRequests("too many connections", retry_after=1))
        else:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_timer()
        self._stop_send_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, unless what came before made no sense; and keep a clock running on whoever has yet to ask."""
        if self._broken:
            return
        super().data_received(data)
        # The base class has stopped its clock on idle connections, whether or not this was the start of a request.
        if self._answered and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self._start_timer()

    def on_message_begin(self) -> None:
        """Start the clock on a later request."""
        self._head_size = 0
        self._head_done = False
        self._stop_timer()
        self._start_timer()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header; drop those that come after the body, which were not there when the request was judged."""
        self._count(len(name) + len(value) + 4)
        if not self._head_done:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the clock."""
        self._stop_timer()
        self._head_done = True
        if len(self.pipeline) >= MAX_PIPELINED:
            # Reaches `send_400_response` through the parser, as below.
            raise ValueError("too many requests at once")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop the clock on the rest of a request that was answered early."""
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with what waits; close the connection if what came after made no sense."""
        if self._broken and not self.pipeline and not self.transport.is_closing():
            self._refuse(_nonsense())
            return
        super().on_response_complete()
        if self.transport.is_closing():
            self.pause_writing()

    def pause_writing(self) -> None:
        """Start the clock on the answers that were not received yet."""
        if self._send_timer is None:
            self._send_timer = self.loop.call_later(SEND_SECONDS, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        """Stop it, unless the last bytes of all are waited for."""
        if not self.transport.is_closing():
            self._stop_send_timer()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; drop it if it has not even taken its last answer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text is not ours
        """Answer what is no HTTP request, in the form of all errors, and close the connection.

        What was asked before is answered before. Only a request that is itself broken off, in its body, is not.
        """
        self._stop_timer()
        self._broken = True
        if self._answered:
            self._refuse(_nonsense())
        elif not self.cycle.more_body:
            return
        elif self.pipeline:
            self.pipeline.popleft()
        elif self.cycle.response_started:
            self._close()
        else:
            self._refuse(_nonsense())

    @property
    def _answered(self) -> bool:
        """Whether nothing that was asked waits for its answer."""
        # The base class starts without one.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def _refuse(self, error: KeysteadError) -> None:
        response = problem_response(error, choose_request_id({}))
        lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        lines += [f"content-length: {len(response.body)}", "connection: close", "", ""]
        self.transport.write("\r\n".join(lines).encode() + response.body)
        self._close()

    def _close(self) -> None:
        """Close the connection once all was received, but not however long that takes."""
        self.transport.close()
        self.pause_writing()

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

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._close()


def _nonsense() -> InvalidRequest:
    return InvalidRequest("this is no HTTP request, or its head is too long")
