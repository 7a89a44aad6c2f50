"""The commands against the real service, in this process: HTTP ends at the handler, no socket is opened."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from core.bootstrap import Application
from functions.cli import token
from functions.cli.main import cli
from functions.local.app import build_handler
from functions.messages import Request
from functions.settings import Settings

Run = Callable[..., Result]
Answers = Callable[..., list[tuple[str, Any]]]


@dataclass
class Service:
    """The service behind the commands.

    Attributes:
        data: Its data directory.
        application: The service itself.
        requests: What it was asked, as ``METHOD path``.
        intercept: Answers in its place, if it returns anything.
    """

    data: Path
    application: Application
    requests: list[str]
    intercept: Callable[[httpx.Request], httpx.Response | None] = lambda _request: None

    def token(self, tenant_id: str | None = "acme", *scopes: str) -> str:
        given = scopes or (("app", "admin") if tenant_id else ("operator",))
        return token.mint(self.data, "tester", tenant_id, token.expand(given), 600)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("KEYSTEAD_"):
            monkeypatch.delenv(name)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    handler, application = build_handler(Settings(data=data, offerings='{"default": ["aws_kms"], "shield": []}'))
    for tenant_id in ("acme", "globex"):
        application.tenants.create(tenant_id, tenant_id.title())
    found = Service(data, application, [])

    def answer(_transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        found.requests.append(f"{request.method} {request.url.path}")
        if (given := found.intercept(request)) is not None:
            return given
        response = handler.handle(
            Request(
                method=request.method,
                path=request.url.raw_path.decode().partition("?")[0],
                query=request.url.query.decode(),
                headers={name.lower(): value for name, value in request.headers.items()},
                body=request.read(),
                host=request.url.netloc.decode(),
            )
        )
        return httpx.Response(response.status, headers=dict(response.headers), content=response.body)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answer)
    monkeypatch.setenv("KEYSTEAD_TOKEN", found.token())
    yield found
    application.close()


@pytest.fixture
def asked(service: Service) -> Answers:
    """Answers routes with documents, as ``METHOD /path-below-the-tenant``; gives what was asked, with its body."""

    def given(answers: dict[str, object], tenant_id: str = "acme") -> list[tuple[str, Any]]:
        seen: list[tuple[str, Any]] = []

        def answer(request: httpx.Request) -> httpx.Response | None:
            name = f"{request.method} {request.url.path.removeprefix(f'/v1/tenants/{tenant_id}')}"
            seen.append((name, json.loads(request.read() or b"null")))
            found = answers.get(name)
            return found if found is None or isinstance(found, httpx.Response) else httpx.Response(200, json=found)

        service.intercept = answer
        return seen

    return given


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in an empty directory."""
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)

    def invoke(*arguments: str, stdin: bytes = b"", code: int = 0) -> Result:
        result = CliRunner().invoke(cli, arguments, input=stdin)
        assert result.exit_code == code, f"{result.exit_code}: {result.output}{result.exception!r}"
        assert not result.exception or isinstance(result.exception, SystemExit)
        return result

    return invoke


def errors(result: Result) -> dict[str, str]:
    """The lines of stderr by their first word; there must be no others."""
    lines = [line.partition(": ") for line in result.stderr.splitlines()]
    assert [line[0] for line in lines] in (["error"], ["error", "hint"]), result.stderr
    return {name: text for name, _, text in lines}
