"""A bounded cache of tenants' accesses, each kept under exactly what it was made from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """What is kept."""

    def close(self) -> None:
        """Let go of what it holds."""
        ...


Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept", bound=Closable)


class SessionCache(Generic[Key, Kept]):
    """Sessions by key, the least recently used forgotten over the limit.

    Args:
        limit: Most sessions it keeps; at least 1.
        make: Makes one; does no I/O.
    """

    def __init__(self, limit: int, make: Callable[[Key], Kept]) -> None:
        self._limit = limit
        self._make = make
        self._sessions: OrderedDict[Key, Kept] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Key) -> Kept:
        """The session of exactly this key, made if there is none."""
        evicted = None
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                session = self._sessions[key] = self._make(key)
                if len(self._sessions) > self._limit:
                    _, evicted = self._sessions.popitem(last=False)
            self._sessions.move_to_end(key)
        if evicted is not None:
            evicted.close()
        return session

    def clear(self) -> None:
        """Forget all, and close their connections."""
        with self._lock:
            sessions, self._sessions = list(self._sessions.values()), OrderedDict()
        for session in sessions:
            session.close()
