"""Where the SDK's requests go, and what is carried along: only to named hosts, verified, and nothing from before."""

from __future__ import annotations

import logging
import socket
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import KeysteadError, Silence
from core.providers._lines import Line, telling
from core.providers.azure_key_vault import AzureSettings, clients
from core.providers.azure_key_vault.adapters import adapter_class
from core.providers.azure_key_vault.operations import API_VERSION
from core.providers.azure_key_vault.transport import Wire
from core.providers.azure_key_vault.trust import trusting
from functions.emulators.azure_certificates import Authority
from tests.conformance.key_provider import KEY
from tests.providers.azure_key_vault.stage import AUTHORITY, CONTEXT, Platform, Stage, listening

HOST = "acme-kv.vault.azure.net"


def silence(stage: Stage, settings: AzureSettings) -> None:
    kek = stage.key()
    with pytest.raises(KeysteadError) as raised:
        stage.connector(settings).connect(stage.access(kek)).describe(kek)
    assert type(raised.value) is Silence


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_within_the_vault_is_followed(stage: Stage, status: int) -> None:
    kek, other = stage.key(), stage.key("other")
    provider = stage.kms.connect(stage.access(kek, lease=600))
    provider.describe(kek)
    stage.fault("get", key=kek.locator, redirect=other.locator, status=status)
    stage.emulator.clear_calls()
    with pytest.raises(KeysteadError) as raised:
        provider.describe(kek)
    assert type(raised.value) is Silence
    assert {(call.operation, call.key) for call in stage.emulator.calls} == {("get", "kek")}


@pytest.mark.parametrize("status", [302, 308])
@pytest.mark.parametrize("operation", ["challenge", "get", "unwrapkey", "token"])
def test_no_redirect_is_followed(stage: Stage, operation: str, status: int) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=600))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    elsewhere = stage.new_vault()
    if operation == "token":
        stage.clock.ahead += 600
    if operation == "challenge":
        from azure.keyvault.keys._shared import http_challenge_cache

        http_challenge_cache.clear()
    stage.fault(operation, redirect=f"{elsewhere}/keys/kek", status=status)
    stage.emulator.clear_calls()
    with pytest.raises(KeysteadError) as raised:
        provider.wrap(kek, KEY, CONTEXT) if operation == "get" else provider.unwrap(wrapped, CONTEXT)
    assert type(raised.value) is Silence
    assert operation in stage.made()
    assert {call.host for call in stage.emulator.calls} <= {AUTHORITY, stage.vault.removeprefix("https://")}


@pytest.mark.parametrize(
    "url",
    [
        "http://acme-kv.vault.azure.net/",
        "https://other-kv.vault.azure.net/",
        "https://acme-kv.vault.azure.net:8443/",
        "https://acme-kv.vault.azure.net.evil.example/",
        "https://acme-kv.vault.azure.net@evil.example/",
        "https://user@acme-kv.vault.azure.net/",
        "https://evil.example/acme-kv.vault.azure.net",
        "https://acme-kv.vault.azure.net./",
        "https://169.254.169.254/metadata/identity",
        "https://login.microsoftonline.com/",
    ],
)
def test_nothing_is_sent_to_another_host(stage: Stage, url: str) -> None:
    from azure.core.exceptions import AzureError
    from azure.core.rest import HttpRequest

    wire = Wire(stage.settings, frozenset({HOST}))
    with pytest.raises(AzureError):
        wire.transport().send(HttpRequest("GET", url))
    assert stage.emulator.calls == []
    assert wire.last is None


def test_no_cookie_is_kept(stage: Stage) -> None:
    kek = stage.key()
    access = stage.access(kek, lease=600)
    provider = stage.kms.connect(access)
    provider.describe(kek)
    stage.fault("get", status=429, headers={"Set-Cookie": "session=CANARY; Path=/; Secure"}, times=1)
    assert provider.describe(kek).kek == kek
    from core.providers.azure_key_vault.sessions import SessionKey

    session = stage.kms._sessions.get(SessionKey.of(access))._session
    assert session is not None
    assert len(session.client._wire._session.cookies) == 0


def test_a_password_in_a_netrc_file_does_not_replace_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from requests import Request

    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {HOST} login somebody password CANARY\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    session = Wire(AzureSettings("c", "h"), frozenset({HOST}))._session
    asked = Request("GET", f"https://{HOST}/", headers={"Authorization": "Bearer token"})
    assert session.prepare_request(asked).headers["Authorization"] == "Bearer token"


def test_an_emulator_is_not_reached_through_a_proxy(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    kek = stage.key()
    assert stage.kms.connect(stage.access(kek)).describe(kek).kek == kek


def test_azure_is_reached_through_a_proxy(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []

    def refuse(connection: socket.socket) -> None:
        heard.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with listening(refuse) as address:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://{address}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        silence(stage, replace(stage.settings, dial="", ca_file=""))
    assert heard
    assert all(line.startswith(f"CONNECT {AUTHORITY}:443".encode()) for line in heard)


def test_another_authoritys_certificate(stage: Stage, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text(Authority.generate().certificate_pem)
    silence(stage, replace(stage.settings, ca_file=str(other)))
    assert stage.emulator.calls == []


def test_the_emulators_certificate_is_not_trusted_without_its_authority(stage: Stage) -> None:
    from requests.utils import DEFAULT_CA_BUNDLE_PATH

    silence(stage, replace(stage.settings, ca_file=DEFAULT_CA_BUNDLE_PATH))
    assert stage.emulator.calls == []


def test_a_missing_authority(stage: Stage, tmp_path: Path) -> None:
    silence(stage, replace(stage.settings, ca_file=str(tmp_path / "missing.pem")))
    assert stage.emulator.calls == []


def test_a_certificate_for_another_name(platform: Platform, stage: Stage) -> None:
    """It is of the authority that is trusted, but not of the host that was asked."""
    from azure.core.exceptions import AzureError
    from azure.core.rest import HttpRequest

    heard: list[bytes] = []
    context = platform.emulator.authority.server_context()

    def answer(connection: socket.socket) -> None:
        with suppress(ssl.SSLError, OSError), context.wrap_socket(connection, server_side=True) as secured:
            heard.append(secured.recv(4096))

    with listening(answer) as address:
        settings = replace(stage.settings, dial=address)
        for host in ("evil.example", "acme.vault.azure.net.evil.example"):
            with pytest.raises(AzureError):
                Wire(settings, frozenset({host})).transport().send(HttpRequest("GET", f"https://{host}/"))
        assert [found for found in heard if found] == []
        with pytest.raises(AzureError):  # it ends without an answer
            Wire(settings, frozenset({HOST})).transport().send(HttpRequest("GET", f"https://{HOST}/"))
    assert [found[:6] for found in heard if found] == [b"GET / "]


def test_certificates_are_always_checked(stage: Stage) -> None:
    for verify in (True, stage.settings.ca_file):
        context = trusting(verify)
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
        assert trusting(verify) is context
    for unchecked in (False, None):
        with pytest.raises(ValueError, match="always checked"):
            trusting(unchecked)


def test_authorities_that_change_are_read_again(tmp_path: Path) -> None:
    import os

    file = tmp_path / "ca.pem"
    found = []
    for changed in (1_000, 2_000):
        file.write_text(Authority.generate().certificate_pem)
        os.utime(file, (changed, changed))
        found.append(trusting(str(file)))
    assert found[0] is not found[1]


def test_nobody_listens(stage: Stage) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        silence(stage, replace(stage.settings, dial=f"127.0.0.1:{taken.getsockname()[1]}"))


@pytest.mark.parametrize("status", [302, 307])
def test_the_sdk_is_told_to_follow_no_redirect_and_to_check_whose_challenge_it_is(
    stage: Stage, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.keyvault import keys

    made: list[dict[str, object]] = []

    def client(*args: object, **more: object) -> object:
        made.append(more)
        return real(*args, **more)  # type: ignore[arg-type]

    real = keys.KeyClient
    monkeypatch.setattr(keys, "KeyClient", client)
    kek, other = stage.key(), stage.key("other")
    provider = stage.kms.connect(stage.access(kek, lease=600))
    provider.describe(kek)
    # To the same host, with all that makes it a good request.
    elsewhere = f"{other.locator}?api-version={API_VERSION}"
    stage.fault("get", key=kek.locator, redirect=elsewhere, status=status)
    stage.emulator.clear_calls()
    with pytest.raises(KeysteadError) as raised:
        provider.describe(kek)
    assert type(raised.value) is Silence
    assert {call.key for call in stage.emulator.calls} == {"kek"}
    chosen = ("verify_challenge_resource", "permit_redirects", "retry_total", "logging_enable")
    assert [[more.get(name) for name in chosen] for more in made] == [[True, False, 0, None]]


def test_no_socket_to_the_token_endpoint_is_left_open(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.kms._factory.prepare()
    made: list[Wire] = []  # kept alive: what is collected as garbage closes its sockets by chance

    class Kept(Wire):
        def __init__(self, settings: AzureSettings, hosts: frozenset[str] | None) -> None:
            super().__init__(settings, hosts)
            made.append(self)

    monkeypatch.setattr(clients, "Wire", Kept)
    opened: list[socket.socket] = []
    hold = Line.hold

    def held(line: Line, found: socket.socket) -> None:
        opened.append(found)
        hold(line, found)

    monkeypatch.setattr(Line, "hold", held)
    kek = stage.key()
    for _ in range(3):
        stage.kms.connect(stage.access(kek)).describe(kek)
    stage.fault("token", aadsts=7000215)
    with pytest.raises(KeysteadError):
        stage.kms.connect(stage.access(kek)).describe(kek)
    assert len(made) == 7  # the vault's three, and four to the token endpoint
    assert len(opened) == 4 + 4  # three answers of the vault, and the challenge, which is kept
    assert [found.fileno() for found in opened] == [-1] * len(opened)


def test_more_calls_at_a_time_than_a_pool_usually_has(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=600))
    provider.describe(kek)
    stage.fault("get", latency=0.2)
    stage.time_left = 20
    with ThreadPoolExecutor(16) as pool:
        assert len(list(pool.map(lambda _: provider.describe(kek), range(16)))) == 16
    assert "pool is full" not in caplog.text
    pools = adapter_class()(frozenset({HOST}), None, lambda _: None).poolmanager.connection_pool_kw
    assert pools["maxsize"] == 32
    assert not logging.getLogger("urllib3.connectionpool").isEnabledFor(logging.WARNING)


def test_a_class_of_pools_is_made_once() -> None:
    from urllib3.connectionpool import HTTPConnectionPool

    assert telling(HTTPConnectionPool) is telling(HTTPConnectionPool)
    one, other = (adapter_class()(frozenset({HOST}), None, lambda _: None) for _ in range(2))
    assert one._pools == other._pools


def test_whom_to_trust_is_read_before_the_time_of_a_call_begins(stage: Stage) -> None:
    from core.providers.azure_key_vault import trust

    trust._context.cache_clear()
    stage.connector().connect(stage.access(stage.key()))._session.prepare()
    assert trust._context.cache_info().currsize == 1


@pytest.mark.slow
@pytest.mark.parametrize("proof", ["client_secret", "managed_identity"])
def test_the_sdk_is_loaded_before_the_time_of_a_call_begins(proof: str) -> None:
    script = f"""
import sys
from core.providers.azure_key_vault import AzureSettings
from core.providers.azure_key_vault.clients import ClientFactory
factory = ClientFactory(AzureSettings("c", "h", {proof}="x"), None)
assert not [name for name in sys.modules if name.startswith("azure.")], "too early"
factory.prepare()
print(*(name in sys.modules for name in ("azure.keyvault.keys", "azure.core.rest", "azure.identity")))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.split() == ["True", "True", str(proof == "managed_identity")]


def test_settings_that_cannot_be_prepared_are_told_by_the_call(stage: Stage) -> None:
    factory = clients.ClientFactory(replace(stage.settings, ca_file="/nonexistent/ca.pem"), stage.clock)
    factory.prepare()
    assert not factory._is_prepared
