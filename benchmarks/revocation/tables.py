"""A table for the terminal and for the documentation: numbers to the right, words to the left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts; rows are as long as the head."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def numbers(self) -> list[bool]:
        """By column, whether it holds nothing but numbers, or a dash where there is none."""
        return [all(_is_number(cell) for cell in column) for column in zip(*self.rows, strict=True)]

    def text(self) -> str:
        """For the terminal."""
        widths = [max(map(len, column)) for column in zip(self.head, *self.rows, strict=True)]
        lines = [self.title]
        for row in (self.head, *self.rows):
            cells = zip(row, widths, self.numbers, strict=True)
            lines.append("  ".join(cell.rjust(w) if number else cell.ljust(w) for cell, w, number in cells).rstrip())
        return "\n".join(lines)

    def markdown(self) -> str:
        """For the documentation."""
        rule = ["---:" if number else "---" for number in self.numbers]
        lines = [f"| {' | '.join(row)} |" for row in (self.head, rule, *self.rows)]
        return "\n".join([f"### {self.title}", "", *lines])


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(".", "", 1).isdigit()
