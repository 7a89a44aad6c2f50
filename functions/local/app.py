"""The local host's ASGI application: the endpoint behind one route, and what starts and ends with it."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Route

from core.bootstrap import Application, build
from functions.handlers import Handler
from functions.identity import Identity
from functions.issuers import read_issuers
from functions.local.endpoint import Endpoint, HostCheck
from functions.local.issuer import ISSUER, LocalIssuer
from functions.local.orphans import leave_with_parent
from functions.local.scheduler import Scheduler, plans
from functions.settings import Settings, SettingsError

__all__ = ["Endpoint", "HostCheck", "asgi_app", "build_handler", "create_app"]


def asgi_app(
    endpoint: Endpoint,
    *,
    on_close: Callable[[], None],
    parent: int | None = None,
    scheduler: Scheduler | None = None,
) -> Starlette:
    """Put an endpoint behind one catch-all route.

    Args:
        endpoint: Answers everything.
        on_close: Called once the last request is answered.
        parent: Process id to end with, for workers; None to live alone.
        scheduler: Runs from the start to the end; None for no schedules.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        watch = asyncio.create_task(leave_with_parent(parent)) if parent is not None else None
        if scheduler is not None:
            scheduler.start()
        try:
            yield
        finally:
            if watch is not None:
                watch.cancel()
            if scheduler is not None:
                scheduler.stop()
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
    scheduler = Scheduler(application.schedules.run, plans(application.config.check_interval))
    return asgi_app(endpoint, on_close=application.close, parent=parent, scheduler=scheduler)


def _own_name(host: str) -> tuple[str, ...]:
    """The address listened on, as a Host header names it; "all addresses" is no name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return (host.lower(),)
    if address.is_unspecified:
        return ()
    return (f"[{address}]" if address.version == 6 else str(address),)
