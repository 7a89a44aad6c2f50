"""Drives an ASGI application without a server: full control over path bytes, header pairs and body chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp, Message

from functions.messages import Response

Pairs = Iterable[tuple[str, str]]


def call(
    app: ASGIApp,
    method: str,
    target: str,
    headers: Pairs = (),
    chunks: Sequence[bytes] = (),
    *,
    host: str = "127.0.0.1",
) -> Response:
    """Send one request through a fresh lifespan-less connection and give the response.

    Args:
        app: The application.
        method: Upper-case.
        target: Path and query as on the wire.
        headers: Besides Host.
        chunks: The body as it arrives.
        host: The Host header; "" for none.
    """
    return asyncio.run(acall(app, method, target, headers, chunks, host=host))


async def acall(
    app: ASGIApp,
    method: str,
    target: str,
    headers: Pairs = (),
    chunks: Sequence[bytes] = (),
    *,
    host: str = "127.0.0.1",
) -> Response:
    """As `call`, within a running loop."""
    path, _, query = target.partition("?")
    pairs = [*([("host", host)] if host else []), *headers]
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("latin-1"),
        "root_path": "",
        "query_string": query.encode("latin-1"),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
    }
    waiting = [*chunks]
    sent: list[Message] = []

    async def receive() -> Message:
        chunk = waiting.pop(0) if waiting else b""
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = sent[0]
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Response(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body)


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """Run an application's start and stop around a block."""
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    task = asyncio.create_task(_run(app, to_app, from_app))
    for phase in ("startup", "shutdown"):
        await to_app.put({"type": f"lifespan.{phase}"})
        assert (await from_app.get())["type"] == f"lifespan.{phase}.complete"
        if phase == "startup":
            yield
    await task


async def _run(app: ASGIApp, to_app: asyncio.Queue[Message], from_app: asyncio.Queue[Message]) -> None:
    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, to_app.get, from_app.put)
