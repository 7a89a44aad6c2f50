"""The local issuer, the logs, and the bounds of the local application."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidRequest
from functions.handlers import Handler
from functions.identity import Identity
from functions.local.app import Endpoint, HostCheck, asgi_app, create_app
from functions.local.endpoint import OPEN_REQUESTS
from functions.local.issuer import ISSUER, KEY_FILE, LocalIssuer
from functions.local.logs import REDACTED, JsonFormatter, redact
from functions.settings import Settings, SettingsError
from tests.functions import tokens
from tests.functions.asgi import acall, lifespan
from tests.functions.fakes import FakeKeystead


def test_issuer_is_kept_and_private(tmp_path: Path) -> None:
    data = tmp_path / "a" / "data"
    first = LocalIssuer.open(data)
    assert (data / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in data.iterdir()] == [KEY_FILE]
    assert LocalIssuer.open(data).jwks() == first.jwks()
    assert set(first.jwks()["keys"][0]) == {"kty", "crv", "x", "kid", "alg"}


def test_tokens_of_the_local_issuer_are_believed() -> None:
    issuer = LocalIssuer.ephemeral()
    identity = Identity([issuer.trusted()])
    caller = identity.identify(f"Bearer {issuer.mint('me', tenant_id='acme', scopes=['key:read'])}", "r")
    assert (caller.subject, caller.issuer, caller.tenant_id) == ("me", "keystead-local", "acme")
    operator = issuer.mint("op", tenant_id=None, scopes=["platform:operate"], lifetime=24 * 3600)
    assert identity.identify(f"Bearer {operator}", "r").tenant_id is None


def test_lifetimes() -> None:
    issuer = LocalIssuer.ephemeral(clock=lambda: 1000.0)
    claims = json.loads(base64.urlsafe_b64decode(issuer.mint("m", tenant_id="a", scopes=[]).split(".")[1] + "=="))
    assert claims["exp"] - claims["iat"] == 3600
    for lifetime in (0, -1, 24 * 3600 + 1, float("nan")):
        with pytest.raises(InvalidRequest):
            issuer.mint("m", tenant_id="a", scopes=[], lifetime=lifetime)


@pytest.mark.parametrize(
    ("subject", "tenant_id", "scopes"),
    [
        ("", "acme", ["key:read"]),
        ("a\nb", "acme", ["key:read"]),
        ("a\x1b[31m", "acme", ["key:read"]),
        ("a\u202eb", "acme", ["key:read"]),
        ("\ud800", "acme", ["key:read"]),
        ("x" * 257, "acme", ["key:read"]),
        ("me", "Acme", ["key:read"]),
        ("me", "", ["key:read"]),
        ("me", "acme", [f"s{n}" for n in range(65)]),
        ("me", "acme", ["x" * 9000]),
        ("me", "acme", ["platform:operate", "data:decrypt"]),
        ("me", None, ["platform:operate", "data:keys"]),
    ],
)
def test_no_token_is_made_that_would_be_refused(subject: str, tenant_id: str | None, scopes: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="would be refused"):
        LocalIssuer.ephemeral().mint(subject, tenant_id=tenant_id, scopes=scopes)


def test_many_at_once_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        sets = list(pool.map(lambda _: json.dumps(LocalIssuer.open(tmp_path / "data").jwks()), range(16)))
    assert len(set(sets)) == 1
    assert [path.name for path in (tmp_path / "data").iterdir()] == [KEY_FILE]


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_broken_key_file_is_said_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEY_FILE).write_bytes(content)
    (tmp_path / KEY_FILE).chmod(0o600)
    with pytest.raises(SettingsError, match=KEY_FILE):
        LocalIssuer.open(tmp_path)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    LocalIssuer.open(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(SettingsError, match="others may read"):
        LocalIssuer.open(tmp_path)


KEY = base64.b64encode(bytes(range(200, 232))).decode()


@pytest.mark.parametrize(
    "text",
    [
        tokens.mint(),
        f"got {tokens.mint()} here",
        "Authorization: Bearer abc.def-ghi",
        KEY,
        f"key={KEY}",
        base64.b64encode(bytes(range(200))).decode(),
        "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----",
    ],
    ids=["token", "token in text", "header", "key", "key in text", "long base64", "pem"],
)
def test_what_looks_like_a_secret_is_taken_out(text: str) -> None:
    found = redact({"fields": [text]})["fields"][0]
    assert REDACTED in found
    for secret in (text.rpartition(".")[2], KEY, "MC4CAQ"):
        assert secret not in found or len(secret) < 4


@pytest.mark.parametrize(
    "text",
    [
        "acme",
        "5f2b7c1e-94a3-4d1f-8a56-0c9d7e3b2a10",
        "5f2b7c1e94a34d1f8a560c9d7e3b2a10",
        "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "https://vault.vault.azure.net/keys/name/0123456789abcdef0123456789abcdef",
        "/v1/tenants/{tenant_id}/data-keys/decrypt",
        "bc18f1517b5ef84048d8e623085271de15dcc180a8c50fb9394b5df44ed2ceb4",
        "2026-01-02T03:04:05.123+00:00",
        "an unexpected fault; the request id names it in the service's log",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_redaction_of_other_values() -> None:
    deep: Any = "x"
    for _ in range(20):
        deep = [deep]
    assert redact(b"abc") == "[3 bytes]"
    assert redact({"Token": "x", "data_key": b"y", "n": 1, "ok": True, "none": None}) == {
        "Token": REDACTED,
        "data_key": REDACTED,
        "n": 1,
        "ok": True,
        "none": None,
    }
    assert REDACTED in str(redact(deep))
    assert redact(object()) == "[object]"
    assert len(redact("long text " * 1000)) == 2000


def test_lines_are_json_and_exceptions_are_types_and_places() -> None:
    stream = io.StringIO()
    writer = logging.StreamHandler(stream)
    writer.setFormatter(JsonFormatter())
    log = logging.Logger("keystead.test")  # noqa: LOG001 - one of its own, outside the tree
    log.addHandler(writer)
    try:
        raise ValueError("canary-3 is the plaintext")
    except ValueError:
        log.exception("it %s", "broke", extra={"fields": {"tenant": "acme", "time": "mine"}})
    line = json.loads(stream.getvalue())
    assert line["message"] == "it broke"
    assert (line["level"], line["logger"], line["tenant"]) == ("error", "keystead.test", "acme")
    assert line["time"].endswith("+00:00")
    assert line["exception"] == ["builtins.ValueError"]
    assert "test_local.py" in line["frames"][0]
    assert "canary" not in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST:8080",
        "[::1]",
        "[::1]:80",
        "keys.example",
        "keys.example:443",
        "127.0.0.1:1",
    ],
)
def test_hosts_that_are_ours(host: str) -> None:
    HostCheck(["keys.example"]).check(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.test",
        "127.0.0.1.evil.test",
        "localhost.",
        "127.0.0.1:",
        "127.0.0.1:x",
        "[::1",
        "::1",
        "127.0.0.1, evil",
        "localhost:80:80",
        "a@localhost",
        "localhost/",
        "0.0.0.0",
        "127.0.0.2",
        "localhost\n",
        "[::ffff:127.0.0.1]",
    ],
)
def test_hosts_that_are_not(host: str) -> None:
    with pytest.raises(InvalidRequest):
        HostCheck(["keys.example"]).check(host)


class Slow(FakeKeystead):
    """Waits inside every call until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.release = threading.Event()

    def rotate(self, caller: Any, tenant_id: str) -> Any:
        self.entered.release()
        assert self.release.wait(30)
        return super().rotate(caller, tenant_id)


def test_more_requests_than_it_holds_are_answered_at_once() -> None:
    slow = Slow()
    endpoint = Endpoint(
        Handler(slow.as_keystead(), Identity([tokens.issuer()])), HostCheck(), threads=8, max_requests=3
    )
    app = asgi_app(endpoint, on_close=lambda: None)
    target, headers = "/v1/tenants/acme/key/rotate", [tokens.bearer(tokens.mint())]

    async def run() -> None:
        waiting = [asyncio.create_task(acall(app, "POST", target, headers)) for _ in range(3)]
        await asyncio.to_thread(slow.entered.acquire)
        await asyncio.to_thread(slow.entered.acquire)
        refused = await acall(app, "POST", target, headers)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert json.loads(refused.body)["code"] == "too_many_requests"
        assert not slow.entered.acquire(blocking=False), "the third waits for a thread"
        slow.release.set()
        assert [answer.status for answer in await asyncio.gather(*waiting)] == [200] * 3
        assert (await acall(app, "POST", target, headers)).status == 200

    asyncio.run(run())
    endpoint.close()


def raw_scope(*pairs: tuple[str, str]) -> dict[str, Any]:
    """A raw encrypt request with these headers."""
    every = [("host", "localhost"), ("content-type", "application/octet-stream"), *pairs]
    headers = [(name.encode(), value.encode()) for name, value in every]
    path = "/v1/tenants/acme/encrypt"
    return {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}


class Wire:
    """The other end of a connection: what it sends, and what it hears."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = [*messages]
        self.asked = 0
        self.heard: list[Any] = []
        self.silent = asyncio.Event()

    async def receive(self) -> Any:
        self.asked += 1
        if not self.messages:
            self.silent.set()
            await asyncio.Event().wait()
        return self.messages.pop(0)

    async def send(self, message: Any) -> None:
        self.heard.append(message)


def run_endpoint(handler: Handler, scope: dict[str, Any], wire: Wire, **limits: float) -> Endpoint:
    endpoint = Endpoint(handler, HostCheck(), body_seconds=limits.get("body_seconds", 30))
    asyncio.run(endpoint(scope, wire.receive, wire.send))
    endpoint.close()
    return endpoint


class Stuck(Wire):
    """Takes no answer."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        super().__init__(*messages)
        self.stuck = asyncio.Event()

    async def send(self, message: Any) -> None:
        await super().send(message)
        self.stuck.set()
        await asyncio.Event().wait()


def test_no_place_is_held_while_an_answer_is_sent(fake_handler: Handler) -> None:
    endpoint = Endpoint(fake_handler, HostCheck())
    wire = Stuck({"type": "http.request", "body": b"x", "more_body": False})

    async def run() -> None:
        task = asyncio.create_task(endpoint(raw_scope(tokens.bearer(tokens.mint())), wire.receive, wire.send))
        await wire.stuck.wait()
        assert (wire.heard[0]["status"], endpoint.held) == (200, 0)
        task.cancel()
        await task

    asyncio.run(run())
    endpoint.close()


@pytest.mark.parametrize("announced", [("content-length", "100"), ("transfer-encoding", "chunked")])
def test_nothing_is_awaited_where_no_body_is_read(fake_handler: Handler, announced: tuple[str, str]) -> None:
    wire = Wire()
    health = {**raw_scope(announced), "method": "GET", "path": "/healthz"}
    run_endpoint(fake_handler, health, wire)
    assert (wire.heard[0]["status"], wire.asked) == (400, 0)


def test_no_body_is_read_of_a_caller_that_may_not(fake_handler: Handler) -> None:
    wire = Wire()
    run_endpoint(fake_handler, raw_scope(tokens.bearer(tokens.mint(scope="data:decrypt"))), wire)
    assert (wire.heard[0]["status"], wire.asked) == (403, 0)


def test_a_tenant_that_dribbles_shuts_out_itself_only(fake_handler: Handler) -> None:
    endpoint = Endpoint(fake_handler, HostCheck(), max_requests=8)

    def start(tenant_id: str, *messages: dict[str, Any]) -> tuple[Wire, asyncio.Task[None]]:
        wire = Wire(*messages)
        scope = raw_scope(tokens.bearer(tokens.mint(tenant_id=tenant_id)))
        scope["path"] = f"/v1/tenants/{tenant_id}/encrypt"
        return wire, asyncio.create_task(endpoint(scope, wire.receive, wire.send))

    async def run() -> None:
        tasks: list[asyncio.Task[None]] = []
        for tenant_id, kept in (("acme", 4), ("beta", 2), ("gamma", 1)):
            wires, started = zip(*(start(tenant_id) for _ in range(8)), strict=True)
            tasks += started
            for _ in range(20):
                await asyncio.sleep(0)
            statuses = [wire.heard[0]["status"] for wire in wires if wire.heard]
            assert statuses == [429] * (8 - kept)
        whole, task = start("delta", {"type": "http.request", "body": b"x", "more_body": False})
        await task
        assert whole.heard[0]["status"] == 200
        assert endpoint.held == 7
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        assert endpoint.held == 0
        assert not endpoint._slots._waiting

    asyncio.run(run())
    endpoint.close()


class SlowHealth(Slow):
    """Whose health takes its time too."""

    def health(self) -> Any:
        self.entered.release()
        assert self.release.wait(30)
        return super().health()


def test_requests_with_and_without_a_token_take_nothing_from_each_other() -> None:
    slow = SlowHealth()
    handler = Handler(slow.as_keystead(), Identity([tokens.issuer()]))
    endpoint = Endpoint(handler, HostCheck(), threads=1, max_requests=2)
    app = asgi_app(endpoint, on_close=lambda: None)
    token = tokens.bearer(tokens.mint())

    async def run() -> None:
        waiting = [asyncio.create_task(acall(app, "POST", "/v1/tenants/acme/key/rotate", [token])) for _ in range(2)]
        await asyncio.to_thread(slow.entered.acquire)
        assert (await acall(app, "GET", "/.well-known/jwks.json")).status == 200
        assert (await acall(app, "GET", "/v1/tenants/acme", [token])).status == 429
        slow.release.set()
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
        slow.release.clear()
        waiting = [asyncio.create_task(acall(app, "GET", "/healthz")) for _ in range(OPEN_REQUESTS)]
        await asyncio.to_thread(slow.entered.acquire)
        assert (await acall(app, "GET", "/healthz")).status == 429
        assert (await acall(app, "GET", "/v1/tenants/acme", [token])).status == 200
        slow.release.set()
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}

    asyncio.run(run())
    endpoint.close()


def test_a_request_that_the_end_of_the_service_cuts_off_is_told_so(fake_handler: Handler) -> None:
    endpoint = Endpoint(fake_handler, HostCheck())
    wire = Wire({"type": "http.request", "body": b"x", "more_body": True})

    async def run() -> None:
        task = asyncio.create_task(endpoint(raw_scope(tokens.bearer(tokens.mint())), wire.receive, wire.send))
        await wire.silent.wait()
        task.cancel()
        await task

    asyncio.run(run())
    endpoint.close()
    headers = dict(wire.heard[0]["headers"])
    assert (wire.heard[0]["status"], headers[b"connection"], headers[b"retry-after"]) == (503, b"close", b"5")
    assert headers[b"content-type"] == b"application/problem+json"
    assert json.loads(wire.heard[1]["body"])["code"] == "stopping"


def test_a_body_that_does_not_arrive_is_given_up(fake_handler: Handler) -> None:
    wire = Wire({"type": "http.request", "body": b"x", "more_body": True})
    run_endpoint(fake_handler, raw_scope(tokens.bearer(tokens.mint())), wire, body_seconds=0)
    assert wire.heard[0]["status"] == 400
    assert (b"connection", b"close") in wire.heard[0]["headers"]


def test_nobody_without_a_token_makes_it_read_a_body(fake_handler: Handler) -> None:
    wire = Wire()
    run_endpoint(fake_handler, raw_scope(), wire)
    assert wire.heard[0]["status"] == 401
    assert wire.asked == 0


def test_a_caller_that_leaves_is_let_go_and_logged(fake_handler: Handler, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "keystead.request")
    wire = Wire({"type": "http.disconnect"})
    endpoint = run_endpoint(fake_handler, raw_scope(tokens.bearer(tokens.mint())), wire)
    assert wire.heard == []
    assert endpoint.held == 0
    [line] = [record.fields for record in caplog.records if record.name == "keystead.request"]  # type: ignore[attr-defined]
    assert (line["code"], line["tenant"], line["status"]) == ("client_disconnected", "acme", 499)


def test_the_whole_application(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", store="memory")
    app = create_app(settings)
    token = LocalIssuer.open(settings.data).mint("op", tenant_id=None, scopes=["platform:operate"])

    async def run() -> None:
        async with lifespan(app):
            assert (await acall(app, "GET", "/healthz")).status == 200
            assert (await acall(app, "PUT", "/v1/tenants/acme", [tokens.bearer(token)])).status == 201

    asyncio.run(run())


def test_no_other_issuer_has_the_name_of_the_local_one(tmp_path: Path) -> None:
    keys = LocalIssuer.ephemeral().jwks()
    issuers = json.dumps([{"issuer": ISSUER, "audience": "k", "jwks": keys, "tenants": "*"}])
    with pytest.raises(SettingsError, match="KEYSTEAD_ISSUERS") as caught:
        create_app(Settings(data=tmp_path, issuers=issuers, store="memory"))
    assert "KEYSTEAD_LOCAL_ISSUER=0" in str(caught.value.hint)


def test_keys_of_an_unhashable_kind_are_said_so(tmp_path: Path) -> None:
    keys = {"keys": [{"kty": ["RSA"], "kid": "x"}]}
    issuers = json.dumps([{"issuer": "a", "audience": "b", "jwks": keys, "tenants": "*"}])
    with pytest.raises(SettingsError, match="jwks") as caught:
        create_app(Settings(data=tmp_path, issuers=issuers, store="memory"))
    assert caught.value.hint


def test_somebody_must_be_trusted(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no issuer"):
        create_app(Settings(data=tmp_path, local_issuer=False))
