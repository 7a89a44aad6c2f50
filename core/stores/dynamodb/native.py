"""Branch key items in DynamoDB's own form: hv-1 rows bit for bit, MACs and fences with attributes of their own.

::

    row     branch-key-id, type, version (ACTIVE only), create-time, kms-arn, tenant_id: S; hierarchy-version: N; enc: B
    MAC     branch-key-id, type, write_id: S; revision, sequence: N; tag: B
    fence   branch-key-id, type, write_id: S; revision: N

What is read that has another form is handed on as something that `core.stores._items` refuses.
"""

from __future__ import annotations

import json
import re
from typing import Any

from core.stores._items import FENCE, MAC_PREFIX, Item
from core.stores.dynamodb.operation import WRITE_ID, NativeItem

PARTITION, SORT = "branch-key-id", "type"
_INTEGER = re.compile(r"-?[0-9]{1,38}")
_TAG, _ENC = "tag", "enc"


def key(branch_key_id: str, item_type: str) -> NativeItem:
    """The key of an item."""
    return {PARTITION: {"S": branch_key_id}, SORT: {"S": item_type}}


def to_native(branch_key_id: str, item: Item, write_id: str) -> NativeItem:
    """An item as DynamoDB keeps it."""
    native: dict[str, dict[str, Any]] = {}
    for name, value in json.loads(item.attributes).items():
        native[name] = {"N": str(value)} if isinstance(value, int) else {"S": value}
    if _is_ours(item.type):
        if _TAG in native:
            native[_TAG] = {"B": bytes.fromhex(native[_TAG]["S"])}
        native[WRITE_ID] = {"S": write_id}
    if item.enc is not None:
        native[_ENC] = {"B": item.enc}
    return {**native, **key(branch_key_id, item.type)}


def from_native(native: NativeItem) -> Item:
    """An item as `core.stores._items` reads it."""
    item_type = str(integer_or_text(native.get(SORT)))
    enc = _bytes(native.get(_ENC))
    aside = {_ENC} if enc is not None else set()
    if _is_ours(item_type):
        aside |= {PARTITION, SORT, WRITE_ID}
    attributes = {name: _plain(name, value) for name, value in native.items() if name not in aside}
    return Item(item_type, json.dumps(attributes), enc)


def integer_or_text(value: Any) -> int | str | None:
    """A whole number or a text in DynamoDB's form; None for anything else."""
    match value:
        case {"N": str(digits)} if _INTEGER.fullmatch(digits):
            return int(digits)
        case {"S": str(text)}:
            return text
    return None


def _plain(name: str, value: Any) -> int | str | None:
    if name == _TAG:
        tag = _bytes(value)
        return None if tag is None else tag.hex()
    return integer_or_text(value)


def _bytes(value: Any) -> bytes | None:
    match value:
        case {"B": bytes(content)}:
            return content
    return None


def _is_ours(item_type: str) -> bool:
    return item_type == FENCE or item_type.startswith(MAC_PREFIX)
