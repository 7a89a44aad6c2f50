"""How long a fresh process takes until it could encrypt: what a cold function pays."""

from __future__ import annotations

import compileall
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from benchmarks.race import Spread

ROOT = Path(__file__).resolve().parent.parent
OFFICIAL = "official SDK with MPL"
PROGRAMS = {
    "bare interpreter": "pass",
    "message path": "import core.service.encryption, core.domain.streaming",
    OFFICIAL: "import aws_encryption_sdk, aws_cryptographic_material_providers.mpl",
}


@dataclass(frozen=True)
class Startup:
    """Wall time of whole processes.

    Attributes:
        runs: How many of each were started, in turn; of the official SDK a third.
        seconds: From start to exit, by program.
    """

    runs: int
    seconds: dict[str, Spread]


def measure(runs: int) -> Startup:
    """Start the programs in turn; bytecode is there, and files are in the page cache.

    Args:
        runs: Of each; the official SDK takes its time and is no target, so a third does for it.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    compileall.compile_dir(ROOT / "core", quiet=1)
    taken: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for number in range(runs + 1):
        for name, program in PROGRAMS.items():
            if name == OFFICIAL and number % 3 != 1 and number:
                continue
            begun = perf_counter()
            subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)
            if number:  # the first pass writes what bytecode is missing, and fills the page cache
                taken[name].append(perf_counter() - begun)
    return Startup(runs, {name: Spread.of(seconds) for name, seconds in taken.items()})
