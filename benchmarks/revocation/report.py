"""Prints what was measured, as a table for the terminal and as Markdown for docs/benchmarks.md; writes it as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.revocation import documented
from benchmarks.revocation.aws import KILL_SWITCH, LEASE_0
from benchmarks.revocation.course import Timing
from benchmarks.revocation.documented import Documented
from benchmarks.revocation.outage import Weathered
from benchmarks.revocation.run import Bystander
from benchmarks.revocation.tables import Table
from benchmarks.revocation.targets import judge, judge_outage, wrong
from benchmarks.targets import Verdict

WITHDRAWALS, OUTAGE = "revocation", "outage"


@dataclass(frozen=True)
class Results:
    """All of a run.

    Attributes:
        kind: `WITHDRAWALS` or `OUTAGE`.
        date: UTC, ISO 8601, when it began.
        seconds: Wall time of the run.
        machine: Facts by name.
        load: Load average when it began and when it ended.
        settings: How the run was set up, in seconds.
        timings: Of the acts of withdrawal.
        bystanders: Tenants that did nothing.
        weathered: What became of the tenants in the outage.
    """

    kind: str
    date: str
    seconds: float
    machine: Mapping[str, str]
    load: tuple[float | None, float | None]
    settings: Mapping[str, Any]
    timings: Sequence[Timing] = field(default_factory=list)
    bystanders: Sequence[Bystander] = field(default_factory=list)
    weathered: Sequence[Weathered] = field(default_factory=list)

    def verdicts(self) -> list[Verdict]:
        """Every target, with this run's value."""
        if self.kind == OUTAGE:
            return judge_outage(self.weathered, self.settings["recovery"])
        return judge(self.timings, self.bystanders, KILL_SWITCH, LEASE_0)


def text(results: Results) -> str:
    """For the terminal."""
    parts = [table.text() for table in _tables(results)]
    if results.kind == WITHDRAWALS:
        parts.append("\n".join(["What the clouds say", *(f"  {line}" for line in _quotes())]))
    return "\n\n".join([*parts, "\n".join(_lines(results))])


def markdown(results: Results) -> str:
    """For the documentation."""
    facts = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    before, after = results.load
    parts = [
        f"{results.date}; {facts}; load average {before} before and {after} after; {results.seconds:.0f} s in all."
    ]
    parts += [table.markdown() for table in _tables(results)]
    if results.kind == WITHDRAWALS:
        parts.append("\n".join(["### What the clouds say", "", *(f"- {line}" for line in _quotes())]))
    parts.append("\n".join(["### Targets", "", *(f"- {line}" for line in _lines(results))]))
    return "\n\n".join(parts) + "\n"


def failed(results: Results) -> bool:
    """Whether a target was missed."""
    return any(not verdict.held for verdict in results.verdicts())


def write(results: Results, directory: Path) -> Path:
    """Write a run's results under its date, and as the latest of its kind; the path of the former."""
    directory.mkdir(parents=True, exist_ok=True)
    content = json.dumps(asdict(results), indent=2, ensure_ascii=False) + "\n"
    path = directory / f"{results.kind}-{results.date.replace(':', '')}.json"
    for each in (path, directory / f"{results.kind}-latest.json"):
        each.write_text(content, encoding="utf-8")
    return path


def read(directory: Path, kind: str) -> Results:
    """The latest results of a kind.

    Raises:
        FileNotFoundError: There are none.
    """
    found = json.loads((directory / f"{kind}-latest.json").read_text(encoding="utf-8"))
    return Results(
        **{
            **found,
            "load": tuple(found["load"]),
            "timings": [Timing(**each) for each in found["timings"]],
            "bystanders": [Bystander(**each) for each in found["bystanders"]],
            "weathered": [Weathered(**each) for each in found["weathered"]],
        }
    )


def _lines(results: Results) -> list[str]:
    lines = [f"{'PASS' if verdict.held else 'FAIL'} {verdict}" for verdict in results.verdicts()]
    return [*lines, *(f"     {timing.tenant}: {problem}" for timing in results.timings for problem in wrong(timing))]


def _tables(results: Results) -> list[Table]:
    return [_outage(results)] if results.kind == OUTAGE else [_withdrawals(results), _others(results)]


def _withdrawals(results: Results) -> Table:
    head = ["act", "cloud", "the cloud says", "refused", "served 1", "served 2", "hold", "final", "", "receipt"]
    rows = [
        [
            timing.act,
            timing.cloud,
            timing.documented,
            _seconds(timing.refused_after),
            *(_seconds(found) for found in _both(timing.served_after)),
            _seconds(timing.held_after),
            _seconds(timing.final_after),
            timing.expected["state"],
            _seconds(timing.receipt_after),
            *(_seconds(found) for found in _both(timing.restored_after)),
            ", ".join(f"{count} {code}" for code, count in sorted(timing.heard.items())),
        ]
        for timing in results.timings
    ]
    return Table("Withdrawals, in seconds", [*head, "again 1", "again 2", "heard meanwhile"], rows)


def _others(results: Results) -> Table:
    rows = [
        [each.tenant, each.cloud, f"{each.calls}", f"{sum(each.failed.values())}", f"{each.lost} of {each.messages}"]
        for each in results.bystanders
    ]
    return Table("Tenants that did nothing", ["tenant", "cloud", "calls", "failed", "lost"], rows)


def _outage(results: Results) -> Table:
    head = ["trouble", "grace", "calls broken", "served", "failed", "first 1", "first 2", "slowest call"]
    rows = [
        [
            each.trouble,
            f"{results.settings[each.kind]:g}",
            f"{each.broken}",
            f"{each.served}",
            ", ".join(f"{count} {code}" for code, count in sorted(each.failed.items())) or "0",
            *(_seconds(each.first_failed.get(worker)) for worker in each.recovered_after),
            _seconds(each.slowest),
            *(_seconds(found) for found in _both(each.recovered_after)),
            _seconds(each.active_after),
            " ".join(each.states),
        ]
        for each in results.weathered
    ]
    title = f"An outage of {results.settings['outage']:g} s, in seconds"
    return Table(title, [*head, "again 1", "again 2", "active", "states"], rows)


def _quotes() -> list[str]:
    found = {each for each in vars(documented).values() if isinstance(each, Documented) and each.link}
    return [
        f"{each.brief}{f': {chr(34)}{each.quote}{chr(34)}' if each.quote else ''} <{each.link}>"
        for each in sorted(found, key=lambda each: each.link)
    ]


def _both(by_worker: Mapping[str, float | None]) -> list[float | None]:
    return [*by_worker.values()] or [None, None]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
