"""Where the SDK's requests go, and what is carried along: only to named hosts, verified, and nothing from before."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import KeysteadError, Silence
from core.providers.azure_key_vault import AzureSettings
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
@pytest.mark.parametrize("operation", ["challenge", "get", "unwrapkey", "token", "discovery"])
def test_no_redirect_is_followed(stage: Stage, operation: str, status: int) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=600))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    elsewhere = stage.new_vault()
    if operation in ("token", "discovery"):
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
