"""Documents and audit entries as JSON text, and the rules of their writes, once for every store that keeps text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from core.domain.audit import EMPTY_HEAD, AuditEntry, AuditHead
from core.domain.record_checks import check_first, check_rewrite
from core.domain.tenants import RECORD
from core.errors import Conflict, InternalError, StoreCorrupt
from core.ports import Document

MAX_COUNT = (1 << 62) - 1
"""Highest revision or sequence that is believed; the next one must still fit a store's integers."""
_TEXT_FIELDS = ("chain", "time", "action", "subject", "outcome", "previous", "hash")


def check_key(*parts: str) -> None:
    """Refuse a key that not every store can hold.

    Raises:
        InternalError: A part is not valid Unicode. Ids are checked long before they get here.
    """
    try:
        for part in parts:
            part.encode()
    except UnicodeEncodeError:
        raise InternalError("an id to look up in a store is not valid Unicode") from None


def dump(body: Mapping[str, Any]) -> str:
    """A JSON object as text.

    Raises:
        InternalError: It is not a JSON object.
    """
    try:
        return json.dumps(dict(body), separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InternalError("a document to be stored is not a JSON object") from None


def load(text: object, what: str) -> dict[str, Any]:
    """A JSON object from stored text.

    Raises:
        StoreCorrupt: It is not one.
    """
    try:
        found = json.loads(text, parse_constant=_no_constant) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise StoreCorrupt(f"a stored {what} cannot be read")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def document(tenant_id: str, name: str, revision: object, text: object) -> Document:
    """A document from what is stored.

    Raises:
        StoreCorrupt: It is not a document.
    """
    if not isinstance(revision, int) or not 1 <= revision <= MAX_COUNT:
        raise StoreCorrupt("a stored document has no revision")
    return Document(tenant_id, name, revision, load(text, "document"))


def check_write(stored: Document | None, name: str, body: Mapping[str, Any], expected_revision: int) -> int:
    """The revision a write gives, if it may be made.

    Raises:
        Conflict: The stored revision is not the expected one, or ``check_first`` or ``check_rewrite`` refuses.
        StoreCorrupt: One of the two bodies of a tenant record is not one.
    """
    if expected_revision != (stored.revision if stored else 0):
        raise Conflict("the document changed meanwhile" if stored else "there is no such document")
    if name == RECORD:
        if stored:
            check_rewrite(stored.body, body)
        else:
            check_first(body)
    return expected_revision + 1


def dump_entry(entry: AuditEntry) -> str:
    """An audit entry as text.

    Raises:
        InternalError: It holds what JSON cannot.
    """
    return dump({**entry.body(), "hash": entry.hash})


def load_entry(chain: str, sequence: object, text: object) -> AuditEntry:
    """An audit entry from what is stored under a chain and a sequence, unchanged.

    Raises:
        StoreCorrupt: It does not have the form of an entry.
    """
    found = load(text, "audit entry")
    if (
        found.keys() != {*_TEXT_FIELDS, "sequence", "details"}
        or not all(isinstance(found[name], str) for name in _TEXT_FIELDS)
        or not isinstance(found["details"], dict)
        or not isinstance(found["sequence"], int)
        or (found["chain"], found["sequence"]) != (chain, sequence)
    ):
        raise StoreCorrupt("a stored audit entry does not have the form of an entry")
    return AuditEntry(**found)


def dump_head(entry: AuditEntry) -> str:
    """The head of a chain that ends with an entry, as text."""
    return dump({"sequence": entry.sequence, "hash": entry.hash})


def load_head(text: object) -> AuditHead:
    """The head of a chain from what is stored; ``EMPTY_HEAD`` where nothing is.

    Raises:
        StoreCorrupt: It does not have the form of a head.
    """
    if text is None:
        return EMPTY_HEAD
    found = load(text, "audit head")
    sequence, last = found.get("sequence"), found.get("hash")
    if not isinstance(sequence, int) or not 1 <= sequence <= MAX_COUNT or not isinstance(last, str):
        raise StoreCorrupt("a stored audit head does not have the form of a head")
    return AuditHead(sequence, last)


def check_append(head: AuditHead, entry: AuditEntry) -> None:
    """Refuse an entry that does not continue the chain.

    Raises:
        Conflict: The head has moved.
        InternalError: The entry's hash is not its own.
    """
    if (entry.sequence, entry.previous) != (head.sequence + 1, head.hash):
        raise Conflict("the audit chain moved on meanwhile")
    if entry.hash != entry.computed_hash():
        raise InternalError("an audit entry's hash is not its own; stored, it would break the chain for good")
