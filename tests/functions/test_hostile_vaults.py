"""Addresses of vaults that a tenant may send to have this service call somewhere: refused before anything is asked.

The grammar itself is tested in tests/domain; here it is shown that nothing on the way from HTTP goes around it.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.bootstrap import Config, assemble, local_leaves
from core.domain.checks import Check, Report, Result
from core.domain.kek import KeyAccess
from core.errors import InternalError
from core.ports import KeyProvider
from functions.handlers import Handler
from functions.identity import Identity
from tests.functions import tokens
from tests.functions.exchange import code, ok, request
from tests.functions.fakes import ENTRA, KEY_ID, VAULT

KEY = "/v1/tenants/acme/key"
CANARY = "canary-9d41"
VERSION = "0123456789abcdef" * 2
HOSTILE_VAULTS = (
    "http://acme-kv.vault.azure.net",
    f"https://{CANARY}:x@acme-kv.vault.azure.net",
    f"https://acme-kv.vault.azure.net@{CANARY}.example",
    f"https://acme-kv.vault.azure.net.{CANARY}.example",
    f"https://{CANARY}.example/acme-kv.vault.azure.net",
    f"https://{CANARY}.example\\@acme-kv.vault.azure.net",
    f"https://{CANARY}.example#.vault.azure.net",
    f"https://{CANARY}.example?.vault.azure.net",
    "https://acme-kv.vault.azure.net:8443",
    "https://acme-kv.vault.azure.net.",
    f"https://acme-kv.vault.azure.net/keys/../{CANARY}",
    "https://169.254.169.254",
    "https://[::ffff:169.254.169.254]",
    "https://127.0.0.1.vault.azure.net",
    "https://acme-kv.vault.azure.n\u0435t",
    "https://acme-kv\u3002vault.azure.net",
    "https://acme-kv.vault.azure.net\r\nHost: 127.0.0.1",
    " https://acme-kv.vault.azure.net",
    "https://evilvault.azure.net",
    "https://-kv.vault.azure.net",
)
HOSTILE_KEYS = (
    f"https://{CANARY}.example/keys/kek",
    f"https://acme-kv.vault.azure.net@{CANARY}.example/keys/kek",
    f"https://acme-kv.vault.azure.net/keys/kek/{VERSION}/../../../{CANARY}",
    "https://acme-kv.vault.azure.net//keys/kek",
    "https://acme-kv.vault.azure.net/keys/%2e%2e",
    "https://acme-kv.vault.azure.net/keys/kek?api-version=7.0",
    "HTTPS://acme-kv.vault.azure.net/keys/kek/",
    "../secrets/x",
    "kek/versions",
)


class Recorded:
    """A connector to Azure that remembers what it is asked for, and finds every key wanting."""

    def __init__(self) -> None:
        self.asked: list[KeyAccess] = []

    def connect(self, access: KeyAccess) -> KeyProvider:
        raise InternalError("no key passes its examination here")

    def examine(self, access: KeyAccess, context: Mapping[str, str]) -> Report:
        self.asked.append(access)
        return Report((Check("reachable", Result.FAIL, "no"),))

    def setup_kit(self, tenant_id: str, external_id: str, entra_tenant: str = "") -> Mapping[str, Any]:
        raise InternalError("not asked for here")


@pytest.fixture
def azure() -> Recorded:
    return Recorded()


@pytest.fixture
def handler(tmp_path: Path, azure: Recorded) -> Iterator[Handler]:
    config = Config(data_dir=tmp_path / "data", store="memory")
    built = assemble(config, replace(local_leaves(config), connectors={"azure_key_vault": azure}))
    built.tenants.create("acme", "")
    yield Handler(built.keystead, Identity([tokens.issuer()]))
    built.close()


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every attempt to find or reach another host."""
    tried: list[object] = []

    def refuse(*given: object, **_: object) -> None:
        tried.append(given)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tried


def body(**fields: str) -> dict[str, str]:
    return {"provider": "azure_key_vault", "vault_url": VAULT, "entra_tenant": ENTRA, "key_name": "kek", **fields}


@pytest.mark.parametrize(("method", "target"), [("PUT", KEY), ("POST", f"{KEY}/validate")])
@pytest.mark.parametrize(
    "fields",
    [
        *({"vault_url": url} for url in HOSTILE_VAULTS),
        *({"key_name": key} for key in HOSTILE_KEYS),
        *({"key_name": key, "vault_url": ""} for key in HOSTILE_KEYS),
        *({"entra_tenant": text} for text in ("common", "organizations", f"{ENTRA}/../{CANARY}", f"{CANARY}.example")),
    ],
    ids=str,
)
def test_a_hostile_address_is_refused_before_anything_is_asked(
    handler: Handler,
    azure: Recorded,
    network: list[object],
    caplog: pytest.LogCaptureFixture,
    method: str,
    target: str,
    fields: dict[str, str],
) -> None:
    with caplog.at_level("DEBUG"):
        response = handler.handle(request(method, target, body(**fields)))
    assert (response.status, code(response)) == (400, "invalid_request")
    assert json.loads(response.body)["remedy"] == "caller"
    assert (azure.asked, network) == ([], [])
    told = response.body.decode() + str(response.headers) + caplog.text + str([vars(r) for r in caplog.records])
    assert CANARY not in told
    assert "169.254" not in told


def test_a_good_address_is_asked(handler: Handler, azure: Recorded, network: list[object]) -> None:
    """What the refusals above are worth: these do reach the connector, and it the network."""
    found = ok(handler.handle(request("POST", f"{KEY}/validate", body())))
    assert [check["result"] for check in found["checks"]] == ["pass", "fail", "skip"]
    assert code(handler.handle(request("PUT", KEY, body(key_name=f"{KEY_ID}/{VERSION}")))) == "key_check_failed"
    assert [(access.kek.locator, access.entra_tenant) for access in azure.asked] == [(KEY_ID, ENTRA)] * 2
    assert all(access.external_id.startswith("keystead-") for access in azure.asked)
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("acme-kv.vault.azure.net", 443))
    assert len(network) == 1
