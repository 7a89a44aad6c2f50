"""The rules of every write of branch key rows, once: given what is stored, what to put, or why not.

The stores that can read inside their transaction (memory, sqlite) run these there. A store with conditional writes
only (DynamoDB) states the same rules as conditions; the conformance suite holds both to the same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from core.domain.branch_keys import ACTIVE, VERSION_PREFIX, StoredRow
from core.errors import Conflict, InternalError
from core.stores._items import FENCE, Item, fence_item, fence_revision, row_items, stored_row

Get = Callable[[str], Item | None]
"""Looks up an item of the branch key's partition by type, inside the transaction."""


def create(existing: Collection[str], version: StoredRow, active: StoredRow, fence: int) -> list[Item]:
    """What makes a branch key.

    Args:
        existing: Types of the items the partition has.
        version: Its first version row.
        active: Its ACTIVE row.
        fence: The tenant's configuration revision, from 1.

    Raises:
        Conflict: The branch key exists, if only in part.
        InternalError: The two rows do not belong together, or lack the form of rows.
    """
    _check_pair(version, active)
    if fence < 1:
        raise InternalError("a fence counts from 1")
    items = [*row_items(version), *row_items(active), fence_item(fence)]
    if existing:
        raise Conflict("the branch key exists")
    return items


def rotate(get: Get, version: StoredRow, active: StoredRow, *, expected_active_enc: bytes, fence: int) -> list[Item]:
    """What makes a new version the ACTIVE one.

    Raises:
        Conflict: The fence differs, the ACTIVE row's ``enc`` is not the expected one, or the version exists.
        StoreCorrupt: The stored fence is not a fence.
        InternalError: As in `create`.
    """
    _check_pair(version, active)
    items = [*row_items(version), *row_items(active)]
    _check_fence(get, fence)
    _check_enc(get(ACTIVE), expected_active_enc)
    if get(version.row.type) is not None:
        raise Conflict("the branch key version exists")
    return items


def replace_wrapping(get: Get, row: StoredRow, *, expected_enc: bytes, fence: int) -> list[Item]:
    """What puts another wrapping of the same version in a row's place.

    Raises:
        Conflict: The fence differs, the stored ``enc`` is not the expected one, or the stored row is of another
            version or tenant.
        StoreCorrupt: What is stored is not a fence or a row.
        InternalError: As in `create`.
    """
    items = row_items(row)
    _check_fence(get, fence)
    old = _check_enc(get(row.row.type), expected_enc)
    stored = stored_row(row.row.branch_key_id, old, None).row
    if (stored.version, stored.tenant_id) != (row.row.version, row.row.tenant_id):
        raise Conflict("the stored row is of another version or tenant")
    return list(items)


def move_fence(get: Get, *, expected: int, new: int) -> list[Item]:
    """What raises the fence.

    Raises:
        Conflict: The fence is not the expected one, or would not rise.
        StoreCorrupt: The stored fence is not a fence.
    """
    _check_fence(get, expected)
    if new <= expected:
        raise Conflict("a fence only rises")
    return [fence_item(new)]


def _check_pair(version: StoredRow, active: StoredRow) -> None:
    new, current = version.row, active.row
    if (
        current.type != ACTIVE
        or not new.type.startswith(VERSION_PREFIX)
        or current.version != new.type
        or (new.branch_key_id, new.tenant_id) != (current.branch_key_id, current.tenant_id)
    ):
        raise InternalError("the version row and the ACTIVE row to be stored do not belong together")


def _check_fence(get: Get, expected: int) -> None:
    item = get(FENCE)
    if item is None or fence_revision(item) != expected:
        raise Conflict("the tenant's key configuration changed meanwhile")


def _check_enc(item: Item | None, expected: bytes) -> Item:
    if item is None or item.enc != expected:
        raise Conflict("the branch key row changed meanwhile")
    return item
