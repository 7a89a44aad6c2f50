"""A service behind `httpx.MockTransport`: real data keys and messages, no state, no network."""

import base64
import json
import os
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx

from core.client.client import KeysteadClient
from core.domain.context import USE_CALLER, message_context, serialise
from core.domain.encrypted_data_key import parse_serialised, unwrap_data_key, wrap_data_key
from core.errors import KeysteadError

TOKEN = "eyJhbGciOiJub25lIn0.secret-part.c2ln"
URL = "http://127.0.0.1:8080"
Handler = Callable[[httpx.Request], httpx.Response]


def problem(status: int, code: str, *, headers: dict[str, str] | None = None, **members: object) -> httpx.Response:
    body = {"type": "about:blank", "title": code, "status": status, "code": code, **members}
    return httpx.Response(
        status,
        headers={"content-type": "application/problem+json; charset=utf-8", **(headers or {})},
        content=json.dumps(body).encode(),
    )


def client(
    handler: Handler, *, slept: list[float] | None = None, retries: int = 2, token: str = TOKEN
) -> KeysteadClient:
    waits = [] if slept is None else slept
    return KeysteadClient(URL, token, retries=retries, sleep=waits.append, http=httpx.MockTransport(handler))


class FakeService:
    """Hands out and opens data keys for one tenant; `calls` lists what it was asked."""

    def __init__(self, tenant_id: str = "acme") -> None:
        self.tenant_id = tenant_id
        self.branch_key, self.branch_key_id, self.version = os.urandom(32), str(uuid4()), str(uuid4())
        self.calls: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(f"{request.method} {request.url.path}")
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        body: dict[str, Any] = json.loads(request.content)
        try:
            if request.url.path == f"/v1/tenants/{self.tenant_id}/data-keys":
                return self._new(body)
            if request.url.path == f"/v1/tenants/{self.tenant_id}/data-keys/decrypt":
                return self._open(body)
        except KeysteadError as error:
            return problem(422, error.code, detail=error.detail)
        return problem(403, "access_denied", detail="not yours")

    def _new(self, body: dict[str, Any]) -> httpx.Response:
        key = os.urandom(32)
        context = message_context(self.tenant_id, body["context"], use=USE_CALLER)
        edk = wrap_data_key(self.branch_key, self.branch_key_id, self.version, key, serialise(context))
        return httpx.Response(
            200,
            json={
                "data_key": base64.b64encode(key).decode(),
                "encrypted_data_key": base64.b64encode(edk.serialise()).decode(),
                "context": context,
            },
        )

    def _open(self, body: dict[str, Any]) -> httpx.Response:
        edk = parse_serialised(base64.b64decode(body["encrypted_data_key"]))
        key = unwrap_data_key(self.branch_key, edk, serialise(body["context"]))
        return httpx.Response(200, json={"data_key": base64.b64encode(key).decode()})
