"""Reads what a request carries: strict JSON, raw bodies with the context in a header, queries.

Nothing here repeats a value in an error.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl

from core.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from functions.messages import Request
from functions.models.base import Model, validate
from functions.route import Route
from functions.strict_json import parse_json

JSON = "application/json"
RAW = "application/octet-stream"
CONTEXT_HEADER = "keystead-context"
FOREIGN_HEADER = "keystead-foreign"
MAX_QUERY = 2048
"""Characters."""
_MAX_LENGTH_DIGITS = 15
_URL_TO_STANDARD = str.maketrans("-_", "+/")

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class RawBody:
    """An octet-stream body and what stands in the headers beside it."""

    data: bytes = field(repr=False)
    context: Mapping[str, str]
    foreign: bool = False


def media_type(request: Request, route: Route) -> str:
    """The kind of body a request announces: `JSON`, `RAW`, or "" for none.

    Raises:
        UnsupportedMediaType: Any Content-Encoding, or a content type the route does not read.
        PayloadTooLarge: Content-Length is over the route's limit.
        InvalidRequest: A body is announced where none is read, or announced in a way that is not understood.
    """
    headers = request.headers
    if headers.get("transfer-encoding", "chunked").lower() != "chunked":
        raise InvalidRequest("no Transfer-Encoding but chunked is read")
    if headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaType("a Content-Encoding is not accepted", hint="send the body as it is")
    check_length(headers.get("content-length"), route.max_body)
    # Told from the head, so that no host waits for what it would not read.
    if route.request is None and ("transfer-encoding" in headers or headers.get("content-length", "").strip("0")):
        raise _no_body()
    given = headers.get("content-type", "")
    kind, _, parameters = given.partition(";")
    kind = kind.strip().lower()
    if not given or route.request is None:
        return ""
    if kind == JSON and parameters.strip().lower().replace('"', "") in {"", "charset=utf-8"}:
        return JSON
    if kind == RAW and route.raw and not parameters:
        return RAW
    raise UnsupportedMediaType(
        "the content type is not one this route reads",
        hint=f"send {JSON}" + (f" or {RAW}" if route.raw else ""),
    )


def check_length(declared: str | None, limit: int) -> None:
    """Refuse a declared body length before the body is read.

    Args:
        declared: The Content-Length header, or None.
        limit: Bytes.

    Raises:
        InvalidRequest: It is no number.
        PayloadTooLarge: It is over the limit.
    """
    if declared is None:
        return
    if not (declared.isascii() and declared.isdigit()):
        raise InvalidRequest("Content-Length is not a number")
    if len(declared) > _MAX_LENGTH_DIGITS or int(declared) > limit:
        raise too_large(limit)


def too_large(limit: int) -> PayloadTooLarge:
    """The error for a body over a limit in bytes."""
    hint = "encrypt larger data on your side under a data key: POST data-keys, or 'keystead encrypt FILE'"
    return PayloadTooLarge(f"the body is larger than {limit} bytes", hint=hint)


def _no_body() -> InvalidRequest:
    return InvalidRequest("this route reads no body")


def read_query(query: str, model: type[M] | None) -> M | None:
    """Read a query string.

    Raises:
        InvalidRequest: A parameter is unknown, repeated or malformed, or the route has none.
    """
    if len(query) > MAX_QUERY:
        raise InvalidRequest("the query is too long")
    if model is None:
        if query:
            raise InvalidRequest("this route has no query parameters")
        return None
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=16)
    except ValueError:
        raise InvalidRequest("the query is malformed") from None
    if len(dict(pairs)) != len(pairs):
        raise InvalidRequest("a query parameter is repeated")
    return validate(model, dict(pairs), where="the query")


def read_body(route: Route, kind: str, headers: Mapping[str, str], body: bytes) -> Model | RawBody | None:
    """Read a body.

    Args:
        route: The route.
        kind: What `media_type` told.
        headers: Of the request.
        body: All of it.

    Returns:
        One of the route's models, a `RawBody`, or None on routes without a body.

    Raises:
        PayloadTooLarge: The body is over the route's limit.
        UnsupportedMediaType: There is a body without a content type.
        InvalidRequest: The body is not what the route reads.
    """
    if len(body) > route.max_body:
        raise too_large(route.max_body)
    if route.request is None:
        if body:
            raise _no_body()
        return None
    if kind == RAW:
        foreign = headers.get(FOREIGN_HEADER, "false")
        if FOREIGN_HEADER in headers and "foreign" not in route.request.model_fields:
            raise InvalidRequest("the header Keystead-Foreign goes with decrypt only")
        if foreign not in {"true", "false"}:
            raise InvalidRequest("the header Keystead-Foreign is true or false")
        return RawBody(body, read_context(headers.get(CONTEXT_HEADER)), foreign == "true")
    if CONTEXT_HEADER in headers or FOREIGN_HEADER in headers:
        raise InvalidRequest(f"the Keystead-* headers go with {RAW}; in JSON these are fields of the body")
    if body and not kind:
        raise UnsupportedMediaType("the content type is missing", hint=f"send Content-Type: {JSON}")
    return _choose(route, parse_json(body) if body else {})


def _choose(route: Route, document: object) -> Model:
    assert route.request is not None
    model = route.request
    if route.batch is not None and isinstance(document, dict) and "items" in document:
        if set(document) & set(model.model_fields):
            raise InvalidRequest("the request body is not valid: give either items or the fields of one, never both")
        model = route.batch
    return validate(model, document)


def read_context(header: str | None) -> dict[str, str]:
    """Read the context that goes with a raw body: base64 or base64url of a JSON object of strings.

    Raises:
        InvalidRequest: It is something else.
    """
    if header is None:
        return {}
    try:
        # Both alphabets, padding optional: whatever tool the caller has at hand makes one of them.
        text = b64decode(header.translate(_URL_TO_STANDARD) + "=" * (-len(header) % 4), validate=True)
    except ValueError:
        raise InvalidRequest("the header Keystead-Context is not base64 of a JSON object") from None
    document = parse_json(text, what="the header Keystead-Context")
    if not isinstance(document, dict) or not all(isinstance(value, str) for value in document.values()):
        raise InvalidRequest("the header Keystead-Context is not a JSON object of strings")
    return document
