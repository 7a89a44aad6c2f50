"""The API as a table: every route, who may call it, what it reads, what it answers (DESIGN 7).

Hosts register it, the handler walks it, `functions.openapi` and docs/api.md are made from it. The rows about a tenant's
key are in `functions.key_routes`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core import errors
from core.errors import MethodNotAllowed, NotFound
from core.service.access import Op
from functions.key_routes import KEY_ROUTES
from functions.messages import MAX_BODY
from functions.models import answers, requests
from functions.route import READ_ERRORS, TENANT, WRITE_ERRORS, Route

_PARAMETER = re.compile(r"\\\{(\w+)\\\}")
# Unreserved characters only: a percent sign is no part of any name here, so %2F, %2e and encoded ids match nothing.
_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]{1,128}"

ROUTES: tuple[Route, ...] = (
    Route(
        "PUT",
        TENANT,
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
        TENANT,
        "show_tenant",
        "Show a tenant",
        answers.Tenant,
        Op.TENANT_SHOW,
        errors=(errors.NotFound,),
    ),
    Route(
        "PATCH",
        TENANT,
        "update_tenant",
        "Change what the operator knows of a tenant",
        answers.Tenant,
        Op.TENANT_UPDATE,
        "Fields that are left out or null stay as they are.",
        request=requests.TenantUpdate,
        errors=(errors.NotFound, errors.Conflict, errors.StoreCorrupt),
    ),
    *KEY_ROUTES,
    Route(
        "POST",
        f"{TENANT}/encrypt",
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
        errors=WRITE_ERRORS,
    ),
    Route(
        "POST",
        f"{TENANT}/decrypt",
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
        errors=READ_ERRORS,
    ),
    Route(
        "POST",
        f"{TENANT}/data-keys",
        "new_data_key",
        "Hand out a data key",
        answers.DataKey,
        Op.DATA_KEY_GRANT,
        "A fresh 32-byte key for encrypting on the caller's side, plain and encrypted.",
        request=requests.DataKeyBody,
        errors=WRITE_ERRORS,
    ),
    Route(
        "POST",
        f"{TENANT}/data-keys/decrypt",
        "open_data_key",
        "Open a handed-out data key",
        answers.OpenedDataKey,
        Op.DATA_KEY_OPEN,
        "Opens only keys that this service handed out, under the context they were made for.",
        request=requests.OpenDataKeyBody,
        errors=READ_ERRORS,
    ),
    Route(
        "GET",
        f"{TENANT}/audit",
        "audit_entries",
        "Read the audit chain",
        answers.AuditList,
        Op.AUDIT_READ,
        query=requests.AuditPage,
        errors=(errors.NotFound, errors.StoreCorrupt),
    ),
    Route(
        "GET",
        f"{TENANT}/audit/checkpoints",
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
