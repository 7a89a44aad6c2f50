"""How keys are made, changed, deleted, recovered and purged: by requests, and by the hands that steer the emulator."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from functions.emulators.azure_errors import AzureError, bad_parameter, name_is_taken
from functions.emulators.keyvault_material import Material, RsaKeys
from functions.emulators.keyvault_vaults import Key, KeyVersion, Vault, checked_ops, checked_tags

_CURVES: Mapping[str, int] = {"P-256": 256, "P-384": 384, "P-521": 521}


class KeyManagement:
    """Changes the keys of vaults.

    Args:
        now: Seconds since the epoch.
        rsa_keys: Gives new RSA keys.
    """

    def __init__(self, now: Callable[[], float], rsa_keys: RsaKeys) -> None:
        self.now = now
        self._rsa_keys = rsa_keys

    def create(
        self,
        vault: Vault,
        name: str,
        material: Material,
        key_ops: tuple[str, ...] | None = None,
        enabled: bool = True,
        nbf: int | None = None,
        exp: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> tuple[Key, KeyVersion]:
        """Make a key, or a new version of one.

        Raises:
            AzureError: 409: a deleted key has the name. 400: the uses or the tags are not well formed.
        """
        now = int(self.now())
        if vault.hsm and material.kty == material.family:
            raise bad_parameter(f"Key type {material.kty} is not supported by a Managed HSM.")
        version = KeyVersion(
            secrets.token_hex(16),
            material,
            now,
            now,
            checked_ops(material.family, key_ops),
            enabled,
            nbf,
            exp,
            checked_tags(tags or {}),
        )
        key = vault.present(name, now)
        if key is None:
            key = vault.keys[name.lower()] = Key(name)
        elif key.deleted is not None:
            raise name_is_taken(name)
        key.versions.append(version)
        return key, version

    def generate(self, kty: str, size: int) -> Material:
        """What a new key is made of.

        Raises:
            AzureError: 400 for a type or size that Key Vault does not have.
        """
        return Material.generate(kty, size, self._rsa_keys)

    def create_from(self, vault: Vault, name: str, body: Mapping[str, Any]) -> tuple[Key, KeyVersion]:
        """Make a key as a request describes it.

        Raises:
            AzureError: 400 or 409.
        """
        kty, size, curve = _text(body, "kty"), body.get("key_size"), body.get("crv")
        if not isinstance(size, int | None) or curve not in (None, *_CURVES):
            raise bad_parameter("Property 'key_size' or 'crv' is not one that is supported.")
        present = vault.present(name, self.now())
        if present is not None and present.deleted is not None:
            raise name_is_taken(name)
        attributes = _attributes(body)
        return self.create(
            vault,
            name,
            self.generate(kty, size or _CURVES.get(curve or "", 0)),
            _key_ops(body),
            attributes.pop("enabled", True),
            **attributes,
            tags=_tags(body),
        )

    def rotate(self, vault: Vault, name: str) -> tuple[Key, KeyVersion]:
        """Make a new version of a key, like its newest one in everything but its material and its window.

        Raises:
            AzureError: 404.
        """
        newest = vault.find(name, self.now()).version("")
        material = self.generate(newest.material.kty, newest.material.size)
        return self.create(vault, name, material, newest.key_ops, tags=newest.tags)

    def update_from(self, vault: Vault, name: str, version: str, body: Mapping[str, Any]) -> tuple[Key, KeyVersion]:
        """Change a version as a request describes it.

        Raises:
            AzureError: 400 or 404.
        """
        key = vault.find(name, self.now())
        found = key.version(version)
        attributes, key_ops, tags = _attributes(body), _key_ops(body), _tags(body)
        self.update(found, key_ops=key_ops, tags=tags, **attributes)
        return key, found

    def update(
        self,
        version: KeyVersion,
        *,
        key_ops: tuple[str, ...] | None = None,
        tags: Mapping[str, str] | None = None,
        **attributes: Any,
    ) -> None:
        """Change a version: its uses and tags where given, and ``enabled``, ``nbf`` and ``exp`` where named.

        Raises:
            AzureError: 400: the uses or the tags are not well formed.
        """
        ops = None if key_ops is None else checked_ops(version.material.family, key_ops)
        found = None if tags is None else checked_tags(tags)
        version.key_ops = version.key_ops if ops is None else ops
        version.tags = version.tags if found is None else found
        version.enabled = attributes.get("enabled", version.enabled)
        version.nbf = attributes.get("nbf", version.nbf)
        version.exp = attributes.get("exp", version.exp)
        version.updated = int(self.now())

    def delete(self, vault: Vault, name: str) -> dict[str, Any]:
        """Delete a key; where the vault has soft delete, it can be recovered.

        Returns:
            The deleted key's bundle.

        Raises:
            AzureError: 404.
        """
        key = vault.find(name, self.now())
        key.deleted = int(self.now())
        bundle = vault.bundle(key, key.version(""))
        if not vault.soft_delete_days:
            del vault.keys[name.lower()]
        return bundle

    def recover(self, vault: Vault, name: str) -> Key:
        """Bring a deleted key back, with all of its versions.

        Raises:
            AzureError: 404.
        """
        key = vault.find_deleted(name, self.now())
        key.deleted = None
        return key

    def purge(self, vault: Vault, name: str) -> None:
        """Delete a deleted key for good.

        Raises:
            AzureError: 404, or 403 where the vault has purge protection.
        """
        vault.find_deleted(name, self.now())
        if vault.purge_protection:
            raise AzureError(403, 'Operation "purge" is not enabled for this vault.')
        del vault.keys[name.lower()]

    def rotation_policy(self, vault: Vault, name: str) -> dict[str, Any]:
        """How a key is rotated.

        Raises:
            AzureError: 404.
        """
        key = vault.find(name, self.now())
        default = {
            "lifetimeActions": [{"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}],
            "attributes": {},
        }
        return {"id": f"{vault.kid(key)}/rotationpolicy", **(key.rotation_policy or default)}

    def set_rotation_policy(self, vault: Vault, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Say how a key is rotated; nothing here acts on it.

        Raises:
            AzureError: 400 or 404.
        """
        key, now = vault.find(name, self.now()), int(self.now())
        actions, attributes = body.get("lifetimeActions", []), body.get("attributes") or {}
        if not isinstance(actions, list) or not isinstance(attributes, dict):
            raise bad_parameter("The rotation policy is malformed.")
        created = (key.rotation_policy or {}).get("attributes", {}).get("created", now)
        key.rotation_policy = {
            "lifetimeActions": actions,
            "attributes": {**attributes, "created": created, "updated": now},
        }
        return self.rotation_policy(vault, name)


def _text(body: Mapping[str, Any], name: str) -> str:
    found = body.get(name)
    if not isinstance(found, str):
        raise bad_parameter(f"Property '{name}' is missing or no text.")
    return found


def _attributes(body: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {} if body.get("attributes") is None else body["attributes"]
    if not isinstance(attributes, dict):
        raise bad_parameter("Property 'attributes' is no object.")
    found = {name: attributes[name] for name in ("enabled", "nbf", "exp") if attributes.get(name) is not None}
    for name, value in found.items():
        if isinstance(value, bool) != (name == "enabled") or not isinstance(value, int):
            raise bad_parameter(f"Property '{name}' has another type.")
    return found


def _key_ops(body: Mapping[str, Any]) -> tuple[str, ...] | None:
    found = body.get("key_ops")
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(use, str) for use in found):
        raise bad_parameter("Property 'key_ops' is no list of texts.")
    return tuple(found)


def _tags(body: Mapping[str, Any]) -> dict[str, str] | None:
    found = body.get("tags")
    if found is not None and not isinstance(found, dict):
        raise bad_parameter("Property 'tags' is no object.")
    return found
