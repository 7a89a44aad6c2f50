"""The local host's ASGI application: turns HTTP into `Request` and `Response`, and bounds what it holds.

The handler is synchronous: it runs in a pool of threads, so that a slow request holds up one thread and not the server.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from core.bootstrap import Application, build
from core.errors import InvalidRequest, KeysteadError, Unavailable
from functions.decoding import too_large
from functions.handlers import Admission, Handler
from functions.identity import Identity
from functions.issuers import read_issuers
from functions.local.issuer import ISSUER, LocalIssuer
from functions.local.orphans import leave_with_parent
from functions.local.slots import Slots
from functions.messages import Request, Response, join_headers
from functions.settings import Settings, SettingsError

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
BODY_SECONDS = 30
"""How long a body may take to arrive."""
OPEN_REQUESTS = 32
"""Requests without a token that are held at a time."""
OPEN_THREADS = 2
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

    Requests without a token have places and threads of their own: whatever load there is, ``/healthz`` answers, and
    whoever has no token takes nothing from those that have. A place is held until the answer is known, not until it is
    sent: how long that may take is `functions.local.protocol`'s.

    Args:
        handler: Answers requests.
        hosts: Checks the Host header.
        threads: Size of the pool.
        max_requests: More at a time are answered 429 at once.
        body_seconds: How long a body may take to arrive.
    """

    def __init__(
        self,
        handler: Handler,
        hosts: HostCheck,
        *,
        threads: int = 16,
        max_requests: int = 128,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._handler = handler
        self._hosts = hosts
        self._body_seconds = body_seconds
        self._slots = Slots(max_requests)
        self._open_slots = Slots(OPEN_REQUESTS)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="keystead")
        self._open_pool = ThreadPoolExecutor(OPEN_THREADS, thread_name_prefix="keystead-open")

    @property
    def held(self) -> int:
        """Requests under way."""
        return self._slots.held + self._open_slots.held

    def close(self) -> None:
        """Wait for the requests in the pools and end their threads."""
        self._pool.shutdown(wait=True)
        self._open_pool.shutdown(wait=True)

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
        except ClientDisconnect:
            self._handler.abandon(admitted)
            return None
        except asyncio.CancelledError:
            return _last(self._handler.reject(admitted, Stopping("the service is stopping")))

    async def _serve(self, admitted: Admission, http: HttpRequest) -> Response:
        open_to_all = admitted.caller is None
        slots, pool = (self._open_slots, self._open_pool) if open_to_all else (self._slots, self._pool)
        with slots.hold():
            body = b""
            if admitted.reads_body:
                tenant_id = (admitted.caller and admitted.caller.tenant_id) or ""
                with slots.wait(tenant_id):
                    async with asyncio.timeout(self._body_seconds):
                        body = await self._body(http, admitted.max_body)
            return await asyncio.get_running_loop().run_in_executor(pool, self._handler.serve, admitted, body)

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


def asgi_app(endpoint: Endpoint, *, on_close: Callable[[], None], parent: int | None = None) -> Starlette:
    """Put an endpoint behind one catch-all route.

    Args:
        endpoint: Answers everything.
        on_close: Called once the last request is answered.
        parent: Process id to end with, for workers; None to live alone.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        watch = asyncio.create_task(leave_with_parent(parent)) if parent is not None else None
        try:
            yield
        finally:
            if watch is not None:
                watch.cancel()
            endpoint.close()
            on_close()

    app = Starlette(routes=[Route("/{path:path}", endpoint)], lifespan=lifespan)
    # `OPTIONS *` and the like are no path that a route can match.
    app.router.default = endpoint
    return app


def build_handler(settings: Settings) -> tuple[Handler, Application]:
    """Compose service and identity.

    Raises:
        SettingsError: No issuer is trusted, or an issuer or the data directory cannot be used.
        KeysteadError: The store or the platform's key cannot be opened.
    """
    issuers = list(read_issuers(settings.issuers))
    if settings.local_issuer:
        if any(issuer.issuer == ISSUER for issuer in issuers):
            raise SettingsError(
                f"KEYSTEAD_ISSUERS names an issuer {ISSUER}, which is the local one",
                hint="give it another name, or set KEYSTEAD_LOCAL_ISSUER=0",
            )
        issuers.append(LocalIssuer.open(settings.data).trusted())
    if not issuers:
        raise SettingsError("no issuer of tokens is trusted", hint="set KEYSTEAD_ISSUERS or KEYSTEAD_LOCAL_ISSUER=1")
    application = build(settings.to_config())
    return Handler(application.keystead, Identity(issuers)), application


def create_app(settings: Settings, *, parent: int | None = None) -> Starlette:
    """Build the application of one process.

    Args:
        settings: Its settings.
        parent: As in `asgi_app`.

    Raises:
        KeysteadError: As in `build_handler`.
    """
    handler, application = build_handler(settings)
    names = {*settings.allowed_hosts, *_own_name(settings.host)}
    endpoint = Endpoint(handler, HostCheck(names), threads=settings.threads, max_requests=settings.max_requests)
    return asgi_app(endpoint, on_close=application.close, parent=parent)


def _own_name(host: str) -> tuple[str, ...]:
    """The address listened on, as a Host header names it; "all addresses" is no name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return (host.lower(),)
    if address.is_unspecified:
        return ()
    return (f"[{address}]" if address.version == 6 else str(address),)
