"""Requests for tokens, as tests make them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from functions.emulators.azure_errors import AADSTS
from tests.emulators.azure.worlds import (
    CLIENT,
    SECRET,
    TENANT,
    Sdk,
    shared_rsa_key,
)

AUTHORITY = "https://login.microsoftonline.com"
SCOPE = "https://vault.azure.net/.default"
EXCHANGE = "api://AzureADTokenExchange"
UNKNOWN = "00000000-0000-4000-8000-0000000000ff"


def certificate(number: int = 1) -> tuple[str, bytes]:
    """A certificate of a key, and both of them in one file, as an operator keeps them."""
    key = shared_rsa_key(2048, number)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "keystead")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2090, 1, 1, tzinfo=UTC))
        .sign(key, SHA256())
        .public_bytes(Encoding.PEM)
    )
    return made.decode(), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made


def ask(sdk: Sdk, tenant: str = TENANT, **changed: str | None) -> tuple[int, dict[str, Any]]:
    """A request for a token by secret, but for what is changed; None leaves a field out."""
    form = {
        "grant_type": "client_credentials",
        "client_id": CLIENT,
        "client_secret": SECRET,
        "scope": SCOPE,
        **changed,
    }
    given = {name: value for name, value in form.items() if value is not None}
    answer = sdk.raw("POST", f"{AUTHORITY}/{tenant}/oauth2/v2.0/token", data=given)
    return answer.status_code, answer.json()


def refused_with(number: int, answer: tuple[int, dict[str, Any]]) -> None:
    status, body = answer
    assert (body["error_codes"], status, body["error"]) == ([number], *AADSTS[number][:2])
    assert body["error_description"].startswith(f"AADSTS{number}: ")
    assert body["timestamp"] == "2027-01-15 08:00:00Z"
    assert body["correlation_id"] in body["error_description"]


def claims_of(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))
