"""Instants as they are stored: UTC, microseconds, ``CREATE_TIME_FORMAT``."""

from __future__ import annotations

from datetime import UTC, datetime

from core.domain.branch_keys import CREATE_TIME_FORMAT
from core.errors import InvalidRequest


def parse_instant(text: str) -> float:
    """Seconds since the epoch of a stored instant.

    Raises:
        InvalidRequest: It is not in ``CREATE_TIME_FORMAT``.
    """
    try:
        return datetime.strptime(text, CREATE_TIME_FORMAT).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise InvalidRequest("a stored instant is not in its form") from None
