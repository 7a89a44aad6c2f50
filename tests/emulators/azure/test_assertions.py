"""Assertions in place of a secret: signed with a certificate, or lent by a managed identity."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientAssertionCredential,
    CredentialUnavailableError,
    ManagedIdentityCredential,
)
from cryptography import x509

from functions.emulators.azure_applications import thumbprints
from functions.emulators.entra import ASSERTION_TYPE
from tests.emulators.azure.tokens import AUTHORITY, EXCHANGE, SCOPE, UNKNOWN, ask, certificate, claims_of, refused_with
from tests.emulators.azure.worlds import (
    CLIENT,
    HOME,
    IDENTITY,
    OTHER_TENANT,
    START,
    TENANT,
    Sdk,
    World,
    shared_rsa_key,
)


def test_the_certificate_credential(world: World, sdk: Sdk) -> None:
    public, both = certificate()
    world.time = datetime.now(UTC).timestamp()  # the SDK dates what it signs by the machine's clock
    world.emulator.add_application(CLIENT, HOME, certificate_pem=public)
    world.key()
    credential = CertificateCredential(TENANT, CLIENT, certificate_data=both, transport=sdk.transport)
    assert sdk.keys(world.vault, credential).get_key("kek").name == "kek"
    token = credential.get_token(SCOPE).token
    assert claims_of(token)["appidacr"] == "2"
    other = CertificateCredential(TENANT, CLIENT, certificate_data=certificate(2)[1], transport=sdk.transport)
    with pytest.raises(ClientAuthenticationError, match="AADSTS700027"):
        other.get_token(SCOPE)


def signed(number: int = 1, header: dict[str, str] | None = None, **changed: Any) -> str:
    """An assertion signed with a certificate's key, but for what is changed."""
    claims = {
        "aud": f"{AUTHORITY}/{TENANT}/oauth2/v2.0/token",
        "iss": CLIENT,
        "sub": CLIENT,
        "nbf": int(START),
        "exp": int(START) + 600,
        "jti": "1",
        **changed,
    }
    prints = thumbprints(x509.load_pem_x509_certificate(certificate()[0].encode()))
    named = {"x5t#S256": prints["x5t#S256"]} if header is None else header
    algorithm = named.get("alg", "RS256")
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(given, shared_rsa_key(2048, number), algorithm, {k: v for k, v in named.items() if k != "alg"})


def sha1_named() -> str:
    return thumbprints(x509.load_pem_x509_certificate(certificate()[0].encode()))["x5t"]


@pytest.mark.parametrize(
    ("number", "make"),
    [
        (0, signed),
        (0, lambda: signed(header={"x5t": sha1_named()})),
        (0, lambda: signed(aud=f"{AUTHORITY}/{TENANT}/v2.0")),
        (0, lambda: signed(nbf=int(START) + 300)),
        (0, lambda: signed(exp=int(START) - 299)),
        (50013, lambda: signed(2)),
        (50013, lambda: signed()[:-6] + "AAAAAA"),
        (700027, lambda: signed(header={})),
        (700027, lambda: signed(header={"x5t": "AAAA"})),
        (700027, lambda: signed(header={"x5t": sha1_named(), "x5t#S256": "AAAA"})),
        (700021, lambda: signed(iss=UNKNOWN)),
        (700021, lambda: signed(sub=None)),
        (700023, lambda: signed(aud=f"{AUTHORITY}/{OTHER_TENANT}/oauth2/v2.0/token")),
        (700023, lambda: signed(aud=None)),
        (700024, lambda: signed(exp=int(START) - 300)),
        (700024, lambda: signed(nbf=int(START) + 301)),
        (700024, lambda: signed(exp=None)),
        (50013, lambda: jwt.encode({"iss": CLIENT}, "", "none", {"x5t": sha1_named()})),
        (50013, lambda: jwt.encode({"iss": CLIENT}, "k" * 32, "HS256", {"x5t": sha1_named()})),
    ],
)
def test_assertions_signed_with_a_certificate(world: World, sdk: Sdk, number: int, make: Callable[[], str]) -> None:
    world.emulator.add_application(CLIENT, HOME, certificate_pem=certificate()[0])
    answer = ask(sdk, client_secret=None, client_assertion=make(), client_assertion_type=ASSERTION_TYPE)
    if number:
        refused_with(number, answer)
    else:
        assert answer[0] == 200


def test_a_certificate_of_another_kind_is_of_no_use(world: World, sdk: Sdk) -> None:
    pem = world.emulator.authority.certificate_pem
    world.emulator.add_application(CLIENT, HOME, certificate_pem=pem)
    named = thumbprints(x509.load_pem_x509_certificate(pem.encode()))
    answer = ask(sdk, client_secret=None, client_assertion=signed(header=named), client_assertion_type=ASSERTION_TYPE)
    refused_with(700027, answer)


def lent(world: World, **changed: Any) -> str:
    """A managed identity's assertion, but for what is changed."""
    given = {"cloud": "public", "tenant": HOME, "client_id": IDENTITY, "resource": EXCHANGE, "now": START, **changed}
    return world.emulator.signer.identity_token(**given)


@pytest.mark.parametrize(
    ("number", "changed"),
    [
        (0, {}),
        (700211, {"tenant": TENANT}),
        (700212, {"resource": "https://vault.azure.net"}),
        (700212, {"resource": f"{EXCHANGE}China"}),
        (700213, {"client_id": UNKNOWN}),
        (700024, {"now": START - 86_400 - 300}),
        (700024, {"now": START + 301}),
    ],
)
def test_assertions_lent_by_a_managed_identity(world: World, sdk: Sdk, number: int, changed: dict[str, Any]) -> None:
    world.emulator.add_application(CLIENT, HOME, managed_identity=IDENTITY)
    answer = ask(sdk, client_secret=None, client_assertion=lent(world, **changed), client_assertion_type=ASSERTION_TYPE)
    if number:
        refused_with(number, answer)
    else:
        assert answer[0] == 200


def test_an_assertion_is_not_changed_under_way(world: World, sdk: Sdk) -> None:
    world.emulator.add_application(CLIENT, HOME, managed_identity=IDENTITY)
    damaged = lent(world)[:-6] + "AAAAAA"
    refused_with(50013, ask(sdk, client_secret=None, client_assertion=damaged, client_assertion_type=ASSERTION_TYPE))
    secretless = ask(sdk, client_secret="")
    refused_with(7000215, secretless)


def test_the_whole_chain_of_a_managed_identity(world: World, sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    world.time = datetime.now(UTC).timestamp()
    world.emulator.add_application(CLIENT, HOME, managed_identity=IDENTITY)
    world.key()
    monkeypatch.setenv("IDENTITY_ENDPOINT", sdk.server.identity_url)
    monkeypatch.setenv("IDENTITY_HEADER", world.emulator.entra.identity_header)
    identity = ManagedIdentityCredential(client_id=IDENTITY, connection_verify=sdk.server.ca_file)

    def assertion() -> str:
        return str(identity.get_token(f"{EXCHANGE}/.default").token)

    credential = ClientAssertionCredential(TENANT, CLIENT, assertion, transport=sdk.transport)
    assert sdk.keys(world.vault, credential).get_key("kek").name == "kek"
    assert [call.operation for call in world.emulator.calls] == ["challenge", "identity", "token", "get"]
    identity.close()


@pytest.mark.parametrize(("header", "client"), [("wrong", IDENTITY), (None, UNKNOWN)])
def test_the_identity_endpoint_refuses(
    world: World, sdk: Sdk, monkeypatch: pytest.MonkeyPatch, header: str | None, client: str
) -> None:
    world.emulator.add_managed_identity(IDENTITY, HOME)
    monkeypatch.setenv("IDENTITY_ENDPOINT", sdk.server.identity_url)
    monkeypatch.setenv("IDENTITY_HEADER", header or world.emulator.entra.identity_header)
    identity = ManagedIdentityCredential(client_id=client, connection_verify=sdk.server.ca_file)
    with identity, pytest.raises((CredentialUnavailableError, ClientAuthenticationError)):
        identity.get_token(f"{EXCHANGE}/.default")
    assert world.emulator.calls[-1].status == (401 if header else 400)


def test_the_identity_endpoint_is_at_the_machines_own_address_only(world: World, sdk: Sdk) -> None:
    world.emulator.add_managed_identity(IDENTITY, HOME)
    headers = {"X-IDENTITY-HEADER": world.emulator.entra.identity_header}
    path = f"/msi/token?api-version=2019-08-01&resource={EXCHANGE}&client_id={IDENTITY}"
    assert sdk.raw("GET", f"{sdk.server.url}{path}", headers=headers).status_code == 200
    assert sdk.raw("GET", f"{AUTHORITY}{path}", headers=headers).status_code == 404
    assert sdk.raw("GET", f"{sdk.server.url}/msi/token?client_id={IDENTITY}", headers=headers).status_code == 400
    assert sdk.raw("POST", f"{sdk.server.url}{path}", headers=headers).status_code == 404
