"""``keystead timeline``: the changes of a key's state, drawn from the oldest down."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.domain.states import MEANINGS, Signal
from core.errors import InvalidRequest
from functions.cli import options
from functions.cli.output import counted, printable

if TYPE_CHECKING:
    from core.client.key_values import KeyStatus
    from core.client.withdrawals import StateChange

WIDTH = 80
"""Columns."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Pen:
    """What a time line is drawn with: a change, the line between changes, now, and an arrow."""

    change: str
    line: str
    now: str
    arrow: str


FINE, PLAIN = Pen("●", "│", "○", "→"), Pen("*", "|", "o", "->")


@click.command(epilog="\b\nExample:\n  keystead timeline --tenant acme\n")
@options.tenant_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per change of state.")
@options.service_options
def timeline(tenant: str, as_json: bool, url: str | None, token_file: Path | None, ca_file: Path | None) -> None:
    """Draw the latest changes of the state of the tenant's key (scope key:read).

    Each with its instant in UTC, what led to it, the KMS's own request id, by which the tenant's cloud log knows who
    acted, and the time that passed until the next.
    """
    where = options.target(url, token_file, ca_file, tenant)
    with where.connect() as client:
        found = client.key_status(where.tenant_id())
    if as_json:
        for change in found.timeline:
            click.echo(json.dumps(asdict(change)))
    else:
        click.echo("\n".join(drawn(found, pen_for(sys.stdout.encoding))))


def pen_for(encoding: str | None) -> Pen:
    """What can be written in an encoding."""
    try:
        f"{FINE.change}{FINE.line}{FINE.now}{FINE.arrow}".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return FINE


def drawn(found: KeyStatus, pen: Pen) -> Iterator[str]:
    """The lines of the drawing, none longer than `WIDTH` and none with what could steer a terminal.

    Args:
        found: The status of the key.
        pen: What to draw with.
    """
    changes = found.timeline
    if changes:
        yield _cut(f"{found.tenant_id}: the latest {counted(len(changes), 'change')} of state; times are UTC")
        yield ""
    else:
        yield _cut(f"{found.tenant_id}: no change of state is recorded")
    before: StateChange | None = None
    for change in changes:
        passed = "" if before is None else elapsed(before.at, change.at)
        if before is not None:
            yield from (pen.line, f"{pen.line} {passed or 'then'}", pen.line)
        yield _cut(f"{pen.change} {_shown(change.at)}  {change.before} {pen.arrow} {change.after}")
        for line in _facts(change, "" if before is None else before.kek):
            yield f"{pen.line} {line}"
        before = change
    if changes:
        yield pen.line
    yield _cut(f"{pen.now} now: {found.state} since {_shown(found.since)}")


def elapsed(start: str, end: str) -> str:
    """The time between two stored instants in words of at most two units; "" if it cannot be told.

    Args:
        start: UTC, as stored.
        end: Likewise.
    """
    from core.domain.instants import parse_instant

    try:
        seconds = parse_instant(end) - parse_instant(start)
    except InvalidRequest:
        return ""
    if seconds < 0:
        return ""
    if seconds < _MINUTE:
        return f"{seconds:.3f} s"
    for limit, (name, unit), (smaller, part) in (
        (_HOUR, ("min", _MINUTE), ("s", 1)),
        (_DAY, ("h", _HOUR), ("min", _MINUTE)),
    ):
        if seconds < limit:
            return f"{int(seconds // unit)} {name} {int(seconds % unit // part)} {smaller}"
    return f"{int(seconds // _DAY)} d {int(seconds % _DAY // _HOUR)} h"


def _facts(change: StateChange, former_kek: str) -> Iterator[str]:
    signal = change.signal
    yield from _wrapped(MEANINGS[Signal(signal)] if signal in set(Signal) else signal, "  ")
    facts = (("cause", change.cause), ("request", change.request_id), ("by", change.by))
    for label, text in (*facts, ("key", change.kek if change.kek != former_kek else "")):
        line = f"  {label:<8} {printable(text)}"
        if not text:
            continue
        if len(line) <= WIDTH - 2:
            yield line
        else:
            # The usual length of an ARN needs nearly all of the width.
            yield f"  {label}"
            yield from _wrapped(text, "")


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        printable(text), WIDTH - 2, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _shown(instant: str) -> str:
    """An instant to the millisecond; whatever else it is as it is."""
    from core.domain.instants import parse_instant

    try:
        parse_instant(instant)
    except InvalidRequest:
        return instant
    return f"{instant[:10]} {instant[11:23]}"


def _cut(text: str) -> str:
    text = printable(text)
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."
