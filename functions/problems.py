"""Errors as problem+json (RFC 9457): the only place where an error becomes an HTTP status.

``type`` is a URN, so that no address has to outlive the service: ``urn:keystead:problem:<code>``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from core import errors
from core.errors import KeyCheckFailed, KeysteadError, MethodNotAllowed, ProviderSignal, Unauthenticated
from functions.messages import Response

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:keystead:problem:"

STATUS: Mapping[type[KeysteadError], int] = {
    errors.KeysteadError: 500,
    errors.RequestError: 400,
    errors.InvalidRequest: 400,
    errors.Unauthenticated: 401,
    errors.AccessDenied: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.Conflict: 409,
    errors.ApprovalNeeded: 409,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.MessageInvalid: 422,
    errors.ContextMismatch: 422,
    errors.TooManyRequests: 429,
    errors.KeyWithheld: 424,
    errors.KeyRevoked: 424,
    errors.KeySuspended: 424,
    errors.KeyNetworkBlocked: 424,
    errors.KeyWriteBlocked: 424,
    errors.KeyCheckFailed: 422,
    errors.Unavailable: 503,
    errors.KeyUnreachable: 503,
    errors.VendorFault: 503,
    errors.StoreUnavailable: 503,
    errors.ServiceFault: 500,
    errors.InternalError: 500,
    errors.StoreCorrupt: 500,
    errors.ProviderSignal: 500,
    errors.Denial: 500,
    errors.Silence: 500,
    errors.OwnFault: 500,
    errors.Unasked: 500,
    errors.WrapMismatch: 500,
}
"""Every class of the tree in `core.errors`; a test compares the two."""

RETRY_AFTER: Mapping[int, int] = {429: 1, 503: 5}
"""Seconds to say where the error says none."""

BASE_HEADERS: Mapping[str, str] = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
"""On every response: answers hold data and keys, and are what they say they are."""


def shown(error: KeysteadError) -> KeysteadError:
    """What a caller may hear of an error.

    A provider's signal that was not turned into an answer is a bug of ours, and its text is for the operator.
    """
    if isinstance(error, ProviderSignal) or type(error) is KeysteadError:
        return errors.InternalError("an unexpected fault; the request id names it in the service's log")
    return error


def status_of(error: KeysteadError) -> int:
    """The HTTP status of an error, that of its nearest listed ancestor."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def problem(error: KeysteadError, request_id: str = "") -> dict[str, Any]:
    """Give the members of a problem document.

    Args:
        error: Any error of the tree.
        request_id: Left out if empty, as in the items of a batch.

    Returns:
        ``type``, ``title``, ``status``, ``detail``, ``code``, ``retryable``, ``remedy``, and where they are known
        ``hint``, ``request_id`` and ``checks``.
    """
    error = shown(error)
    out: dict[str, Any] = {
        "type": TYPE_PREFIX + error.code,
        "title": error.title,
        "status": status_of(error),
        "detail": error.detail,
        "code": error.code,
        "retryable": error.retryable,
        "remedy": error.remedy,
    }
    if error.hint:
        out["hint"] = error.hint
    if request_id:
        out["request_id"] = request_id
    if isinstance(error, KeyCheckFailed) and error.checks:
        out["checks"] = [dict(check) for check in error.checks]
    return out


def problem_response(error: KeysteadError, request_id: str) -> Response:
    """Give the whole response for an error, with the headers its status calls for.

    Args:
        error: Any error of the tree.
        request_id: Of the request; in the body and in ``X-Request-Id``.
    """
    status = status_of(error)
    headers = {**BASE_HEADERS, "content-type": MEDIA_TYPE, "x-request-id": request_id}
    if status in RETRY_AFTER:
        headers["retry-after"] = str(error.retry_after or RETRY_AFTER[status])
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="keystead"'
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = ", ".join(error.allowed)
    return Response(status, headers, json.dumps(problem(error, request_id), separators=(",", ":")).encode())
