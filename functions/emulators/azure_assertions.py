"""Client assertions: a token that an application signs with its certificate, or one that a managed identity lends it.

Source: Microsoft identity platform, "Application authentication certificate credentials" and "Workload identity
federation".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from core.domain.vaults import CLOUDS
from functions.emulators.azure_applications import Application, thumbprints
from functions.emulators.azure_errors import EntraError
from functions.emulators.azure_tokens import UNCHECKED, Signer, identity_issuer, object_id

SKEW = 300
"""Seconds that another's clock may differ."""


def check_assertion(
    assertion: str, application: Application, signer: Signer, audiences: Collection[str], now: float
) -> None:
    """Check that an assertion shows that its bearer is the application.

    Args:
        assertion: A JSON Web Token.
        application: Whom it is to be from.
        signer: Of managed identities' tokens.
        audiences: Of which one must be in an assertion signed with a certificate.
        now: Seconds since the epoch.

    Raises:
        EntraError: 50013, 700021, 700023, 700024, 700027, 700211, 700212 or 700213.
    """
    try:
        header = jwt.get_unverified_header(assertion)
    except jwt.PyJWTError:
        raise EntraError(50013) from None
    if header.get("kid") == signer.key_id:
        _check_identity(assertion, application, signer, now)
    else:
        _check_signed(assertion, header, application, audiences, now)


def _check_signed(
    assertion: str, header: Mapping[str, Any], application: Application, audiences: Collection[str], now: float
) -> None:
    certificate = application.certificate()
    # Some libraries of Microsoft's pad these.
    named = {name: str(header[name]).rstrip("=") for name in ("x5t", "x5t#S256") if name in header}
    if certificate is None or not named or not named.items() <= thumbprints(certificate).items():
        raise EntraError(700027)
    public = certificate.public_key()
    if not isinstance(public, RSAPublicKey):
        raise EntraError(700027)
    try:
        claims = jwt.decode(assertion, public, ["RS256", "PS256"], options=UNCHECKED)
    except jwt.PyJWTError:
        raise EntraError(50013) from None
    if not claims.get("iss") == claims.get("sub") == application.client_id:
        raise EntraError(700021)
    if claims.get("aud") not in audiences:
        raise EntraError(700023)
    _check_times(claims, now)


def _check_identity(assertion: str, application: Application, signer: Signer, now: float) -> None:
    try:
        claims = signer.read(assertion)
    except jwt.PyJWTError:
        raise EntraError(50013) from None
    if claims["iss"] != identity_issuer(application.cloud, application.home_tenant):
        raise EntraError(700211)
    if claims["aud"] != CLOUDS[application.cloud].exchange:
        raise EntraError(700212)
    if claims.get("sub") != object_id(application.managed_identity, application.home_tenant):
        raise EntraError(700213)
    _check_times(claims, now)


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    begins, ends = claims.get("nbf", claims.get("iat", now)), claims.get("exp")
    if not isinstance(begins, int | float) or not isinstance(ends, int | float):
        raise EntraError(700024)
    if not begins - SKEW <= now < ends + SKEW:
        raise EntraError(700024)
