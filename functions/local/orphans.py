"""Ends a worker whose supervisor is gone: killed outright, it cannot stop its workers, and they would hold the port."""

from __future__ import annotations

import asyncio
import os
import signal

_INTERVAL = 1.0
"""Seconds."""


async def leave_with_parent(parent: int) -> None:
    """Shut this process down in an orderly way once it has another parent.

    Args:
        parent: Process id of the supervisor.
    """
    while os.getppid() == parent:  # noqa: ASYNC110 - the kernel tells nobody else
        await asyncio.sleep(_INTERVAL)
    os.kill(os.getpid(), signal.SIGTERM)
