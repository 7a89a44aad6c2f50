"""The results of one run: a plain value that is written as JSON and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.liveness import Liveness
from benchmarks.mutations import Mutations
from benchmarks.race import Spread
from benchmarks.speed import Case, Direction
from benchmarks.startup import Startup
from benchmarks.stream import Stream

DIRECTORY = Path(__file__).resolve().parent / "results"
LATEST = "latest.json"


@dataclass(frozen=True)
class Results:
    """All of a run.

    Attributes:
        date: UTC, ISO 8601, when it began.
        quick: Whether it was too short for its speeds to mean anything.
        seconds: Wall time of the run.
        machine: Facts by name.
        load: Load average when it began and when it ended; what else the machine did.
        liveness: That the checks were on.
        cases: Encrypting and decrypting.
        stream: A large value.
        startup: Fresh processes.
        mutations: Damaged messages.
    """

    date: str
    quick: bool
    seconds: float
    machine: Mapping[str, str]
    load: tuple[float | None, float | None]
    liveness: Liveness
    cases: list[Case]
    stream: Stream
    startup: Startup
    mutations: Mutations

    def case(self, size: str, direction: Direction) -> Case:
        """One case."""
        return next(case for case in self.cases if (case.size, case.direction) == (size, direction))


def write(results: Results, directory: Path) -> Path:
    """Write a run's results under its date, and as the latest; the path of the former."""
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(results), indent=2, ensure_ascii=False) + "\n"
    path = directory / f"{results.date.replace(':', '')}.json"
    for each in (path, directory / LATEST):
        each.write_text(text, encoding="utf-8")
    return path


def read(directory: Path) -> Results:
    """The latest results.

    Raises:
        FileNotFoundError: There are none.
    """
    found = json.loads((directory / LATEST).read_text(encoding="utf-8"))
    return Results(
        **{
            **found,
            "load": tuple(found["load"]),
            "liveness": Liveness(**found["liveness"]),
            "cases": [
                Case(**{**case, "microseconds": _spreads(case["microseconds"]), "ratios": _spreads(case["ratios"])})
                for case in found["cases"]
            ],
            "stream": Stream(**found["stream"]),
            "startup": Startup(found["startup"]["runs"], _spreads(found["startup"]["seconds"])),
            "mutations": Mutations(**found["mutations"]),
        }
    )


def _spreads(found: Mapping[str, Any]) -> dict[str, Spread]:
    return {name: Spread(**spread) for name, spread in found.items()}
