"""The real server in processes of its own: start, refusals to start, limits of heads, orderly and disorderly ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from functions.local.issuer import LocalIssuer
from functions.local.protocol import MAX_HEAD
from functions.local.server import bind
from functions.messages import Response
from functions.settings import Settings, SettingsError
from tests.functions.live import ROOT, SERVE, Server, http, serving, talk

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("live")]
SCOPES = ("data:encrypt", "data:decrypt", "key:manage", "key:read", "audit:read")
RAW = ("Content-Type", "application/octet-stream")


def bearer(data: Path, tenant_id: str | None, *scopes: str) -> tuple[str, str]:
    token = LocalIssuer.open(data).mint("test", tenant_id=tenant_id, scopes=scopes or SCOPES)
    return ("Authorization", f"Bearer {token}")


def create_tenant(server: Server, data: Path, tenant_id: str) -> tuple[str, str]:
    operator = bearer(data, None, "platform:operate")
    assert http(server.port, "PUT", f"/v1/tenants/{tenant_id}", [operator]).status in (200, 201)
    return bearer(data, tenant_id)


def test_what_is_no_http_is_answered_with_a_problem(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        for sent in (b"canary\r\n\r\n", b"BREW / HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01"):
            answer = talk(server.port, sent)
            assert answer.startswith(b"HTTP/1.1 400 "), answer
            assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["code"] == "invalid_request"
        long_head = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: " + b"a" * MAX_HEAD + b"\r\n\r\n"
        assert talk(server.port, long_head).startswith(b"HTTP/1.1 400 ")
        many = b"".join(b"x-%d: 1\r\n" % n for n in range(4000))
        assert talk(server.port, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + many + b"\r\n").startswith(
            b"HTTP/1.1 400 "
        )
        one = b"POST /v1/tenants/a/encrypt HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n"
        assert talk(server.port, one + b"Content-Length: 2\r\n\r\nab").startswith(b"HTTP/1.1 400 ")
        assert talk(server.port, one + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert http(server.port, "GET", "/healthz").status == 200
        assert server.stop() == 0
        assert "Traceback" not in server.log.read_text(encoding="utf-8")


def test_connections_and_slow_heads_are_bounded(tmp_path: Path) -> None:
    code = "from functions.local import protocol\nprotocol.MAX_CONNECTIONS = 3\nprotocol.HEAD_SECONDS = 0.5\n"
    with serving(tmp_path / "data", code + SERVE) as server:
        held = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(3)]
        fourth = talk(server.port, b"")
        assert fourth.startswith(b"HTTP/1.1 429 "), fourth
        assert b"\r\nretry-after: 1\r\n" in fourth
        held[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0")
        assert [connection.recv(1) for connection in held] == [b""] * 3
        for connection in held:
            connection.close()
        assert http(server.port, "GET", "/healthz").status == 200


def test_headers_of_the_server(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        answer = http(server.port, "GET", "/healthz", [("Origin", "http://evil.test")])
        assert not {"server", "access-control-allow-origin"} & set(answer.headers)
        evil = talk(server.port, b"GET /healthz HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n")
        assert evil.startswith(b"HTTP/1.1 400 ")


def test_chunked_body_over_the_limit(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        name, value = create_tenant(server, tmp_path / "data", "acme")
        head = f"POST /v1/tenants/acme/encrypt HTTP/1.1\r\nHost: 127.0.0.1\r\n{name}: {value}\r\n"
        head += "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        answer = b""
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(head.encode())
            for _ in range(4):
                connection.sendall(chunk)
            connection.sendall(chunk[: 1 << 16])
            while b"payload_too_large" not in answer:
                more = connection.recv(65536)
                assert more
                answer += more
        assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]


class Load:
    """Clients that encrypt until the server is gone, and count their answers."""

    def __init__(self, server: Server, token: tuple[str, str], clients: int = 8) -> None:
        self.server, self.token = server, token
        self.ending = threading.Event()
        self.lock = threading.Lock()
        self.done = 0
        self.wrong: list[Any] = []
        self.threads = [threading.Thread(target=self._run, args=(n,)) for n in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self, number: int) -> None:
        data = f"client {number} ".encode() * 20_000
        while True:
            try:
                sealed = http(self.server.port, "POST", "/v1/tenants/acme/encrypt", [self.token, RAW], data)
            except (OSError, HTTPException) as error:
                if not self.ending.is_set():
                    self.wrong.append(error)
                return
            if sealed.status != 200 or len(sealed.body) <= len(data):
                self.wrong.append(sealed)
                return
            with self.lock:
                self.done += 1


@pytest.mark.parametrize("workers", [1, 2])
def test_graceful_shutdown_under_load(tmp_path: Path, workers: int) -> None:
    data = tmp_path / "data"
    with serving(data, workers=workers) as server:
        load = Load(server, create_tenant(server, data, "acme"))
        while load.done < 50 and not load.wrong:
            time.sleep(0.01)
        load.ending.set()
        assert server.stop() == 0
        for thread in load.threads:
            thread.join()
        assert load.wrong == []
        lines = server.lines()
        served = [line for line in lines if str(line.get("route", "")).endswith("/encrypt")]
        assert {line["status"] for line in served} == {200}
        # Connections that nobody had accepted yet are reset; whatever was begun was answered, to its last byte.
        assert len(served) == load.done
        assert not [line for line in lines if line["level"] in ("error", "critical") or "exception" in line]
    assert http_refused(server.port)


HANGING = """
import logging, threading
from core.service.keystead import Keystead
let_go, real = threading.Event(), Keystead.encrypt
def encrypt(self, caller, tenant_id, *rest, **named):
    if tenant_id == "acme":
        logging.getLogger("keystead.test").info("hangs")
        assert let_go.wait(60)
    let_go.set() if rest[0] == b"let go" else None
    return real(self, caller, tenant_id, *rest, **named)
Keystead.encrypt = encrypt
"""


def wait_for(server: Server, number: int = 1, **fields: object) -> None:
    """Wait for lines of the log that say this."""
    deadline = time.monotonic() + 30
    while sum(fields.items() <= line.items() for line in server.lines()) < number:
        assert time.monotonic() < deadline, fields
        time.sleep(0.05)


def test_a_tenant_that_hangs_holds_up_nobody_and_callers_that_leave_are_let_go(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, HANGING + SERVE, threads=4) as server:
        (name, value), beta = create_tenant(server, data, "acme"), create_tenant(server, data, "beta")
        head = f"POST /v1/tenants/acme/encrypt HTTP/1.1\r\nHost: 127.0.0.1\r\n{name}: {value}\r\n"
        head += "Content-Type: application/octet-stream\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as first:
            first.sendall(head.encode())
            wait_for(server, message="hangs")
            for _ in range(8):
                with socket.create_connection(("127.0.0.1", server.port), timeout=30) as leaving:
                    leaving.sendall(head.encode())
            sealed = http(server.port, "POST", "/v1/tenants/beta/encrypt", [beta, RAW], b"xyz")
            assert sealed.status == 200
            wait_for(server, 8, code="client_disconnected", tenant="acme")
            assert http(server.port, "POST", "/v1/tenants/beta/encrypt", [beta, RAW], b"let go").status == 200
            assert first.recv(12) == b"HTTP/1.1 200"
        assert server.stop() == 0
        assert [line["message"] for line in server.lines()].count("hangs") == 1


SCHEDULED = """
import logging, threading
from functions.local import app
from functions.local.scheduler import Plan, Scheduler
log = logging.getLogger("keystead.test")
def run(name, seconds, stopping):
    log.info("runs", extra={"fields": {"schedule": name}})
    if name == "watch":
        raise ValueError("canary")
    while STUCK or not stopping():
        threading.Event().wait(0.001)
    log.info("ends", extra={"fields": {"schedule": name}})
class Quick(Scheduler):
    def stop(self, seconds=0.1 if STUCK else 30):
        return super().stop(seconds)
plans = [Plan("watch", 0.01, 1), Plan("check", 60, 45)]
real = app.asgi_app
app.asgi_app = lambda *a, **k: real(*a, **{**k, "scheduler": Quick(run, plans)})
"""


@pytest.mark.parametrize("stuck", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_schedules_end_with_the_process(tmp_path: Path, number: int, stuck: bool) -> None:
    with serving(tmp_path / "data", f"STUCK = {stuck}\n{SCHEDULED}{SERVE}") as server:
        for name in ("watch", "check"):
            wait_for(server, message="runs", schedule=name)
        assert http(server.port, "GET", "/healthz").status == 200
        assert server.stop(number) == 0
        lines = server.lines()
        assert lines[-1]["message"] == "stopped"
        assert [line["schedule"] for line in lines if line["message"] == "ends"] == ([] if stuck else ["check"])
        late = [line for line in lines if line["message"] == "schedules did not stop in time"]
        assert [line["threads"] for line in late] == ([["keystead-check"]] if stuck else [])
        failed = [line for line in lines if line["message"] == "a schedule failed"]
        assert [(line["schedule"], line["code"]) for line in failed] == [("watch", "bug")]
        assert "canary" not in server.log.read_text(encoding="utf-8")


def http_refused(port: int) -> bool:
    try:
        http(port, "GET", "/healthz")
    except OSError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_and_hang_up_are_orderly_ends(tmp_path: Path, workers: int, number: int) -> None:
    with serving(tmp_path / "data", workers=workers) as server:
        assert server.stop(number) == 0
        lines = server.lines()
        assert lines[-1]["message"] == "stopped"
        assert not [line for line in lines if line["level"] != "info"]


def ignores_hang_up(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(mask, 16) & (1 << (signal.SIGHUP - 1)))


def test_workers_leave_a_hang_up_to_their_supervisor(tmp_path: Path) -> None:
    with serving(tmp_path / "data", workers=2) as server:
        before = children(server.process.pid)
        workers = [pid for pid in before if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(workers) == 2
        deadline = time.monotonic() + 30
        while not all(ignores_hang_up(pid) for pid in workers) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in workers:
            os.kill(pid, signal.SIGHUP)
        time.sleep(1)
        assert children(server.process.pid) == before
        assert http(server.port, "GET", "/healthz").status == 200
        assert server.stop() == 0


def test_a_hang_up_that_is_ignored_stays_so(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + SERVE) as server:
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert http(server.port, "GET", "/healthz").status == 200


def test_a_body_that_is_still_out_at_the_end_gets_an_answer(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, shutdown_timeout=1) as server:
        name, value = create_tenant(server, data, "acme")
        head = f"POST /v1/tenants/acme/encrypt HTTP/1.1\r\nHost: 127.0.0.1\r\n{name}: {value}\r\n"
        head += "Content-Type: application/octet-stream\r\nContent-Length: 10\r\n\r\nabc"
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(head.encode())
            time.sleep(0.3)
            assert server.stop() == 0
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        said, body = answer.split(b"\r\n\r\n", 1)
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: " in said
        assert b"\r\nconnection: close" in said
        assert json.loads(body)["code"] == "stopping"
        assert not [line for line in server.lines() if "exception" in line or "frames" in line]
        assert server.lines()[-1]["message"] == "stopped"


def test_workers_share_one_data_directory(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, workers=2) as server:
        token = create_tenant(server, data, "acme")
        text, sealed = b"", Response(0, {}, b"")
        for n in range(40):
            text = f"value {n}".encode()
            sealed = http(server.port, "POST", "/v1/tenants/acme/encrypt", [token, RAW], text)
            assert sealed.status == 200, sealed.body
            opened = http(server.port, "POST", "/v1/tenants/acme/decrypt", [token, RAW], sealed.body)
            assert opened.body == text
            if n % 10 == 9:
                assert http(server.port, "POST", "/v1/tenants/acme/key/rotate", [token]).status == 200
        served = children(server.process.pid)
        assert len(served) >= 2
        assert server.stop() == 0
    with serving(data) as again:
        opened = http(again.port, "POST", "/v1/tenants/acme/decrypt", [token, RAW], sealed.body)
        assert opened.body == text


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if not listed.exists():
        assert "CI" not in os.environ, "CI runs where the kernel lists children"
        pytest.skip("this kernel does not list children")
    return [int(child) for child in listed.read_text(encoding="ascii").split()]


def test_workers_end_with_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    with serving(tmp_path / "data", workers=2) as server:
        workers = children(server.process.pid)
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        for _ in range(600):
            if http_refused(server.port) and not any(alive(pid) for pid in workers):
                return
            time.sleep(0.1)
        raise AssertionError("workers outlived their supervisor")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z")


def refusal(**settings: str) -> str:
    code = "from functions.settings import SettingsError\ntry:\n" + "".join(
        f"    {line}\n" for line in SERVE.splitlines()
    )
    code += "except SettingsError as error:\n    print(f'{error.detail}|{error.hint}')\n    raise SystemExit(7)\n"
    env = {name: value for name, value in os.environ.items() if not name.startswith("KEYSTEAD_")}
    env |= {f"KEYSTEAD_{name.upper()}": value for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 7, done
    assert "Traceback" not in done.stderr
    return done.stdout


def test_a_taken_port_is_said_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refusal(data=str(tmp_path / "data"), port=str(port))
    assert f"port {port} is taken" in said
    assert "KEYSTEAD_PORT" in said


def test_a_data_directory_that_is_none_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "data directory" in refusal(data=str(tmp_path / "file"))


def test_addresses_beyond_loopback_need_permission(tmp_path: Path) -> None:
    assert "KEYSTEAD_ALLOW_REMOTE" in refusal(data=str(tmp_path / "data"), host="0.0.0.0")
    with pytest.raises(SettingsError):
        Settings(host="192.0.2.1").check()


def test_another_loopback_address(tmp_path: Path) -> None:
    with serving(tmp_path / "data", host="127.0.0.2") as server:
        assert server.url.startswith("http://127.0.0.2:")


def test_addresses_beyond_loopback_are_warned_of(tmp_path: Path) -> None:
    # The socket stays on loopback: what is tested is what the service says and to which names it answers.
    code = "from functions.local import server\nreal = server.bind\n"
    code += "server.bind = lambda _host, port: real('127.0.0.1', port)\n" + SERVE
    with serving(tmp_path / "data", code, host="0.0.0.0", allow_remote=1, allowed_hosts="keys.example") as server:
        assert next(line["message"] for line in server.lines() if line["level"] == "warning").startswith("listening")
        for host, status in (("keys.example", 200), ("KEYS.example:443", 200), ("evil.example", 400), ("0.0.0.0", 400)):
            request = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            assert talk(server.port, request.encode()).startswith(f"HTTP/1.1 {status} ".encode())


def test_bind_refuses_what_is_no_address_here() -> None:
    for host in ("192.0.2.1", "no such host"):
        with pytest.raises(SettingsError, match="cannot listen"):
            bind(host, 0)
