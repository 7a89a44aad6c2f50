"""What is asked of a vault, and which answers count.

Always by HTTP, never by the SDK's ``CryptographyClient``: that one wraps on this machine with a public key it has kept,
and so goes on after the key was withdrawn. Source: `Key Vault REST API, keys
<https://learn.microsoft.com/rest/api/keyvault/keys>`_.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.domain.vaults import VaultKey
from core.errors import InvalidRequest
from core.providers.azure_key_vault.base64url import base64url, unbase64url
from core.providers.azure_key_vault.calls import Answer, Request
from core.providers.azure_key_vault.failures import UNWRAP, WRAP

API_VERSION = "7.4"
"""Not the newest: the one that every vault and Managed HSM of every cloud has had for years.

It has all that is used here: tags, attributes, RSA-OAEP-256, A256KW, rotation policies. To a version that is not
deployed yet where a vault lies, the service says ``BadParameter``, as it says to damaged bytes; so an unwrap would look
like corrupt data there.
"""
GET, ENCRYPT, ROTATION_POLICY = "get", "encrypt", "rotationpolicy"
RSA_OAEP_256, A256KW = "RSA-OAEP-256", "A256KW"
MAX_WRAPPED = 512
"""Bytes that a wrap gives at most: those of an RSA modulus of 4096 bits."""


def get_key(key: VaultKey) -> Request:
    """Read a key's newest version, or the version named: public key, attributes, operations, tags."""
    # Without the slash at the end the service looks for another resource.
    path = f"/keys/{key.name}/{key.version}"
    return Request(GET, "GET", path, None, lambda answer: _is_bundle(answer, key))


def look_up(key: VaultKey) -> Request:
    """The same, where any genuine answer is to be had as it is: `is_bundle` says whether it is the key's."""
    return replace(get_key(key), accept=lambda _: True)


def is_bundle(answer: Answer, key: VaultKey) -> bool:
    """Whether an answer tells of a key, or of the version named."""
    # A body that is JSON of another shape can make any look-up fail in any way.
    try:
        return _is_bundle(answer, key)
    except (AttributeError, LookupError, TypeError, ValueError):
        return False


def rotation_policy(key: VaultKey) -> Request:
    """Read a key's rotation policy."""
    path = f"/keys/{key.name}/rotationpolicy"
    return Request(
        ROTATION_POLICY, "GET", path, None, lambda answer: type(answer.body.get("lifetimeActions", [])) is list
    )


def wrap(version: VaultKey, algorithm: str, value: bytes, size: int) -> Request:
    """Wrap bytes.

    Args:
        version: What to wrap them under.
        algorithm: ``RSA-OAEP-256`` or ``A256KW``.
        value: The bytes.
        size: Bytes that this must give.
    """
    return _use(WRAP, version, algorithm, value, size)


def unwrap(version: VaultKey, algorithm: str, value: bytes, size: int) -> Request:
    """Unwrap bytes; the arguments are as for `wrap`."""
    return _use(UNWRAP, version, algorithm, value, size)


def encrypt(version: VaultKey, algorithm: str, value: bytes, size: int) -> Request:
    """Encrypt bytes, which a role for wrapping alone may not; the arguments are as for `wrap`."""
    return _use(ENCRYPT, version, algorithm, value, size)


def value_of(answer: Answer) -> bytes:
    """The bytes in an accepted answer."""
    return unbase64url(answer.body["value"])


def identifier(text: Any) -> VaultKey:
    """The version that an answer names.

    Raises:
        ValueError: It names none.
    """
    try:
        found = VaultKey.parse(text) if type(text) is str else None
    except InvalidRequest:
        found = None
    if found is None or not found.version:
        raise ValueError("not a version's identifier")
    return found


def _use(operation: str, version: VaultKey, algorithm: str, value: bytes, size: int) -> Request:
    body = {"alg": algorithm, "value": base64url(value)}
    path = f"/keys/{version.name}/{version.version}/{operation}"
    return Request(operation, "POST", path, body, lambda answer: _is_result(answer, version, size))


def _is_result(answer: Answer, version: VaultKey, size: int) -> bool:
    return identifier(answer.body["kid"]) == version and len(value_of(answer)) == size


def _is_bundle(answer: Answer, key: VaultKey) -> bool:
    bundle, attributes = answer.body["key"], answer.body["attributes"]
    found = identifier(bundle["kid"])
    dates = [attributes.get("nbf"), attributes.get("exp")]
    return (
        (found == key if key.version else found.key == key)
        and type(bundle["kty"]) is str
        and _are_texts(bundle.get("key_ops", []))
        and type(attributes["enabled"]) is bool
        and type(attributes["created"]) is int
        and all(date is None or type(date) is int for date in dates)
        and type(answer.body.get("tags") or {}) is dict
    )


def _are_texts(found: object) -> bool:
    return isinstance(found, list) and all(type(text) is str for text in found)


def tags_of(answer: Answer) -> Mapping[str, Any]:
    """The tags in an accepted answer to `get_key`."""
    return answer.body.get("tags") or {}
