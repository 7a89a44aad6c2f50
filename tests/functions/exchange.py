"""Requests to the handler, and what its answers must be."""

from __future__ import annotations

import json
from typing import Any

from functions.messages import Request, Response
from tests.functions import tokens

OPERATOR = tokens.mint(tenant_id=None, scope="platform:operate", sub="op")
APP = tokens.mint()


def request(
    method: str, target: str, body: object = None, *, token: str = APP, headers: dict[str, str] | None = None
) -> Request:
    path, _, query = target.partition("?")
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
    every = {"authorization": f"Bearer {token}", **({"content-type": kind} if data else {}), **(headers or {})}
    return Request(method, path, query, every, data, request_id="request-1", host="127.0.0.1")


def ok(response: Response, status: int = 200) -> Any:
    assert response.status == status, response.body
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-request-id"] == "request-1"
    return json.loads(response.body)


def code(response: Response) -> str:
    assert response.headers["content-type"] == "application/problem+json"
    document = json.loads(response.body)
    assert document["status"] == response.status
    return str(document["code"])
