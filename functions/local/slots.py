"""Counts the requests under way, so that nobody can hold all that a process has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import TooManyRequests


class Slots:
    """A number of places for requests. For the event loop: not safe for threads.

    Args:
        places: How many.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._waiting: Counter[str] = Counter()
        self.held = 0

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold a place for the duration of the block.

        Raises:
            TooManyRequests: None is free.
        """
        if self.held >= self._places:
            raise TooManyRequests("too many requests under way", retry_after=1)
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    @contextmanager
    def wait(self, tenant_id: str) -> Iterator[None]:
        """Wait for a body in a place held, for the duration of the block.

        A tenant waits for no more bodies than there are free places: alone it gets half of all, and however many
        tenants dribble, the next one finds a place.

        Args:
            tenant_id: Whose request it is; "" for the platform.

        Raises:
            TooManyRequests: The tenant's share is used up.
        """
        if self._waiting[tenant_id] > self._places - self.held:
            raise TooManyRequests("too many requests of this tenant wait for their bodies", retry_after=1)
        self._waiting[tenant_id] += 1
        try:
            yield
        finally:
            self._waiting[tenant_id] -= 1
            if not self._waiting[tenant_id]:
                # Names of tenants that come and go are not kept.
                del self._waiting[tenant_id]
