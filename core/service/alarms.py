"""Tells the operator, at most once a minute for one thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core.domain.timing import Instant
from core.service.lru import LruCache

if TYPE_CHECKING:
    from core.ports import Events

REPEAT_AFTER = 60.0
"""Seconds before the same alarm is raised again."""


class Alarms:
    """Raises alarms as events of type ``keystead.alarm.<name>``.

    Args:
        events: Where they go.
        now: Reads both clocks.
    """

    def __init__(self, events: Events, now: Callable[[], Instant]) -> None:
        self._events = events
        self._now = now
        self._raised: LruCache[tuple[str, str, str], Instant] = LruCache(1000)

    def __call__(self, name: str, subject: str, about: str, **data: Any) -> None:
        """Raise an alarm.

        Args:
            name: Such as ``store_corrupt``.
            subject: Tenant id or ``_system``.
            about: What exactly; alarms about the same thing are folded.
            data: Facts; never a secret.
        """
        now, key = self._now(), (name, subject, about)
        last = self._raised.get(key)
        if last is None or now.elapsed(last) >= REPEAT_AFTER:
            self._raised.put(key, now)
            self._events.emit(f"keystead.alarm.{name}", subject, {"about": about, **data})
