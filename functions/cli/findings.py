"""How the checks of an examination are shown: an aligned table, each remedy on an indented line of its own, and one
line for all that was skipped for one reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from functions.cli.output import printable

if TYPE_CHECKING:
    from core.client.key_values import Check


def findings(checks: Sequence[Check]) -> str:
    """The table of some checks; those skipped for one reason share a line, where the last of them stands."""
    rows = [_row(checks, check) for check in checks if check is _alike(checks, check)[-1]]
    width = max((len(name) for _, name, _, _ in rows), default=0)
    lines = []
    for result, name, observed, remedy in rows:
        lines.append(f"{result:<4}  {name:<{width}}  {observed}")
        if remedy:
            lines.append(f"{'':<4}  {'':<{width}}  remedy: {remedy}")
    return "\n".join(line.rstrip() for line in lines)


def _row(checks: Sequence[Check], check: Check) -> tuple[str, str, str, str]:
    names = [printable(other.name) for other in _alike(checks, check)]
    observed = printable(check.observed) + (f": {', '.join(names)}" if len(names) > 1 else "")
    name = names[0] if len(names) == 1 else f"{len(names)} checks"
    return printable(check.result), name, observed, printable(check.remedy)


def _alike(checks: Sequence[Check], check: Check) -> Sequence[Check]:
    if check.result != "skip":
        return [check]
    return [c for c in checks if (c.result, c.observed, c.remedy) == ("skip", check.observed, check.remedy)]
