"""Copies branch key rows into a DynamoDB table bit for bit, as hv-1 items of the official key store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.domain.branch_keys import ACTIVE, BranchKeyRow, StoredRow
from core.ports import KeyStore

Item = dict[str, dict[str, Any]]


def hv1_item(row: BranchKeyRow) -> Item:
    """A row as an item: strings, apart from ``enc`` (bytes) and ``hierarchy-version`` (a number)."""
    item: Item = {name: {"S": value} for name, value in row.attributes().items()}
    item["hierarchy-version"] = {"N": row.attributes()["hierarchy-version"]}
    item["enc"] = {"B": row.enc}
    return item


def items_beside(stored: StoredRow) -> list[Item]:
    """What we keep beside a row, in the same partition: its MAC, and the fence of its branch key."""
    mac = stored.mac
    assert mac is not None
    partition = {"branch-key-id": {"S": stored.row.branch_key_id}}
    return [
        {
            **partition,
            "type": {"S": f"keystead:mac:{stored.row.type}"},
            "revision": {"N": str(mac.revision)},
            "sequence": {"N": str(mac.sequence)},
            "tag": {"B": mac.tag},
        },
        {**partition, "type": {"S": "keystead:fence"}, "revision": {"N": str(mac.revision)}},
    ]


def rows_of(store: KeyStore, branch_key_id: str) -> list[StoredRow]:
    """The ACTIVE row and all version rows of a branch key."""
    active = store.read(branch_key_id, ACTIVE)
    assert active is not None
    return [active, *store.list_versions(branch_key_id)]


def copy_rows(
    store: KeyStore, branch_key_id: str, dynamodb: Any, table: str, *, plus: Mapping[str, str] | None = None
) -> None:
    """Copy all rows of a branch key, with MACs and fence beside them.

    Args:
        store: Where they are.
        branch_key_id: The branch key.
        dynamodb: A boto3 DynamoDB client.
        table: Where they go.
        plus: Attributes to add to each row, to show that this breaks it.
    """
    for stored in rows_of(store, branch_key_id):
        extra = {name: {"S": value} for name, value in (plus or {}).items()}
        for item in ({**hv1_item(stored.row), **extra}, *items_beside(stored)):
            dynamodb.put_item(TableName=table, Item=item)
