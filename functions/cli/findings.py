"""How the checks of an examination are shown: an aligned table, each remedy on an indented line of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from functions.cli.output import printable

if TYPE_CHECKING:
    from core.client.key_values import Check


def findings(checks: Sequence[Check]) -> str:
    """The table of some checks."""
    width = max((len(printable(check.name)) for check in checks), default=0)
    lines = []
    for check in checks:
        lines.append(f"{printable(check.result):<4}  {printable(check.name):<{width}}  {printable(check.observed)}")
        if check.remedy:
            lines.append(f"{'':<4}  {'':<{width}}  remedy: {printable(check.remedy)}")
    return "\n".join(line.rstrip() for line in lines)
