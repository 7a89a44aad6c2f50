"""What the server's protocol adds to uvicorn's, over bare sockets against the real server in a thread."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from uvicorn import Server

from functions.local import protocol
from functions.local.app import Endpoint, HostCheck, asgi_app
from functions.local.server import bind, uvicorn_config
from functions.settings import Settings
from tests.conformance.entrypoint import fake_handler
from tests.functions import tokens
from tests.functions.live import talk

pytestmark = pytest.mark.xdist_group("live")
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
ENCRYPT = b"POST /v1/tenants/acme/encrypt HTTP/1.1\r\nHost: 127.0.0.1\r\n"
TYPE = b"Content-Type: application/octet-stream\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
TOKEN = f"Authorization: Bearer {tokens.mint()}\r\n".encode()


@pytest.fixture
def server() -> Iterator[Server]:
    """The real server over the fake fa\u00e7ade, in a thread of this process."""
    listener = bind("127.0.0.1", 0)
    config = uvicorn_config(Settings(shutdown_timeout=1), port=listener.getsockname()[1])
    config.log_config = None
    config.app = lambda: asgi_app(Endpoint(fake_handler(), HostCheck()), on_close=lambda: None)
    server = Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    yield server
    server.should_exit = True
    thread.join()


@pytest.fixture
def port(server: Server) -> int:
    return server.config.port


def statuses(answers: bytes) -> list[bytes]:
    return [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]]


def last(answers: bytes) -> str:
    return str(json.loads(answers.rpartition(b"\r\n\r\n")[2])["code"])


@pytest.mark.parametrize(
    ("head", "trailers", "status"),
    [
        (ENCRYPT, TOKEN + TYPE, b"401"),
        (ENCRYPT + TOKEN, TYPE, b"415"),
        (ENCRYPT.partition(b"Host")[0] + TOKEN + TYPE, b"Host: 127.0.0.1\r\n", b"400"),
        (ENCRYPT + TOKEN + TYPE, b"Keystead-Context: !!!\r\nX-Request-Id: \x22\r\n", b"200"),
    ],
    ids=["token", "type", "host", "others"],
)
def test_trailers_are_no_headers(port: int, head: bytes, trailers: bytes, status: bytes) -> None:
    request = head + b"Connection: close\r\n" + CHUNKED + b"2\r\nhi\r\n0\r\n" + trailers + b"\r\n"
    assert statuses(talk(port, request)) == [status]


def test_trailers_are_counted(port: int) -> None:
    endless = ENCRYPT + TOKEN + TYPE + CHUNKED + b"2\r\nhi\r\n0\r\n" + b"X-A: b\r\n" * 10_000
    assert last(talk(port, endless)) == "invalid_request"


@pytest.mark.parametrize(
    "garbage", [b"garbage\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01", b"BREW / HTTP/1.1\r\n"]
)
@pytest.mark.parametrize("times", [1, 3])
def test_what_makes_sense_is_answered_before_what_does_not(port: int, garbage: bytes, times: int) -> None:
    answers = talk(port, HEALTH * times + garbage)
    assert statuses(answers) == [b"200"] * times + [b"400"]
    assert last(answers) == "invalid_request"


def test_a_request_that_breaks_off_in_its_body_is_refused_alone(port: int) -> None:
    broken = ENCRYPT + TOKEN + TYPE + CHUNKED + b"zz\r\n"
    assert statuses(talk(port, broken)) == [b"400"]
    assert statuses(talk(port, HEALTH * 2 + broken)) == [b"200", b"200", b"400"]


def test_too_many_requests_at_once(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_PIPELINED", 3)
    assert statuses(talk(port, HEALTH * 20)) == [b"200"] * 4 + [b"400"]


def gone(server: Server) -> bool:
    """Whether the server lets go of all its connections, in the time a loaded machine may need."""
    deadline = time.monotonic() + 20
    while server.server_state.connections and time.monotonic() < deadline:
        time.sleep(0.05)
    return not server.server_state.connections


def unread(port: int) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    return connection


def test_who_takes_no_answers_is_dropped(server: Server, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "SEND_SECONDS", 0.5)
    connection = unread(port)
    # Their answers fill every buffer on the way.
    connection.setblocking(False)
    big = ENCRYPT + TOKEN + TYPE + b"Content-Length: 4000000\r\n\r\n" + bytes(4_000_000)
    sender = threading.Thread(target=_send, args=(connection, big * 3))
    sender.start()
    sender.join(10)
    assert gone(server)
    connection.close()


def _send(connection: socket.socket, data: bytes) -> None:
    connection.settimeout(5)
    try:
        connection.sendall(data)
    except OSError:
        return


def test_who_takes_no_answer_to_a_last_request_is_dropped(
    server: Server, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "SEND_SECONDS", 0.5)
    connection = unread(port)
    big = ENCRYPT + TOKEN + TYPE + b"Connection: close\r\nContent-Length: 4000000\r\n\r\n" + bytes(4_000_000)
    _send(connection, big)
    assert gone(server)
    connection.close()


def test_who_takes_answers_slowly_is_not_dropped(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "SEND_SECONDS", 10)
    big = ENCRYPT + TOKEN + TYPE + b"Connection: close\r\nContent-Length: 4000000\r\n\r\n" + bytes(4_000_000)
    with unread(port) as connection:
        connection.sendall(big)
        time.sleep(1)
        connection.settimeout(30)
        size = 0
        while chunk := connection.recv(65536):
            size += len(chunk)
    assert size > 4_000_000


@pytest.mark.parametrize(
    "after",
    [b"\r\n", b"GET /heal", ENCRYPT + TOKEN.replace(b"Bearer ", b"Bearer x") + b"Content-Length: 9\r\n\r\n1"],
    ids=["line", "half", "body"],  # A token in a name would be another one in every process that collects the tests.
)
def test_who_asks_for_nothing_more_is_let_go(
    server: Server, port: int, monkeypatch: pytest.MonkeyPatch, after: bytes
) -> None:
    """Also with bytes that begin no request, or belong to one that was answered before it was there."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(HEALTH)
        connection.recv(65536)
        connection.sendall(after)
        time.sleep(0.1)
        for _ in range(3):
            try:
                connection.sendall(after[-1:])
            except OSError:
                break
        assert gone(server)


def test_a_connection_is_kept_after_a_body_nobody_read(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 5)
    body = bytes(100_000)
    denied = ENCRYPT + b"Content-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(denied)
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")
        connection.sendall(body + HEALTH)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
