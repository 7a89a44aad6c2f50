"""The client: which endpoints it takes, how long it waits, how often it sends, and what it never shows."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from azure.core.credentials import AccessToken, AzureNamedKeyCredential

from core.errors import InvalidRequest, StoreUnavailable
from core.stores.azure_tables import AzureDatabase, AzureKeyStore, AzureTables, tables_client
from tests.stores.azure_tables.disturbed import CountingClock

KEY = "U0VDUkVULVNFQ1JFVC1TRUNSRVQ="
CREDENTIAL = AzureNamedKeyCredential("acme", KEY)


class Tokens:
    """A credential that keeps for what it was asked."""

    def __init__(self) -> None:
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        self.scopes += scopes
        raise ConnectionError("SECRET")


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://acme.table.core.windows.net",
        "https://acme.table.cosmos.azure.com:443/",
        "https://acme.table.core.usgovcloudapi.net",
        "http://127.0.0.1:10002/acme",
        "http://localhost:10002/acme",
    ],
)
def test_endpoints(endpoint: str) -> None:
    assert tables_client(endpoint, CREDENTIAL).url == endpoint.rstrip("/")


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "acme.table.core.windows.net",
        "http://acme.table.core.windows.net",
        "http://127.0.0.1.example/acme",
        "ftp://127.0.0.1/acme",
        "https://",
        "https://user:SECRET@acme.table.core.windows.net",
        "https://acme.table.core.windows.net?sv=2020&sig=SECRET",
        "https://acme.table.core.windows.net/#SECRET",
        "https://acme.table.core.windows.net:SECRET",
        "https://[SECRET",
        "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=SECRET",
    ],
)
def test_what_is_no_endpoint_or_has_a_secret_in_it(endpoint: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        tables_client(endpoint, CREDENTIAL)
    assert "SECRET" not in f"{raised.value.detail}{raised.value.hint}"
    assert raised.value.__cause__ is None


def test_it_leaves_trying_again_to_us_and_waits_for_seconds_only() -> None:
    client = tables_client("https://acme.table.core.windows.net", CREDENTIAL)
    pipeline: Any = client._client._client._pipeline
    configured = pipeline._transport.connection_config
    assert (configured.timeout, configured.read_timeout) == (1, 2)
    policies = {type(policy).__name__: policy for policy in pipeline._impl_policies}
    assert policies["TablesRetryPolicy"].total_retries == 0
    assert policies["RedirectPolicy"].allow is False


def test_nothing_shows_the_account_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "azure")
    client = tables_client("http://127.0.0.1:9/acme", CREDENTIAL)
    database = AzureDatabase(client, AzureTables(), CountingClock())
    with pytest.raises(StoreUnavailable) as raised:
        AzureKeyStore(database).read_fence("bk")
    assert caplog.records
    shown = f"{database!r}{client!r}{vars(raised.value)}{caplog.text}"
    assert KEY not in shown
    assert "SharedKey" not in shown


@pytest.mark.parametrize(
    ("host", "audience", "scope"),
    [
        ("acme.table.core.windows.net", None, "https://storage.azure.com/.default"),
        ("acme.table.cosmos.azure.com", None, "https://cosmos.azure.com/.default"),
        ("acme.table.core.usgovcloudapi.net", "https://storage.azure.us", "https://storage.azure.us/.default"),
    ],
)
def test_a_token_is_asked_for_the_service_that_it_is_for(host: str, audience: str | None, scope: str) -> None:
    tokens = Tokens()
    client = tables_client(f"https://{host}", tokens, audience=audience)
    with pytest.raises(StoreUnavailable) as raised:
        AzureKeyStore(AzureDatabase(client, AzureTables(), CountingClock())).read_fence("bk")
    assert {*tokens.scopes} == {scope}
    assert "SECRET" not in raised.value.detail


@pytest.mark.parametrize("key", ["not Base64", "x"])
def test_an_account_key_that_is_none(key: str) -> None:
    client = tables_client("http://127.0.0.1:9/acme", AzureNamedKeyCredential("acme", key))
    with pytest.raises(StoreUnavailable, match="AzureSigningError") as raised:
        AzureKeyStore(AzureDatabase(client, AzureTables(), CountingClock())).read_fence("bk")
    assert raised.value.hint
    assert "credentials" in raised.value.hint
