"""Real servers in processes of their own, on loopback, each ended by its own process id."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from functions.messages import Response

ROOT = Path(__file__).resolve().parents[2]
SERVE = (
    "from functions.local.server import serve\nfrom functions.settings import Settings\nserve(Settings.from_env())\n"
)
START_SECONDS = 60


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    def lines(self) -> list[dict[str, Any]]:
        """Its log so far; every line of it is JSON."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def stop(self, number: int = signal.SIGTERM, timeout: float = 60) -> int:
        """Signal it, wait for its end, give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout)


@contextmanager
def serving(data: Path, code: str = SERVE, **settings: object) -> Iterator[Server]:
    """Start a server on a free port and wait until it is ready.

    Args:
        data: Its data directory.
        code: Python that starts it.
        settings: As `Settings`, upper or lower case.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("KEYSTEAD_")}
    env |= {"KEYSTEAD_DATA": str(data), "KEYSTEAD_PORT": "0"}
    env |= {f"KEYSTEAD_{name.upper()}": str(value) for name, value in settings.items()}
    data.parent.mkdir(parents=True, exist_ok=True)
    log = data.parent / f"{data.name}.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env, stderr=stderr)
    server = Server(process, "", log)
    try:
        _wait(server)
        yield server
    finally:
        if process.poll() is None:
            server.stop()


def _wait(server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.process.poll() is None, server.log.read_text(encoding="utf-8")
        if not server.url:
            found = [line["url"] for line in server.lines() if line.get("message") == "serving"]
            server.url = found[0] if found else ""
        elif _ready(server):
            return
        time.sleep(0.05)
    raise AssertionError(f"not ready within {START_SECONDS} s: {server.log.read_text(encoding='utf-8')}")


def _ready(server: Server) -> bool:
    try:
        return http(server.port, "GET", "/healthz", host=server.host).status == 200
    except OSError:
        return False


def talk(port: int, data: bytes) -> bytes:
    """Send bytes over a bare socket, give what comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


def http(
    port: int,
    method: str,
    target: str,
    headers: list[tuple[str, str]] | None = None,
    body: bytes = b"",
    *,
    host: str = "127.0.0.1",
) -> Response:
    """One request over one connection, with exactly these headers besides Host and Content-Length."""
    connection = HTTPConnection(host, port, timeout=30)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers or []:
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()
