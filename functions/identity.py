"""Who is calling: verifies a bearer token and gives the caller it stands for.

A token is believed only if its issuer is configured, its ``kid`` names a key of that issuer's set, its algorithm is the
one that key is for, and issuer, audience, times and tenant are as configured. Whatever is wrong, the caller hears one
and the same sentence; the reason stands in the log.
"""

from __future__ import annotations

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
from jwt.utils import base64url_decode

from core.domain.tenants import TENANT_ID
from core.errors import InvalidRequest, Unauthenticated
from core.service.access import Caller, Permission
from functions.strict_json import parse_json

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
DATA_SCOPES = frozenset({Permission.DATA_ENCRYPT, Permission.DATA_DECRYPT, Permission.DATA_KEYS})
"""What no token has that operates the platform."""
MIN_RSA_BITS = 2048

_LAST_SECOND = 1 << 53
_TOKEN_TYPES = (None, "JWT", "at+jwt", "application/at+jwt")
_ALGORITHMS = {("RSA", ""): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
_JWS = PyJWS(algorithms=["RS256", "ES256", "EdDSA"])
_log = logging.getLogger("keystead.identity")


class Refused(Exception):
    """Why a token is not believed; never told to whoever presents it."""


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
        except Refused as refused:
            _log.warning("token refused", extra={"fields": {"request_id": request_id, "reason": str(refused)}})
        raise Unauthenticated("the token is not accepted", hint="it may have expired: get a new one")

    def _token(self, authorization: str) -> str:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused("not a bearer token")
        if len(token) > MAX_TOKEN:
            raise Refused("longer than a token may be")
        if not token.isascii() or token.count(".") != 2:
            raise Refused("not a compact JWS")
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
            # Strictly, and not as PyJWS did: it takes UTF-16, and the last of two values.
            header = _object(base64url_decode(token.partition(".")[0]))
            issuer, key = self._key(header, _object(unverified["payload"]))
            verified = _JWS.decode_complete(token, key=key, algorithms=[key.algorithm_name])
        except PyJWTError as error:
            raise Refused(f"signature: {type(error).__name__}") from None
        except (ValueError, TypeError, RecursionError) as error:
            raise Refused(f"malformed: {type(error).__name__}") from None
        except InvalidRequest as error:
            raise Refused(f"malformed: {error.detail}") from None
        claims = _object(verified["payload"])
        expires = _check_times(claims, now)
        audiences = claims.get("aud")
        if issuer.audience not in (audiences if isinstance(audiences, list) else [audiences]):
            raise Refused("other audience")
        return read_caller(claims, issuer), expires

    def _key(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> tuple[Issuer, PyJWK]:
        if "crit" in header or header.get("typ") not in _TOKEN_TYPES:
            raise Refused("header names what we do not know")
        name, kid = claims.get("iss"), header.get("kid")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise Refused("unknown issuer")
        key = issuer.keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise Refused("unknown or missing kid")
        if header.get("alg") != key.algorithm_name:
            raise Refused("algorithm is not the key's")
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
        # As texts: a list in their place could not even be looked up.
        algorithm = _ALGORITHMS.get((str(jwk.get("kty")), str(jwk.get("crv", ""))))
        if algorithm is None or jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
            raise ValueError("keys are RSA for RS256, P-256 for ES256 or Ed25519 for EdDSA, for signatures")
        try:
            out[kid] = PyJWK(jwk, algorithm)
        except (PyJWTError, ValueError, TypeError, KeyError, AttributeError):
            raise ValueError("a key of the JWK set cannot be read") from None
        if algorithm == "RS256" and out[kid].key.key_size < MIN_RSA_BITS:
            raise ValueError(f"an RSA key has at least {MIN_RSA_BITS} bits")
    return out


def _object(part: bytes) -> Mapping[str, Any]:
    # Claims that mean nothing to us may hold larger numbers than ours do.
    found = parse_json(part, what="a part of it", max_digits=MAX_TOKEN)
    if not isinstance(found, dict):
        raise Refused("header or claims are not an object")
    return found


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LAST_SECOND:
        raise Refused(f"{name} is no time")
    return float(value)


def _check_times(claims: Mapping[str, Any], now: float) -> float:
    expires, issued, start = (_time(claims, name) for name in ("exp", "iat", "nbf"))
    if expires is None:
        raise Refused("no expiry")
    if now >= expires + LEEWAY:
        raise Refused("expired")
    if max(issued or 0, start or 0) > now + LEEWAY:
        raise Refused("not valid yet")
    if expires - (now if issued is None else issued) > MAX_LIFETIME + (LEEWAY if issued is None else 0):
        raise Refused("valid for too long")
    return expires


def read_caller(claims: Mapping[str, Any], issuer: Issuer) -> Caller:
    """Give the caller that claims stand for.

    Args:
        claims: Of a token whose signature, times and audience are right.
        issuer: Whose it is.

    Raises:
        Refused: They are malformed, or more than the issuer may say.
    """
    subject, tenant_id, scope = claims.get("sub"), claims.get("tenant_id"), claims.get("scope", "")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise Refused(f"the subject is not 1 to {MAX_SUBJECT} printable characters")
    if not isinstance(scope, str) or len(scopes := frozenset(scope.split())) > MAX_SCOPES:
        raise Refused(f"scope is no text of at most {MAX_SCOPES} words")
    if tenant_id is None:
        if not issuer.platform:
            raise Refused("issuer may not speak without a tenant")
    elif not isinstance(tenant_id, str) or not TENANT_ID.match(tenant_id):
        raise Refused("tenant_id is no tenant id")
    elif issuer.tenants is not None and tenant_id not in issuer.tenants:
        raise Refused("issuer may not speak for this tenant")
    if Permission.PLATFORM_OPERATE in scopes and not issuer.platform:
        raise Refused("issuer may not speak for the platform")
    if Permission.PLATFORM_OPERATE in scopes and scopes & DATA_SCOPES:
        raise Refused("platform:operate does not go with scopes of data")
    return Caller(subject=subject, issuer=issuer.issuer, tenant_id=tenant_id, scopes=scopes)
