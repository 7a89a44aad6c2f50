"""AWS as an emulator on loopback: ministack, a real server in its own process and environment, that checks policies.

A test module that uses it says ``pytestmark = MINISTACK``: it is slow, and one worker runs all of them, so that there
is one server. The fixture is imported in the ``conftest`` of a package.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / ".tools" / "ministack" / "bin" / "ministack"
MINISTACK = [pytest.mark.slow, pytest.mark.xdist_group("ministack")]
REGION = "eu-central-1"
ROOT_CREDENTIALS = ("test", "test")
"""Root of the default account; ministack takes any twelve digits in its place as root of that account."""
_LOG = "ministack.log"
_START_SECONDS = 60
_PORTS_TRIED = 3


@dataclass(frozen=True)
class Ministack:
    """A running emulator.

    Attributes:
        process: Its process.
        url: Its one endpoint, for every service.
        log: What it printed.
    """

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def client(self, service: str, credentials: Sequence[str] = ROOT_CREDENTIALS) -> Any:
        """A boto3 client.

        Args:
            service: Such as ``iam``.
            credentials: Access key id, secret and, if they are temporary, session token. Twelve digits for the first
                are root of that account.
        """
        session = boto3.session.Session(*credentials, region_name=REGION)
        return session.client(service, endpoint_url=self.url, config=Config(retries={"total_max_attempts": 1}))

    def stop(self) -> None:
        """End it, by its own process id."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


_RUNNING = pytest.StashKey[Ministack]()


@pytest.fixture(scope="session")
def ministack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ministack:
    """The emulator, started once per test run; pytest keeps its log with the run's temporary files."""
    if not TOOL.exists():
        assert "CI" not in os.environ, "CI sets ministack up"
        pytest.skip(
            "NOT RUN: ministack is not set up here; `make test` does it, so does `make .tools/ministack/.installed`"
        )
    stash = request.config.stash
    # Several conftests import this fixture, and each has a copy of its own.
    if _RUNNING not in stash:
        stash[_RUNNING] = started(tmp_path_factory.mktemp("ministack"))
        request.config.add_cleanup(stash[_RUNNING].stop)
    return stash[_RUNNING]


def started(directory: Path) -> Ministack:
    """Start the emulator on a free port and wait until it is healthy.

    Args:
        directory: For its log and its temporary files.
    """
    # Another process may take the port before the emulator does.
    for _ in range(_PORTS_TRIED):
        server = _start(directory, _free_port())
        if _is_healthy(server):
            return server
        server.stop()
    raise AssertionError(f"ministack does not start:\n{(directory / _LOG).read_text(errors='replace')}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _start(directory: Path, port: int) -> Ministack:
    files, log = directory / "tmp", directory / _LOG
    files.mkdir(exist_ok=True)
    # Whatever else it inherited, the functions that it runs would inherit, too.
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(files),
        "TMPDIR": str(files),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "AUTH": "true",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
    }
    with log.open("ab") as out:
        process = subprocess.Popen(
            [TOOL], cwd=files, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
    return Ministack(process, f"http://127.0.0.1:{port}", log)


def _is_healthy(server: Ministack) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while server.process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{server.url}/_ministack/health", trust_env=False).status_code == 200:
                return True
        except httpx.HTTPError:
            pass
        time.sleep(0.02)
    return False
