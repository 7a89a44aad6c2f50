"""The service as a process of its own, which ends with the demo."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from core.errors import Unavailable
from functions.cli.serve import REPOSITORY

START_SECONDS = 30.0
STOP_SECONDS = 15.0


class ServiceProcess:
    """``keystead serve`` on a free loopback port.

    Args:
        data: Its data directory.
        output: Directory for what it prints and logs.
        variables: Its environment: where it finds the clouds.
    """

    def __init__(self, data: Path, output: Path, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._data = data
        self._printed = output / "service.out"
        self._logged = output / "service.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def process_id(self) -> int:
        """Of the running service; 0 if there is none."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            Unavailable: It ended, or did not answer in time; its last log lines are the hint.
        """
        command = [sys.executable, "-m", "functions.cli", "serve", "--host", "127.0.0.1", "--port", "0"]
        with self._printed.open("wb") as printed, self._logged.open("ab") as logged:
            self._process = subprocess.Popen(  # noqa: S603 - our own program and arguments
                [*command, "--data", str(self._data)],
                cwd=REPOSITORY,
                # Settings of whoever runs the demo are for another service than this one.
                env={**self._variables},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=logged,
                # Ctrl-C is for the demo, which then ends the service in order.
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                log = self._logged.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                raise Unavailable("the service did not start", hint=" | ".join(log[-3:]) or None, retry_after=None)
            time.sleep(0.05)

    def stop(self) -> None:
        """End it, by its own process id and nobody else's. Does nothing if it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        import httpx

        first = self._printed.read_text(encoding="utf-8").partition("\n")[0]
        if "http" not in first:
            return False
        self.url = first.split()[-1]
        try:
            return httpx.get(f"{self.url}/healthz", trust_env=False, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False
