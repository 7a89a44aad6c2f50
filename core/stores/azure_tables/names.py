"""Ids as keys of entities: every id that is valid Unicode, as letters, digits and a few signs that both services take.

Both refuse ``/ \\ # ?`` and control characters in a key, and Cosmos DB for Table holds 255 bytes of a RowKey
(Microsoft, "Understanding the Table service data model"; "Azure Cosmos DB for Table and Azure Table Storage"). So
whatever is not one of ``A-Z a-z 0-9 - . : _`` is written as ``=`` and two hexadecimal digits per byte of UTF-8. An id
too long for a key is written as its digest: it is found under it, but cannot be read back from it.
"""

from __future__ import annotations

import re
from hashlib import sha256

from core.errors import InternalError
from core.stores._documents import check_key

_LONGEST = 200
"""Characters of a key made from an id; what a table puts in front of it has room besides."""
_ESCAPED = re.compile(rb"[^A-Za-z0-9.:_-]")
_WRITTEN = re.compile(r"(?:[A-Za-z0-9.:_-]|=[0-9A-F]{2})+")
_DIGEST = "=~"


def key_of(name: str) -> str:
    """The key that stands for an id.

    Raises:
        InternalError: It is empty or not valid Unicode. Ids are checked long before they get here.
    """
    check_key(name)
    if not name:
        raise InternalError("an id to look up in Azure Tables is empty")
    written = _ESCAPED.sub(lambda found: b"=" + found[0].hex().upper().encode(), name.encode()).decode()
    return written if len(written) <= _LONGEST else _DIGEST + sha256(name.encode()).hexdigest()


def name_of(key: str) -> str | None:
    """The id that a key stands for; None where it cannot be read back, or no id is written so."""
    if not _WRITTEN.fullmatch(key):
        return None
    try:
        name = re.sub(rb"=(..)", lambda found: bytes.fromhex(found[1].decode()), key.encode()).decode()
    except UnicodeDecodeError:
        return None
    return name if key_of(name) == key else None
