"""Has the SDK's connection pools name their sockets, so that whoever stops waiting for a call can end it.

The SDK offers no way to break a call off, so its pools are told to.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

from core.providers._lines import Line, telling

__all__ = ["Line", "tell_lines"]


def tell_lines(client: Any) -> None:
    """Have a client of the SDK tell the line in use of every connection that it sends a request over."""
    # There is no public way. Where the SDK is built otherwise, calls still end with their budget, and only their
    # threads live as long as the server likes.
    with suppress(AttributeError):
        session = client._endpoint.http_session  # noqa: SLF001
        pools = _pools(tuple(session._pool_classes_by_scheme.items()))  # noqa: SLF001
        session._manager.pool_classes_by_scheme = session._pool_classes_by_scheme = pools  # noqa: SLF001


@cache
def _pools(known: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    return {scheme: telling(pool) for scheme, pool in known}
