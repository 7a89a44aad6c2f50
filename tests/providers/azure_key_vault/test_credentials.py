"""Who we are: a secret, a certificate or a managed identity; and trouble with it is never held against a tenant."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from core.errors import KeysteadError, Silence
from core.providers.azure_key_vault import AzureSettings
from core.providers.azure_key_vault.base64url import unbase64url
from core.providers.azure_key_vault.certificates import ASSERTION_SECONDS, Certificate, UnfitCertificate
from core.providers.azure_key_vault.credentials import HeldToken
from core.providers.azure_key_vault.sessions import SessionKey
from functions.emulators.keyvault_material import generate_rsa
from tests.conformance.key_provider import KEY
from tests.providers.azure_key_vault.own_faults import own_fault, use
from tests.providers.azure_key_vault.stage import (
    AUTHORITY,
    CLIENT_ID,
    CONTEXT,
    DIRECTORY,
    EXTERNAL_ID,
    HOME,
    SECRET,
    Stage,
)

SDK_LOGGERS = ("azure", "azure.identity", "azure.core.pipeline", "msal", "msal.token_cache", "urllib3.connectionpool")
PrivateKey = RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(number: int = 0) -> RSAPrivateKey:
    assert number < 9
    return generate_rsa(2048)


@cache
def curve_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def certificate(key: PrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "keystead")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2099, 1, 1, tzinfo=UTC))
        .sign(key, SHA256())
        .public_bytes(Encoding.PEM)
    )


def private(key: PrivateKey, encryption: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


class TestSecret:
    def test_good(self, stage: Stage) -> None:
        use(stage, stage.settings)
        assert {call.operation for call in stage.emulator.calls if call.host == AUTHORITY} == {"token"}
        assert stage.attempts()["token"] == 2

    def test_wrong(self, stage: Stage) -> None:
        own_fault(stage, replace(stage.settings, client_secret="another"), "AADSTS7000215")

    def test_expired(self, stage: Stage) -> None:
        stage.emulator.add_application(CLIENT_ID, HOME, secret=SECRET, secret_expires=1.0)
        own_fault(stage, stage.settings, "AADSTS7000222")


class TestCertificate:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "application.pem"

    @pytest.fixture
    def settings(self, stage: Stage, file: Path) -> AzureSettings:
        stage.emulator.add_application(CLIENT_ID, HOME, certificate_pem=certificate(rsa_key()).decode())
        return replace(stage.settings, client_secret="", certificate_file=str(file))

    @pytest.mark.parametrize("key_first", [False, True])
    def test_good(self, stage: Stage, settings: AzureSettings, file: Path, key_first: bool) -> None:
        parts = [certificate(rsa_key()), private(rsa_key())]
        file.write_bytes(b"".join(reversed(parts) if key_first else parts))
        use(stage, settings)
        assert [call.operation for call in stage.emulator.calls if call.host == AUTHORITY][:2] == ["token", "token"]

    def test_a_renewed_one_is_taken_up(self, stage: Stage, settings: AzureSettings, file: Path) -> None:
        file.write_bytes(certificate(rsa_key()) + private(rsa_key()))
        kek = stage.key()
        provider = stage.connector(settings).connect(stage.access(kek))
        provider.describe(kek)
        stage.emulator.add_application(CLIENT_ID, HOME, certificate_pem=certificate(rsa_key(1)).decode())
        file.write_bytes(certificate(rsa_key(1)) + private(rsa_key(1)))
        assert provider.describe(kek).kek == kek

    def test_not_registered(self, stage: Stage, settings: AzureSettings, file: Path) -> None:
        file.write_bytes(certificate(rsa_key(1)) + private(rsa_key(1)))
        own_fault(stage, settings, "AADSTS700027")

    def test_missing(self, stage: Stage, settings: AzureSettings) -> None:
        assert "cannot be read" in own_fault(stage, settings).detail
        assert stage.emulator.calls == []

    UNFIT: Mapping[str, Callable[[], bytes]] = {
        "empty": lambda: b"",
        "noise": lambda: b"-----BEGIN CERTIFICATE-----\nCANARY\n-----END CERTIFICATE-----\n",
        "no key": lambda: certificate(rsa_key()),
        "no certificate": lambda: private(rsa_key()),
        "another's key": lambda: certificate(rsa_key()) + private(rsa_key(1)),
        "another type of key": lambda: certificate(curve_key()) + private(curve_key()),
        "locked": lambda: certificate(rsa_key()) + private(rsa_key(), BestAvailableEncryption(b"password")),
    }

    @pytest.mark.parametrize("name", UNFIT)
    def test_unfit(self, stage: Stage, settings: AzureSettings, file: Path, name: str) -> None:
        file.write_bytes(self.UNFIT[name]())
        assert "CANARY" not in own_fault(stage, settings).detail
        assert stage.emulator.calls == []

    def test_the_assertion(self, file: Path) -> None:
        import jwt

        file.write_bytes(certificate(rsa_key()) + private(rsa_key()))
        found = Certificate.read(str(file))
        endpoint = f"https://{AUTHORITY}/{DIRECTORY}/oauth2/v2.0/token"
        texts = [found.assertion(CLIENT_ID, endpoint, 1_800_000_000.9) for _ in range(2)]
        claims = [
            jwt.decode(text, rsa_key().public_key(), ["PS256"], audience=endpoint, options={"verify_nbf": False})
            for text in texts
        ]
        thumbprint = x509.load_pem_x509_certificate(certificate(rsa_key())).fingerprint(SHA256())
        assert unbase64url(jwt.get_unverified_header(texts[0])["x5t#S256"]) == thumbprint
        assert claims[0] | {"jti": ""} == {
            "aud": endpoint,
            "iss": CLIENT_ID,
            "sub": CLIENT_ID,
            "jti": "",
            "nbf": 1_800_000_000,
            "exp": 1_800_000_000 + ASSERTION_SECONDS,
        }
        assert claims[0]["jti"] != claims[1]["jti"]
        assert "PrivateKey" not in repr(found)

    def test_a_file_that_is_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UnfitCertificate) as raised:
            Certificate.read(str(tmp_path))
        assert raised.value.__cause__ is None


TOKENS: list[Any] = [None, "", "a b", "a\r\nX-Evil: 1", "\u0442oken", "a" * 40_000, 7, {"a": 1}]


@pytest.mark.parametrize("token", TOKENS, ids=[str(token)[:12] for token in TOKENS])
def test_what_is_no_token_is_not_used(stage: Stage, token: object) -> None:
    body = json.dumps({"access_token": token, "expires_in": 3600, "token_type": "Bearer"}).encode()
    stage.fault("token", body=body, status=200, content_type="application/json")
    kek = stage.key()
    with pytest.raises(KeysteadError) as raised:
        stage.kms.connect(stage.access(kek)).describe(kek)
    assert type(raised.value) is Silence
    assert not [call for call in stage.emulator.calls if call.host != AUTHORITY]


def test_the_environment_chooses_no_other_login(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "evil.example")
    monkeypatch.setenv("AZURE_TENANT_ID", HOME)
    monkeypatch.setenv("AZURE_IDENTITY_DISABLE_MULTITENANTAUTH", "1")
    for name in ("AZURE_REGIONAL_AUTHORITY_NAME", "MSAL_FORCE_REGION"):
        monkeypatch.setenv(name, "westeurope")
    use(stage, stage.settings)
    assert {call.host for call in stage.emulator.calls} == {AUTHORITY, stage.vault.removeprefix("https://")}
    assert {call.tenant for call in stage.emulator.calls if call.operation == "token"} == {DIRECTORY}


def test_secrets_are_never_told(
    stage: Stage, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("azure", "msal", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=name)
    kek = stage.key()
    access = stage.access(kek, lease=600)
    provider = stage.kms.connect(access)
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    held = stage.kms._sessions.get(SessionKey.of(access))._session
    assert held is not None
    tokens = {held.client._token._token}
    told = [repr(found) for found in (provider, stage.settings, stage.kms, SessionKey.of(access), wrapped, held)]
    told += [repr(provider._session), repr(HeldToken(DIRECTORY, "s", "TOKEN-CANARY", 1)), repr(held.client)]
    faults: list[dict[str, Any]] = [
        *(
            {"operation": "unwrapkey", "status": 403, "inner": inner}
            for inner in ("KeyDisabled", "New", "AccessDenied")
        ),
        *({"operation": "unwrapkey", "corrupt": corrupt} for corrupt in ("bytes", "truncated", "value")),
        {"operation": "unwrapkey", "status": 429},
        {"operation": "unwrapkey", "reset": True},
        {"operation": "unwrapkey", "challenge": True},
        {"operation": "unwrapkey", "body": SECRET.encode(), "status": 403},
        {"operation": "token", "aadsts": 7000215},
        {"operation": "token", "aadsts": 700016},
        {"operation": "token", "body": SECRET.encode(), "status": 400, "content_type": "application/json"},
        {"operation": "token", "reset": True},
        {"operation": "token", "corrupt": "truncated"},
        {"operation": "token", "corrupt": "bytes"},
    ]
    for fault in faults:
        stage.fault(**fault)
        stage.clock.ahead += 1000
        with pytest.raises(KeysteadError) as raised:
            provider.unwrap(wrapped, CONTEXT)
        told += ["".join(traceback.format_exception(raised.value)), repr(raised.value), raised.value.detail]
        stage.emulator.clear_faults()
        provider.unwrap(wrapped, CONTEXT)
        held = stage.kms._sessions.get(SessionKey.of(access))._session
        assert held is not None
        tokens.add(held.client._token._token)
    file = tmp_path / "application.pem"
    file.write_bytes(certificate(rsa_key()) + private(rsa_key()))
    stage.emulator.add_application(CLIENT_ID, HOME, certificate_pem=certificate(rsa_key()).decode())
    use(stage, replace(stage.settings, client_secret="", certificate_file=str(file)))
    told.append(caplog.text)
    assert len(tokens) > len(faults) // 2
    plain = {text for token in tokens for text in (token, token[-40:], token.partition(".")[2])}
    secrets = [*plain, SECRET, "CANARY", EXTERNAL_ID, KEY.hex(), repr(KEY)[2:-1], "bk-1", "eyJ"]
    assert [(secret[:12], text[:200]) for secret in secrets for text in told if secret in text] == []
    assert "azure" in caplog.text
    assert '"value"' not in caplog.text


def test_the_sdks_loggers_do_not_tell_more_when_everything_else_does(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.connector()
    caplog.set_level(logging.DEBUG)
    assert [name for name in SDK_LOGGERS if logging.getLogger(name).isEnabledFor(logging.DEBUG)] == []
