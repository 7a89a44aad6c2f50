"""Where requests go, how often, and that the token stays where it belongs."""

import json
import logging
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core.client.client import KeysteadClient
from core.client.problems import ServiceUnreachable, UnexpectedAnswer
from core.client.transport import MAX_ANSWER, check_url
from core.errors import (
    InvalidRequest,
    KeyRevoked,
    KeysteadError,
    StoreUnavailable,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from tests.client.fake_service import TOKEN, URL, client, problem

ROTATION = {"tenant_id": "acme", "branch_key_id": "b", "version": "v", "sequence": 2, "created": "2026-01-01T00:00:00Z"}
TENANT = {
    "tenant_id": "acme",
    "display_name": "",
    "state": "platform",
    "created": "t",
    "offering": "default",
    "unbound_policy_accepted": False,
}


class Script:
    """Answers with one response, or exception, after the other."""

    def __init__(self, *steps: httpx.Response | Exception) -> None:
        self.steps = list(steps)
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        step = self.steps[min(self.asked, len(self.steps) - 1)]
        self.asked += 1
        if isinstance(step, Exception):
            raise step
        return step


@pytest.mark.parametrize(
    "url",
    [
        "https://keystead.example",
        "https://keystead.example:8443/prefix/",
        "http://127.0.0.1:8080",
        "http://127.9.9.9",
        "http://[::1]:1",
        "http://localhost:8080/",
        "https://xn--exmple-cua.com",
        "https://a_b.example.",
        "https://192.0.2.1",
    ],
)
def test_addresses_that_are_taken(url: str) -> None:
    assert check_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8080",
        "ftp://localhost",
        "http://keystead.example",
        "http://localhost.example",
        "http://10.0.0.1",
        "http://0.0.0.0:8080",
        "http://127.0.0.1@evil.example/",
        "http://[::1",
        "https://",
        "https://a.example:99999",
        "https://user:pw@keystead.example",
        "https://a.example/?x=1",
        "https://a.example/#f",
        "https://a..b",
        "https://.a",
        "https://-a.example",
        "https://xn--a",
        "https://exämple..com",
        "https://exämple.com",
        "https://a.example\n",
        "https://a\t.example",
        "https://a.example/ b",
        "https://a b.example",
        "https://a%20b.example",
        "https://" + "a" * 64 + ".example",
        "https://" + ".".join(["a" * 60] * 5),
        "https://a.example\\@evil.example",
        "https://[::1]x",
        "https://\ud800.example",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        KeysteadClient(url, TOKEN)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("token", ["", "a b", "a\n", "a\r\nX-Evil: 1", "ä", "\x00"])
def test_a_token_that_cannot_be_one_is_refused_unseen(token: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        KeysteadClient(URL, token)
    assert token == "" or token not in str(caught.value)


def test_the_token_is_nowhere_to_be_read(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    steps = Script(httpx.ReadError("boom"), problem(401, "unauthenticated", detail="no"))
    shown = []
    for raised in (ServiceUnreachable, Unauthenticated):
        with client(steps, retries=0) as service:
            shown += [repr(service), repr(service._transport), str(vars(service))]
            with pytest.raises(raised) as caught:
                service.show_tenant("acme")
            shown += ["".join(traceback.format_exception(caught.value)), repr(caught.value)]
    shown.append(caplog.text)
    assert not [text for text in shown if "secret-part" in text]


@pytest.mark.parametrize(
    "failure",
    [
        problem(503, "store_unavailable"),
        problem(429, "too_many_requests"),
        httpx.ReadTimeout("x"),
        httpx.ConnectError("x"),
    ],
    ids=["503", "429", "timeout", "connect"],
)
def test_an_idempotent_call_is_repeated(failure: httpx.Response | Exception) -> None:
    slept: list[float] = []
    steps = Script(failure, failure, httpx.Response(200, json=TENANT))
    assert client(steps, slept=slept).show_tenant("acme").tenant_id == "acme"
    assert slept == [0.25, 0.5]


def test_repeating_ends() -> None:
    steps = Script(problem(503, "store_unavailable"))
    with pytest.raises(StoreUnavailable):
        client(steps).show_tenant("acme")
    assert steps.asked == 3


def test_what_is_not_retryable_is_not_repeated() -> None:
    steps = Script(problem(424, "key_revoked", detail="no"))
    with pytest.raises(KeyRevoked):
        client(steps).show_tenant("acme")
    assert steps.asked == 1


@pytest.mark.parametrize("call", ["rotate", "new_data_key"])
def test_a_call_that_may_have_acted_is_not_repeated(call: str) -> None:
    failures: list[tuple[httpx.Response | Exception, type[Exception]]] = [
        (httpx.ReadTimeout("x"), ServiceUnreachable),
        (problem(503, "store_unavailable"), StoreUnavailable),
    ]
    for failure, raised in failures:
        steps = Script(failure)
        service = client(steps)
        with pytest.raises(raised):
            service.rotate("acme") if call == "rotate" else service.new_data_key("acme", {})
        assert steps.asked == 1


def test_a_call_that_was_never_sent_is_repeated() -> None:
    steps = Script(httpx.ConnectError("refused"), httpx.Response(200, json=ROTATION))
    assert client(steps).rotate("acme").sequence == 2


def test_retry_after_is_honoured_up_to_a_bound() -> None:
    slept: list[float] = []
    steps = Script(problem(503, "store_unavailable", headers={"retry-after": "4"}), httpx.Response(200, json=TENANT))
    client(steps, slept=slept).show_tenant("acme")
    assert slept == [4]
    steps = Script(problem(429, "too_many_requests", headers={"retry-after": "11"}))
    with pytest.raises(TooManyRequests) as caught:
        client(steps, slept=slept).show_tenant("acme")
    assert caught.value.retry_after == 11
    assert (slept, steps.asked) == ([4], 1)


def test_a_redirect_does_not_carry_the_token_away() -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(307, headers={"location": "http://127.0.0.1:9/elsewhere"})

    with pytest.raises(UnexpectedAnswer, match="redirect"):
        client(handler).show_tenant("acme")
    assert asked == [f"{URL}/v1/tenants/acme"]


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, content=b"{", headers={"content-type": "application/json"}),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={**TENANT, "state": 7}),
        httpx.Response(200, json={"tenant_id": "acme"}),
        httpx.Response(204),
        httpx.Response(200, content=bytes(MAX_ANSWER + 1), headers={"content-type": "application/json"}),
        httpx.Response(200, content=b'{"a":' * 100_000, headers={"content-type": "application/json"}),
        httpx.Response(
            200,
            content=json.dumps({**TENANT, "created": "\ud800"}).encode(),
            headers={"content-type": "application/json"},
        ),
    ],
    ids=["html", "broken", "list", "type", "missing", "empty", "long", "deep", "surrogate"],
)
def test_an_answer_that_is_none(response: httpx.Response) -> None:
    with pytest.raises(UnexpectedAnswer):
        client(Script(response), retries=0).show_tenant("acme")


class Untouched(httpx.SyncByteStream):
    """A body that must not be read."""

    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError("a compressed body was read")


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "zstd", "identity, gzip", "x"])
def test_an_answer_that_could_grow_is_not_opened(encoding: str) -> None:
    headers = {"content-encoding": encoding, "content-type": "application/json"}
    with pytest.raises(UnexpectedAnswer, match="Content-Encoding"):
        client(Script(httpx.Response(200, headers=headers, stream=Untouched())), retries=0).show_tenant("acme")
    with pytest.raises(Unavailable):
        client(Script(httpx.Response(503, headers=headers, stream=Untouched())), retries=0).show_tenant("acme")


@pytest.mark.parametrize("status", [400, 500])
def test_a_problem_nested_beyond_reading(status: int) -> None:
    response = httpx.Response(status, content=b"[" * 200_000, headers={"content-type": "application/problem+json"})
    with pytest.raises(KeysteadError, match=f"HTTP {status}"):
        client(Script(response), retries=0).show_tenant("acme")


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (UnicodeError("idna"), InvalidRequest),
        (httpx.InvalidURL("x"), InvalidRequest),
        (OSError(5, "Input/output error"), ServiceUnreachable),
        (httpx.LocalProtocolError("x"), ServiceUnreachable),
        (httpx.DecodingError("x"), ServiceUnreachable),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_only_errors_of_ours_come_out(failure: Exception, raised: type[KeysteadError]) -> None:
    with pytest.raises(raised):
        client(Script(failure), retries=0).show_tenant("acme")


def test_waiting_is_told() -> None:
    told: list[tuple[str, float]] = []
    steps = Script(problem(503, "store_unavailable", headers={"retry-after": "4"}), httpx.Response(200, json=TENANT))
    service = KeysteadClient(
        URL,
        TOKEN,
        on_wait=lambda error, seconds: told.append((error.code, seconds)),
        sleep=lambda _seconds: told.append(("slept", 0)),
        http=httpx.MockTransport(steps),
    )
    service.show_tenant("acme")
    assert told == [("store_unavailable", 4), ("slept", 0)]


def test_nothing_listens() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        service = KeysteadClient(f"http://127.0.0.1:{held.getsockname()[1]}", TOKEN, retries=0)
        with service, pytest.raises(ServiceUnreachable) as caught:
            service.show_tenant("acme")
    assert not caught.value.sent
    assert "keystead serve" in str(caught.value.hint)


def test_the_environment_s_proxy_never_sees_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with KeysteadClient(URL, TOKEN) as service:
        assert not service._transport._http._mounts
        assert httpx.Client()._mounts, "the variables would have been heard"


def test_a_file_of_authorities_that_is_none(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pem", tmp_path):
        service = KeysteadClient("https://keystead.example", TOKEN, ca_file=path)
        with pytest.raises(InvalidRequest, match="authorities"):
            service.show_tenant("acme")


def test_httpx_is_loaded_on_first_use_only() -> None:
    import subprocess
    import sys

    code = "import sys, core.client.files, core.client.client\nsys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
