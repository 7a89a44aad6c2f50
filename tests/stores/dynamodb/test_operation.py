"""One operation on DynamoDB: how long it tries, what it asks for, and what it refuses before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import EndpointConnectionError

from core.domain.audit import EMPTY_HEAD
from core.domain.branch_keys import ACTIVE
from core.errors import InternalError, StoreCorrupt, StoreUnavailable
from core.stores.dynamodb import (
    DynamoAuditLog,
    DynamoDatabase,
    DynamoKeyStore,
    DynamoTables,
    DynamoTenantStore,
    create_tables,
    dynamodb_client,
)
from core.stores.dynamodb.operation import Operation
from tests.samples import new_version, next_entry
from tests.stores.dynamodb.disturbed import refused, timed_out

METHODS = ("get_item", "batch_get_item", "query", "transact_get_items", "transact_write_items")


class CountingClock:
    """One more second each time it is read."""

    def __init__(self) -> None:
        self.seconds = -1.0

    def wall(self) -> float:
        raise AssertionError("an operation reads the boot clock only")

    def boot(self) -> float:
        self.seconds += 1
        return self.seconds


class Canned:
    """A client that gives canned answers, and keeps the requests.

    Args:
        answers: Method -> answers or errors, each given once; the last one again and again.
    """

    def __init__(self, **answers: list[Any]) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._answers = answers

    def __getattr__(self, method: str) -> Any:
        def call(**request: Any) -> Any:
            self.requests.append((method, request))
            answers = self._answers[method]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            return {"ResponseMetadata": {"RequestId": "x"}, **answer}

        return call


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that an operation would have made."""
    made: list[float] = []
    monkeypatch.setattr("core.stores.dynamodb.operation.sleep", made.append)
    return made


def database(client: Canned) -> DynamoDatabase:
    return DynamoDatabase(client, DynamoTables(), CountingClock())


READS: dict[str, Callable[[DynamoDatabase], object]] = {
    "row": lambda at: DynamoKeyStore(at).read("bk", ACTIVE),
    "versions": lambda at: DynamoKeyStore(at).list_versions("bk"),
    "fence": lambda at: DynamoKeyStore(at).read_fence("bk"),
    "document": lambda at: DynamoTenantStore(at).read("acme", "note"),
    "tenants": lambda at: DynamoTenantStore(at).list_tenants(),
    "head": lambda at: DynamoAuditLog(at).head("acme"),
    "entries": lambda at: DynamoAuditLog(at).read("acme"),
}
each_read = pytest.mark.parametrize("read", READS.values(), ids=READS)


@each_read
@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (timed_out(), 3),
        (EndpointConnectionError(endpoint_url="x"), 3),
        (refused("ThrottlingException"), 3),
        (refused("InternalServerError", 500), 3),
        (refused("AccessDeniedException"), 1),
        (refused("ResourceNotFoundException"), 1),
    ],
    ids=lambda value: str(getattr(value, "response", value)),
)
def test_a_read_is_tried_for_as_long_as_there_is_time(
    read: Callable[[DynamoDatabase], object], error: Exception, attempts: int
) -> None:
    client = Canned(**{method: [error] for method in METHODS})
    with pytest.raises(StoreUnavailable) as raised:
        read(database(client))
    assert len(client.requests) == attempts
    assert raised.value.__context__ is None
    assert "may have written" not in raised.value.detail


BODIES = {
    "nothing": b"",
    "no JSON": b"<html>",
    "no UTF-8": b'{"Item": "\xff"}',
    "cut short": b'{"Item": {"type"',
    "a list": b"[]",
    "a number": b"7",
    "an item that is a list": b'{"Item": [], "Items": [[]], "Responses": [[], []]}',
    "items that are a number": b'{"Item": 7, "Items": 7, "Responses": 7}',
    "values without a type": b'{"Item": {"a": {}}, "Items": [{"a": {}}], "Responses": [{"Item": {"a": {}}}]}',
    "bytes that are none": b'{"Item": {"a": {"B": "!"}}, "Items": [{"a": {"B": "!"}}], "Responses": 1}',
}


class Body(BytesIO):
    """A body as botocore wants to read it."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


class Answering:
    """A real client that gets the same answer to whatever it sends."""

    status, headers, body = 200, dict[str, str](), b""

    def __init__(self) -> None:
        self.client = dynamodb_client("eu-central-1", access_key_id="x", secret_access_key="y")
        self.client.meta.events.register("before-send.dynamodb", self._answer)

    def _answer(self, request: Any, **_: object) -> AWSResponse:
        return AWSResponse(request.url, self.status, self.headers, Body(self.body))


@pytest.fixture(scope="module")
def answering() -> Answering:
    return Answering()


def test_pauses_differ_and_grow_up_to_a_limit(pauses: list[float]) -> None:
    class Standing(CountingClock):
        def boot(self) -> float:
            return 0.0 if len(pauses) < 200 else 3.0

    with pytest.raises(StoreUnavailable):
        DynamoKeyStore(DynamoDatabase(Canned(get_item=[timed_out()]), DynamoTables(), Standing())).read_fence("bk")
    assert len(pauses) == len(set(pauses)) == 200
    assert all(0 <= pause <= min(0.8, 0.05 * 2**number) for number, pause in enumerate(pauses))
    assert max(pauses) > 0.4


@each_read
@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_is_not_dynamodbs(
    answering: Answering, read: Callable[[DynamoDatabase], object], body: bytes, status: int
) -> None:
    """No other error than ours, whatever stands between us and DynamoDB; and never: there is no such thing."""
    answering.status, answering.headers, answering.body = status, {}, body
    with pytest.raises(StoreUnavailable):
        read(DynamoDatabase(answering.client, DynamoTables(), CountingClock()))


@each_read
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_damaged_body_of_dynamodbs(
    answering: Answering, read: Callable[[DynamoDatabase], object], body: bytes
) -> None:
    answering.status, answering.headers, answering.body = 200, {"x-amzn-requestid": "x"}, body
    with suppress(StoreUnavailable, StoreCorrupt):
        assert read(DynamoDatabase(answering.client, DynamoTables(), CountingClock())) in (None, EMPTY_HEAD)


@pytest.mark.parametrize("header", ["x-amz-crc32", "x-nothing"])
def test_a_body_changed_on_its_way(answering: Answering, header: str) -> None:
    answering.status, answering.body = 200, b"{}"
    answering.headers = {"x-amzn-requestid": "x", header: "1"}
    store = DynamoKeyStore(DynamoDatabase(answering.client, DynamoTables(), CountingClock()))
    if header == "x-nothing":
        assert store.read_fence("bk") is None
    else:
        with pytest.raises(StoreUnavailable, match="Checksum"):
            store.read_fence("bk")


def test_a_write_that_dynamodb_did_not_answer_is_no_success() -> None:
    unnamed: dict[str, Any] = {"ResponseMetadata": {}}
    client = Canned(get_item=[{}], transact_write_items=[unnamed])
    with pytest.raises(StoreUnavailable, match="may have written"):
        DynamoTenantStore(database(client)).write("acme", "note", {}, expected_revision=0)


def test_a_read_that_dynamodb_refuses_as_a_request_is_our_fault() -> None:
    client = Canned(get_item=[refused("ValidationException")])
    with pytest.raises(InternalError):
        DynamoKeyStore(database(client)).read_fence("bk")
    assert len(client.requests) == 1


@each_read
def test_reads_are_consistent(read: Callable[[DynamoDatabase], object]) -> None:
    page = {"Items": [{"type": {"S": "branch:version:x"}, "document": {"S": "acme"}}]}
    client = Canned(
        get_item=[{}],
        query=[page],
        transact_get_items=[{"Responses": [{}, {}]}],
        batch_get_item=[{"Responses": {}}],
    )
    with suppress(StoreCorrupt):
        read(database(client))
    assert client.requests
    for method, request in client.requests:
        if method == "batch_get_item":
            assert [keys["ConsistentRead"] for keys in request["RequestItems"].values()] == [True]
        elif method != "transact_get_items":
            assert request["ConsistentRead"] is True


def test_pages_follow_one_another_until_there_are_enough() -> None:
    def page(*numbers: int, last: bool = False) -> dict[str, Any]:
        items = [{"tenant": {"S": "_tenants"}, "document": {"S": f"t-{number}"}} for number in numbers]
        return {"Items": items} | ({} if last else {"LastEvaluatedKey": items[-1] if items else {}})

    client = Canned(query=[page(1, 2), page(3), page(4, last=True)], batch_get_item=[{"Responses": {}}])
    with pytest.raises(StoreCorrupt):
        DynamoTenantStore(database(client)).list_tenants(limit=5)
    queries = [request for method, request in client.requests if method == "query"]
    assert [query["Limit"] for query in queries] == [5, 3, 2]
    assert "ExclusiveStartKey" not in queries[0]
    assert [query["ExclusiveStartKey"]["document"]["S"] for query in queries[1:]] == ["t-2", "t-3"]


def test_keys_that_were_not_processed_are_asked_for_again() -> None:
    keys = [{"tenant": {"S": f"t-{number}"}} for number in range(3)]

    def answer(found: int, left: list[Any]) -> dict[str, Any]:
        unprocessed = {"UnprocessedKeys": {"t": {"Keys": left}}} if left else {}
        return {"Responses": {"t": [{"number": {"N": str(found)}}]}, **unprocessed}

    nothing = {"Responses": {"t": []}, "UnprocessedKeys": {"t": {"Keys": keys[1:]}}}
    client = Canned(batch_get_item=[answer(1, keys[1:]), nothing, answer(2, keys[2:]), answer(3, [])])
    found = Operation(client, CountingClock()).get_many("t", keys)
    assert [item["number"]["N"] for item in found] == ["1", "2", "3"]
    assert [len(request["RequestItems"]["t"]["Keys"]) for _, request in client.requests] == [3, 2, 2, 1]


def test_keys_that_are_never_processed() -> None:
    keys = [{"tenant": {"S": "t"}}]
    client = Canned(batch_get_item=[{"Responses": {}, "UnprocessedKeys": {"t": {"Keys": keys}}}])
    with pytest.raises(StoreUnavailable):
        Operation(client, CountingClock()).get_many("t", keys)


def test_a_hundred_keys_at_a_time() -> None:
    client = Canned(batch_get_item=[{"Responses": {}}])
    Operation(client, CountingClock()).get_many("t", [{"tenant": {"S": str(number)}} for number in range(250)])
    assert [len(request["RequestItems"]["t"]["Keys"]) for _, request in client.requests] == [100, 100, 50]


@pytest.mark.parametrize(
    "use",
    [
        lambda at: DynamoTenantStore(at).write("acme", "note", {"x": "\u00e9" * 70_000}, expected_revision=0),
        lambda at: DynamoAuditLog(at).append(next_entry(EMPTY_HEAD, "acme", {"x": "y" * 410_000})),
        lambda at: DynamoKeyStore(at).create(*new_version("bk", 1, enc=bytes(410_000)), 1),
    ],
    ids=["document", "entry", "row"],
)
def test_an_item_too_large_is_not_sent(use: Callable[[DynamoDatabase], object]) -> None:
    client = Canned(get_item=[{}], query=[{"Items": []}])
    with pytest.raises(InternalError, match="400 KB"):
        use(database(client))


@pytest.mark.parametrize(
    "use",
    [
        lambda at: DynamoTenantStore(at).read("", "note"),
        lambda at: DynamoTenantStore(at).read("acme", ""),
        lambda at: DynamoTenantStore(at).read("x" * 2049, "note"),
        lambda at: DynamoTenantStore(at).read("acme", "\u00e9" * 513),
        lambda at: DynamoTenantStore(at).read("_tenants", "acme"),
        lambda at: DynamoTenantStore(at).write("_tenants", "acme", {}, expected_revision=0),
        lambda at: DynamoTenantStore(at).list_tenants(after="x" * 1025),
        lambda at: DynamoKeyStore(at).read("", ACTIVE),
        lambda at: DynamoKeyStore(at).read("bk", "x" * 1020),
        lambda at: DynamoKeyStore(at).list_versions(""),
        lambda at: DynamoKeyStore(at).read_fence("x" * 2049),
        lambda at: DynamoKeyStore(at).move_fence("", expected=1, new=2),
        lambda at: DynamoAuditLog(at).head(""),
        lambda at: DynamoAuditLog(at).read("x" * 2049),
    ],
)
def test_an_id_that_dynamodb_cannot_hold_is_not_sent(use: Callable[[DynamoDatabase], object]) -> None:
    client = Canned()
    with pytest.raises(InternalError):
        use(database(client))
    assert client.requests == []


def test_a_write_that_dynamodb_refuses_as_a_request_was_not_made() -> None:
    client = Canned(get_item=[{}], transact_write_items=[refused("ValidationException")])
    with pytest.raises(InternalError) as raised:
        DynamoTenantStore(database(client)).write("acme", "note", {}, expected_revision=0)
    assert raised.value.__context__ is None


def test_every_write_has_a_token_of_its_own_and_leaves_it_in_its_items() -> None:
    client = Canned(get_item=[{}], transact_write_items=[timed_out(), {}])
    store = DynamoTenantStore(database(client))
    for _ in range(2):
        store.write("acme", "note", {}, expected_revision=0)
    writes = [request for method, request in client.requests if method == "transact_write_items"]
    tokens = [request["ClientRequestToken"] for request in writes]
    assert tokens[0] == tokens[1] != tokens[2]
    for request in writes:
        assert request["TransactItems"][0]["Put"]["Item"]["write_id"] == {"S": request["ClientRequestToken"]}


def test_the_client_leaves_trying_again_to_us() -> None:
    client = dynamodb_client(
        "eu-central-1", access_key_id="x", secret_access_key="y", endpoint_url="http://localhost:1"
    )
    config = client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (1, 2)
    assert config.retries["total_max_attempts"] == 1
    assert client.meta.endpoint_url == "http://localhost:1"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refused("AccessDeniedException"), StoreUnavailable),
        (refused("ValidationException"), InternalError),
        (timed_out(), StoreUnavailable),
    ],
    ids=["refused", "invalid", "silent"],
)
def test_tables_that_cannot_be_made(error: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        create_tables(Canned(create_table=[error]), DynamoTables())


def test_repr_names_the_tables_only() -> None:
    assert repr(database(Canned())) == f"DynamoDatabase({DynamoTables()!r})"
