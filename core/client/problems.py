"""The service's problem documents (RFC 9457), back into the error tree they came from.

::

    Unavailable
    +-- ServiceUnreachable           the service did not answer, or the connection broke
    ServiceFault
    +-- UnexpectedAnswer             what answered does not speak the API

These two exist only on this side of the wire.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from core.errors import (
    AccessDenied,
    ApprovalNeeded,
    Conflict,
    ContextMismatch,
    InternalError,
    InvalidRequest,
    KeyCheckFailed,
    KeyNetworkBlocked,
    KeyRevoked,
    KeysteadError,
    KeySuspended,
    KeyUnreachable,
    KeyWithheld,
    KeyWriteBlocked,
    MessageInvalid,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RequestError,
    ServiceFault,
    StoreCorrupt,
    StoreUnavailable,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
    VendorFault,
)

MAX_TEXT = 500
"""Characters of a detail or hint that are believed; whoever answers may not be who we think."""

MAX_CHECK_TEXT = 2000
"""The same of a check, which may name several things."""
MAX_CHECKS = 64
"""Checks of an examination that are believed."""

_CLASSES: tuple[type[KeysteadError], ...] = (
    InvalidRequest,
    Unauthenticated,
    AccessDenied,
    NotFound,
    MethodNotAllowed,
    Conflict,
    ApprovalNeeded,
    PayloadTooLarge,
    UnsupportedMediaType,
    MessageInvalid,
    ContextMismatch,
    TooManyRequests,
    KeyRevoked,
    KeySuspended,
    KeyNetworkBlocked,
    KeyWriteBlocked,
    KeyCheckFailed,
    KeyUnreachable,
    VendorFault,
    StoreUnavailable,
    InternalError,
    StoreCorrupt,
)
BY_CODE: Mapping[str, type[KeysteadError]] = {cls.code: cls for cls in _CLASSES}
# For a newer service's codes, and for what a gateway in between answers.
_BY_STATUS: Mapping[int, type[KeysteadError]] = {
    401: Unauthenticated,
    403: AccessDenied,
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    424: KeyWithheld,
    429: TooManyRequests,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


class ServiceUnreachable(Unavailable):
    """The service did not answer, or the connection broke.

    Args:
        detail: As in the base class.
        sent: Whether the request may have reached the service, so that it may have acted.
    """

    code = "service_unreachable"
    title = "Service unreachable"

    def __init__(self, detail: str, *, sent: bool, hint: str | None = None) -> None:
        super().__init__(detail, hint=hint, retry_after=None)
        self.sent = sent


class UnexpectedAnswer(ServiceFault):
    """What answered does not speak the API: a redirect, a web page, a body over the limit, a missing field."""

    code = "unexpected_answer"
    title = "Unexpected answer"


def to_error(status: int, headers: Mapping[str, str], body: bytes) -> KeysteadError:
    """Give the error that a response with status 300 or above stands for.

    Args:
        status: HTTP status.
        headers: Response headers, case-insensitive.
        body: Response body.

    Returns:
        The class the document's ``code`` names; for an unknown code, or no problem document, the nearest class by
        status. ``retry_after`` is set only by the response; the service's own request id is added as a note.
    """
    document = _document(headers, body)
    if status < 400:
        return UnexpectedAnswer(
            f"the answer is a redirect (HTTP {status}), which is not followed",
            hint="check the URL of the service",
        )
    cls = BY_CODE.get(_text(document, "code") or "") or _BY_STATUS.get(status)
    if cls is None:
        cls = RequestError if status < 500 else ServiceFault
    detail = _text(document, "detail") or _text(document, "title") or f"the service answered HTTP {status}"
    error = _build(cls, detail, _text(document, "hint"), _seconds(headers.get("retry-after")))
    if isinstance(error, KeyCheckFailed):
        error.checks = _checks(document)
    request_id = _text(document, "request_id")
    if request_id:
        error.add_note(f"the service's request id {request_id}")
    return error


def _build(cls: type[KeysteadError], detail: str, hint: str | None, retry_after: int | None) -> KeysteadError:
    # What a class takes besides its detail is its own affair; what every error has is set here.
    error = cls(detail)
    error.hint, error.retry_after = hint, retry_after
    return error


def _document(headers: Mapping[str, str], body: bytes) -> Mapping[str, Any]:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/problem+json":
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _text(document: Mapping[str, Any], name: str, limit: int = MAX_TEXT) -> str | None:
    """A member as one printable line: it ends up on terminals and in logs."""
    value = document.get(name)
    if not isinstance(value, str) or not value:
        return None
    return "".join(c if c.isprintable() else " " for c in value[:limit])


def _checks(document: Mapping[str, Any]) -> tuple[Mapping[str, str], ...]:
    """The member ``checks``: what in it has a name and a result, as printable texts."""
    found = document.get("checks")
    checks = found[:MAX_CHECKS] if isinstance(found, list) else []
    texts = [
        {name: _text(check, name, MAX_CHECK_TEXT) or "" for name in ("name", "result", "observed", "remedy")}
        for check in checks
        if isinstance(check, dict)
    ]
    return tuple(check for check in texts if check["name"] and check["result"])


def _seconds(value: str | None) -> int | None:
    """Delta seconds of a Retry-After header; the date form needs a clock that agrees, and is ignored."""
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 10 else None
