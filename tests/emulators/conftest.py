from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from functions.emulators.kms import DEFAULT_REGION, LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY
from functions.emulators.wire import EmulatorServer, serve
from tests.emulators.worlds import World

Connect = Callable[..., Any]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Iterator[EmulatorServer]:
    with serve(world.emulator) as running:
        yield running


@pytest.fixture(scope="session")
def session() -> Any:
    """One for all: loading botocore's models is what takes long."""
    return boto3.session.Session()


@pytest.fixture
def connect(server: EmulatorServer, session: Any) -> Iterator[Connect]:
    """Makes real boto3 clients that speak to the server."""
    clients = []

    def make(
        service: str = "kms",
        key: str = LOCAL_ACCESS_KEY_ID,
        secret: str = LOCAL_SECRET_ACCESS_KEY,
        token: str | None = None,
        region: str = DEFAULT_REGION,
        **config: Any,
    ) -> Any:
        client = session.client(
            service,
            region_name=region,
            endpoint_url=server.url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}, **config),
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()
