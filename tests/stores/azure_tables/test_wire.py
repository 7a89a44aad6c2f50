"""Answers that are none, over the wire and through the SDK as it is: no other error than ours, and never a success."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from azure.core.credentials import AzureNamedKeyCredential

from core.domain.audit import EMPTY_HEAD
from core.errors import Conflict, InternalError, StoreCorrupt, StoreUnavailable
from core.stores.azure_tables import (
    AzureAuditLog,
    AzureDatabase,
    AzureKeyStore,
    AzureTables,
    AzureTenantStore,
    tables_client,
)
from tests.samples import new_version, next_entry
from tests.stores.azure_tables.disturbed import CountingClock

JSON = "application/json;odata=minimalmetadata"
NOTHING = b'{"odata.metadata": "x", "value": []}'


@dataclass(frozen=True)
class Answer:
    """What the server says to a request.

    Attributes:
        body: The answer's; cut short, the connection ends in the middle of it.
        status: 0 ends the connection without an answer.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": JSON})
    cut: int = 0


class _Quiet(ThreadingHTTPServer):
    """Does not mind clients that hang up on what they cannot make sense of."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Server:
    """A server that says what it is told to say: to reads one thing, to writes another."""

    def __init__(self) -> None:
        self.read = self.write = Answer(NOTHING)
        self.requests: list[str] = []
        self.sizes: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self) -> None:
                outer.sizes.append(len(self.rfile.read(int(self.headers.get("Content-Length", 0)))))
                outer.requests.append(self.command)
                answer = outer.read if self.command == "GET" else outer.write
                self.close_connection = not answer.status or bool(answer.cut)
                if answer.status:
                    self.send_response(answer.status)
                    for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(answer.body[: len(answer.body) - answer.cut])

            do_GET = do_POST = do_PUT = answer  # noqa: N815 - the names are the base class's

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
                pass

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/acme"
        self._client = tables_client(self.url, AzureNamedKeyCredential("acme", "U0VDUkVU"))

    def database(self) -> AzureDatabase:
        return AzureDatabase(self._client, AzureTables(), CountingClock())

    def close(self) -> None:
        self._client.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr("core.stores.azure_tables.operation.sleep", lambda seconds: None)
    running.read = running.write = Answer(NOTHING)
    running.requests.clear()
    return running


Use = Callable[[AzureDatabase], object]
READS: dict[str, Use] = {
    "fence": lambda at: AzureKeyStore(at).read_fence("bk"),
    "versions": lambda at: AzureKeyStore(at).list_versions("bk"),
    "document": lambda at: AzureTenantStore(at).read("acme", "note"),
    "tenants": lambda at: AzureTenantStore(at).list_tenants(),
    "entries": lambda at: AzureAuditLog(at).read("acme"),
}
WRITES: dict[str, Use] = {
    "create": lambda at: AzureKeyStore(at).create(*new_version("bk", 1), 1),
    "document": lambda at: AzureTenantStore(at).write("acme", "note", {}, expected_revision=0),
    "append": lambda at: AzureAuditLog(at).append(next_entry(EMPTY_HEAD, "acme")),
}
each_read = pytest.mark.parametrize("read", READS.values(), ids=READS)
each_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)

BODIES = {
    "nothing": b"",
    "a page": b"<html>",
    "no UTF-8": b'{"value": ["\xff"]}',
    "cut short": b'{"value": [{"PartitionKey"',
    "a list": b"[]",
    "a number": b"7",
    "another object": b"{}",
    "a value that is no list": b'{"value": 7}',
    "numbers for entities": b'{"value": [7]}',
    "an entity without a key": b'{"value": [{"odata.etag": "x"}]}',
    "an entity that was not asked for": b'{"value": [{"PartitionKey": "p", "RowKey": "r", "odata.etag": "x"}]}',
    "keys that are none": b'{"value": [{"PartitionKey": 7, "RowKey": 7, "odata.etag": "x"}]}',
}


def test_an_answer_of_nothing_is_nothing(server: Server) -> None:
    for read in READS.values():
        assert not read(server.database())


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("status", [200, 404, 500])
@pytest.mark.parametrize("content_type", [JSON, "text/html"])
def test_a_body_that_is_not_azures(server: Server, body: str, status: int, content_type: str) -> None:
    """Never: there is no such thing."""
    server.read = Answer(BODIES[body], status, {"Content-Type": content_type})
    for read in READS.values() if status == 200 else [READS["fence"]]:
        with pytest.raises(StoreUnavailable) as raised:
            read(server.database())
        assert raised.value.__context__ is None


ENTITY = '{"PartitionKey": "bk", "RowKey": "%s", %s"attributes0": "{}"}'
OTHERS = {
    "another row": ENTITY % ("branch:ACTIVE", '"odata.etag": "x", '),
    "another partition": (ENTITY % ("keystead:fence", '"odata.etag": "x", ')).replace("bk", "kb"),
    "no ETag": ENTITY % ("keystead:fence", ""),
    "bytes that are none": ENTITY
    % ("keystead:fence", '"odata.etag": "x", "enc0@odata.type": "Edm.Binary", "enc0": "x", '),
    "a number that is none": ENTITY % ("keystead:fence", '"odata.etag": "x", "n@odata.type": "Edm.Int64", "n": "x", '),
}


@pytest.mark.parametrize("entity", OTHERS.values(), ids=OTHERS)
def test_an_entity_that_is_no_answer(server: Server, entity: str) -> None:
    server.read = Answer(f'{{"value": [{entity}]}}'.encode())
    with pytest.raises(StoreUnavailable):
        AzureKeyStore(server.database()).read_fence("bk")
    server.read = Answer(f'{{"value": [{ENTITY % ("keystead:fence", """"odata.etag": "x", """)}]}}'.encode())
    with pytest.raises(StoreCorrupt):
        AzureKeyStore(server.database()).read_fence("bk")


@each_read
@pytest.mark.parametrize("answer", [Answer(status=0), Answer(NOTHING, cut=1), Answer(NOTHING, cut=len(NOTHING))])
def test_a_connection_that_ends(server: Server, read: Use, answer: Answer) -> None:
    server.read = answer
    with pytest.raises(StoreUnavailable):
        read(server.database())
    assert len(server.requests) == 3


def multipart(*parts: bytes) -> Answer:
    """The answer to a transaction."""
    inner = b"".join(
        b"--changeset\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n" + part + b"\r\n"
        for part in parts
    )
    body = (
        b"--batch\r\nContent-Type: multipart/mixed; boundary=changeset\r\n\r\n"
        + inner
        + b"--changeset--\r\n--batch--\r\n"
    )
    return Answer(body, 202, {"Content-Type": "multipart/mixed; boundary=batch"})


WRITTEN = b"HTTP/1.1 204 No Content\r\nETag: x\r\n\r\n"
REFUSED = (
    b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n\r\n"
    b'{"odata.error": {"code": "%s", "message": {"lang": "en-us", "value": "SECRET"}}}'
)
GARBLED: dict[str, Answer] = {
    "no answer": Answer(status=0),
    "a cut answer": Answer(multipart(*[WRITTEN] * 5).body, 202, multipart().headers, cut=60),
    "a page": Answer(b"<html>", 202, {"Content-Type": "text/html"}),
    "an object": Answer(b"{}", 202),
    "another status": Answer(multipart(*[WRITTEN] * 5).body, 200, multipart().headers),
    "no parts": multipart(),
    "too few parts": Answer(multipart(*[WRITTEN] * 9).body.replace(WRITTEN, b"", 8), 202, multipart().headers),
    "no ETag": multipart(*[WRITTEN.replace(b"ETag", b"Etat")] * 5),
    "no multipart": Answer(b"--batch", 202, multipart().headers),
    "nothing": Answer(b"", 202, {}),
    "a gateway": Answer(b"<html>", 502, {"Content-Type": "text/html"}),
    "redirected": Answer(b"", 302, {"Location": "/elsewhere"}),
    "a part that is none": multipart(b"HTTP/1.1 SECRET\r\n\r\n"),
}


@each_write
@pytest.mark.parametrize("garbled", GARBLED.values(), ids=GARBLED)
def test_a_write_whose_answer_is_none_may_have_been_made(server: Server, write: Use, garbled: Answer) -> None:
    server.write = garbled
    with pytest.raises(StoreUnavailable, match="may have written") as raised:
        write(server.database())
    assert raised.value.__context__ is None
    assert server.requests.count("POST") == (1 if garbled.status == 302 else 3)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (multipart(REFUSED % (b"412 Precondition Failed", b"UpdateConditionNotSatisfied")), StoreUnavailable),
        (multipart(REFUSED % (b"409 Conflict", b"EntityAlreadyExists")), StoreUnavailable),
        (multipart(REFUSED % (b"413 Too Large", b"RequestBodyTooLarge")), InternalError),
        (multipart(REFUSED % (b"400 Bad Request", b"InvalidInput")), InternalError),
        (multipart(REFUSED % (b"404 Not Found", b"TableNotFound")), StoreUnavailable),
        (Answer(REFUSED.partition(b"\r\n\r\n")[2] % b"AuthorizationFailure", 403), StoreUnavailable),
        (Answer(REFUSED.partition(b"\r\n\r\n")[2] % b"InvalidInput", 400), InternalError),
        (Answer(b"", 413), InternalError),
        (Answer(b"", 429, {"Retry-After": "1"}), StoreUnavailable),
    ],
    ids=lambda value: value.body.decode()[-60:] + str(value.status) if isinstance(value, Answer) else value.__name__,
)
@each_write
def test_a_write_that_is_refused_was_not_made(
    server: Server, write: Use, answer: Answer, expected: type[Exception]
) -> None:
    server.write = answer
    with pytest.raises((StoreUnavailable, InternalError, Conflict, StoreCorrupt)) as raised:
        write(server.database())
    assert type(raised.value) is expected
    told: Any = raised.value
    assert "may have written" not in told.detail
    assert "SECRET" not in f"{told.detail}{told.hint}{told.__context__}"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_nobody_is_followed_elsewhere(server: Server, status: int) -> None:
    elsewhere = Server()
    try:
        server.read = Answer(b"", status, {"Location": f"{elsewhere.url}/keysteadbranchkeys()"})
        with pytest.raises(StoreUnavailable):
            AzureKeyStore(server.database()).read_fence("bk")
        assert elsewhere.requests == []
        assert server.requests == ["GET"]
    finally:
        elsewhere.close()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_each_attempt_is_one_request(server: Server, status: int) -> None:
    """The SDK would wait and repeat by itself, above all where it is told how long."""
    server.read = Answer(b"", status, {"Retry-After": "600"})
    with pytest.raises(StoreUnavailable):
        AzureKeyStore(server.database()).read_fence("bk")
    assert len(server.requests) == 3


@pytest.mark.parametrize(("enc", "sent"), [(740_000, True), (748_000, False)])
def test_the_largest_request_is_one_that_both_services_take(server: Server, enc: int, sent: bool) -> None:
    server.write = Answer(b"", 403)
    server.sizes.clear()
    with pytest.raises((StoreUnavailable, InternalError)):
        AzureKeyStore(server.database()).create(*new_version("/" * 66, 1, enc=bytes(enc)), 1)
    assert (1_900_000 < max(server.sizes) <= 2_000_000) is sent
