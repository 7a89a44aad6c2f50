"""Entities: long texts and bytes in several properties, which writes made them, and how large they may be.

::

    PartitionKey, RowKey      keys, see `core.stores.azure_tables.names`
    <name>0, <name>1, ...     a text in pieces of 32 Ki characters, or bytes in pieces of 64 KiB
    revision                  Edm.Int64
    writes                    ids of the writes that made it what it is, newest first

Both services limit a property to 64 KiB, which is 32 Ki characters of UTF-16, and an entity to 1 MiB. Cosmos DB for
Table keeps bytes as Base64 and takes no property called ``id``, ``rid``, ``etag`` or ``ResourceId``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import InternalError

Entity = Mapping[str, Any]
"""Property name -> value, as the SDK gives and takes them."""

WRITES = "writes"
KEPT = 16
"""How many writes an entity remembers."""
_TEXT_PIECE = 32 * 1024
_BYTES_PIECE = 64 * 1024
_MAX_ENTITY = 1_000_000
"""Below the services' 1 MiB, with room for what they add."""


def pieces(name: str, content: str | bytes) -> dict[str, str | bytes]:
    """A text, or bytes, as properties.

    Raises:
        InternalError: The text is not ASCII; the JSON that the stores keep is.
    """
    if isinstance(content, str) and not content.isascii():
        raise InternalError("a text to be stored is not ASCII")
    length = _TEXT_PIECE if isinstance(content, str) else _BYTES_PIECE
    starts = range(0, max(len(content), 1), length)
    return {f"{name}{number}": content[start : start + length] for number, start in enumerate(starts)}


def text_of(entity: Entity, name: str) -> str | None:
    """A text from its pieces; None where there is none, or a piece is missing or something else."""
    found = _found(entity, name)
    return "".join(found) if found and all(isinstance(piece, str) for piece in found) else None


def bytes_of(entity: Entity, name: str) -> bytes | None:
    """Bytes from their pieces; None where there are none, ``b""`` where a piece is missing or something else."""
    if not any(_is_piece(property_name, name) for property_name in entity):
        return None
    found = _found(entity, name)
    return b"".join(found) if found and all(isinstance(piece, bytes) for piece in found) else b""


def integer_of(entity: Entity, name: str) -> int | None:
    """A whole number; None for anything else."""
    value = entity.get(name)
    if isinstance(value, tuple):  # the SDK's EntityProperty: a value and its type
        value = value[0]
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def etag_of(entity: Entity) -> str:
    """The ETag an entity was read with."""
    return str(getattr(entity, "metadata", {}).get("etag"))


def writes_of(entity: Entity | None) -> list[str]:
    """Ids of the writes that made an entity, newest first; none where nobody left any."""
    found = None if entity is None else entity.get(WRITES)
    return found.split() if isinstance(found, str) else []


def writes_with(entity: Entity | None, write_id: str) -> str:
    """What the next write of an entity leaves there."""
    return " ".join([write_id, *writes_of(entity)][:KEPT])


def made_by(write_id: str, before: Entity | None, after: Entity | None) -> bool | None:
    """Whether a write was made that was to replace ``before``, given what stands there now.

    Returns:
        True; False (and never will be, as every later write changes the ETag); None where too many have written since.
    """
    there, former = writes_of(after), writes_of(before)
    if write_id in there:
        return True
    if after is None:
        return False if before is None else None
    # What the entity remembers reaches back to the write before ours: ours is not among those that followed it.
    complete = former[0] in there if former else len(there) < KEPT
    return False if complete else None


def check_size(entity: Entity) -> int:
    """Refuse an entity that one of the services does not hold.

    Returns:
        The most bytes it takes up in a request.

    Raises:
        InternalError: It is too large.
    """
    stored = sent = 0
    for name, value in entity.items():
        base64 = 4 * -(-len(value) // 3) if isinstance(value, bytes) else 0
        # As Storage counts: names and texts in UTF-16. As JSON: quotation marks and backslashes take two.
        stored += 2 * len(name) + 8 + (2 * len(value) if isinstance(value, str) else base64)
        escaped = len(value) + value.count('"') + value.count("\\") if isinstance(value, str) else base64
        sent += 2 * len(name) + escaped + 64
    if stored > _MAX_ENTITY:
        raise InternalError("an entity to be stored is larger than Azure Tables holds (1 MB)")
    return sent


def _found(entity: Entity, name: str) -> Sequence[Any]:
    count = sum(_is_piece(property_name, name) for property_name in entity)
    found = [entity.get(f"{name}{number}") for number in range(count)]
    return [] if any(piece is None for piece in found) else found


def _is_piece(property_name: str, name: str) -> bool:
    return re.fullmatch(rf"{name}[0-9]+", property_name) is not None
