"""kill -9 at every call of a change of key: nothing is lost, and asking again completes the change."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes.moves import CHANGES

FEWEST_POINTS = 20


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_kill_at_every_call(change: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.processes.moves", change, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    points = int(ran.stdout)
    record_property("points", points)
    assert points >= FEWEST_POINTS
