"""Wrap, unwrap, encrypt, decrypt and sign as Key Vault allows them: by a version's state, window and permitted uses.

Sources: Key Vault, "About keys" (outside of the window the service still decrypts, unwraps and verifies); reports of
users that a disabled key still wraps, which is why that is a switch.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any

from functions.emulators.azure_errors import bad_parameter, forbidden
from functions.emulators.keyvault_material import GCM, base64url
from functions.emulators.keyvault_vaults import KeyVersion

USES: Mapping[str, str] = {
    "wrapkey": "wrapKey",
    "unwrapkey": "unwrapKey",
    "encrypt": "encrypt",
    "decrypt": "decrypt",
    "sign": "sign",
}
"""The permitted use that an operation needs, by the last part of its path."""
_PUBLIC = frozenset({"wrapKey", "encrypt"})
"""Uses of a pair's public key."""
_CREATING = _PUBLIC | {"sign"}
"""Uses that make something new: outside of the version's window they are refused."""
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


def perform(version: KeyVersion, operation: str, body: bytes, now: float, *, strict: bool) -> dict[str, str]:
    """Carry out an operation under a version of a key.

    Args:
        version: Of the key.
        operation: One of `USES`.
        body: JSON with ``alg`` and ``value`` (to sign: a digest); of an algorithm with a tag also ``iv``, ``tag`` and
            ``aad``.
        now: Seconds since the epoch.
        strict: Whether a disabled key refuses to wrap and encrypt too.

    Returns:
        Fields of the answer, base64url: ``value``, and of what has a tag ``iv`` and ``tag``.

    Raises:
        AzureError: 403 by the version's state, then 400 for a request that cannot be read or bytes that do not belong
            to the version.
    """
    use = USES[operation]
    if not version.enabled and (strict or use not in _PUBLIC):
        raise forbidden("KeyDisabled", f"Operation {use} is not allowed on a disabled key.")
    if use in _CREATING:
        if version.nbf is not None and now < version.nbf:
            raise forbidden("KeyNotYetValid", f"Operation {use} is not allowed on a key that is not yet valid.")
        if version.exp is not None and version.exp <= now:
            raise forbidden("KeyExpired", f"Operation {use} is not allowed on an expired key.")
    if use not in version.key_ops:
        raise forbidden("KeyOperationForbidden", f"Operation {use} is not permitted on this key.")
    found = read_object(body)
    algorithm, value = found.get("alg"), _bytes(found, "value")
    if not isinstance(algorithm, str):
        raise bad_parameter("Property 'alg' is missing or no text.")
    if algorithm in GCM and use in ("encrypt", "decrypt"):
        return _perform_with_tag(version, use, algorithm, value, found)
    material = version.material
    act = {"sign": material.sign, "wrapKey": material.encrypt, "encrypt": material.encrypt}.get(use, material.decrypt)
    return {"value": base64url(act(algorithm, value))}


def _perform_with_tag(
    version: KeyVersion, use: str, algorithm: str, value: bytes, found: Mapping[str, Any]
) -> dict[str, str]:
    aad = _bytes(found, "aad") if "aad" in found else b""
    if use == "encrypt":
        nonce, sealed, tag = version.material.seal(algorithm, value, aad)
        return {"value": base64url(sealed), "iv": base64url(nonce), "tag": base64url(tag)}
    plain = version.material.unseal(algorithm, _bytes(found, "iv"), value, _bytes(found, "tag"), aad)
    return {"value": base64url(plain)}


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a request's body is.

    Raises:
        AzureError: 400.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise bad_parameter("The request body is not a JSON object.")
    return found


def _bytes(found: Mapping[str, Any], name: str) -> bytes:
    value = found.get(name)
    if not isinstance(value, str):
        raise bad_parameter(f"Property '{name}' is missing or no text.")
    if not _BASE64URL.fullmatch(value) or len(value) % 4 == 1:
        raise bad_parameter(f"Property '{name}' is not base64url.")
    return urlsafe_b64decode(value + "=" * (-len(value) % 4))
