"""Runs the local host: uvicorn on loopback, one process or several, until it is told to stop."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from starlette.applications import Starlette
from uvicorn import Config, Server
from uvicorn.supervisors import Multiprocess

from functions.local.app import build_handler, create_app
from functions.local.logs import configure, log_config
from functions.local.protocol import BoundedProtocol
from functions.settings import Settings, SettingsError, is_loopback

BACKLOG = 512
KEEP_ALIVE = 30
"""Seconds an idle connection is kept."""
_log = logging.getLogger("keystead.server")


def serve(settings: Settings) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP, then answer what is under way and return.

    ``GET /healthz`` tells readiness. A SIGHUP that was ignored before, as under nohup, stays ignored.

    Args:
        settings: Workers get these, not the environment.

    Raises:
        SettingsError: The address is not loopback and that is not allowed, or the port is taken or forbidden.
        KeysteadError: The service cannot be composed; found out before a port is opened.
    """
    settings.check()
    configure(settings.log_level)
    # Also makes the data directory, once, before the workers meet in it.
    build_handler(settings)[1].close()
    listener = bind(settings.host, settings.port)
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if not is_loopback(settings.host):
        _log.warning("listening beyond loopback, without TLS: only behind a proxy that has it")
    _log.info("serving", extra={"fields": {"url": url, "workers": settings.workers, "process": os.getpid()}})
    config = uvicorn_config(settings, port=port)
    if settings.workers > 1:
        _Supervisor(config, sockets=[listener]).run()
    else:
        server = Server(config)
        with _quiet_signals(server):
            server.run(sockets=[listener])
    _log.info("stopped", extra={"fields": {"process": os.getpid()}})


def bind(host: str, port: int) -> socket.socket:
    """Open the listening socket.

    Args:
        host: Address or name.
        port: 0 for any free one.

    Raises:
        SettingsError: It cannot be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = "another keystead may be running; choose another with KEYSTEAD_PORT"
            raise SettingsError(f"port {port} is taken", hint=hint) from None
        reason = error.strerror or "no such address"
        raise SettingsError(
            f"cannot listen on {host} port {port}: {reason}", hint="KEYSTEAD_HOST, KEYSTEAD_PORT"
        ) from None
    listener.set_inheritable(True)
    return listener


def uvicorn_config(settings: Settings, *, port: int) -> Config:
    """What uvicorn needs to know.

    Args:
        settings: The settings.
        port: The port bound.
    """
    parent = os.getpid() if settings.workers > 1 else None
    return Config(
        partial(create_app, settings) if parent is None else partial(_worker_app, settings, parent=parent),
        factory=True,
        host=settings.host,
        port=port,
        workers=settings.workers,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=log_config(settings.log_level),
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=settings.shutdown_timeout,
    )


class _Supervisor(Multiprocess):
    """uvicorn's, for whom a hang-up is an end and not a restart: it reads nothing anew, and workers keep settings."""

    def __init__(self, config: Config, sockets: list[socket.socket]) -> None:
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        super().__init__(config, sockets)
        if ignored:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def handle_hup(self) -> None:
        """End as at SIGTERM."""
        self.handle_term()


def _worker_app(settings: Settings, *, parent: int) -> Starlette:
    # A terminal that closes tells every process; the supervisor is the one who ends the workers, in good order.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return create_app(settings, parent=parent)


@contextmanager
def _quiet_signals(server: Server) -> Iterator[None]:
    """Let a graceful stop be a return: uvicorn raises the signal once more when it is done. It knows no SIGHUP."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: setattr(server, "should_exit", True))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
