"""What an operation gets and gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.service.access import Caller
from core.service.keystead import Keystead
from functions.decoding import RawBody
from functions.models.base import Model


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated, decoded request.

    Attributes:
        service: The façade.
        caller: Who asks; None on routes without a token.
        tenant_id: From the path, well formed; "" where the path has none.
        parameters: Everything from the path.
        body: A model of the route, a `RawBody`, or None.
        query: A model of the route, or None.
    """

    service: Keystead
    caller: Caller | None
    tenant_id: str
    parameters: Mapping[str, str]
    body: Model | RawBody | None = field(repr=False)
    query: Model | None

    @property
    def who(self) -> Caller:
        """The caller, on routes that need one."""
        assert self.caller is not None
        return self.caller


@dataclass(frozen=True, slots=True)
class Answer:
    """A result to encode: a document as JSON, bytes as an octet-stream."""

    content: Mapping[str, Any] | bytes = field(repr=False)
    status: int = 0
    """HTTP status; 0 for the route's own."""
