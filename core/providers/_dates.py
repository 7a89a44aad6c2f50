"""Reads the date that a server put into an answer's header."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime


def read_date(text: object) -> float | None:
    """Seconds since the epoch, or None where it is no date of RFC 5322.

    Args:
        text: The header's value.
    """
    if not isinstance(text, str):
        return None
    try:
        told = parsedate_to_datetime(text)
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    except (LookupError, OverflowError, TypeError, ValueError):
        return None
