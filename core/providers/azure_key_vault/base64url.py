"""Bytes as Azure writes them in JSON: base64url without padding (RFC 4648, section 5), in the one valid form."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

_ALPHABET = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def base64url(data: bytes) -> str:
    """Write bytes."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unbase64url(text: str) -> bytes:
    """Read bytes.

    Raises:
        ValueError, TypeError: They are not written in the one way to write them, or there are none.
    """
    if not _ALPHABET.fullmatch(text):
        raise ValueError("not base64url")
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64url(data) != text:
        raise ValueError("not the one way to write these bytes")
    return data
