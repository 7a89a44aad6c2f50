"""kill -9 at random points: on restart every message whose encrypt returned decrypts, and every chain verifies."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.bootstrap import Config, build

KILLS = 16


def killed(data_dir: Path, seeds: list[int], delay: float, *, in_first_start: bool) -> list[str]:
    """Run writers on one data directory, kill them after a delay, and give the lines they printed whole.

    Args:
        data_dir: Theirs.
        seeds: One per writer.
        delay: Seconds until the kill.
        in_first_start: Count the delay from the start of the processes, not from their first message.
    """
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.processes.worker", "write", str(data_dir), str(seed)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in seeds
    ]
    first = ["" if in_first_start or not worker.stdout else worker.stdout.readline() for worker in workers]
    time.sleep(delay)
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
    outputs = [head + worker.communicate()[0] for head, worker in zip(first, workers, strict=True)]
    assert all(worker.returncode == -signal.SIGKILL for worker in workers), "a writer failed before it was killed"
    return [line for output in outputs for line in output.splitlines(keepends=True) if line.endswith("\n")]


@pytest.mark.slow
def test_nothing_that_was_returned_is_lost(tmp_path: Path) -> None:
    rng = random.Random(20240229)
    lines: list[str] = []
    for kill in range(KILLS):
        data_dir = tmp_path / ("shared" if kill % 3 else f"own-{kill}")
        seeds = [rng.randrange(1 << 30) for _ in range(1 + kill % 2)]
        in_first_start = kill % 4 == 0
        delay = rng.uniform(0.1, 0.4) if in_first_start else rng.uniform(0, 0.6)
        returned = killed(data_dir, seeds, delay, in_first_start=in_first_start)
        assert returned or in_first_start
        build(Config(data_dir=data_dir)).close()  # whatever was cut short, it opens again
        lines += [f"{data_dir} {line}" for line in returned]
    applications = {path: build(Config(data_dir=Path(path))) for path in {line.split()[0] for line in lines}}
    for line in lines:
        path, tenant, number, plaintext, message = line.split()
        found = applications[path].encryption.decrypt(tenant, bytes.fromhex(message), {"n": number})
        assert found == bytes.fromhex(plaintext)
    for application in applications.values():
        for record in application.tenants.page(limit=1000):
            tenant_id = record.tenant_id
            after = application.encryption.encrypt(tenant_id, b"after", {})
            application.rotation.rotate(tenant_id)
            assert application.encryption.decrypt(tenant_id, after, {}) == b"after"
        application.close()
    print(f"{KILLS} kills, {len(lines)} messages, all decrypted")
