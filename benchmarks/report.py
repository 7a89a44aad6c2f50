"""Prints results: as a table for the terminal and as Markdown for docs/benchmarks.md, from one description of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.race import Spread
from benchmarks.results import Results
from benchmarks.targets import Verdict, judge

Table = tuple[str, list[str], list[list[str]]]
"""Title, head and rows."""
MIB = 1 << 20


def text(results: Results) -> str:
    """For the terminal."""
    parts = [f"{title}\n{_aligned([head, *rows])}" for title, head, rows in _tables(results)]
    return "\n\n".join([*parts, "\n".join(verdict_lines(results))])


def markdown(results: Results) -> str:
    """For the documentation."""
    parts = [_facts(results)]
    for title, head, rows in _tables(results):
        lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
        parts.append(f"### {title}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in lines))
    parts.append("### Targets\n\n" + "\n".join(f"- {line}" for line in verdict_lines(results)))
    return "\n\n".join(parts) + "\n"


def verdict_lines(results: Results) -> list[str]:
    """One line per target."""
    return [f"{_word(results, verdict)} {verdict}" for verdict in judge(results)]


def failed(results: Results) -> bool:
    """Whether a target was missed that this run can judge."""
    return any(not verdict.held and _judged(results, verdict) for verdict in judge(results))


def _judged(results: Results, verdict: Verdict) -> bool:
    return not (results.quick and verdict.about_speed)


def _word(results: Results, verdict: Verdict) -> str:
    if not _judged(results, verdict):
        return "----"
    return "PASS" if verdict.held else "FAIL"


def _facts(results: Results) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    before, after = results.load
    return f"{results.date}; {facts}; load average {before} before and {after} after; {results.seconds:.0f} s in all."


def _tables(results: Results) -> Iterator[Table]:
    names = list(dict.fromkeys(name for case in results.cases for name in case.microseconds))
    cases = [(f"{case.direction} {case.size}", case) for case in results.cases]
    yield (
        "Microseconds per operation, median of the rounds",
        ["", *(name for name, _ in cases)],
        [[name, *(_number(case.microseconds.get(name)) for _, case in cases)] for name in names],
    )
    ratios = list(dict.fromkeys(name for case in results.cases for name in case.ratios))
    yield (
        "Times as long, median of the rounds' ratios (quartiles)",
        ["", *(name for name, _ in cases)],
        [[name, *(_with_quartiles(case.ratios.get(name)) for _, case in cases)] for name in ratios],
    )
    yield ("Everything else", ["what", "value"], list(_others(results)))


def _others(results: Results) -> Iterator[list[str]]:
    live, stream, mutations = results.liveness, results.stream, results.mutations
    yield ["clock readings per warm encrypt", f"{live.clock_reads_per_encrypt:g}"]
    yield ["clock readings per warm decrypt", f"{live.clock_reads_per_decrypt:g}"]
    for event, count in live.unwraps.items():
        yield [f"unwraps by the next call after: {event}", str(count)]
    for name, seconds in (("encrypt", stream.encrypt_seconds), ("decrypt", stream.decrypt_seconds)):
        yield [f"{name} a stream of {stream.mebibytes} MiB", f"{seconds:.2f} s, {stream.mebibytes / seconds:.0f} MiB/s"]
    yield ["peak memory before the stream, and added by it", f"{_mib(stream.resident_before)}, {_mib(stream.growth)}"]
    for name, spread in results.startup.seconds.items():
        yield [f"fresh process: {name}", f"{spread.median:.3f} s ({spread.low:.3f}-{spread.high:.3f})"]
    rate = mutations.count / mutations.seconds
    yield [
        f"damaged messages, seed {mutations.seed}",
        f"{mutations.count:,} in {mutations.seconds:.0f} s, {rate:,.0f}/s",
    ]
    yield ["of these accepted, other errors", f"{mutations.accepted}, {mutations.crashed}"]
    for group in (mutations.by_mutation, mutations.by_reader):
        for name, count in sorted(group.items()):
            yield [f"damaged messages: {name}", f"{count:,}"]


def _mib(size: int) -> str:
    return f"{size / MIB:.1f} MiB"


def _number(spread: Spread | None) -> str:
    return "" if spread is None else _short(spread.median)


def _with_quartiles(spread: Spread | None) -> str:
    return "" if spread is None else f"{_short(spread.median)} ({_short(spread.low)}-{_short(spread.high)})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        first, *others = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([first, *(cell.strip().rjust(len(cell)) for cell in others)]).rstrip())
    return "\n".join(lines)
