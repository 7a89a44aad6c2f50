"""A server on loopback that real AWS clients can speak to: KMS, STS and the control API on one port."""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from functions.emulators.aws_errors import AwsError
from functions.emulators.control import PREFIX, control
from functions.emulators.kms import Answer, Incoming, KmsEmulator, Service
from functions.emulators.protocols import TARGET, http_answer, read_json, read_query
from functions.emulators.signatures import Signature, read_signature, verifier

LOOPBACK = "127.0.0.1"
MAX_BODY = 1024 * 1024
_LENGTH = re.compile(r"[0-9]{1,18}")
_RESET = struct.pack("ii", 1, 0)


class EmulatorServer:
    """A running server; leave its context, or close it, and its connections end.

    Args:
        emulator: Behind it.
        port: 0 takes a free one.
        max_age: Seconds that a request's signing date may differ from the emulator's clock; None for any.
        on_change: Called after a request that changed what the emulator saves.

    Raises:
        OSError: The port cannot be taken.
    """

    def __init__(
        self,
        emulator: KmsEmulator,
        port: int = 0,
        *,
        max_age: float | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.emulator = emulator
        self.max_age = max_age
        self.on_change = on_change
        self.closing = threading.Event()
        self._saved = emulator.revision
        self._saving = threading.Lock()
        self._http = _Server((LOOPBACK, port), self)
        self.port: int = self._http.server_address[1]
        self.url = f"http://{LOOPBACK}:{self.port}"
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

    def pause(self, seconds: float | None) -> None:
        """Wait, at most until the faults are cleared or the server closes."""
        self.emulator.faults.wait(self.closing.is_set, seconds)

    def changed(self) -> None:
        """Tell of changes since the last time."""
        if self.on_change is not None and self.emulator.revision != self._saved:
            with self._saving:
                self._saved = self.emulator.revision
                self.on_change()


def serve(
    emulator: KmsEmulator,
    port: int = 0,
    *,
    max_age: float | None = None,
    on_change: Callable[[], None] | None = None,
) -> EmulatorServer:
    """Serve an emulator on loopback; see `EmulatorServer`."""
    return EmulatorServer(emulator, port, max_age=max_age, on_change=on_change)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], owner: EmulatorServer) -> None:
        self.owner = owner
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: it looks the host's name up.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        # Without TCPServer's shutdown, which would turn an ordered reset into an orderly end.
        with self._guard:
            self._open.discard(request)
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def break_connections(self) -> None:
        with self._guard:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # the client was faster
                    continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "keystead-emulator"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet
    server: _Server

    def do_POST(self) -> None:
        owner = self.server.owner
        body = self._body()
        if body is None or not self._local():
            return
        if self.path.startswith(PREFIX):
            self._control(body)
        elif self.path != "/":
            self._send(404, "text/plain", b"no such path\n")
        else:
            self._service(body)
        owner.changed()

    def do_GET(self) -> None:
        if not self._local():
            return
        if self.path.startswith(PREFIX):
            self._control(None)
        else:
            self._send(404, "text/plain", b"an emulator of AWS KMS and STS: not a page\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Nothing: the record of calls is ``/_emulator/calls``."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The emulator's clock, as skewed as it is told to be."""
        emulator = self.server.owner.emulator
        return formatdate(emulator.now() + emulator.skew if timestamp is None else timestamp, usegmt=True)

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if not _LENGTH.fullmatch(length) or int(length) > MAX_BODY:
            self.close_connection = True
            status = 411 if not length else 413 if _LENGTH.fullmatch(length) else 400
            self._send(status, "text/plain", b"a body of at most 1 MiB, and its length\n")
            return None
        return self.rfile.read(int(length))

    def _local(self) -> bool:
        """Refuse what a web page could have sent: another host's name (DNS rebinding), or an Origin."""
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if is_loopback(host) and self.headers.get("Origin") is None:
            return True
        self._send(403, "text/plain", b"the emulator answers programs on this machine only\n")
        return False

    def _control(self, body: bytes | None) -> None:
        status, answer = control(self.server.owner.emulator, self.path.removeprefix(PREFIX), body)
        self._send(status, "application/json", answer)

    def _service(self, body: bytes) -> None:
        owner, request_id = self.server.owner, secrets.token_hex(16)
        headers = {name.lower(): value for name, value in self.headers.items()}
        target = headers.get("x-amz-target", "")
        service: Service = "kms" if target.startswith(TARGET) else "sts"
        operation = target.removeprefix(TARGET)
        try:
            signature = read_signature(headers)
            params = {}
            if service == "kms":
                params = read_json(body)
            else:
                operation, params = read_query(body)
        except AwsError as error:
            answer = Answer(error=error.for_sts() if service == "sts" else error)
        else:
            incoming = Incoming(service, operation, params, signature.access_key_id, signature.region)
            answer = owner.emulator.answer(incoming, self._verifier(signature, service, headers, body), owner.pause)
        fault = answer.fault
        if fault is not None and fault.hang:
            owner.pause(None)
        if fault is not None and (fault.hang or fault.reset or fault.lost):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close_connection = True
            return
        self._send(*http_answer(service, operation, answer, request_id), request_id)

    def _verifier(
        self, signature: Signature, service: str, headers: dict[str, str], body: bytes
    ) -> Callable[[str], None]:
        owner = self.server.owner
        session = owner.emulator.identities.sessions.get(signature.access_key_id)
        return verifier(
            signature,
            service=service,
            url=f"http://{headers.get('host', '')}{self.path}",
            headers=headers,
            body=body,
            token=None if session is None else session.token,
            now=owner.emulator.now(),
            max_age=owner.max_age,
        )

    def _send(self, status: int, content_type: str, body: bytes, request_id: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if request_id:
            self.send_header("x-amzn-RequestId", request_id)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def is_loopback(host: str) -> bool:
    """Whether a Host header's name is this machine's own: ``localhost`` or a loopback address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
