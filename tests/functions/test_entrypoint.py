"""The local host keeps the contract of hosts: as an application, and under the real server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from uvicorn import Server

from functions.local.app import Endpoint, HostCheck, asgi_app
from functions.local.server import bind, uvicorn_config
from functions.messages import Response
from functions.settings import Settings
from tests.conformance.entrypoint import EntrypointContract, Sample, fake_handler
from tests.functions.asgi import call
from tests.functions.live import http


@pytest.fixture(scope="module")
def app() -> Iterator[Any]:
    endpoint = Endpoint(fake_handler(), HostCheck(), threads=2)
    yield asgi_app(endpoint, on_close=lambda: None)
    endpoint.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The real server over the fake façade, in a thread of this process."""
    listener = bind("127.0.0.1", 0)
    number: int = listener.getsockname()[1]
    config = uvicorn_config(Settings(shutdown_timeout=1), port=number)
    config.log_config = None
    config.app = lambda: asgi_app(Endpoint(fake_handler(), HostCheck()), on_close=lambda: None)
    server = Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    yield number
    server.should_exit = True
    thread.join()


class TestApplication(EntrypointContract):
    """Through ASGI, the body in one piece."""

    @pytest.fixture(autouse=True)
    def _app(self, app: Any) -> None:
        self.app = app

    def send(self, sample: Sample) -> Response:
        length = [("Content-Length", str(len(sample.body)))]
        return call(self.app, sample.method, sample.target, [*sample.pairs(), *length], [sample.body])


class TestApplicationInPieces(EntrypointContract):
    """Through ASGI, the body in pieces and without a length."""

    @pytest.fixture(autouse=True)
    def _app(self, app: Any) -> None:
        self.app = app

    def send(self, sample: Sample) -> Response:
        pieces = [sample.body[at : at + 1000] for at in range(0, len(sample.body), 1000)]
        return call(self.app, sample.method, sample.target, sample.pairs(), pieces)


class TestServer(EntrypointContract):
    """Through uvicorn and a socket."""

    @pytest.fixture(autouse=True)
    def _port(self, port: int) -> None:
        self.port = port

    def send(self, sample: Sample) -> Response:
        return http(self.port, sample.method, sample.target, sample.pairs(), sample.body)
