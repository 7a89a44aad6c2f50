"""The local host's endpoint: turns HTTP into `Request` and `Response`, and bounds what it holds.

The handler is synchronous: it runs in threads, so that a slow request holds up one of them and not the server.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.types import Receive, Scope, Send

from core.errors import InvalidRequest, KeysteadError, Unavailable
from functions.decoding import too_large
from functions.handlers import Admission, Handler
from functions.local.slots import Owner, Slots
from functions.local.workers import PATIENCE, CallerLeft, Workers
from functions.messages import Request, Response, join_headers

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
BODY_SECONDS = 30
"""How long a body may take to arrive."""
OPEN_REQUESTS = 32
"""Requests without a token that are held at a time."""
OPEN_THREADS = 2
QUARTER = 4
"""One tenant has this part of the threads."""
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::[0-9]{1,5})?")


class HostCheck:
    """Decides whether a Host header names this service: a web page whose name was pointed at loopback does not.

    Args:
        names: Accepted host names in lower case, without port, besides loopback's own.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = LOOPBACK_HOSTS | set(names)

    def check(self, host: str) -> None:
        """Refuse other hosts.

        Raises:
            InvalidRequest: The header is missing, malformed or names another host.
        """
        found = _HOST.fullmatch(host.lower())
        if found is None or found[1] not in self._names:
            raise InvalidRequest(
                "the Host header does not name this service",
                hint="the operator adds names with KEYSTEAD_ALLOWED_HOSTS",
            )


class Stopping(Unavailable):
    """The service ends, and this request was not finished in the time it was given for that."""

    code = "stopping"
    title = "Service stopping"


class Endpoint:
    """Answers every path. Holds at most ``max_requests`` requests, works on at most ``threads`` of them.

    One tenant has a quarter of the threads, and its further requests wait: a KMS of its own that hangs delays nobody
    else. An operator's requests have a quarter together.

    Requests without a token have places and threads of their own: whatever load there is, ``/healthz`` answers, and
    whoever has no token takes nothing from those that have. A place is held until the answer is known, not until it is
    sent: how long that may take is `functions.local.protocol`'s.

    Args:
        handler: Answers requests.
        hosts: Checks the Host header.
        threads: Size of the pool.
        max_requests: More at a time are answered 429 at once.
        body_seconds: How long a body may take to arrive.
        patience: How long a request waits for a thread before it is looked whether its caller is still there.
    """

    def __init__(
        self,
        handler: Handler,
        hosts: HostCheck,
        *,
        threads: int = 16,
        max_requests: int = 128,
        body_seconds: float = BODY_SECONDS,
        patience: float = PATIENCE,
    ) -> None:
        self._handler = handler
        self._hosts = hosts
        self._body_seconds = body_seconds
        self._slots = Slots(max_requests)
        self._open_slots = Slots(OPEN_REQUESTS)
        self._workers = Workers(threads, threads // QUARTER, "keystead", patience=patience)
        self._open_workers = Workers(OPEN_THREADS, OPEN_THREADS, "keystead-open")

    @property
    def held(self) -> int:
        """Requests under way."""
        return self._slots.held + self._open_slots.held

    @property
    def working_for(self) -> int:
        """Tenants who have threads at work."""
        return self._workers.tenants

    def close(self) -> None:
        """Wait for the requests in the pools and end their threads."""
        self._workers.close()
        self._open_workers.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        response = await self._answer(_head(scope), HttpRequest(scope, receive))
        if response is not None:
            # Cancelled here, the connection is closed with the answer cut short: there is nothing more to say.
            with suppress(asyncio.CancelledError):
                await HttpResponse(response.body, response.status, dict(response.headers))(scope, receive, send)

    async def _answer(self, head: Request, http: HttpRequest) -> Response | None:
        """The answer, or None if nobody is there to hear it."""
        try:
            self._hosts.check(head.host)
        except InvalidRequest as error:
            return self._handler.refuse(head, error)
        admitted = self._handler.admit(head)
        if isinstance(admitted, Response):
            return admitted
        try:
            return await self._serve(admitted, http)
        except KeysteadError as error:
            return self._handler.reject(admitted, error)
        except TimeoutError:
            return _last(self._handler.reject(admitted, InvalidRequest("the body did not arrive in time")))
        except (ClientDisconnect, CallerLeft):
            self._handler.abandon(admitted)
            return None
        except asyncio.CancelledError:
            return _last(self._handler.reject(admitted, Stopping("the service is stopping")))

    async def _serve(self, admitted: Admission, http: HttpRequest) -> Response:
        caller, action = admitted.caller, admitted.match.route.action
        owner = Owner((caller and caller.tenant_id) or "", action is not None and action.kind == "data")
        slots, workers = (self._open_slots, self._open_workers) if caller is None else (self._slots, self._workers)
        with slots.hold(None if caller is None else owner):
            body = b""
            if admitted.reads_body:
                with slots.wait(owner.tenant_id):
                    async with asyncio.timeout(self._body_seconds):
                        body = await self._body(http, admitted.max_body)
            return await workers.run(owner, partial(self._handler.serve, admitted, body), partial(_left, http.receive))

    @staticmethod
    async def _body(http: HttpRequest, limit: int) -> bytes:
        """The body, unless it is larger than the limit: that is raised as soon as it shows."""
        chunks: list[bytes] = []
        size = 0
        async for chunk in http.stream():
            size += len(chunk)
            if size > limit:
                raise too_large(limit)
            chunks.append(chunk)
        return b"".join(chunks)


async def _left(receive: Receive) -> None:
    """Return when the caller has left."""
    for _ in range(2):  # the end of a body that nobody has read comes before that
        if (await receive())["type"] == "http.disconnect":
            return
    await asyncio.Event().wait()


def _last(response: Response) -> Response:
    return Response(response.status, {**response.headers, "connection": "close"}, response.body)


def _head(scope: Scope) -> Request:
    headers = join_headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    return Request(
        method=scope["method"],
        path=raw_path.decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        host=headers.get("host", ""),
    )
