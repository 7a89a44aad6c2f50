"""``python -m benchmarks``: measure, print, write, and exit with 1 if a target is missed."""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from benchmarks import liveness, machine, mutations, report, results, speed, startup, stream


class Scale(NamedTuple):
    """How much of everything."""

    rounds: int
    large_rounds: int
    mebibytes: int
    starts: int
    mutations: int


FULL = Scale(rounds=61, large_rounds=11, mebibytes=1024, starts=31, mutations=1_000_000)
QUICK = Scale(rounds=3, large_rounds=2, mebibytes=16, starts=2, mutations=4_000)
SEED = 20_260_101
PROCESSES = 2


def main(arguments: list[str] | None = None) -> int:
    """Run what the arguments ask for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run that shows that all of it works; no speeds")
    parser.add_argument("--markdown", action="store_true", help="print the latest results as Markdown, measure nothing")
    parser.add_argument("--seed", type=int, default=SEED, help="of the damaged messages (default %(default)s)")
    parser.add_argument("--results", type=Path, default=results.DIRECTORY, help="where the JSON goes")
    chosen = parser.parse_args(arguments)
    if chosen.markdown:
        try:
            latest = results.read(chosen.results)
        except FileNotFoundError:
            print("error: there are no results yet\nhint: run it without --markdown first", file=sys.stderr)
            return 1
        print(report.markdown(latest), end="")
        return 0
    found = run(QUICK if chosen.quick else FULL, quick=chosen.quick, seed=chosen.seed)
    path = results.write(found, chosen.results)
    print(f"\n{report.text(found)}\n\nwritten to {path}")
    return 1 if report.failed(found) else 0


def run(scale: Scale, *, quick: bool, seed: int) -> results.Results:
    """Measure everything, telling on stderr what is under way."""
    begun, load, date = perf_counter(), machine.load(), datetime.now(UTC).isoformat(timespec="seconds")

    def say(what: str) -> None:
        print(f"[{perf_counter() - begun:5.1f} s] {what}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="keystead-benchmarks-") as directory:
        scratch = Path(directory)
        say("checks of the warm path")
        live = liveness.check(_below(scratch, "liveness"))
        cases = speed.measure(
            _below(scratch, "speed"), rounds=scale.rounds, large_rounds=scale.large_rounds, progress=say
        )
        say(f"a stream of {scale.mebibytes} MiB")
        streamed = stream.measure(scratch, scale.mebibytes)
        say("fresh processes")
        started = startup.measure(scale.starts)
        say(f"{scale.mutations:,} damaged messages")
        damaged = mutations.measure(scale.mutations, seed=seed, processes=PROCESSES)
    return results.Results(
        date=date,
        quick=quick,
        seconds=perf_counter() - begun,
        machine=machine.describe(),
        load=(load, machine.load()),
        liveness=live,
        cases=cases,
        stream=streamed,
        startup=started,
        mutations=damaged,
    )


def _below(directory: Path, name: str) -> Path:
    path = directory / name
    path.mkdir(mode=0o700)
    return path


if __name__ == "__main__":
    sys.exit(main())
