"""Branch key rows, their MACs and fences as items of one table keyed (branch key id, type): the shape DynamoDB has.

::

    type                      attributes                                        enc
    branch:ACTIVE             the row's hv-1 attributes                         the wrapped branch key
    branch:version:<uuid>     the row's hv-1 attributes                         the wrapped branch key
    keystead:mac:<row type>   {"revision": 1, "sequence": 1, "tag": "<hex>"}    -
    keystead:fence            {"revision": 1}                                   -

A MAC and a fence are items of their own because every attribute of a row goes to the KMS as encryption context: a row
that gained an attribute could not be unwrapped any more (AWS Encryption SDK specification, branch-key-store).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.domain.branch_keys import (
    ACTIVE,
    HIERARCHY_VERSION,
    VERSION_PREFIX,
    BranchKeyRow,
    RowMac,
    StoredRow,
    is_version_id,
)
from core.domain.context import TENANT_KEY
from core.domain.kek import Kek
from core.errors import InternalError, StoreCorrupt

FENCE = "keystead:fence"
MAC_PREFIX = "keystead:mac:"
_TAG_BYTES = 32
_MOST = 2**63 - 1
"""What every store, and the MAC's own layout, can hold of a count."""
_ROW_ATTRIBUTES = frozenset({"branch-key-id", "type", "create-time", "hierarchy-version", "kms-arn", TENANT_KEY})


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a branch key's partition.

    Attributes:
        type: Sort key.
        attributes: JSON object, as text: what is stored cannot be changed through what was handed out.
        enc: The wrapped branch key of a row; None in the other items.
    """

    type: str
    attributes: str
    enc: bytes | None = field(default=None, repr=False)


def row_items(stored: StoredRow) -> tuple[Item, Item]:
    """A row and its MAC as items.

    Raises:
        InternalError: There is no MAC, or a reader would not get back what was to be written.
    """
    row, mac = stored.row, stored.mac
    if mac is None:
        raise InternalError("a branch key row was to be stored without its MAC")
    attributes: dict[str, str | int] = {**row.attributes(), "hierarchy-version": int(HIERARCHY_VERSION)}
    items = (
        Item(row.type, _dump(attributes), row.enc),
        Item(
            MAC_PREFIX + row.type,
            _dump({"revision": mac.revision, "sequence": mac.sequence, "tag": mac.tag.hex()}),
        ),
    )
    try:
        readable = stored_row(row.branch_key_id, *items) == stored
    except StoreCorrupt:
        readable = False
    if not readable:
        raise InternalError("a branch key row to be stored does not have the form of a row")
    return items


def fence_item(revision: int) -> Item:
    """A fence as an item."""
    return Item(FENCE, _dump({"revision": revision}))


def stored_row(branch_key_id: str, item: Item, mac: Item | None) -> StoredRow:
    """Read a row and its MAC.

    Args:
        branch_key_id: The partition both were found in.
        item: The row's item.
        mac: Its MAC's item, or None where there is none.

    Raises:
        StoreCorrupt: One of the two does not have the form of what it stands for.
    """
    found = _load(item)
    version = found.get("version")
    expected = _ROW_ATTRIBUTES | ({"version"} if item.type == ACTIVE else set())
    version_type = version if item.type == ACTIVE else item.type
    if (
        found.keys() != expected
        or not _is_count(found["hierarchy-version"])
        or found["hierarchy-version"] != int(HIERARCHY_VERSION)
        or not all(_is_text(value) for name, value in found.items() if name != "hierarchy-version")
        or (found["branch-key-id"], found["type"]) != (branch_key_id, item.type)
        or not _is_version_type(version_type)
        or not item.enc
    ):
        raise StoreCorrupt("a stored branch key row does not have the form of a row")
    row = BranchKeyRow(
        branch_key_id=branch_key_id,
        type=item.type,
        version=version,
        kek=Kek(found["kms-arn"]),
        create_time=found["create-time"],
        tenant_id=found[TENANT_KEY],
        enc=item.enc,
    )
    return StoredRow(row, None if mac is None else _stored_mac(mac))


def fence_revision(item: Item) -> int:
    """Read a fence.

    Raises:
        StoreCorrupt: The item does not have the form of a fence.
    """
    found = _load(item)
    if found.keys() != {"revision"} or item.enc is not None or not _is_count(found["revision"]):
        raise StoreCorrupt("a stored fence does not have the form of a fence")
    return int(found["revision"])


def ordered_versions(branch_key_id: str, items: Mapping[str, Item]) -> list[StoredRow]:
    """The version rows among a partition's items, by MAC sequence, then type; rows without a MAC come first.

    Raises:
        StoreCorrupt: As in `stored_row`.
    """
    rows = [
        stored_row(branch_key_id, item, items.get(MAC_PREFIX + item.type))
        for item in items.values()
        if item.type.startswith(VERSION_PREFIX)
    ]
    return sorted(rows, key=lambda stored: (stored.mac.sequence if stored.mac else 0, stored.row.type))


def _stored_mac(item: Item) -> RowMac:
    found = _load(item)
    if found.keys() == {"revision", "sequence", "tag"} and item.enc is None:
        revision, sequence, tag = found["revision"], found["sequence"], found["tag"]
        if _is_count(revision) and _is_count(sequence) and isinstance(tag, str) and len(tag) == 2 * _TAG_BYTES:
            try:
                return RowMac(revision, sequence, bytes.fromhex(tag))
            except ValueError:
                pass
    raise StoreCorrupt("a stored MAC does not have the form of a MAC")


def _is_version_type(text: object) -> bool:
    return (
        isinstance(text, str) and text.startswith(VERSION_PREFIX) and is_version_id(text.removeprefix(VERSION_PREFIX))
    )


def _is_text(value: object) -> bool:
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST


def _dump(attributes: Mapping[str, str | int]) -> str:
    return json.dumps(attributes, separators=(",", ":"))


def _load(item: Item) -> dict[str, Any]:
    try:
        found = json.loads(item.attributes)
    except (TypeError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise StoreCorrupt("a stored branch key item cannot be read")
    return found
