"""The Azure stores keep every port's contract, in this process: over a double that is as narrow as both services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from azure.core.exceptions import HttpResponseError

from core.domain.branch_keys import ACTIVE
from core.domain.tenants import RECORD
from core.errors import StoreCorrupt
from tests.samples import new_id, new_version, rewrapped, tenant_record
from tests.stores.azure_tables.deployments import Deployment, fresh_tables
from tests.stores.azure_tables.double import Query, TablesDouble, code_of
from tests.stores.azure_tables.limits import LimitsSuite
from tests.stores.azure_tables.lost_answers import LostAnswersSuite
from tests.stores.azure_tables.suites import AuditLogSuite, KeyStoreSuite, TenantStoreSuite


@pytest.fixture(scope="class")
def deployment() -> Deployment:
    client = TablesDouble()
    return Deployment(client, fresh_tables(client))


class TestKeyStore(KeyStoreSuite):
    pass


class TestTenantStore(TenantStoreSuite):
    pass


class TestAuditLog(AuditLogSuite):
    pass


class TestLostAnswers(LostAnswersSuite):
    pass


class TestLimits(LimitsSuite):
    versions = 30


# Reads that see one half of a write


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Has something happen before a page is read, counted from now."""

    def arrange(number: int, act: Callable[[], None]) -> None:
        pages = iter(range(1, 1000))
        given = Query.__next__

        def following(query: Query) -> Any:
            if next(pages) == number:
                act()
            return given(query)

        monkeypatch.setattr(Query, "__next__", following)

    return arrange


@pytest.mark.parametrize("page", range(1, 6))
@pytest.mark.parametrize("read", ["row", "versions"])
def test_a_row_and_its_mac_are_of_one_write(
    deployment: Deployment, between: Callable[..., None], page: int, read: str
) -> None:
    branch_key_id = str(uuid4())
    version, active = new_version(branch_key_id, 1)
    deployment.keys.create(version, active, 1)
    old = active if read == "row" else version
    new = rewrapped(old)
    keys = deployment.keys
    between(page, lambda: keys.replace_wrapping(new, expected_enc=old.row.enc, fence=1))
    found = keys.read(branch_key_id, ACTIVE) if read == "row" else keys.list_versions(branch_key_id)[0]
    assert found in (old, new)


def test_a_row_that_lost_its_mac_is_told_as_it_stands(deployment: Deployment) -> None:
    branch_key_id = str(uuid4())
    version, active = new_version(branch_key_id, 1)
    deployment.keys.create(version, active, 1)
    for row in (version.row, active.row):
        deployment.remove_branch_key_item(branch_key_id, f"keystead:mac:{row.type}")
        found = deployment.keys.read(branch_key_id, row.type)
        assert found
        assert (found.row, found.mac) == (row, None)
    assert [row.mac for row in deployment.keys.list_versions(branch_key_id)] == [None]


def test_a_record_that_goes_while_tenants_are_listed(deployment: Deployment, between: Callable[..., None]) -> None:
    tenant_id = new_id()
    written = deployment.tenants.write(tenant_id, RECORD, tenant_record(tenant_id).to_body(), expected_revision=0)
    table = deployment.client.get_table_client(deployment.tables.tenants)
    assert written in deployment.tenants.list_tenants(limit=1000)
    pages = iter(range(1, 10_000))
    with pytest.MonkeyPatch.context() as counting:
        given = Query.__next__
        counting.setattr(Query, "__next__", lambda query: (next(pages), given(query))[1])
        list(deployment.tenants._ids(deployment.database.operation()))
    # Once the ids are known, before the records are read.
    between(next(pages), table._tables[deployment.tables.tenants].clear)
    with pytest.raises(StoreCorrupt, match="have gone"):
        deployment.tenants.list_tenants(limit=1000)


# The double itself

GOOD: dict[str, Any] = {"PartitionKey": "p", "RowKey": "r"}
REFUSED: dict[str, list[dict[str, Any]]] = {
    "slash": [{"PartitionKey": "a/b", "RowKey": "r"}],
    "control character": [{"PartitionKey": "p", "RowKey": "\x7f"}],
    "no key": [{"PartitionKey": "p", "RowKey": ""}],
    "long RowKey": [{"PartitionKey": "p", "RowKey": "x" * 256}],
    "id": [{**GOOD, "id": "x"}],
    "ResourceId": [{**GOOD, "ResourceId": "x"}],
    "etag": [{**GOOD, "etag": "x"}],
    "rid": [{**GOOD, "rid": "x"}],
    "hyphen": [{**GOOD, "a-b": "x"}],
    "long text": [{**GOOD, "x": "x" * (32 * 1024 + 1)}],
    "long bytes": [{**GOOD, "x": bytes(64 * 1024 + 1)}],
    "many properties": [{**GOOD, **{f"x{number}": "" for number in range(253)}}],
    "large entity": [{**GOOD, **{f"x{number}": "x" * 32 * 1024 for number in range(17)}}],
    "two partitions": [GOOD, {"PartitionKey": "q", "RowKey": "r"}],
    "one row twice": [GOOD, GOOD],
    "nothing": [],
    "101 rows": [{"PartitionKey": "p", "RowKey": str(number)} for number in range(101)],
    "large transaction": [
        {"PartitionKey": "p", "RowKey": str(row), **{f"x{number}": bytes(60_000) for number in range(12)}}
        for row in range(3)
    ],
}


@pytest.mark.parametrize("entities", REFUSED.values(), ids=REFUSED)
def test_the_double_refuses_what_one_of_the_services_refuses(entities: list[dict[str, Any]]) -> None:
    client = TablesDouble()
    client.create_table("table")
    table = client.get_table_client("table")
    table.submit_transaction([("create", GOOD, {})])
    with pytest.raises(HttpResponseError) as raised:
        table.submit_transaction([("create", entity, {}) for entity in entities])
    assert code_of(raised.value) != "EntityAlreadyExists"
    assert table.get_entity("p", "r") == GOOD


@pytest.mark.parametrize("rows", ["(x eq 'y')", "RowKey ne 'x'", " or ".join(["RowKey eq 'x'"] * 15)])
def test_the_double_compares_nothing_but_keys(rows: str) -> None:
    client = TablesDouble()
    client.create_table("table")
    table = client.get_table_client("table")
    table.submit_transaction([("create", GOOD, {})])
    with pytest.raises(HttpResponseError):
        next(table.query_entities(f"PartitionKey eq 'p' and {rows}").by_page())


def test_the_double_gives_entities_one_by_one_in_another_order_than_that_of_their_keys() -> None:
    client = TablesDouble()
    client.create_table("table")
    table = client.get_table_client("table")
    keys = [f"{number:02}" for number in range(20)]
    table.submit_transaction([("create", {"PartitionKey": "p", "RowKey": key}, {}) for key in keys])
    pages = table.query_entities("PartitionKey eq 'p'").by_page()
    found = [[entity["RowKey"] for entity in next(pages)]]
    while pages.continuation_token:
        found.append([entity["RowKey"] for entity in next(pages)])
    given = [key for page in found for key in page]
    assert {len(page) for page in found} == {0, 1}
    assert sorted(given) == keys != given
