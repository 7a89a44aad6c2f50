"""A server on loopback that real Azure clients can speak to: Entra, every vault and the control API on one port.

Who is spoken to is told by the Host header. Clients keep their addresses, such as ``https://acme.vault.azure.net``,
and dial this server in place of whatever the name resolves to.
"""

from __future__ import annotations

import re
import shutil
import socket
import socketserver
import ssl
import struct
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from functions.emulators.azure_control import PREFIX, azure_control
from functions.emulators.azure_messages import Answer, Request
from functions.emulators.azure_world import AzureEmulator
from functions.emulators.entra import IDENTITY_PATH
from functions.emulators.wire import LOOPBACK, MAX_BODY, is_loopback

HANDSHAKE_SECONDS = 30
_LENGTH = re.compile(r"[0-9]{1,18}")
_RESET = struct.pack("ii", 1, 0)


class AzureEmulatorServer:
    """A running server; leave its context, or close it, and its connections end.

    Args:
        emulator: Behind it.
        port: 0 takes a free one.
        ca_file: Where the certificate of the emulator's authority is written; None for a file that goes with the
            emulator.
        on_change: Called after a request that changed what the emulator saves, before its answer is sent.

    Attributes:
        dial: Where clients connect to: ``127.0.0.1:<port>``.
        ca_file: PEM file for them to trust.
        url: Of the control API.
        identity_url: Of the endpoint of managed identities, for IDENTITY_ENDPOINT; its secret is
            ``emulator.entra.identity_header``.

    Raises:
        OSError: The port cannot be taken, or the file not written.
    """

    def __init__(
        self,
        emulator: AzureEmulator,
        port: int = 0,
        *,
        ca_file: Path | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.emulator = emulator
        self.on_change = on_change
        self.closing = threading.Event()
        self._saved = emulator.revision
        self._saving = threading.Lock()
        self.tls = emulator.authority.server_context()
        self.tls.sni_callback = self._named
        written = ca_file
        if written is None:
            # For as long as the emulator, not the server: a client whose server is gone is to find that out itself.
            folder = tempfile.mkdtemp(prefix="keystead-emulator-")
            weakref.finalize(emulator, shutil.rmtree, folder, ignore_errors=True)
            written = Path(folder) / "ca.pem"
        written.write_text(emulator.authority.certificate_pem)
        self.ca_file = str(written)
        self._http = _Server((LOOPBACK, port), self)
        self.port: int = self._http.server_address[1]
        self.dial = f"{LOOPBACK}:{self.port}"
        self.url = f"https://{self.dial}"
        self.identity_url = f"{self.url}{IDENTITY_PATH}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, break the connections, let go what hangs."""
        if self.closing.is_set():
            return
        self.closing.set()
        self.emulator.faults.wake()
        self._http.shutdown()
        self._http.break_connections()
        self._http.server_close()
        self._thread.join()

    def pause(self, seconds: float | None) -> bool:
        """Wait, at most until the faults are cleared or the server closes; returns whether it was for one of those."""
        return self.emulator.faults.wait(self.closing.is_set, seconds)

    def changed(self) -> None:
        """Tell of changes since the last time."""
        if self.on_change is not None and self.emulator.revision != self._saved:
            with self._saving:
                self._saved = self.emulator.revision
                self.on_change()

    def _named(self, _connection: Any, name: str | None, _context: ssl.SSLContext) -> int | None:
        # A vault that does not exist has no name in DNS. Here the handshake fails, before anything is sent.
        known = name is None or is_loopback(name) or self.emulator.knows(name.lower())
        return None if known else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME


def serve(
    emulator: AzureEmulator,
    port: int = 0,
    *,
    ca_file: Path | None = None,
    on_change: Callable[[], None] | None = None,
) -> AzureEmulatorServer:
    """Serve an emulator on loopback; see `AzureEmulatorServer`."""
    return AzureEmulatorServer(emulator, port, ca_file=ca_file, on_change=on_change)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], owner: AzureEmulatorServer) -> None:
        self.owner = owner
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: it looks the host's name up.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the connection's own thread: a client that does not finish its handshake keeps nobody else waiting.
        request.settimeout(HANDSHAKE_SECONDS)
        connection = self.owner.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        with self._guard:
            self._open.add(connection)
        try:
            if self.owner.closing.is_set():
                return
            with suppress(ssl.SSLError, TimeoutError):
                connection.do_handshake()
                connection.settimeout(None)
                _Handler(connection, client_address, self)
        finally:
            with self._guard:
                self._open.discard(connection)
            connection.close()

    def shutdown_request(self, request: Any) -> None:
        # Without TCPServer's shutdown, which would turn an ordered reset into an orderly end.
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def break_connections(self) -> None:
        with self._guard:
            for connection in self._open:
                # Not SSLSocket's own shutdown: it takes the session from under a thread that reads.
                with suppress(OSError):  # the client was faster
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "keystead-emulator"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet
    server: _Server

    def do_GET(self) -> None:
        owner = self.server.owner
        body = self._body()
        if body is None:
            return
        host = self._host()
        loopback = is_loopback(host)
        if self.headers.get("Origin") is not None or not (loopback or owner.emulator.knows(host)):
            # What a web page could have sent: from another origin, or by another host's name (DNS rebinding).
            self._text(403, b"the emulator answers programs on this machine only\n")
        elif loopback and self.path.startswith(PREFIX):
            given = None if self.command == "GET" else body
            status, content = azure_control(owner.emulator, self.path.removeprefix(PREFIX), given)
            owner.changed()
            self._send(Answer(status, content, {"Content-Type": "application/json"}))
        else:
            self._service(host, body)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names are the base class's

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Nothing: the record of calls is ``/_emulator/calls``."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The emulator's clock, as skewed as it is told to be."""
        emulator = self.server.owner.emulator
        return formatdate(emulator.now() + emulator.skew if timestamp is None else timestamp, usegmt=True)

    def _host(self) -> str:
        host = self.headers.get("Host", "").lower()
        name, colon, port = host.rpartition(":")
        return name if colon and port.isdecimal() else host

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0" if self.command in ("GET", "DELETE") else "")
        if not _LENGTH.fullmatch(length) or int(length) > MAX_BODY:
            self.close_connection = True
            status = 411 if not length else 413 if _LENGTH.fullmatch(length) else 400
            self._text(status, b"a body of at most 1 MiB, and its length\n")
            return None
        return self.rfile.read(int(length))

    def _service(self, host: str, body: bytes) -> None:
        owner, parts = self.server.owner, urlsplit(self.path)
        request = Request(
            self.command,
            host,
            unquote(parts.path),
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            {name.lower(): value for name, value in self.headers.items()},
            body,
        )
        answer = owner.emulator.answer(request, owner.pause)
        owner.changed()  # before the client learns of it
        fault = answer.fault
        if fault is not None and fault.hang:
            owner.pause(None)
        if fault is not None and (fault.breaks or fault.lost):
            if not fault.dropped:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close_connection = True
            return
        self._send(answer)

    def _text(self, status: int, body: bytes) -> None:
        self._send(Answer(status, body, {"Content-Type": "text/plain"}))

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        self.send_header("Server", self.version_string())
        if answer.dated:
            self.send_header("Date", self.date_time_string())
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        body, drip = answer.body, 0.0 if answer.fault is None else answer.fault.drip
        while drip and body:
            self.wfile.write(body[:1])
            self.wfile.flush()
            body = body[1:]
            if self.server.owner.pause(drip):
                break
        self.wfile.write(body)
        self.wfile.flush()
