"""One operation on Azure Tables: how long it tries, what it asks for, and what it refuses before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError

from core.domain.audit import EMPTY_HEAD
from core.domain.branch_keys import ACTIVE
from core.domain.tenants import RECORD
from core.errors import InternalError, StoreUnavailable
from core.stores.azure_tables import (
    AzureAuditLog,
    AzureDatabase,
    AzureKeyStore,
    AzureTables,
    AzureTenantStore,
    create_tables,
)
from core.stores.azure_tables.operation import Operation, Put
from tests.samples import new_version, next_entry
from tests.stores.azure_tables.disturbed import CountingClock, timed_out
from tests.stores.azure_tables.double import TablesDouble, refused


class Canned:
    """A client, and each table of it, whose reads find nothing, and whose writes get the same answer each time.

    Args:
        write: An answer or an error.
        read: An error, if reads fail.
    """

    def __init__(self, write: Any = None, read: Exception | None = None) -> None:
        self.reads: list[str] = []
        self.writes: list[Any] = []
        self.continuation_token: object = None
        self._write, self._error = write, read

    def get_table_client(self, name: str) -> Canned:
        return self

    def query_entities(self, query_filter: str, *, select: object) -> Canned:
        self.reads.append(query_filter)
        return self

    def by_page(self, continuation_token: object) -> Canned:
        return self

    def __next__(self) -> Any:
        if self._error is not None:
            raise self._error
        return iter(())

    def submit_transaction(self, operations: Any) -> Any:
        self.writes.append(operations)
        if isinstance(self._write, Exception):
            raise self._write
        return self._write

    create_table = submit_transaction


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that an operation would have made."""
    made: list[float] = []
    monkeypatch.setattr("core.stores.azure_tables.operation.sleep", made.append)
    return made


def database(client: Canned) -> AzureDatabase:
    return AzureDatabase(client, AzureTables(), CountingClock())


Use = Callable[[AzureDatabase], object]
READS: dict[str, Use] = {
    "row": lambda at: AzureKeyStore(at).read("bk", ACTIVE),
    "versions": lambda at: AzureKeyStore(at).list_versions("bk"),
    "fence": lambda at: AzureKeyStore(at).read_fence("bk"),
    "document": lambda at: AzureTenantStore(at).read("acme", "note"),
    "tenants": lambda at: AzureTenantStore(at).list_tenants(),
    "head": lambda at: AzureAuditLog(at).head("acme"),
    "entries": lambda at: AzureAuditLog(at).read("acme"),
}
WRITES: dict[str, Use] = {
    "create": lambda at: AzureKeyStore(at).create(*new_version("bk", 1), 1),
    "document": lambda at: AzureTenantStore(at).write("acme", "note", {}, expected_revision=0),
    "append": lambda at: AzureAuditLog(at).append(next_entry(EMPTY_HEAD, "acme")),
}
each_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (timed_out(), 3),
        (ServiceRequestError("SECRET"), 3),
        (refused(429, ""), 3),
        (refused(503, "ServerBusy"), 3),
        (refused(403, "AuthorizationFailure"), 1),
        (refused(404, "TableNotFound"), 1),
        (refused(404, "ResourceNotFound"), 1),
        (refused(412, ""), 1),
    ],
    ids=lambda value: str(vars(value).get("status_code", type(value).__name__)) if value not in (1, 3) else str(value),
)
def test_a_read_is_tried_for_as_long_as_there_is_time(read: Use, error: Exception, attempts: int) -> None:
    client = Canned(read=error)
    with pytest.raises(StoreUnavailable) as raised:
        read(database(client))
    assert len(client.reads) == attempts
    assert raised.value.__context__ is None
    assert "may have written" not in raised.value.detail
    assert "SECRET" not in f"{raised.value.detail}{raised.value.hint}"
    if vars(error).get("status_code") == 404:
        assert raised.value.hint
        assert "create the tables" in raised.value.hint


def test_a_read_that_azure_refuses_as_a_request_is_our_fault() -> None:
    client = Canned(read=refused(400, "InvalidInput"))
    with pytest.raises(InternalError):
        AzureKeyStore(database(client)).read_fence("bk")
    assert len(client.reads) == 1


def test_pauses_differ_and_grow_up_to_a_limit(pauses: list[float]) -> None:
    class Standing(CountingClock):
        def boot(self) -> float:
            return 0.0 if len(pauses) < 200 else 3.0

    with pytest.raises(StoreUnavailable):
        AzureKeyStore(AzureDatabase(Canned(read=timed_out()), AzureTables(), Standing())).read_fence("bk")
    assert len(pauses) == len(set(pauses)) == 200
    assert all(0 <= pause <= min(0.8, 0.05 * 2**number) for number, pause in enumerate(pauses))
    assert max(pauses) > 0.4


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_reads_name_a_partition_and_rows_and_nothing_else(read: Use) -> None:
    client = Canned()
    read(database(client))
    assert client.reads
    for condition in client.reads:
        assert condition.startswith("PartitionKey eq '")
        assert condition.count("'") % 2 == 0
        assert {word for word in condition.replace("(", "").replace(")", "").split() if "'" not in word} <= {
            *("PartitionKey", "RowKey", "and", "or", "eq", "gt", "le")
        }


@each_write
@pytest.mark.parametrize(
    "answer",
    [[], [{"etag": "x"}] * 7, [{"etag": "x"}, {}] * 3, None, 7, [None, None]],
    ids=["nothing", "too many", "one without", "none", "a number", "nones"],
)
def test_an_answer_in_which_something_is_missing_is_no_success(write: Use, answer: Any) -> None:
    client = Canned(write=answer)
    with pytest.raises(StoreUnavailable, match="may have written"):
        write(database(client))
    assert len(client.writes) == 3


@each_write
def test_a_write_that_azure_refuses_as_a_request_was_not_made(write: Use) -> None:
    client = Canned(write=refused(400, "InvalidInput"))
    with pytest.raises(InternalError) as raised:
        write(database(client))
    assert raised.value.__context__ is None
    assert len(client.writes) == 1


@each_write
def test_a_race_lost_again_and_again_ends(write: Use) -> None:
    client = Canned(write=refused(412, "UpdateConditionNotSatisfied"))
    with pytest.raises(StoreUnavailable) as raised:
        write(database(client))
    assert "may have written" not in raised.value.detail
    assert len(client.writes) == 3


@each_write
def test_every_write_leaves_an_id_of_its_own_in_what_it_writes(write: Use) -> None:
    ids: set[str] = set()
    for _ in range(2):
        client = Canned(write=timed_out())
        with pytest.raises(StoreUnavailable):
            write(database(client))
        found = {entity["writes"] for sent in client.writes for _, entity, _ in sent}
        assert len(found) == 1
        ids |= found
    assert len(ids) == 2


@each_write
def test_a_write_has_no_more_actions_than_five(write: Use) -> None:
    client = Canned(write=refused(403, ""))
    with pytest.raises(StoreUnavailable):
        write(database(client))
    assert all(1 <= len(sent) <= 5 for sent in client.writes)


@pytest.mark.parametrize("count", [0, 101])
def test_a_write_of_none_or_too_many_is_not_sent(count: int) -> None:
    client = Canned()
    puts = [Put({"PartitionKey": "p", "RowKey": str(number)}, None) for number in range(count)]
    with pytest.raises(InternalError):
        Operation(CountingClock()).write(client, puts, lambda: None)
    assert client.writes == []


@pytest.mark.parametrize(
    "use",
    [
        lambda at: AzureTenantStore(at).write("acme", "note", {"x": "y" * 500_000}, expected_revision=0),
        lambda at: AzureAuditLog(at).append(next_entry(EMPTY_HEAD, "acme", {"x": "y" * 500_000})),
        lambda at: AzureKeyStore(at).create(*new_version("bk", 1, enc=bytes(760_000)), 1),
        lambda at: AzureKeyStore(at).create(*new_version("bk", 1, enc=bytes(748_000)), 1),
        lambda at: AzureTenantStore(at).read("", "note"),
        lambda at: AzureTenantStore(at).read("acme", ""),
        lambda at: AzureTenantStore(at).read("x" * 201, RECORD),
        lambda at: AzureTenantStore(at).list_tenants(after="\ud800"),
        lambda at: AzureKeyStore(at).read("", ACTIVE),
        lambda at: AzureKeyStore(at).list_versions(""),
        lambda at: AzureKeyStore(at).move_fence("", expected=1, new=2),
        lambda at: AzureAuditLog(at).head(""),
        lambda at: AzureAuditLog(at).read("\udc80"),
    ],
)
def test_what_azure_cannot_hold_is_not_sent(use: Use) -> None:
    client = Canned()
    with pytest.raises(InternalError):
        use(database(client))
    assert client.writes == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refused(403, "AuthorizationFailure"), StoreUnavailable),
        (refused(409, "TableBeingDeleted"), StoreUnavailable),
        (refused(400, "InvalidInput"), InternalError),
        (timed_out(), StoreUnavailable),
    ],
    ids=["refused", "being deleted", "invalid", "silent"],
)
def test_tables_that_cannot_be_made(error: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        create_tables(Canned(write=error), AzureTables())


def test_tables_that_are_there_stay() -> None:
    client = TablesDouble()
    create_tables(client, AzureTables())
    store = AzureKeyStore(AzureDatabase(client, AzureTables(), CountingClock()))
    store.create(*new_version("bk", 1), 1)
    create_tables(client, AzureTables())
    assert store.read_fence("bk") == 1


@pytest.mark.parametrize(
    "names",
    [
        ("ab", "tenants", "audit"),
        ("x" * 64, "tenants", "audit"),
        ("1keys", "tenants", "audit"),
        ("key-rows", "tenants", "audit"),
        ("Keys", "tenants", "audit"),
        ("tables", "tenants", "audit"),
        ("keys", "keys", "audit"),
    ],
)
def test_names_of_tables_that_not_both_services_take(names: tuple[str, str, str]) -> None:
    with pytest.raises(InternalError):
        AzureTables(*names)


def test_repr_names_the_tables_only() -> None:
    assert repr(database(Canned())) == f"AzureDatabase({AzureTables()!r})"
    assert repr(Put({"enc0": b"SECRET"}, {"enc0": b"SECRET"})) == "Put()"
