"""One row of the API's table, and the groups of errors that rows share."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core import errors
from core.errors import KeysteadError
from core.service.access import Operation, Permission
from functions.models.base import Model

SMALL_BODY = 64 * 1024
"""Bytes of a body on routes that carry no data."""
TENANT = "/v1/tenants/{tenant_id}"
"""Path of a tenant."""


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table.

    Attributes:
        method: HTTP method.
        template: Path with ``{parameters}`` of one segment each.
        operation: Name in `functions.operations` and ``operationId``.
        summary: A few words.
        response: Answer with status ``success``.
        action: What the gate is asked for; None for routes without a token.
        description: More than the summary, or "".
        request: JSON body, or None where a body is refused.
        batch: The other JSON body, told by its field ``items``.
        batch_response: Answer to ``batch``.
        query: Query parameters, or None where a query is refused.
        raw: Whether ``application/octet-stream`` is read and answered too, with the context in a header.
        success: HTTP status.
        creates: Whether it answers 201 where something is new.
        max_body: Bytes.
        errors: What may be answered besides that which follows from the other columns.
    """

    method: str
    template: str
    operation: str
    summary: str
    response: type[Model] | None = None
    action: Operation | None = None
    description: str = ""
    request: type[Model] | None = None
    batch: type[Model] | None = None
    batch_response: type[Model] | None = None
    query: type[Model] | None = None
    raw: bool = False
    success: int = 200
    creates: bool = False
    max_body: int = SMALL_BODY
    errors: tuple[type[KeysteadError], ...] = ()

    @property
    def permission(self) -> tuple[Permission, ...]:
        """Any of these scopes suffices; empty for routes without a token."""
        if self.action is None:
            return ()
        return (*([Permission.PLATFORM_OPERATE] if self.action.operator_too else []), self.action.permission)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters in the path."""
        return tuple(re.findall(r"\{(\w+)\}", self.template))


KEY_ERRORS: tuple[type[KeysteadError], ...] = (
    errors.NotFound,
    errors.KeyRevoked,
    errors.KeySuspended,
    errors.KeyNetworkBlocked,
    errors.KeyUnreachable,
    errors.VendorFault,
    errors.StoreCorrupt,
)
"""What every use of a tenant's key may meet."""
WRITE_ERRORS = (*KEY_ERRORS, errors.KeyWriteBlocked)
READ_ERRORS = (*KEY_ERRORS, errors.MessageInvalid, errors.ContextMismatch)
