"""Our branch key rows are rows of the official key store, and stay so whatever else lies beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from aws_cryptographic_material_providers.keystore.models import (
    GetActiveBranchKeyInput,
    GetBranchKeyVersionInput,
    VersionKeyInput,
)

from core.domain.branch_keys import ACTIVE
from core.domain.context import message_context, serialise
from core.domain.encrypted_data_key import unwrap_data_key
from core.domain.foreign import decrypt_foreign
from core.domain.message_header import Header, parse_header
from tests.interop.conftest import STEADY
from tests.interop.exchange import LOGICAL_NAME, TABLE, Case, Exchange
from tests.interop.official import Official
from tests.interop.rows import copy_rows, hv1_item, rows_of

CASE = Case(100, 65536, "simple")
OTHER_TABLE = "another-table"


@pytest.fixture
def other_table(exchange: Exchange) -> Iterator[str]:
    """A second table, empty at first."""
    exchange.cloud.new_table(OTHER_TABLE)
    yield OTHER_TABLE
    exchange.cloud.dynamodb.delete_table(TableName=OTHER_TABLE)


def branch_key_id(exchange: Exchange) -> str:
    return exchange.app.tenants.read(STEADY).branch_key_id


def stored_items(exchange: Exchange, table: str) -> dict[str, dict[str, Any]]:
    items = exchange.cloud.dynamodb.scan(TableName=table)["Items"]
    return {item["type"]["S"]: item for item in items if item["branch-key-id"]["S"] == branch_key_id(exchange)}


def reads(official: Official, keyring: Any, message: bytes) -> bool:
    return official.decrypt(keyring, message) == (CASE.plaintext, message_context(STEADY, CASE.context))


def test_rows_have_the_attributes_of_hv_1_and_tenant_id(exchange: Exchange) -> None:
    common = {"branch-key-id", "type", "enc", "kms-arn", "create-time", "hierarchy-version", "tenant_id"}
    for stored in rows_of(exchange.key_store, branch_key_id(exchange)):
        item = hv1_item(stored.row)
        assert set(item) == (common | {"version"} if stored.row.type == ACTIVE else common)
        assert item["hierarchy-version"] == {"N": "1"}
        assert item["kms-arn"] == {"S": exchange.kms_arn}
        assert item["tenant_id"] == {"S": STEADY}
        assert {name for name, value in item.items() if "S" not in value} == {"enc", "hierarchy-version"}


def test_the_create_time_has_the_official_form(exchange: Exchange) -> None:
    for stored in rows_of(exchange.key_store, branch_key_id(exchange)):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", stored.row.create_time)


def test_macs_and_fence_lie_in_the_same_partition(exchange: Exchange) -> None:
    """So every other test here also shows that the official client does not mind them."""
    kinds = set(stored_items(exchange, TABLE))
    assert {"keystead:fence", f"keystead:mac:{ACTIVE}", ACTIVE} <= kinds


def test_the_official_key_store_gives_the_same_branch_key(exchange: Exchange) -> None:
    ours, store, key_id = exchange.branch_key(STEADY), exchange.official.key_store, branch_key_id(exchange)
    active = store.get_active_branch_key(GetActiveBranchKeyInput(branch_key_identifier=key_id)).branch_key_materials
    by_version = store.get_branch_key_version(
        GetBranchKeyVersionInput(branch_key_identifier=key_id, branch_key_version=ours.version_id)
    ).branch_key_materials
    for theirs in (active, by_version):
        assert theirs.branch_key == ours.key
        assert theirs.branch_key_version == ours.version_id


def test_the_version_row_alone_is_enough_to_read(exchange: Exchange, other_table: str) -> None:
    for name, item in stored_items(exchange, TABLE).items():
        if name.startswith("branch:version:"):
            exchange.cloud.dynamodb.put_item(TableName=other_table, Item=item)
    official = Official(exchange.cloud, other_table, LOGICAL_NAME, exchange.kms_arn)
    assert reads(official, official.hierarchical(branch_key_id(exchange)), exchange.ours(STEADY, CASE))


def test_a_client_that_takes_the_key_each_row_names_reads_too(exchange: Exchange) -> None:
    official = Official(exchange.cloud, TABLE, LOGICAL_NAME, None)
    assert reads(official, official.hierarchical(branch_key_id(exchange)), exchange.ours(STEADY, CASE))


@pytest.mark.parametrize("wrong", ["logical name", "key", "attribute"])
def test_a_wrong_one_of_what_it_needs_is_refused(exchange: Exchange, other_table: str, wrong: str) -> None:
    """The rows are bound to all of it: this is why it must be written down for the exit."""
    plus = {"label": "added later"} if wrong == "attribute" else None
    copy_rows(exchange.key_store, branch_key_id(exchange), exchange.cloud.dynamodb, other_table, plus=plus)
    official = Official(
        exchange.cloud,
        other_table,
        "another-name" if wrong == "logical name" else LOGICAL_NAME,
        exchange.cloud.new_key() if wrong == "key" else exchange.kms_arn,
    )
    with pytest.raises(Exception, match=r"(?i)key|ciphertext|branch"):
        official.decrypt(official.hierarchical(branch_key_id(exchange)), exchange.ours(STEADY, CASE))


def test_the_official_key_store_can_rotate_our_rows(exchange: Exchange, other_table: str) -> None:
    """A tenant that leaves goes on with its own tools: old and new messages open, for it and for our readers."""
    key_id = branch_key_id(exchange)
    old = exchange.ours(STEADY, CASE)
    copy_rows(exchange.key_store, key_id, exchange.cloud.dynamodb, other_table)
    official = Official(exchange.cloud, other_table, LOGICAL_NAME, exchange.kms_arn)
    official.key_store.version_key(VersionKeyInput(branch_key_identifier=key_id))
    keyring = official.hierarchical(key_id)
    new = official.encrypt(keyring, CASE.plaintext, message_context(STEADY, CASE.context))
    assert parse_header(new).edks[0].version_id != parse_header(old).edks[0].version_id
    assert reads(official, keyring, old)
    assert reads(official, keyring, new)

    def open_key(header: Header) -> bytes:
        edk = header.edks[0]
        found = official.key_store.get_branch_key_version(
            GetBranchKeyVersionInput(branch_key_identifier=edk.branch_key_id, branch_key_version=edk.version_id)
        ).branch_key_materials
        return unwrap_data_key(found.branch_key, edk, serialise(header.context))

    assert decrypt_foreign(new, open_key) == CASE.plaintext
