"""A bounded map that forgets what was used longest ago."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """Thread-safe LRU map.

    Args:
        limit: Most entries it keeps; at least 1.
        on_evict: Called with each value forgotten because of the limit.
    """

    def __init__(self, limit: int, on_evict: Callable[[V], None] | None = None) -> None:
        if limit < 1:
            raise ValueError("a cache keeps at least one entry")
        self._on_evict = on_evict
        self._limit = limit
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()
        self.peek: Callable[[K], V | None] = self._entries.get
        """As `get`, but leaves the order alone: for who puts an entry again from time to time while it is in use."""

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<LruCache of {len(self._entries)} entries>"

    def get(self, key: K) -> V | None:
        """The entry, now the most recently used, or None."""
        try:
            entry = self._entries[key]
            self._entries.move_to_end(key)
        except KeyError:  # not there, or just evicted by another thread
            return None
        return entry

    def put(self, key: K, value: V) -> None:
        """Set an entry, forgetting the oldest over the limit."""
        with self._lock:
            self._entries[key] = value
            self._entries.move_to_end(key)
            while len(self._entries) > self._limit:
                _, evicted = self._entries.popitem(last=False)
                if self._on_evict is not None:
                    self._on_evict(evicted)

    def pop(self, key: K) -> None:
        """Forget one entry, if it is there."""
        with self._lock:
            self._entries.pop(key, None)

    def values(self) -> list[V]:
        """All values, in no promised order."""
        with self._lock:
            return list(self._entries.values())

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
