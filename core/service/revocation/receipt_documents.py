"""How receipts are stored: a document of its own for each, and one that lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from core.domain.instants import parse_instant
from core.errors import Conflict, InvalidRequest, StoreCorrupt, StoreUnavailable
from core.ports import TenantStore

PREFIX = "receipt:"
INDEX = "receipts"
KEPT = 200
"""Receipts listed; older ones can still be read by their id."""
ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a receipt has come. Instants UTC, ``CREATE_TIME_FORMAT``; "" where it has not come to that.

    The statement is signed, the rest is not: `core.domain.receipts.build` believes what was found only as far as the
    tenant's record, which is authenticated, allows.

    Attributes:
        stored_by: As in `core.domain.receipts.Findings`; so ``data_keys`` and ``counted_since``.
        statement: The receipt itself.
        reinstated: When the key was to serve again.
        holds_until: That, less what clocks may differ: until then the statement holds for sure.
        void: Likewise, and nothing had been issued by then, nor will be.
    """

    stored_by: str = ""
    data_keys: int = 0
    counted_since: str = ""
    statement: str = field(default="", repr=False)
    reinstated: str = ""
    holds_until: str = ""
    void: str = ""

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Progress:
        """Read the stored form.

        Raises:
            StoreCorrupt: It is none.
        """
        try:
            found = cls(**body)
            instants = (found.stored_by, found.counted_since, found.reinstated, found.holds_until, found.void)
            for at in filter(None, instants):
                parse_instant(at)
            number = type(found.data_keys) is int and found.data_keys >= 0
            text = type(found.statement) is str and bool(found.statement) >= bool(found.reinstated)
            if number and text and bool(found.stored_by) is not bool(found.void):
                return found
        except (TypeError, InvalidRequest):
            pass
        raise StoreCorrupt("a stored receipt does not have the form of one")


class ReceiptDocuments:
    """Reads and writes them.

    Args:
        store: Holds them.
    """

    def __init__(self, store: TenantStore) -> None:
        self._store = store

    def read(self, tenant_id: str, receipt_id: str) -> tuple[Progress | None, int]:
        """How far a receipt has come, None if nothing was done about it, and the revision to write after.

        Raises:
            StoreUnavailable, StoreCorrupt: It cannot be read.
        """
        document = self._store.read(tenant_id, PREFIX + receipt_id)
        return (None, 0) if document is None else (Progress.from_body(document.body), document.revision)

    def step(self, tenant_id: str, receipt_id: str, progress: Progress, revision: int) -> None:
        """Take a receipt a step further, unless another process just took one: who looks again knows.

        Raises:
            StoreUnavailable: It may not have been taken.
        """
        try:
            self._store.write(tenant_id, PREFIX + receipt_id, asdict(progress), expected_revision=revision)
        except Conflict:
            return

    def ids(self, tenant_id: str) -> Sequence[str]:
        """Ids of the receipts that are listed, newest last.

        Raises:
            StoreUnavailable, StoreCorrupt: The list cannot be read.
        """
        return self._ids(tenant_id)[0]

    def add(self, tenant_id: str, receipt_id: str) -> None:
        """List a receipt, if it is not.

        Raises:
            StoreUnavailable, StoreCorrupt: The list cannot be read or written.
        """
        for _ in range(ATTEMPTS):
            ids, revision = self._ids(tenant_id)
            if receipt_id in ids:
                return
            body = {"ids": [*ids, receipt_id][-KEPT:]}
            try:
                self._store.write(tenant_id, INDEX, body, expected_revision=revision)
            except Conflict:
                continue
            return
        raise too_busy()

    def _ids(self, tenant_id: str) -> tuple[Sequence[str], int]:
        document = self._store.read(tenant_id, INDEX)
        if document is None:
            return (), 0
        ids = document.body.get("ids")
        if type(ids) is not list or not all(type(found) is str and is_id(found) for found in ids):
            raise StoreCorrupt("the stored list of receipts cannot be read")
        return ids, document.revision


def is_id(text: str) -> bool:
    """Whether a text can be a receipt's id: a UUID in its usual form."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def too_busy() -> StoreUnavailable:
    """The error for a document that others kept changing."""
    return StoreUnavailable("a receipt is changed by too many at once", retry_after=1)
