"""Signature Version 4, checked with botocore's own signer."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from functions.emulators.aws_errors import AwsError

_HEADER = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=([^/,\s]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request\s*,"
    r"\s*SignedHeaders=([a-z0-9;-]+)\s*,\s*Signature=([0-9a-f]{64})"
)
_MUST_BE_SIGNED = frozenset({"host", "x-amz-date"})


@dataclass(frozen=True, slots=True)
class Signature:
    """The Authorization header of a request, taken apart; nothing in it is proved yet."""

    access_key_id: str
    date: str
    region: str
    service: str
    headers: tuple[str, ...]
    value: str


def read_signature(headers: Mapping[str, str]) -> Signature:
    """Take the Authorization header apart.

    Args:
        headers: Of the request; names in lower case.

    Raises:
        AwsError: ``MissingAuthenticationTokenException`` or ``IncompleteSignatureException``.
    """
    text = headers.get("authorization")
    if not text:
        raise AwsError("MissingAuthenticationTokenException", "Missing Authentication Token")
    found = _HEADER.fullmatch(text.strip())
    if found is None or "x-amz-date" not in headers:
        raise AwsError("IncompleteSignatureException", "the Authorization header cannot be read")
    access_key_id, date, region, service, signed, value = found.groups()
    return Signature(access_key_id, date, region, service, tuple(signed.split(";")), value)


def verifier(
    signature: Signature,
    *,
    service: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    token: str | None,
    now: float,
    max_age: float | None,
) -> Callable[[str], None]:
    """The check of a request's signature.

    Args:
        signature: From `read_signature`.
        service: Whom the request is for.
        url: As the client saw it.
        headers: Names in lower case.
        body: Of the request.
        token: The session token that goes with the access key, or None for a long-lived one.
        now: Seconds since the epoch.
        max_age: Seconds that the request's date may differ from ``now``; None for any.

    Returns:
        Given the secret, raises `AwsError` if the request was not signed with it.
    """

    def verify(secret: str) -> None:
        if token is not None and not hmac.compare_digest(
            headers.get("x-amz-security-token", "").encode(), token.encode()
        ):
            raise AwsError("UnrecognizedClientException", "The security token included in the request is invalid.")
        date = headers["x-amz-date"]
        if signature.service != service or not date.startswith(signature.date):
            raise _refused(f"Credential should be scoped to correct service: '{service}'.")
        if not {*signature.headers} >= _MUST_BE_SIGNED or not {*signature.headers} <= {*headers}:
            raise _refused("a header that must be signed is not")
        if headers.get("x-amz-content-sha256", (digest := hashlib.sha256(body).hexdigest())) != digest:
            raise _refused("the body is not the one that was signed")
        if max_age is not None and abs(_instant(date) - now) > max_age:
            raise _refused(f"Signature not yet current or expired: {date}")
        expected = _expected(signature, secret, url, {name: headers[name] for name in signature.headers}, body, date)
        if not hmac.compare_digest(expected, signature.value):
            raise _refused("The request signature we calculated does not match the signature you provided.")

    return verify


def _expected(signature: Signature, secret: str, url: str, headers: Mapping[str, str], body: bytes, date: str) -> str:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    signer = SigV4Auth(Credentials(signature.access_key_id, secret), signature.service, signature.region)
    request = AWSRequest("POST", url, headers=dict(headers), data=body)
    request.context["timestamp"] = date
    found: str = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return found


def _instant(text: str) -> float:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise AwsError("IncompleteSignatureException", "the date cannot be read") from None


def _refused(why: str) -> AwsError:
    return AwsError("InvalidSignatureException", why)
