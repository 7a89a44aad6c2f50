"""Azure's tables as an emulator on loopback: Azurite, a real server in its own process, that checks signatures.

A test module that uses it says ``pytestmark = AZURITE``: it is slow, and one worker runs all of them, so that there is
one server. The fixture is imported in the ``conftest`` of a package.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError

from core.stores.azure_tables import tables_client

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / ".tools" / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "table" / "main.js"
AZURITE = [pytest.mark.slow, pytest.mark.xdist_group("azurite")]
_ACCOUNT = "keystead"
_LOG = "azurite.log"
_START_SECONDS = 60
_PORTS_TRIED = 3


@dataclass(frozen=True)
class Azurite:
    """A running emulator, whose data live and die with it.

    Attributes:
        process: Its process.
        endpoint: Of its one account's tables.
        key: The account's.
        log: What it printed.
    """

    process: subprocess.Popen[bytes]
    endpoint: str
    key: str = field(repr=False)
    log: Path

    @property
    def credential(self) -> AzureNamedKeyCredential:
        return AzureNamedKeyCredential(_ACCOUNT, self.key)

    def stop(self) -> None:
        """End it, by its own process id."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


_RUNNING = pytest.StashKey[Azurite]()


@pytest.fixture(scope="session")
def azurite(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Azurite:
    """The emulator, started once per test run; pytest keeps its log with the run's temporary files."""
    node = shutil.which("node")
    if node is None or not TOOL.exists():
        assert "CI" not in os.environ, "CI sets Azurite up"
        pytest.skip(
            "NOT RUN: Azurite is not set up here; `make test` does it, so does `make .tools/azurite/.installed`"
        )
    stash = request.config.stash
    # Several conftests may import this fixture, and each has a copy of its own.
    if _RUNNING not in stash:
        stash[_RUNNING] = started(node, tmp_path_factory.mktemp("azurite"))
        request.config.add_cleanup(stash[_RUNNING].stop)
    return stash[_RUNNING]


def started(node: str, directory: Path) -> Azurite:
    """Start the emulator on a free port and wait until it answers.

    Args:
        node: The Node.js to run it with.
        directory: For its log and its temporary files.
    """
    # Another process may take the port before the emulator does.
    for _ in range(_PORTS_TRIED):
        server = _start(node, directory, _free_port())
        if _answers(server):
            return server
        server.stop()
    raise AssertionError(f"Azurite does not start:\n{(directory / _LOG).read_text(errors='replace')}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _start(node: str, directory: Path, port: int) -> Azurite:
    files, log = directory / "tmp", directory / _LOG
    files.mkdir(exist_ok=True)
    key = base64.b64encode(os.urandom(64)).decode()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(files),
        "TMPDIR": str(files),
        "AZURITE_ACCOUNTS": f"{_ACCOUNT}:{key}",
    }
    options = ["--tableHost", "127.0.0.1", "--tablePort", str(port), "--inMemoryPersistence"]
    # It would tell its makers of every start and request.
    options += ["--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    with log.open("ab") as out:
        process = subprocess.Popen(
            [node, str(TOOL), *options],
            cwd=files,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    return Azurite(process, f"http://127.0.0.1:{port}/{_ACCOUNT}", key, log)


def _answers(server: Azurite) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while server.process.poll() is None and time.monotonic() < deadline:
        try:
            with tables_client(server.endpoint, server.credential) as client:
                list(client.list_tables())
        except AzureError:
            time.sleep(0.02)
        else:
            return True
    return False
