"""What the service tells of withdrawals of a key: changes of state, and receipts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from core.client.problems import UnexpectedAnswer
from core.client.values import Fields

RECEIPT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Form of a receipt's id: it becomes part of paths and file names."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """One change of a key's state.

    Attributes:
        id: Random; who hears of a change twice knows by it.
        at: UTC, ISO 8601.
        before: The former state.
        after: The new one.
        signal: What led to it, such as ``denied``, ``confirmed`` or ``granted``.
        cause: Of a denial, such as ``disabled`` or ``policy``; or "".
        kek: Locator of the KEK it is about, with its version where there are versions.
        request_id: The KMS's id of the request it hangs on, or "".
        by: Subject of who ordered it, or "" where nobody did.
    """

    id: str
    at: str
    before: str
    after: str
    signal: str
    cause: str
    kek: str
    request_id: str
    by: str


@dataclass(frozen=True, slots=True)
class ReceiptEntry:
    """A receipt of a withdrawal, as it is listed. Instants UTC, ISO 8601.

    Attributes:
        id: Random.
        issued: When it was signed.
        kek: Locator of the KEK that was withdrawn, with its version where there are versions.
        cause: What the KMS's refusal amounts to, such as ``disabled`` or ``policy``.
        first_denial: When the KMS first refused.
        confirmed: When the refusal was confirmed.
        not_served_after: From when on nothing was served.
        reinstated: When the key served again, or "".
        holds_until: That, less what clocks may differ: until then the statement holds for sure; or "".
    """

    id: str
    issued: str
    kek: str
    cause: str
    first_denial: str
    confirmed: str
    not_served_after: str
    reinstated: str
    holds_until: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt: how it is listed, and the signed statement, a compact JWS."""

    entry: ReceiptEntry
    statement: str = field(repr=False)


_CHANGE = ("id", "at", "before", "after", "signal", "cause", "kek", "request_id", "by")
_ENTRY = ("id", "issued", "kek", "cause", "first_denial", "confirmed", "not_served_after", "reinstated", "holds_until")


def state_change(fields: Fields) -> StateChange:
    """Read a change of state.

    Raises:
        UnexpectedAnswer: A member is missing.
    """
    return StateChange(**{name: fields.get(name, str) for name in _CHANGE})


def receipt_entry(fields: Fields) -> ReceiptEntry:
    """Read how a receipt is listed.

    Raises:
        UnexpectedAnswer: A member is missing, or the id is none.
    """
    found = ReceiptEntry(**{name: fields.get(name, str) for name in _ENTRY})
    if not RECEIPT_ID.fullmatch(found.id):
        raise UnexpectedAnswer("a receipt's id is not of the form that ids have")
    return found


def receipts(fields: Fields) -> tuple[ReceiptEntry, ...]:
    """Read a list of receipts.

    Raises:
        UnexpectedAnswer: A member is missing.
    """
    return fields.items("receipts", receipt_entry)


def receipt(fields: Fields) -> Receipt:
    """Read a receipt.

    Raises:
        UnexpectedAnswer: A member is missing, or the statement has no form that one could have.
    """
    statement = fields.get("statement", str)
    if statement.count(".") != 2 or not statement.isascii() or not statement.isprintable() or " " in statement:
        raise UnexpectedAnswer("the answer's member 'statement' is not a compact JWS")
    return Receipt(receipt_entry(fields), statement)
