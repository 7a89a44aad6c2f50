"""A managed identity that stands in for the application."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from core.errors import KeysteadError, Silence
from core.providers.azure_key_vault import AzureSettings
from core.providers.azure_key_vault.calls import ATTEMPTS, PROOF_SECONDS
from tests.providers.azure_key_vault.own_faults import own_fault, use
from tests.providers.azure_key_vault.stage import (
    CLIENT_ID,
    HOME,
    Stage,
    listening,
)

IDENTITY = "55555555-5555-4555-8555-555555555555"


class TestManagedIdentity:
    @pytest.fixture
    def settings(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> AzureSettings:
        stage.emulator.add_application(CLIENT_ID, HOME, managed_identity=IDENTITY)
        monkeypatch.setenv("IDENTITY_ENDPOINT", stage.server.identity_url)
        monkeypatch.setenv("IDENTITY_HEADER", stage.emulator.entra.identity_header)
        for name in ("IDENTITY_SERVER_THUMBPRINT", "AZURE_FEDERATED_TOKEN_FILE", "MSI_ENDPOINT", "HTTPS_PROXY"):
            monkeypatch.delenv(name, raising=False)
        return replace(stage.settings, client_secret="", managed_identity=IDENTITY)

    def test_good(self, stage: Stage, settings: AzureSettings) -> None:
        use(stage, settings)
        use_again = stage.connector(settings).connect(stage.access(stage.key("again")))
        assert use_again.describe(stage.key("again")).enabled
        assert stage.made().count("identity") == 2

    def test_an_endpoint_without_https(
        self, stage: Stage, settings: AzureSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As it is on the machines of Azure: on the machine itself, or at a link-local address."""
        asked: list[bytes] = []
        token = stage.emulator.signer.identity_token(
            cloud="public",
            tenant=HOME,
            client_id=IDENTITY,
            resource="api://AzureADTokenExchange",
            now=stage.clock.wall(),
        )
        body = {"access_token": token, "expires_on": "4000000000", "resource": "api://AzureADTokenExchange"}

        def answer(connection: socket.socket) -> None:
            asked.append(connection.recv(4096))
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(json.dumps(body))}"
            connection.sendall(f"{head}\r\n\r\n{json.dumps(body)}".encode())

        with listening(answer) as address:
            monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://{address}/msi/token")
            use(stage, settings)
        assert len(asked) == 1
        assert asked[0].startswith(b"GET /msi/token?")
        assert IDENTITY.encode() in asked[0]

    def test_its_token_serves_all_directories(self, stage: Stage, settings: AzureSettings) -> None:
        kms, kek = stage.connector(settings), stage.key()
        for revision in (1, 2, 3):
            kms.connect(stage.access(kek, revision=revision)).describe(kek)
        assert stage.attempts()["identity"] == 1
        assert stage.attempts()["token"] == 3

    def test_not_federated(self, stage: Stage, settings: AzureSettings) -> None:
        stage.emulator.add_application(CLIENT_ID, HOME)
        stage.emulator.add_managed_identity(IDENTITY, HOME)
        own_fault(stage, settings, "AADSTS700213")

    def test_unknown(self, stage: Stage, settings: AzureSettings) -> None:
        found = own_fault(stage, replace(settings, managed_identity="66666666-6666-4666-8666-666666666666"))
        assert "managed identity" in found.detail

    def test_refused(self, stage: Stage, settings: AzureSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("IDENTITY_HEADER", "HEADER-CANARY")
        assert "CANARY" not in own_fault(stage, settings).detail

    @pytest.mark.parametrize(
        "body", [b"<html>", b"[]", b'{"access_token": "a b", "expires_on": "4000000000", "resource": "r"}']
    )
    def test_an_endpoint_that_talks_nonsense(self, stage: Stage, settings: AzureSettings, body: bytes) -> None:
        stage.fault("identity", body=body, status=200, content_type="application/json")
        own_fault(stage, settings)

    @pytest.mark.parametrize("status", [404, 410, 429, 500, 503])
    def test_an_endpoint_in_trouble(self, stage: Stage, settings: AzureSettings, status: int) -> None:
        stage.fault("identity", body=b"{}", status=status, content_type="application/json")
        assert "managed identity" in own_fault(stage, settings).detail
        assert stage.attempts() == {"identity": ATTEMPTS}

    def test_trouble_that_passes_is_not_heard_of(self, stage: Stage, settings: AzureSettings) -> None:
        stage.fault("identity", body=b"{}", status=500, content_type="application/json", times=ATTEMPTS - 1)
        use(stage, settings)

    def test_an_endpoint_that_hangs_ends_with_the_budget(self, stage: Stage, settings: AzureSettings) -> None:
        stage.fault("identity", hang=True)
        stage.time_left = 0.3
        assert "time was up" in own_fault(stage, settings).detail

    def test_a_caller_without_time_says_nothing_of_us(self, stage: Stage, settings: AzureSettings) -> None:
        stage.fault("identity", hang=True)
        kek, kms = stage.key(), stage.connector(settings)
        stage.time_left = PROOF_SECONDS / 2
        with pytest.raises(KeysteadError) as raised:
            kms.connect(stage.access(kek)).describe(kek)
        assert type(raised.value) is Silence

    def test_an_entra_that_hangs_is_not_our_fault(self, stage: Stage, settings: AzureSettings) -> None:
        stage.fault("token", hang=True)
        kek, kms = stage.key(), stage.connector(settings)
        stage.time_left = 0.4
        with pytest.raises(KeysteadError, match="token: time was up") as raised:
            kms.connect(stage.access(kek)).describe(kek)
        assert type(raised.value) is Silence

    def test_none_on_this_machine(self, stage: Stage, settings: AzureSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token")
        own_fault(stage, settings)
        assert stage.attempts() == {}

    def test_many_tenants_ask_it_once(self, stage: Stage, settings: AzureSettings) -> None:
        kms, kek = stage.connector(settings), stage.key()
        stage.fault("identity", latency=0.3)
        stage.time_left = 20

        def work(number: int) -> bool:
            access = replace(stage.access(kek), tenant_id=f"tenant-{number}")
            return kms.connect(access).describe(kek).enabled

        with ThreadPoolExecutor(12) as pool:
            assert all(pool.map(work, range(12)))
        assert stage.attempts()["identity"] == 1
        assert stage.attempts()["token"] == 12

    @pytest.mark.parametrize("emulated", [True, False])
    def test_no_proxy_hears_of_it(
        self, stage: Stage, settings: AzureSettings, monkeypatch: pytest.MonkeyPatch, emulated: bool
    ) -> None:
        """The request holds the machine's secret, and the answer a token."""
        heard: list[bytes] = []
        asked: list[bytes] = []

        def answer(connection: socket.socket) -> None:
            asked.append(connection.recv(4096))
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        with listening(lambda connection: heard.append(connection.recv(4096))) as proxy, listening(answer) as address:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, f"http://{proxy}")
            for name in ("NO_PROXY", "no_proxy"):
                monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://{address}/msi/token")
            monkeypatch.setenv("IDENTITY_HEADER", "HEADER-CANARY")
            own_fault(stage, settings if emulated else replace(settings, dial="", ca_file=""))
        assert heard == []
        assert len(asked) == 1
        assert b"HEADER-CANARY" in asked[0]
