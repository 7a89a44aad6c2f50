"""Fixtures: the real service over the memory store, behind the real handler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.bootstrap import Application, Config, build
from functions.handlers import Handler
from functions.identity import Identity
from functions.local.app import Endpoint, HostCheck, asgi_app
from tests.functions import tokens
from tests.functions.fakes import FakeKeystead

App = Callable[..., object]


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Application]:
    """The service, with tenants acme and beta."""
    built = build(Config(data_dir=tmp_path / "data", store="memory"))
    for tenant_id in ("acme", "beta"):
        built.tenants.create(tenant_id, "")
    yield built
    built.close()


@pytest.fixture
def handler(application: Application) -> Handler:
    return Handler(application.keystead, Identity([tokens.issuer()]))


@pytest.fixture
def fake() -> FakeKeystead:
    return FakeKeystead()


@pytest.fixture
def fake_handler(fake: FakeKeystead) -> Handler:
    return Handler(fake.as_keystead(), Identity([tokens.issuer()]))


@pytest.fixture
def app(handler: Handler) -> Iterator[App]:
    """The local host's application over the real service."""
    endpoint = Endpoint(handler, HostCheck(), threads=4)
    yield asgi_app(endpoint, on_close=lambda: None)
    endpoint.close()
