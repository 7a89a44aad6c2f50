"""Commands and the service as real processes, on loopback."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

KEYSTEAD = [sys.executable, "-m", "functions.cli"]
# Whoever started the tests, in the background or with nohup, may have every child of theirs ignore these signals.
_HEED = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
HEEDING_SIGNALS = [sys.executable, "-c", _HEED, *KEYSTEAD[1:]]
"""As `KEYSTEAD`, for tests that send it signals."""
ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 60.0


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KEYSTEAD_")}
    return {**clean, "PYTHONPATH": str(ROOT), **more}


@contextmanager
def served(data: Path, directory: Path, *arguments: str, **more: str) -> Iterator[list[str]]:
    """Run ``keystead serve`` on a free port, with more variables in its environment.

    Gives the lines it printed once it answers, and stops it afterwards.
    """
    printed = directory / "serve.out"
    with printed.open("wb") as out, (directory / "serve.log").open("ab") as log:
        process = subprocess.Popen(
            [*KEYSTEAD, "serve", "--port", "0", "--data", str(data), *arguments],
            cwd=directory,
            env=environment(**more),
            stdout=out,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + DEADLINE
        while not answers(printed):
            assert process.poll() is None, (directory / "serve.log").read_text()
            assert time.monotonic() < deadline, (directory / "serve.log").read_text()
            time.sleep(0.05)
        yield printed.read_text().splitlines()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert code == 0, "a service that is told to stop ends well"


@contextmanager
def emulated(directory: Path) -> Iterator[str]:
    """Run ``keystead emulator kms`` on a free port; gives its address, and stops it afterwards."""
    printed = directory / "emulator.out"
    with printed.open("wb") as out, (directory / "emulator.log").open("wb") as log:
        process = subprocess.Popen(
            [*KEYSTEAD, "emulator", "kms", "--port", "0"], cwd=directory, env=environment(), stdout=out, stderr=log
        )
    try:
        deadline = time.monotonic() + DEADLINE
        while (found := re.search(r"http://127\.0\.0\.1:\d+(?=,)", printed.read_text())) is None:
            assert process.poll() is None, (directory / "emulator.log").read_text()
            assert time.monotonic() < deadline, (directory / "emulator.log").read_text()
            time.sleep(0.05)
        yield found[0]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def answers(printed: Path) -> bool:
    first = printed.read_text().partition("\n")[0]
    try:
        return bool(first) and httpx.get(f"{first.split()[-1]}/healthz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def mint(data: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*KEYSTEAD, "token", "--data", str(data), *arguments], env=environment(), capture_output=True, check=True
    )
    return done.stdout.decode().strip()
