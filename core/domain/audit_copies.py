"""Copies of audit chains, kept elsewhere than in the store: entries, and a signed checkpoint that vouches for them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from core.domain.audit import AuditEntry
from core.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class ChainCopy:
    """A chain as it was.

    Attributes:
        chain: Tenant id, or ``_system``.
        entries: Its entries from the first, in order.
        checkpoint: Compact JWS that names the last of them; "" where there are none.
    """

    chain: str
    entries: tuple[AuditEntry, ...] = field(repr=False)
    checkpoint: str = field(repr=False)

    def to_line(self) -> str:
        """One line of JSON, without its end."""
        entries = [asdict(entry) for entry in self.entries]
        return json.dumps({"chain": self.chain, "entries": entries, "checkpoint": self.checkpoint})

    @classmethod
    def from_line(cls, line: str) -> ChainCopy:
        """Read a line. That it has the form of a copy says nothing of its truth.

        Raises:
            InvalidRequest: It is no copy.
        """
        try:
            body = json.loads(line)
            chain, entries, checkpoint = body["chain"], body["entries"], body["checkpoint"]
            if not (isinstance(chain, str) and isinstance(checkpoint, str) and isinstance(entries, list)):
                raise TypeError
            return cls(chain, tuple(_entry(entry) for entry in entries), checkpoint)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InvalidRequest("a line is no copy of an audit chain") from None


_TYPES = {"sequence": int, "details": dict}


def _entry(body: Any) -> AuditEntry:
    entry = AuditEntry(**body)
    if any(type(getattr(entry, each.name)) is not _TYPES.get(each.name, str) for each in fields(entry)):
        raise TypeError("a field has another type")
    return entry
