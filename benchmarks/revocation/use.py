"""Uses a tenant's key through one worker process without a pause, over a connection of its own, and keeps the times."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from urllib.parse import urlsplit

PLAINTEXT = b"what a withdrawn key must not give away"
WRONG, NO_ANSWER = "wrong plaintext", "no answer"
TIMEOUT = 30.0
"""Seconds: far above what a request may take, whatever its KMS does."""
TOGETHER = 20
"""Messages in one request: without a lease each needs an unwrap of its own, and a request's KMS time is 2.5 s."""
Operation = str
"""``encrypt`` or ``decrypt``."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call. Times as `time.monotonic` tells them.

    Attributes:
        operation: What was asked for.
        asked: When it was sent.
        answered: When the answer was there, whole.
        code: "" if it was served, else the error's code.
        retry_after: What the answer says in that header, or "".
    """

    operation: Operation
    asked: float
    answered: float
    code: str = ""
    retry_after: str = ""

    @property
    def served(self) -> bool:
        """Whether plaintext came out, or went in."""
        return not self.code


@dataclass(frozen=True)
class Token:
    """Who uses it: a tenant, and its bearer token."""

    tenant_id: str
    bearer: str = field(repr=False)


class Caller:
    """One connection to one worker, for one tenant. Not for several threads.

    Args:
        url: Of the worker.
        token: Of the tenant.
    """

    def __init__(self, url: str, token: Token) -> None:
        parts = urlsplit(url)
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
        self._path = f"/v1/tenants/{token.tenant_id}"
        self._headers = {"Authorization": f"Bearer {token.bearer}"}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def call(self, operation: Operation, body: bytes, media_type: str = "application/octet-stream") -> _Answer:
        """Send a request and read its answer.

        Raises:
            OSError, HTTPException: There was none.
        """
        headers = {**self._headers, "Content-Type": media_type, "Accept": media_type}
        self._connection.request("POST", f"{self._path}/{operation}", body, headers)
        answer = self._connection.getresponse()
        return _Answer(answer, answer.read())

    def decrypt_all(self, messages: Sequence[bytes]) -> list[str]:
        """Decrypt many messages; gives an error code, `WRONG` or "" for each.

        Raises:
            OSError, HTTPException: There was no answer.
        """
        found: list[str] = []
        for start in range(0, len(messages), TOGETHER):
            items = [{"message": base64.b64encode(message).decode()} for message in messages[start : start + TOGETHER]]
            answer = self.call("decrypt", json.dumps({"items": items}).encode(), "application/json")
            if answer.code:
                found += [answer.code] * len(items)
                continue
            right = base64.b64encode(PLAINTEXT).decode()
            for item in json.loads(answer.body)["items"]:
                found.append("" if item.get("plaintext") == right else (item.get("error") or {}).get("code", WRONG))
        return found


class _Answer:
    def __init__(self, response: HTTPResponse, body: bytes) -> None:
        self.body = body
        self.retry_after = response.headers.get("Retry-After", "")
        self.code = "" if response.status == 200 else f"http_{response.status}"
        if self.code:
            with suppress(ValueError, TypeError, KeyError):
                self.code = str(json.loads(body)["code"])


class Use:
    """Decrypts and encrypts in turn until it is stopped.

    Args:
        worker: Name of the worker, for the report.
        url: Of the worker.
        token: Of the tenant.
        message: To decrypt; of `PLAINTEXT`.
        every: Seconds from one call to the next, at least.
        later: Seconds before the first.
    """

    def __init__(self, worker: str, url: str, token: Token, message: bytes, *, every: float, later: float = 0) -> None:
        self.worker = worker
        self.tenant_id = token.tenant_id
        self.messages: list[bytes] = []
        self._outcomes: list[Outcome] = []
        self._changed = threading.Condition()
        self._caller = Caller(url, token)
        self._message = message
        self._every = every
        self._later = later
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"use-{token.tenant_id}-{worker}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait until it has ended."""
        self._stopping.set()
        self._thread.join(TIMEOUT + 5)
        self._caller.close()

    @property
    def outcomes(self) -> list[Outcome]:
        """What came of the calls so far, oldest first."""
        with self._changed:
            return [*self._outcomes]

    def since(self, instant: float) -> list[Outcome]:
        """Of the calls that were sent at an instant or later."""
        return [outcome for outcome in self.outcomes if outcome.asked >= instant]

    def wait(self, instant: float, *, served: bool, seconds: float) -> float | None:
        """Wait until both operations, sent at an instant or later, were served, or were refused.

        Args:
            instant: As `time.monotonic`.
            served: Which of both.
            seconds: How long to wait.

        Returns:
            When the first of them was answered that were all alike from then on; None if it did not come to that.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                alike = self._alike_since(instant, served=served)
                if alike is not None:
                    return alike
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)

    def _alike_since(self, instant: float, *, served: bool) -> float | None:
        first, operations = None, set[Operation]()
        for outcome in reversed(self._outcomes):
            if outcome.asked < instant or outcome.served is not served:
                break
            first = outcome.answered
            operations.add(outcome.operation)
        return first if len(operations) == 2 else None

    def _run(self) -> None:
        turn = 0
        self._stopping.wait(self._later)
        while not self._stopping.is_set():
            turn += 1
            outcome = self._use("decrypt" if turn % 2 else "encrypt")
            with self._changed:
                self._outcomes.append(outcome)
                self._changed.notify_all()
            self._stopping.wait(max(0.0, outcome.asked + self._every - time.monotonic()))

    def _use(self, operation: Operation) -> Outcome:
        asked = time.monotonic()
        try:
            answer = self._caller.call(operation, self._message if operation == "decrypt" else PLAINTEXT)
        except (OSError, HTTPException):
            self._caller.close()
            return Outcome(operation, asked, time.monotonic(), NO_ANSWER)
        answered = time.monotonic()
        if answer.code:
            return Outcome(operation, asked, answered, answer.code, answer.retry_after)
        if operation == "encrypt":
            self.messages.append(answer.body)
        elif answer.body != PLAINTEXT:
            return Outcome(operation, asked, answered, WRONG)
        return Outcome(operation, asked, answered)
