"""The API as a table: every route, who may call it, what it reads, what it answers (DESIGN 7).

Hosts register it, the handler walks it, `functions.openapi` and docs/api.md are made from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core import errors
from core.errors import KeysteadError, MethodNotAllowed, NotFound
from core.service.access import Op, Operation, Permission
from functions.messages import MAX_BODY
from functions.models import answers, requests
from functions.models.base import Model

SMALL_BODY = 64 * 1024
"""Bytes of a body on routes that carry no data."""
_PARAMETER = re.compile(r"\\\{(\w+)\\\}")
# Unreserved characters only: a percent sign is no part of any name here, so %2F, %2e and encoded ids match nothing.
_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]{1,128}"


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


_KEY_ERRORS: tuple[type[KeysteadError], ...] = (
    errors.NotFound,
    errors.KeyRevoked,
    errors.KeySuspended,
    errors.KeyNetworkBlocked,
    errors.KeyUnreachable,
    errors.VendorFault,
    errors.StoreCorrupt,
)
_WRITE_ERRORS = (*_KEY_ERRORS, errors.KeyWriteBlocked)
_READ_ERRORS = (*_KEY_ERRORS, errors.MessageInvalid, errors.ContextMismatch)
_TENANT = "/v1/tenants/{tenant_id}"

ROUTES: tuple[Route, ...] = (
    Route(
        "PUT",
        _TENANT,
        "create_tenant",
        "Create a tenant",
        answers.Tenant,
        Op.TENANT_CREATE,
        "Answers 201 if the tenant is new, 200 if it was there already. The id is immutable and never reused.",
        request=requests.TenantBody,
        creates=True,
        errors=(errors.Conflict,),
    ),
    Route(
        "GET",
        "/v1/tenants",
        "list_tenants",
        "List tenants",
        answers.TenantList,
        Op.TENANT_LIST,
        query=requests.TenantPage,
    ),
    Route(
        "GET",
        _TENANT,
        "show_tenant",
        "Show a tenant",
        answers.Tenant,
        Op.TENANT_SHOW,
        errors=(errors.NotFound,),
    ),
    Route(
        "GET",
        f"{_TENANT}/key",
        "key_status",
        "Status of a tenant's key",
        answers.KeyStatus,
        Op.KEY_STATUS,
        "State, warnings and the published bounds of revocation.",
        errors=(errors.NotFound, errors.StoreCorrupt),
    ),
    Route(
        "POST",
        f"{_TENANT}/key/rotate",
        "rotate",
        "Rotate the branch key",
        answers.Rotation,
        Op.KEY_ROTATE,
        "Makes a new ACTIVE version. Older versions go on decrypting.",
        request=requests.Empty,
        errors=(*_WRITE_ERRORS, errors.Conflict),
    ),
    Route(
        "POST",
        f"{_TENANT}/encrypt",
        "encrypt",
        "Encrypt data",
        answers.Encrypted,
        Op.ENCRYPT,
        "One plaintext, or up to 100 `items` with a result each. Whatever is returned fits into a decrypt request of "
        "the same kind.",
        request=requests.EncryptBody,
        batch=requests.EncryptBatch,
        batch_response=answers.EncryptedBatch,
        raw=True,
        max_body=MAX_BODY,
        errors=_WRITE_ERRORS,
    ),
    Route(
        "POST",
        f"{_TENANT}/decrypt",
        "decrypt",
        "Decrypt messages",
        answers.Decrypted,
        Op.DECRYPT,
        "One message, or up to 100 `items` with a result each. The context must be exactly the one given to encrypt.",
        request=requests.DecryptBody,
        batch=requests.DecryptBatch,
        batch_response=answers.DecryptedBatch,
        raw=True,
        max_body=MAX_BODY,
        errors=_READ_ERRORS,
    ),
    Route(
        "POST",
        f"{_TENANT}/data-keys",
        "new_data_key",
        "Hand out a data key",
        answers.DataKey,
        Op.DATA_KEY_GRANT,
        "A fresh 32-byte key for encrypting on the caller's side, plain and encrypted.",
        request=requests.DataKeyBody,
        errors=_WRITE_ERRORS,
    ),
    Route(
        "POST",
        f"{_TENANT}/data-keys/decrypt",
        "open_data_key",
        "Open a handed-out data key",
        answers.OpenedDataKey,
        Op.DATA_KEY_OPEN,
        "Opens only keys that this service handed out, under the context they were made for.",
        request=requests.OpenDataKeyBody,
        errors=_READ_ERRORS,
    ),
    Route(
        "GET",
        f"{_TENANT}/audit",
        "audit_entries",
        "Read the audit chain",
        answers.AuditList,
        Op.AUDIT_READ,
        query=requests.AuditPage,
        errors=(errors.NotFound, errors.StoreCorrupt),
    ),
    Route(
        "GET",
        f"{_TENANT}/audit/checkpoints",
        "audit_checkpoints",
        "Signed ends of the audit chain",
        answers.Checkpoints,
        Op.AUDIT_CHECKPOINTS,
        errors=(errors.NotFound, errors.StoreCorrupt),
    ),
    Route(
        "GET", "/healthz", "health", "Whether the service can serve", answers.Health, None, "Answers 503 if it cannot."
    ),
    Route("GET", "/openapi.json", "openapi", "This document"),
    Route("GET", "/.well-known/jwks.json", "jwks", "Public keys of checkpoints and receipts"),
)


@dataclass(frozen=True, slots=True)
class Match:
    """A route, and the path's parameters."""

    route: Route
    parameters: dict[str, str]


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(_PARAMETER.sub(lambda name: f"(?P<{name[1]}>{_SEGMENT})", re.escape(template)))


_TABLE: dict[str, dict[str, Route]] = {}
for _route in ROUTES:
    _TABLE.setdefault(_route.template, {})[_route.method] = _route
_PATTERNS = [(_pattern(template), by_method) for template, by_method in _TABLE.items()]


def allowed_methods(by_method: dict[str, Route]) -> tuple[str, ...]:
    """What ``Allow`` says: HEAD comes with GET, OPTIONS with everything."""
    head = ("HEAD",) if "GET" in by_method else ()
    return tuple(sorted((*by_method, *head, "OPTIONS")))


def match(method: str, path: str) -> Match:
    """Find the route of a request. Paths match exactly: no decoding, no trailing slash, no case folding.

    Args:
        method: As on the wire; HEAD finds the GET route.
        path: As on the wire, percent-encoded.

    Raises:
        NotFound: No route has this path.
        MethodNotAllowed: One has, not for this method.
    """
    for pattern, by_method in _PATTERNS:
        if found := pattern.fullmatch(path):
            route = by_method.get("GET" if method == "HEAD" else method)
            if route is None:
                allowed = allowed_methods(by_method)
                raise MethodNotAllowed(f"this path has the methods {', '.join(allowed)}", allowed=allowed)
            return Match(route, found.groupdict())
    raise NotFound(
        "no such path",
        hint="paths match exactly, without percent-encoding or trailing slash; /openapi.json lists them",
    )
