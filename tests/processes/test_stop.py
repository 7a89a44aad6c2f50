"""A process stopped past its lease serves nothing from what it held (DESIGN 5, rule 9), on the real clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.domain.kek import Kek
from core.providers.local_kms import LocalKms

pytestmark = pytest.mark.slow
LEASE = 1.0
PLATFORM = Kek("local:platform")


class Worker:
    """A serving worker process and its pipes."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.worker", "serve", str(data_dir), str(LEASE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def send(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, command: str) -> str:
        self.send(command)
        return self.answer()

    def wait_until_stopped(self) -> None:
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path / "data")
    yield worker
    worker.process.send_signal(signal.SIGCONT)
    worker.process.kill()
    worker.process.communicate()


def test_stopped_past_its_lease(worker: Worker, tmp_path: Path) -> None:
    message = worker.ask("encrypt")
    assert worker.ask(f"decrypt {message}") == "secret"
    worker.process.send_signal(signal.SIGSTOP)
    worker.wait_until_stopped()
    LocalKms(tmp_path / "data" / "keks").disable(PLATFORM)
    worker.send(f"decrypt {message}")
    time.sleep(LEASE + 0.2)
    worker.process.send_signal(signal.SIGCONT)
    assert worker.answer() == "refused vendor_fault"
    LocalKms(tmp_path / "data" / "keks").enable(PLATFORM)
    assert worker.ask(f"decrypt {message}") == "secret"


def test_stopped_between_the_kms_answer_and_the_cache(worker: Worker, tmp_path: Path) -> None:
    message = worker.ask("encrypt")
    worker.send(f"decrypt-stopped {message}")
    worker.wait_until_stopped()
    LocalKms(tmp_path / "data" / "keks").disable(PLATFORM)
    time.sleep(LEASE + 0.2)
    worker.process.send_signal(signal.SIGCONT)
    assert worker.answer() == "refused vendor_fault"


def test_stopped_for_less_than_its_lease_goes_on(worker: Worker) -> None:
    message = worker.ask("encrypt")
    worker.send(f"decrypt-stopped {message}")
    worker.wait_until_stopped()
    worker.process.send_signal(signal.SIGCONT)
    assert worker.answer() == "secret"
