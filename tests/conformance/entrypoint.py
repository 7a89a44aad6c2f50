"""What every host must do: hand the handler the request that was sent, and send the response that it gave.

A host's test class subclasses `EntrypointContract` and says how a request travels. The façade behind it is
`FakeKeystead`, whose answers are known in advance, so that answers are compared byte for byte.
"""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import pytest

from functions.handlers import Handler
from functions.identity import Identity
from functions.messages import Request, Response, join_headers
from tests.functions import tokens
from tests.functions.fakes import FakeKeystead

BINARY = bytes(range(256))
TOKEN = tokens.mint()
OPERATOR = tokens.mint(tenant_id=None, scope="platform:operate")
JSON = ("Content-Type", "application/json")
RAW = ("Content-Type", "application/octet-stream")


@dataclass(frozen=True)
class Sample:
    """One request as a client writes it."""

    name: str
    method: str
    target: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    token: str | None = field(default=TOKEN, repr=False)
    status: int = 200

    def pairs(self) -> list[tuple[str, str]]:
        """All headers to send, Host and Content-Length apart."""
        authorization = [] if self.token is None else [("Authorization", f"Bearer {self.token}")]
        return [("X-Request-Id", f"sample-{self.name.replace(' ', '-')}"), *authorization, *self.headers]


def _json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


PLAIN = base64.b64encode(BINARY).decode()
SEALED = base64.b64encode(b"sealed:" + BINARY).decode()
CONTEXT = base64.urlsafe_b64encode(_json({"n\u00e4me": "\u00fc"})).decode()
T = "/v1/tenants/acme"

SAMPLES = [
    Sample("health", "GET", "/healthz", token=None),
    Sample("health head", "HEAD", "/healthz", token=None),
    Sample("openapi", "GET", "/openapi.json", token=None),
    Sample("jwks", "GET", "/.well-known/jwks.json", token=None),
    Sample("create", "PUT", T, _json({"display_name": "\u00c4cme"}), (JSON,), OPERATOR, 201),
    Sample("create bare", "PUT", T, token=OPERATOR, status=201),
    Sample("list", "GET", "/v1/tenants?after=acme&limit=1", token=OPERATOR),
    Sample("show", "GET", T),
    Sample("status", "GET", f"{T}/key"),
    Sample("rotate", "POST", f"{T}/key/rotate"),
    Sample("encrypt", "POST", f"{T}/encrypt", _json({"plaintext": PLAIN, "context": {"n\u00e4me": "\u00fc"}}), (JSON,)),
    Sample("encrypt raw", "POST", f"{T}/encrypt", BINARY, (RAW, ("Keystead-Context", CONTEXT))),
    Sample("encrypt raw nothing", "POST", f"{T}/encrypt", b"", (RAW,)),
    Sample("encrypt many", "POST", f"{T}/encrypt", _json({"items": [{"plaintext": PLAIN}] * 3}), (JSON,)),
    Sample("encrypt big", "POST", f"{T}/encrypt", bytes(3 << 20), (RAW,)),
    Sample("decrypt", "POST", f"{T}/decrypt", _json({"message": SEALED}), (JSON,)),
    Sample("decrypt raw", "POST", f"{T}/decrypt", b"sealed:" + BINARY, (RAW,)),
    Sample("decrypt many", "POST", f"{T}/decrypt", _json({"items": [{"message": SEALED}, {"message": ""}]}), (JSON,)),
    Sample("data key", "POST", f"{T}/data-keys", _json({"context": {"a": "b"}}), (JSON,)),
    Sample("open data key", "POST", f"{T}/data-keys/decrypt", _json({"encrypted_data_key": "ZWRr"}), (JSON,)),
    Sample("audit", "GET", f"{T}/audit?after=0&limit=10"),
    Sample("checkpoints", "GET", f"{T}/audit/checkpoints"),
    Sample("options", "OPTIONS", f"{T}/encrypt", token=None, status=204),
    Sample("no token", "GET", T, token=None, status=401),
    Sample("bad token", "GET", T, token="x.y.z", status=401),
    Sample("not found", "GET", "/nowhere", status=404),
    Sample("trailing slash", "GET", f"{T}/", status=404),
    Sample("double slash", "GET", "/v1/tenants//acme", status=404),
    Sample("encoded slash", "GET", "/v1/tenants/acme%2Fkey", status=404),
    Sample("wrong method", "DELETE", T, status=405),
    Sample("bad tenant", "GET", "/v1/tenants/Acme", status=400),
    Sample("repeated query", "GET", "/v1/tenants?limit=1&limit=2", token=OPERATOR, status=400),
    Sample("bad json", "POST", f"{T}/encrypt", b"{", (JSON,), status=400),
    Sample("no type", "POST", f"{T}/encrypt", b"{}", status=415),
    Sample("encoded body", "POST", f"{T}/encrypt", b"x", (RAW, ("Content-Encoding", "gzip")), status=415),
    Sample("too large", "POST", f"{T}/data-keys", b" " * 70_000, (JSON,), status=413),
    Sample("not a message", "POST", f"{T}/decrypt", b"x", (RAW,), status=422),
]

HOST_OWN = frozenset({"date", "content-length", "connection", "server", "transfer-encoding", "keep-alive"})
"""Response headers that a host or its server may add or choose."""


def fake_handler() -> Handler:
    """The handler that both sides use: same façade, same issuer."""
    return Handler(FakeKeystead().as_keystead(), Identity([tokens.issuer()]))


class EntrypointContract(ABC):
    """Subclass it as ``Test...`` and say how a request travels through the host."""

    @abstractmethod
    def send(self, sample: Sample) -> Response:
        """Send a sample through the host, over a handler made by `fake_handler`."""

    @pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
    def test_same_answer_as_the_handler(self, sample: Sample) -> None:
        """Status, body and headers are those that the handler gives directly."""
        path, _, query = sample.target.partition("?")
        headers = {**join_headers(sample.pairs()), "content-length": str(len(sample.body))}
        direct = fake_handler().handle(Request(sample.method, path, query, headers, sample.body, host="127.0.0.1"))
        through = self.send(sample)
        assert direct.status == sample.status, direct.body[:500]
        assert through.status == direct.status, through.body[:500]
        assert through.body == direct.body
        shown, expected = (
            {name.lower(): value for name, value in response.headers.items() if name.lower() not in HOST_OWN}
            for response in (through, direct)
        )
        assert shown == expected
