"""What is to be said of a key that serves and may not serve for ever: seen by its examination, and by `describe`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something about a key that its owner should know.

    Attributes:
        observed: What was seen, as half a sentence.
        remedy: What to do about it.
        fatal: Whether the key cannot be put to use like this.
    """

    observed: str
    remedy: str
    fatal: bool = False

    @property
    def warning(self) -> str:
        """Both, for people."""
        return f"{self.observed[:1].upper()}{self.observed[1:]}. {self.remedy}"


def utc(seconds: float) -> str:
    """An instant for people, to the minute.

    Args:
        seconds: Since the epoch.
    """
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (OSError, OverflowError, ValueError):
        return "a date that no calendar has"
