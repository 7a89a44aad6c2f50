"""microburst, a proxy in a process of its own that breaks calls to AWS on order."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from functions.settings import LOCAL_CREDENTIALS, LOCAL_REGION

TOOL = Path(__file__).resolve().parents[2] / ".tools" / "microburst" / "bin" / "microburst"
START_SECONDS = 60.0
_PORTS_TRIED = 3


class NotStarted(Exception):
    """It is not set up, or does not start."""


class Microburst:
    """A running proxy.

    Args:
        process: Its process.
        address: Where it listens, as ``127.0.0.1:<port>``.
        control: URL of its control API.
    """

    def __init__(self, process: subprocess.Popen[bytes], address: str, control: str) -> None:
        self.process = process
        self.address = address
        self._control = control

    def break_calls(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Put rules in force, in place of those that were; the first that matches a call counts."""
        self._ask("POST", "rules", [*rules]).raise_for_status()

    def mend(self) -> None:
        """Let every call through."""
        self.break_calls([])

    def broken(self) -> list[int]:
        """How many calls each rule has broken so far, in the order of the rules."""
        rules: list[dict[str, Any]] = self._ask("GET", "rules").raise_for_status().json()
        stats: dict[str, Any] = self._ask("GET", "stats").raise_for_status().json()
        counts = {str(rule["id"]): rule["fired"] for rule in stats["by_rule"]}
        return [counts.get(str(rule["id"]), 0) for rule in rules]

    def warm(self) -> None:
        """Have it load what it knows of KMS, which takes seconds; what it answers does not matter."""
        scope = f"{LOCAL_CREDENTIALS[0]}/20260101/{LOCAL_REGION}/kms/aws4_request"
        headers = {
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=00",
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "TrentService.DescribeKey",
        }
        httpx.post(f"http://{self.address}/", headers=headers, content=b"{}", trust_env=False, timeout=START_SECONDS)

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            return self._ask("GET", "health").status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """End it, by its own process id."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()  # it waits for the calls that it holds
            self.process.wait()

    def _ask(self, method: str, name: str, body: Any = None) -> httpx.Response:
        return httpx.request(method, f"{self._control}/_microburst/{name}", json=body, trust_env=False, timeout=30)


@contextmanager
def microburst(upstream: str, directory: Path, *, as_bytes: bool = False) -> Iterator[Microburst]:
    """A proxy that lives as long as the block.

    Args:
        upstream: Where calls go: ``127.0.0.1:<port>``.
        directory: For what it prints.
        as_bytes: Pass connections on as they are; else calls, which are signed anew for the upstream's address with
            the credentials that this repository's emulator of AWS knows the service by.

    Raises:
        NotStarted: It is not set up, or does not start.
    """
    if not TOOL.exists():
        raise NotStarted("microburst is not set up here; 'make .tools/microburst/.installed' does it")
    for _ in range(_PORTS_TRIED):
        started = _start(upstream, directory, as_bytes=as_bytes)
        if _is_up(started):
            break
        started.stop()
    else:
        raise NotStarted("microburst does not start")
    try:
        if not as_bytes:
            started.warm()
        yield started
    finally:
        started.stop()


def _start(upstream: str, directory: Path, *, as_bytes: bool) -> Microburst:
    port, control = _free_ports(2)
    key_id, secret = LOCAL_CREDENTIALS
    if as_bytes:
        arguments = ["--protocol", "tcp", "--upstream", upstream, "--control-port", str(control)]
    else:
        arguments, control = ["--upstream", f"http://{upstream}", "--resign"], port
    environment = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret}
    with (directory / f"microburst-{port}.log").open("wb") as out:
        process = subprocess.Popen(
            [TOOL, "--host", "127.0.0.1", "--port", str(port), *arguments],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    return Microburst(process, f"127.0.0.1:{port}", f"http://127.0.0.1:{control}")


def _is_up(started: Microburst) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while started.process.poll() is None and time.monotonic() < deadline:
        if started.answers():
            return True
        time.sleep(0.05)
    return False


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
