"""``python -m benchmarks.revocation``: run, print, write, and exit with 1 if a target is missed."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from benchmarks import machine, results
from benchmarks.revocation import outage, report
from benchmarks.revocation.course import Pace
from benchmarks.revocation.microburst import NotStarted
from benchmarks.revocation.run import Withdrawals, emulators, on_ministack, run
from benchmarks.revocation.service import NotServed

PACE = Pace(lease=60, confirm=60, apart=50, warm=55, withdrawn=45, jitter=25, patience=30, after=5)
"""The service's default settings. Probing has slowed down to its last pace 43 s after a withdrawal."""
EVERY = 0.2
"""Seconds from one call for a tenant through one worker to the next."""
OUTAGE = outage.Scale(
    outage=600,
    lease=60,
    patient=900,
    brief=120,
    shapes=frozenset((*outage.CALLS, *outage.BYTES)),
    recovery=35,
    warm=10,
    every=0.5,
)
"""Default settings, but for the grace of the brief."""


def main(arguments: list[str] | None = None) -> int:
    """Run what the arguments ask for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.revocation", description=__doc__)
    parser.add_argument("--outage", action="store_true", help="an outage of the KMS of ten minutes, and nothing else")
    parser.add_argument("--markdown", action="store_true", help="print the latest results as Markdown, run nothing")
    parser.add_argument("--results", type=Path, default=results.DIRECTORY, help="where the JSON goes")
    chosen = parser.parse_args(arguments)
    kind = report.OUTAGE if chosen.outage else report.WITHDRAWALS
    if chosen.markdown:
        try:
            print(report.markdown(report.read(chosen.results, kind)), end="")
        except FileNotFoundError:
            print("error: there are no results yet\nhint: run it without --markdown first", file=sys.stderr)
            return 1
        return 0
    try:
        found = measured(kind)
    except (NotStarted, NotServed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    path = report.write(found, chosen.results)
    print(f"\n{report.text(found)}\n\nwritten to {path}")
    return 1 if report.failed(found) else 0


def measured(kind: str) -> report.Results:
    """Measure, telling on stderr what is under way.

    Args:
        kind: As in `report.Results`.

    Raises:
        NotStarted: A tool is not set up.
        NotServed: A worker does not serve a tenant before anything happens to its key.
    """
    begun, load, date = perf_counter(), machine.load(), datetime.now(UTC).isoformat(timespec="seconds")

    def say(what: str) -> None:
        print(f"[{perf_counter() - begun:5.1f} s] {what}", file=sys.stderr, flush=True)

    found, weathered = Withdrawals((), ()), list[outage.Weathered]()
    with tempfile.TemporaryDirectory(prefix="keystead-revocation-") as directory:
        if kind == report.OUTAGE:
            weathered = outage.run(Path(directory), OUTAGE, say)
        else:
            found = _withdrawals(Path(directory), say)
    facts = {name: value for name, value in machine.describe().items() if name in {"processor", "memory", "python"}}
    settings = asdict(OUTAGE) | {"shapes": sorted(OUTAGE.shapes)} if kind == report.OUTAGE else asdict(PACE)
    return report.Results(
        kind=kind,
        date=date,
        seconds=perf_counter() - begun,
        machine=facts,
        load=(load, machine.load()),
        settings=settings,
        timings=found.timings,
        bystanders=found.bystanders,
        weathered=weathered,
    )


def _withdrawals(directory: Path, say: Callable[[str], None]) -> Withdrawals:
    with ExitStack() as stack:
        sites = []
        for name, site in (("emulators", emulators), ("ministack", on_ministack)):
            (directory / name).mkdir()
            sites.append(stack.enter_context(site(directory / name, {}, every=EVERY)))
        return run(sites, PACE, say)


if __name__ == "__main__":
    sys.exit(main())
