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
from core.errors import InvalidRequest, TooManyRequests
from functions.decoding import too_large
from functions.handlers import Admission, Handler
from functions.identity import Identity
from functions.issuers import read_issuers
from functions.local.issuer import LocalIssuer
from functions.local.orphans import leave_with_parent
from functions.messages import Request, Response, join_headers
from functions.settings import Settings, SettingsError

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
BODY_SECONDS = 30
"""How long a body may take to arrive."""
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


class Endpoint:
    """Answers every path. Holds at most ``max_requests`` requests, works on at most ``threads`` of them.

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
        self._max_requests = max_requests
        self._body_seconds = body_seconds
        self._held = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="keystead")

    def close(self) -> None:
        """Wait for the requests in the pool and end its threads."""
        self._pool.shutdown(wait=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        http = HttpRequest(scope, receive)
        head = _head(scope)
        self._held += 1
        try:
            with suppress(ClientDisconnect):
                response = await self._answer(head, http)
                await HttpResponse(response.body, response.status, dict(response.headers))(scope, receive, send)
        finally:
            self._held -= 1

    async def _answer(self, head: Request, http: HttpRequest) -> Response:
        try:
            self._hosts.check(head.host)
        except InvalidRequest as error:
            return self._handler.refuse(head, error)
        if self._held > self._max_requests:
            return self._handler.refuse(head, TooManyRequests("too many requests under way", retry_after=1))
        admitted = self._handler.admit(head)
        if isinstance(admitted, Response):
            return admitted
        try:
            async with asyncio.timeout(self._body_seconds):
                body = await self._body(http, admitted)
        except TimeoutError:
            refusal = self._handler.refuse(head, InvalidRequest("the body did not arrive in time"))
            return Response(refusal.status, {**refusal.headers, "connection": "close"}, refusal.body)
        if body is None:
            return self._handler.refuse(head, too_large(admitted.max_body))
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._handler.serve, admitted, body)

    @staticmethod
    async def _body(http: HttpRequest, admitted: Admission) -> bytes | None:
        """The body, or None as soon as it is larger than the route allows."""
        chunks: list[bytes] = []
        size = 0
        async for chunk in http.stream():
            size += len(chunk)
            if size > admitted.max_body:
                return None
            chunks.append(chunk)
        return b"".join(chunks)


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
