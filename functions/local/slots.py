"""Counts the requests under way, so that nobody can hold all that a process has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from core.errors import TooManyRequests

K = TypeVar("K")
TO_EACH_FREE = 7
"""Places that one owner may hold for each that is free."""


class Owner(NamedTuple):
    """Whose requests are counted together.

    Attributes:
        tenant_id: The caller's tenant; "" for the platform.
        data: Whether they work on data. What steers a key is counted apart, so that a flood of data does not keep a
            tenant from its kill switch.
    """

    tenant_id: str
    data: bool


class Slots:
    """A number of places for requests. For the event loop: not safe for threads.

    Args:
        places: How many.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._holding: Counter[Owner] = Counter()
        self._waiting: Counter[str] = Counter()
        self.held = 0

    @contextmanager
    def hold(self, owner: Owner | None = None) -> Iterator[None]:
        """Hold a place for the duration of the block.

        An owner alone gets seven eighths of all, and the next one finds a place: requests that hang on one tenant's
        KMS pile up, and other tenants are not refused for it.

        Args:
            owner: Whose request it is; None where all count alike.

        Raises:
            TooManyRequests: None is free, or the owner's share is used up.
        """
        free = self._places - self.held
        if free <= 0 or (owner is not None and self._holding[owner] >= TO_EACH_FREE * free):
            raise TooManyRequests("too many requests under way", retry_after=1)
        self.held += 1
        if owner is not None:
            self._holding[owner] += 1
        try:
            yield
        finally:
            self.held -= 1
            if owner is not None:
                _decrement(self._holding, owner)

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
            _decrement(self._waiting, tenant_id)


def _decrement(counter: Counter[K], key: K) -> None:
    counter[key] -= 1
    if not counter[key]:
        # Names of tenants that come and go are not kept.
        del counter[key]
