"""Audit entries and the hash chain that links them.

Each entry's hash covers its canonical JSON, which contains the hash of the entry before it: an edit, a cut or a
changed order shows. Truncation at the end shows against a signed checkpoint (DESIGN 8).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

GENESIS = "0" * 64
"""The hash before the first entry."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One link of a chain.

    Attributes:
        chain: Tenant id, or ``_system`` for the operator's chain.
        sequence: Counts from 1.
        time: UTC, ISO 8601 with microseconds.
        action: What was done or refused, such as ``tenant.create`` or ``access.denied``.
        subject: Who did it: the token's subject, or ``service``.
        outcome: ``ok`` or an error code.
        details: Facts as JSON values; never a secret.
        previous: Hash of the entry before, hex.
        hash: Hash of this entry, hex.
    """

    chain: str
    sequence: int
    time: str
    action: str
    subject: str
    outcome: str
    details: Mapping[str, Any] = field(default_factory=dict)
    previous: str = GENESIS
    hash: str = ""

    def body(self) -> dict[str, Any]:
        """Everything the hash covers."""
        return {
            "chain": self.chain,
            "sequence": self.sequence,
            "time": self.time,
            "action": self.action,
            "subject": self.subject,
            "outcome": self.outcome,
            "details": dict(self.details),
            "previous": self.previous,
        }

    def computed_hash(self) -> str:
        """SHA-256 of the canonical JSON (sorted keys, no spaces, ASCII), hex."""
        text = json.dumps(self.body(), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return sha256(b"keystead audit entry v1\n" + text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of a chain: sequence and hash of its last entry."""

    sequence: int
    hash: str


EMPTY_HEAD = AuditHead(0, GENESIS)


def fault(entry: AuditEntry, chain: str, head: AuditHead, expected: str = "") -> str:
    """What is wrong with an entry as the next one of a chain; "" if nothing is.

    Args:
        entry: The entry.
        chain: The chain it must belong to.
        head: The entry before it.
        expected: The hash that a signed checkpoint gives it, or "".
    """
    if entry.chain != chain:
        return "the entry belongs to another chain"
    if entry.sequence != head.sequence + 1:
        return "an entry is missing or out of order"
    if entry.previous != head.hash:
        return "the entry does not link to the one before it"
    try:
        changed = entry.computed_hash() != entry.hash
    except (ValueError, RecursionError):  # holds what canonical JSON cannot, so it was never written like this
        changed = True
    if changed:
        return "the entry was changed"
    if expected not in ("", entry.hash):
        return "the entry differs from what a signed checkpoint says"
    return ""
