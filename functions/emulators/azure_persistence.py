"""What the Azure emulator knows, in a file: JSON, readable by its owner only. The keys in it are test keys, in the
clear; so are Entra's signing key and that of the certificate authority, so that clients need not be set up anew."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from core.errors import InvalidRequest
from functions.emulators.azure_applications import Application
from functions.emulators.azure_certificates import Authority
from functions.emulators.azure_tokens import Signer
from functions.emulators.keyvault_material import Material
from functions.emulators.keyvault_vaults import Grant, Key, KeyVersion, Vault
from functions.emulators.persistence import MAX_FILE

if TYPE_CHECKING:
    from functions.emulators.azure_world import AzureEmulator

FORMAT = "keystead-azure-emulator-1"


def save(emulator: AzureEmulator, path: Path) -> None:
    """Write what an emulator knows; the file appears whole.

    Raises:
        OSError: It cannot be written.
    """
    directory = emulator.directory
    document = {
        "format": FORMAT,
        "authority": _fields(emulator.authority),
        "signer": Material("RSA", 2048, emulator.signer.private).saved(),
        "identity_header": emulator.entra.identity_header,
        "tenants": sorted(directory.tenants),
        "applications": [_fields(application) for application in directory.applications.values()],
        "identities": directory.identities,
        **{name: sorted(getattr(directory, name)) for name in ("consents", "disabled", "blocked")},
        "vaults": [_fields(vault) for vault in emulator.vaults.by_host.values()],
    }
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, default=_plain)
    part.replace(path)


def restore(emulator: AzureEmulator, path: Path) -> None:
    """Put what a file holds into an empty emulator.

    Raises:
        OSError: The file cannot be read.
        ValueError: It was not written by `save`.
    """
    try:
        if path.stat().st_size > MAX_FILE:
            raise ValueError("it is too large")
        _restore(emulator, json.loads(path.read_bytes()))
    except (AttributeError, KeyError, TypeError, ValueError, InvalidRequest) as error:
        raise ValueError(f"{path} is no data file of the emulator: {error}") from None


def _restore(emulator: AzureEmulator, document: Mapping[str, Any]) -> None:
    if document["format"] != FORMAT:
        raise ValueError("it has another format")
    signing = Material.restored(document["signer"]).private
    if not isinstance(signing, RSAPrivateKey):
        raise ValueError("the signing key is of another type")
    emulator.signer = Signer(signing)
    emulator.authority = Authority(**document["authority"])
    emulator.entra.identity_header = str(document["identity_header"])
    directory = emulator.directory
    for entry in document["applications"]:
        directory.add(Application(**entry))
    directory.tenants |= {*document["tenants"]}
    directory.identities |= document["identities"]
    for name in ("consents", "disabled", "blocked"):
        setattr(directory, name, {(client, tenant) for client, tenant in document[name]})
    for entry in document["vaults"]:
        grants = [Grant(**{**grant, "actions": tuple(grant["actions"])}) for grant in entry["grants"]]
        keys = {name: _key(saved) for name, saved in entry["keys"].items()}
        emulator.vaults.by_host[entry["host"]] = Vault(**{**entry, "grants": grants, "keys": keys})


def _key(entry: Mapping[str, Any]) -> Key:
    versions = [
        KeyVersion(**{**saved, "material": Material.restored(saved["material"]), "key_ops": tuple(saved["key_ops"])})
        for saved in entry["versions"]
    ]
    return Key(**{**entry, "versions": versions})


def _fields(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _plain(value: Any) -> Any:
    if isinstance(value, Material):
        return value.saved()
    if isinstance(value, Key | KeyVersion | Grant):
        return _fields(value)
    raise TypeError(type(value).__name__)
