"""An HTTP request and response as plain values: what every host translates its own events to and from.

A host fills `Request` from the wire and changes nothing on the way: no decoding of the path, no merging of slashes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import uuid4

MAX_BODY = 4 * 1024 * 1024
"""Bytes of the largest request body of any route (DESIGN 7)."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    Attributes:
        method: Upper-case, as on the wire.
        path: The path as on the wire, still percent-encoded, without the query.
        query: The query as on the wire, without the question mark; "" if there is none.
        headers: Names in lower case; repeated headers joined by ", ".
        body: The whole body, as sent.
        request_id: The id to answer and log under; "" lets the handler choose.
        host: The Host header or authority, as sent; "" if there was none.
        seconds_left: What the host had left for this request when this was made; None where it does not bound it.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    request_id: str = ""
    host: str = ""
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response.

    Attributes:
        status: HTTP status.
        headers: Names in lower case. ``content-length`` is set only for HEAD; hosts compute it otherwise.
        body: The whole body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def join_headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Give the headers of a `Request` from the pairs of the wire.

    A header that must stand once and stands twice becomes a value that no reader accepts, so that two hosts never
    choose differently between two values.
    """
    out: dict[str, str] = {}
    for name, value in pairs:
        name = name.lower()
        out[name] = f"{out[name]}, {value}" if name in out else value
    return out


def choose_request_id(headers: Mapping[str, str]) -> str:
    """The caller's ``X-Request-Id`` if it is 8 to 64 plain characters, else a new random one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex
