"""The settings of the signing key: which key in a KMS it may be, and the public keys that signed before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.domain.arns import KeyArn
from core.domain.vaults import VaultKey
from core.errors import InvalidRequest
from functions.settings_table import SettingsError

if TYPE_CHECKING:
    from functions.settings import Settings

MAX_FILE = 256 * 1024
_NAMED = "name the ARN of a key in AWS KMS, or the identifier of a version of a key in Azure Key Vault"
_COPIED = "it is what GET /.well-known/jwks.json answered while those keys signed"


def check_signing_key(settings: Settings) -> None:
    """Refuse a signing key that is none, or that lies in a cloud that is not configured.

    Raises:
        SettingsError: It is one of these.
    """
    named = settings.signing_key
    if not named:
        return
    try:
        if not named.startswith("https:"):
            KeyArn.parse(named)
            return
        key = VaultKey.parse(named)
    except InvalidRequest as error:
        raise SettingsError("KEYSTEAD_SIGNING_KEY names no key in a KMS", hint=error.hint or _NAMED) from None
    if not key.version:
        raise SettingsError(
            "KEYSTEAD_SIGNING_KEY names no version of the key",
            hint="a rotation of the key must not change the signer by itself; az keyvault key show --query key.kid "
            "gives the newest version's identifier",
        )
    if not settings.azure_client_id and not settings.azure_emulator:
        raise SettingsError(
            "KEYSTEAD_SIGNING_KEY lies in Azure, and KEYSTEAD_AZURE_CLIENT_ID is not set",
            hint="the application that reaches tenants' keys signs too, in a vault of its home tenant",
        )
    if key.cloud != settings.azure_cloud:
        raise SettingsError(
            f"KEYSTEAD_SIGNING_KEY lies in the cloud {key.cloud}, and KEYSTEAD_AZURE_CLOUD is {settings.azure_cloud}",
            hint="name a key in the application's own cloud",
        )


def retired_signing_keys(settings: Settings) -> tuple[Mapping[str, Any], ...]:
    """The JWKs of the file that is named, as they stand there.

    Raises:
        SettingsError: It cannot be read, or is no JWK set.
    """
    if not settings.retired_signing_keys:
        return ()
    try:
        with Path(settings.retired_signing_keys).open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except (OSError, ValueError):
        raise SettingsError("the file that KEYSTEAD_RETIRED_SIGNING_KEYS names cannot be read", hint=_COPIED) from None
    try:
        keys = json.loads(data)["keys"]
        if len(data) > MAX_FILE or not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
            raise ValueError("no list of keys")
    except (KeyError, RecursionError, TypeError, ValueError):
        raise SettingsError(
            "the file that KEYSTEAD_RETIRED_SIGNING_KEYS names is not a JWK set", hint=_COPIED
        ) from None
    return tuple(keys)
