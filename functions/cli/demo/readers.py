"""Clients of the demo that read one document over and over, while the story goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType
from typing import Self

from core.client.client import KeysteadClient
from core.errors import KeysteadError

NUMBER = 3
"""Readers of one document."""
PAUSE = 0.02
"""Seconds between two requests of one reader."""
LOOK = 0.05
"""Seconds between two looks at what is waited for."""


class Readers:
    """Decrypt a message again and again, and remember when each answer was asked for and how it was.

    Args:
        client: With a token for the data.
        tenant_id: The tenant.
        message: What is decrypted.
        plaintext: What must come of it.
    """

    def __init__(self, client: KeysteadClient, tenant_id: str, message: bytes, plaintext: bytes) -> None:
        self._client = client
        self._tenant_id = tenant_id
        self._message = message
        self._plaintext = plaintext
        self._stopping = Event()
        self._threads = [Thread(target=self._read, daemon=True) for _ in range(NUMBER)]
        self.served: list[float] = []
        """When each request was sent that was served; as `time.monotonic`."""
        self.refused: list[tuple[float, str]] = []
        """When each refusal was heard, and its code; likewise. ``wrong`` is an answer that is not the plaintext."""

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @property
    def codes(self) -> set[str]:
        """Of all refusals."""
        return {code for _, code in self.refused}

    def _read(self) -> None:
        while not self._stopping.is_set():
            sent = time.monotonic()
            try:
                right = self._client.decrypt(self._tenant_id, self._message, {}) == self._plaintext
            except KeysteadError as error:
                self.refused.append((time.monotonic(), error.code))
            else:
                if right:
                    self.served.append(sent)
                else:
                    self.refused.append((time.monotonic(), "wrong"))
            self._stopping.wait(PAUSE)


def until(holds: Callable[[], object], seconds: float) -> float | None:
    """Wait until something holds.

    Args:
        holds: Looked at every `LOOK` seconds.
        seconds: How long to wait at most.

    Returns:
        When it was seen to hold, as `time.monotonic`; None if it was not.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return time.monotonic()
        time.sleep(LOOK)
    return None
