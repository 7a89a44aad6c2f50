"""Who is calling: verifies a bearer token and gives the caller it stands for.

A token is believed only if its issuer is configured, its ``kid`` names a key of that issuer's set, its algorithm is the
one that key is for, and issuer, audience, times and tenant are as configured. Whatever is wrong, the caller hears one
and the same sentence; the reason stands in the log.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from jwt import PyJWK, PyJWS
from jwt.exceptions import PyJWTError

from core.domain.tenants import TENANT_ID
from core.errors import Unauthenticated
from core.service.access import Caller, Permission

LEEWAY = 30
"""Seconds by which clocks may differ."""
MAX_LIFETIME = 24 * 3600
"""Seconds a token may be valid."""
CACHE_SECONDS = 60
"""How long a verified token is believed without verifying it again (DESIGN 7)."""
CACHE_ENTRIES = 4096
MAX_TOKEN = 8192
"""Characters."""
MAX_SUBJECT = 256
MAX_SCOPES = 64

MIN_RSA_BITS = 2048

_LAST_SECOND = 1 << 53
_TOKEN_TYPES = (None, "JWT", "at+jwt", "application/at+jwt")
_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
_JWS = PyJWS(algorithms=["RS256", "ES256", "EdDSA"])
_log = logging.getLogger("keystead.identity")


class _Refused(Exception):
    """Why a token is not believed; for the log only."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """A configured issuer of tokens.

    Attributes:
        issuer: Exact ``iss``.
        audience: Required in ``aud``.
        keys: Its public keys by ``kid``, from `key_set`.
        tenants: Tenants it may speak for, or None for all.
        platform: Whether it may make tokens without a tenant, and tokens with ``platform:operate``.
    """

    issuer: str
    audience: str
    keys: Mapping[str, PyJWK] = field(repr=False)
    tenants: frozenset[str] | None = None
    platform: bool = False


class Identity:
    """Verifies tokens; safe for threads.

    Args:
        issuers: Who may issue tokens; each ``iss`` once.
        clock: Wall clock, in seconds since the epoch.
    """

    def __init__(self, issuers: Sequence[Issuer], *, clock: Callable[[], float] = time.time) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        assert len(self._issuers) == len(issuers), "an issuer is configured twice"
        self._clock = clock
        self._lock = threading.Lock()
        self._verified: OrderedDict[bytes, tuple[Caller, float, float]] = OrderedDict()

    def identify(self, authorization: str | None, request_id: str) -> Caller:
        """Give the caller of a request.

        Args:
            authorization: The Authorization header, or None.
            request_id: Goes into the caller and into the log.

        Raises:
            Unauthenticated: There is no token, or it is not believed.
        """
        if not authorization:
            raise Unauthenticated("this needs a token", hint="send Authorization: Bearer <token>")
        try:
            return replace(self._verify(self._token(authorization)), request_id=request_id)
        except _Refused as refused:
            _log.warning("token refused", extra={"fields": {"request_id": request_id, "reason": str(refused)}})
        raise Unauthenticated("the token is not accepted", hint="it may have expired: get a new one")

    def _token(self, authorization: str) -> str:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _Refused("not a bearer token")
        if len(token) > MAX_TOKEN:
            raise _Refused("longer than a token may be")
        if not token.isascii() or token.count(".") != 2:
            raise _Refused("not a compact JWS")
        return token

    def _verify(self, token: str) -> Caller:
        digest, now = sha256(token.encode()).digest(), self._clock()
        with self._lock:
            if found := self._verified.get(digest):
                caller, since, until = found
                # A clock that went back proves nothing about the token's times.
                if since <= now < until:
                    self._verified.move_to_end(digest)
                    return caller
                del self._verified[digest]
        caller, expires = self._check(token, now)
        with self._lock:
            self._verified[digest] = (caller, now, min(now + CACHE_SECONDS, expires))
            while len(self._verified) > CACHE_ENTRIES:
                self._verified.popitem(last=False)
        return caller

    def _check(self, token: str, now: float) -> tuple[Caller, float]:
        try:
            unverified = _JWS.decode_complete(token, options={"verify_signature": False})
            issuer, key = self._key(unverified["header"], _claims(unverified["payload"]))
            verified = _JWS.decode_complete(token, key=key, algorithms=[key.algorithm_name])
        except PyJWTError as error:
            raise _Refused(f"signature: {type(error).__name__}") from None
        except (ValueError, TypeError, RecursionError) as error:
            raise _Refused(f"malformed: {type(error).__name__}") from None
        claims = _claims(verified["payload"])
        expires = _check_times(claims, now)
        audiences = claims.get("aud")
        if issuer.audience not in (audiences if isinstance(audiences, list) else [audiences]):
            raise _Refused("other audience")
        return _caller(claims, issuer), expires

    def _key(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> tuple[Issuer, PyJWK]:
        if "crit" in header or header.get("typ") not in _TOKEN_TYPES:
            raise _Refused("header names what we do not know")
        name, kid = claims.get("iss"), header.get("kid")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise _Refused("unknown issuer")
        key = issuer.keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise _Refused("unknown or missing kid")
        if header.get("alg") != key.algorithm_name:
            raise _Refused("algorithm is not the key's")
        return issuer, key


def key_set(document: object) -> dict[str, PyJWK]:
    """Read the public keys of an issuer.

    Args:
        document: A JWK set (RFC 7517).

    Returns:
        Keys for RS256 (2048 bits or more), ES256 and EdDSA by ``kid``.

    Raises:
        ValueError: It is no JWK set, or a key in it is private, symmetric, weak, of another kind, without or with the
            ``kid`` of another. The text names no part of a key.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not keys:
        raise ValueError("not a JWK set with keys")
    out: dict[str, PyJWK] = {}
    for jwk in keys:
        kid = jwk.get("kid") if isinstance(jwk, dict) else None
        if not isinstance(kid, str) or not kid or kid in out:
            raise ValueError("each key of a JWK set needs a kid of its own")
        if {"d", "k"} & set(jwk):
            raise ValueError("a JWK set of an issuer holds public keys only")
        algorithm = _ALGORITHMS.get((jwk.get("kty"), jwk.get("crv")))
        if algorithm is None or jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
            raise ValueError("keys are RSA for RS256, P-256 for ES256 or Ed25519 for EdDSA, for signatures")
        try:
            out[kid] = PyJWK(jwk, algorithm)
        except (PyJWTError, ValueError, TypeError, KeyError):
            raise ValueError("a key of the JWK set cannot be read") from None
        if algorithm == "RS256" and out[kid].key.key_size < MIN_RSA_BITS:
            raise ValueError(f"an RSA key has at least {MIN_RSA_BITS} bits")
    return out


def _claims(payload: bytes) -> Mapping[str, Any]:
    claims = json.loads(payload)
    if not isinstance(claims, dict):
        raise _Refused("claims are not an object")
    return claims


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LAST_SECOND:
        raise _Refused(f"{name} is no time")
    return float(value)


def _check_times(claims: Mapping[str, Any], now: float) -> float:
    expires, issued, start = (_time(claims, name) for name in ("exp", "iat", "nbf"))
    if expires is None:
        raise _Refused("no expiry")
    if now >= expires + LEEWAY:
        raise _Refused("expired")
    if max(issued or 0, start or 0) > now + LEEWAY:
        raise _Refused("not valid yet")
    if expires - (now if issued is None else issued) > MAX_LIFETIME + (LEEWAY if issued is None else 0):
        raise _Refused("valid for too long")
    return expires


def _caller(claims: Mapping[str, Any], issuer: Issuer) -> Caller:
    subject, tenant_id, scope = claims.get("sub"), claims.get("tenant_id"), claims.get("scope", "")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise _Refused("no subject")
    if not isinstance(scope, str) or len(scopes := frozenset(scope.split())) > MAX_SCOPES:
        raise _Refused("scope is no list of words")
    if tenant_id is None:
        if not issuer.platform:
            raise _Refused("issuer may not speak without a tenant")
    elif not isinstance(tenant_id, str) or not TENANT_ID.match(tenant_id):
        raise _Refused("tenant_id is no tenant id")
    elif issuer.tenants is not None and tenant_id not in issuer.tenants:
        raise _Refused("issuer may not speak for this tenant")
    if Permission.PLATFORM_OPERATE in scopes and not issuer.platform:
        raise _Refused("issuer may not speak for the platform")
    return Caller(subject=subject, issuer=issuer.issuer, tenant_id=tenant_id, scopes=scopes)
