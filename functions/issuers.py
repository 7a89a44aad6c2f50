"""Reads the configured issuers of tokens.

::

    [{"issuer": "https://login.example", "audience": "keystead",
      "jwks": {"keys": [...]},              or the path of a file that holds the set
      "tenants": ["acme"],                  or "*" for all
      "platform": false}]                   whether it may make tokens without a tenant, and platform:operate
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from core.domain.tenants import TENANT_ID
from functions.identity import Issuer, key_set
from functions.settings import SettingsError

_FIELDS = frozenset({"issuer", "audience", "jwks", "tenants", "platform"})


def read_issuers(text: str) -> tuple[Issuer, ...]:
    """Read the setting KEYSTEAD_ISSUERS.

    Args:
        text: JSON, or the path of a file that holds it; "" for none.

    Raises:
        SettingsError: It is not what the module's docstring shows. Names no part of a key.
    """
    if not text.strip():
        return ()
    document = _load(text if text.lstrip().startswith(("[", "{")) else _read(text))
    if not isinstance(document, list):
        raise _wrong("it is a JSON list of issuers")
    issuers = tuple(_issuer(item) for item in document)
    if len({issuer.issuer for issuer in issuers}) != len(issuers):
        raise _wrong("an issuer stands in it twice")
    return issuers


def _issuer(item: object) -> Issuer:
    if not isinstance(item, dict) or not {"issuer", "audience", "jwks", "tenants"} <= set(item) <= _FIELDS:
        raise _wrong(f"each issuer has the fields {', '.join(sorted(_FIELDS))}; only platform may be left out")
    issuer, audience, jwks, platform = (item.get(name) for name in ("issuer", "audience", "jwks", "platform"))
    if not (isinstance(issuer, str) and issuer and isinstance(audience, str) and audience):
        raise _wrong("issuer and audience are texts")
    if platform not in (None, True, False):
        raise _wrong("platform is true or false")
    try:
        keys = key_set(_load(_read(jwks)) if isinstance(jwks, str) else jwks)
    except ValueError as error:
        raise _wrong(f"jwks: {error}") from None
    return Issuer(issuer, audience, keys, _tenants(item["tenants"]), platform=platform is True)


def _tenants(value: object) -> frozenset[str] | None:
    if value == "*":
        return None
    ids: Sequence[object] = value if isinstance(value, list) else ()
    names = frozenset(name for name in ids if isinstance(name, str) and TENANT_ID.match(name))
    if not ids or len(names) != len(ids):
        raise _wrong('tenants is "*" or a list of tenant ids')
    return names


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise _wrong("a file it names cannot be read") from None


def _load(text: str) -> object:
    try:
        document: object = json.loads(text)
    except (ValueError, RecursionError):
        raise _wrong("it is not JSON") from None
    return document


def _wrong(what: str) -> SettingsError:
    return SettingsError(f"KEYSTEAD_ISSUERS: {what}", hint="docs/api.md, section Tokens, shows one")
