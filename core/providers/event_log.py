"""Events as log lines: CloudEvents 1.0 in JSON, for whatever collects the service's logs."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from core.ports import Clock

LOGGER = "keystead.events"
ALARM = "keystead.alarm."
"""Event types that start so are alarms: logged as errors."""


class EventLog:
    """`core.ports.Events` on the logger ``keystead.events``: alarms at ERROR, everything else at INFO.

    Args:
        clock: Tells the events' time.
        source: The events' ``source``, a URI reference that names this service.
    """

    def __init__(self, clock: Clock, source: str = "/keystead") -> None:
        self._clock = clock
        self._source = source
        self._logger = logging.getLogger(LOGGER)

    def emit(self, event_type: str, subject: str, data: Mapping[str, Any]) -> None:
        """See `core.ports.Events.emit`. Values that are not JSON are told by the name of their type only."""
        level = logging.ERROR if event_type.startswith(ALARM) else logging.INFO
        # An event that cannot be told whole is told without its data; one that cannot be told at all stops nothing.
        with suppress(Exception):
            try:
                text = self._encode(event_type, subject, dict(data))
            except (TypeError, ValueError, OverflowError, RecursionError):
                text = self._encode(event_type, subject, {"unreadable": True})
            self._logger.log(level, "%s", text)

    def _encode(self, event_type: str, subject: str, data: dict[str, Any]) -> str:
        time = datetime.fromtimestamp(self._clock.wall(), UTC).isoformat(timespec="microseconds")
        event = {
            "specversion": "1.0",
            "id": str(uuid4()),
            "source": self._source,
            "type": event_type,
            "subject": subject,
            "time": time.replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": data,
        }
        return json.dumps(event, separators=(",", ":"), allow_nan=False, default=lambda value: type(value).__name__)
