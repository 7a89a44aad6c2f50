"""Vaults, their keys and the versions of those, and who may do what with them: the state of an emulated Key Vault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from core.domain.vaults import CLOUDS, CloudName, VaultKey
from functions.emulators.azure_errors import AzureError, bad_parameter, deleted_key_not_found, key_not_found
from functions.emulators.keyvault_material import KEY_OPS, Material

Access = Literal["rbac", "policy"]
Network = Literal["open", "firewall", "private"]
ACTIONS = (
    *("read", "wrap", "unwrap", "encrypt", "decrypt", "create", "update", "rotate", "delete", "rotationpolicy"),
    *("deleted", "recover", "purge", "sign"),
)
"""What can be granted."""
DAY = 86_400
MAX_TAGS = 15
MAX_TAG = 256


@dataclass(slots=True)
class KeyVersion:
    """One version of a key. Instants are seconds since the epoch."""

    version: str
    material: Material
    created: int
    updated: int
    key_ops: tuple[str, ...]
    enabled: bool = True
    nbf: int | None = None
    exp: int | None = None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Key:
    """A key: its versions, oldest first.

    Attributes:
        name: As it was written when the key was made.
        deleted: When, or None.
        rotation_policy: As set, or None.
    """

    name: str
    versions: list[KeyVersion] = field(default_factory=list)
    deleted: int | None = None
    rotation_policy: dict[str, Any] | None = None

    def version(self, version: str) -> KeyVersion:
        """A version; "" is the newest.

        Raises:
            AzureError: 404.
        """
        for found in reversed(self.versions):
            if version in ("", found.version):
                return found
        raise key_not_found(f"{self.name}/{version}")

    def chosen(self, version: str) -> list[KeyVersion]:
        """A version, or with "" all of them.

        Raises:
            AzureError: 404.
        """
        return [self.version(version)] if version else list(self.versions)


@dataclass(frozen=True, slots=True)
class Grant:
    """A role assignment or an access policy.

    Attributes:
        assignment: Its id, 32 hex digits.
        client_id: Who.
        key: On this key only, lower case; "" is the whole vault.
        actions: What, of `ACTIONS`.
    """

    assignment: str
    client_id: str
    key: str
    actions: tuple[str, ...]


@dataclass(slots=True)
class Vault:
    """A vault or a Managed HSM.

    Attributes:
        host: Its name, lower case.
        tenant: Entra tenant that it trusts.
        soft_delete_days: 0 where deletion is for good.
        keys: By lower-case name; deleted ones too.
        deleted: Whether it is gone: its name does not resolve.
    """

    host: str
    tenant: str
    cloud: CloudName = "public"
    hsm: bool = False
    purge_protection: bool = True
    soft_delete_days: int = 90
    access: Access = "rbac"
    network: Network = "open"
    keys: dict[str, Key] = field(default_factory=dict)
    grants: list[Grant] = field(default_factory=list)
    deleted: bool = False

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://{self.host}"

    @property
    def name(self) -> str:
        """The first part of its host."""
        return self.host.partition(".")[0]

    @property
    def resource(self) -> str:
        """Audience of the tokens it takes."""
        cloud = CLOUDS[self.cloud]
        return f"https://{cloud.hsm_domain if self.hsm else cloud.vault_domain}"

    @property
    def authority(self) -> str:
        """Where tokens for it are to be asked for."""
        return f"https://{CLOUDS[self.cloud].authority}/{self.tenant}"

    @property
    def recovery_level(self) -> str:
        """What its keys tell of their recovery."""
        if not self.soft_delete_days:
            return "Purgeable"
        level = "Recoverable" if self.soft_delete_days == 90 else "CustomizedRecoverable"
        return level if self.purge_protection else f"{level}+Purgeable"

    def find(self, name: str, now: float) -> Key:
        """A key that is not deleted.

        Raises:
            AzureError: 404.
        """
        key = self.present(name, now)
        if key is None or key.deleted is not None:
            raise key_not_found(name)
        return key

    def find_deleted(self, name: str, now: float) -> Key:
        """A key that is deleted and can be recovered.

        Raises:
            AzureError: 404.
        """
        key = self.present(name, now)
        if key is None or key.deleted is None:
            raise deleted_key_not_found(name)
        return key

    def present(self, name: str, now: float) -> Key | None:
        """A key, deleted or not; one whose time is over is purged."""
        key = self.keys.get(name.lower())
        if key is not None and key.deleted is not None and self.purge_date(key) <= now:
            del self.keys[name.lower()]
            return None
        return key

    def purge_date(self, key: Key) -> int:
        """When a deleted key is gone."""
        return (key.deleted or 0) + self.soft_delete_days * DAY

    def grant_for(self, client_id: str, key: str, action: str) -> Grant | None:
        """What allows an application an action, if anything does."""
        for grant in self.grants:
            if grant.client_id == client_id and grant.key in ("", key.lower()) and action in grant.actions:
                return grant
        return None

    def kid(self, key: Key, version: KeyVersion | None = None) -> str:
        """The identifier of a key or of one of its versions."""
        return f"{self.url}/keys/{key.name}" + (f"/{version.version}" if version is not None else "")

    def attributes(self, version: KeyVersion) -> dict[str, Any]:
        """What the service tells of a version's state; unset instants are left out."""
        window = {"nbf": version.nbf, "exp": version.exp}
        found: dict[str, Any] = {"enabled": version.enabled}
        found |= {name: instant for name, instant in window.items() if instant is not None}
        found |= {"created": version.created, "updated": version.updated, "recoveryLevel": self.recovery_level}
        if self.soft_delete_days:
            found["recoverableDays"] = self.soft_delete_days
        return found | {"exportable": False, "hsmPlatform": "2" if version.material.kty.endswith("-HSM") else "0"}

    def item(self, key: Key, version: KeyVersion, *, versioned: bool) -> dict[str, Any]:
        """A version as in a list: without what the key is made of."""
        found = {"kid": self.kid(key, version if versioned else None), "attributes": self.attributes(version)}
        return found | ({"tags": dict(version.tags)} if version.tags else {})

    def bundle(self, key: Key, version: KeyVersion) -> dict[str, Any]:
        """A version as GET gives it; of a deleted key, what is known of its deletion too."""
        web_key = {"kid": self.kid(key, version), "kty": version.material.kty, "key_ops": list(version.key_ops)}
        found: dict[str, Any] = {
            "key": web_key | version.material.public(),
            "attributes": self.attributes(version),
        }
        if version.tags:
            found["tags"] = dict(version.tags)
        if key.deleted is not None:
            found |= {
                "recoveryId": f"{self.url}/deletedkeys/{key.name}",
                "deletedDate": key.deleted,
                "scheduledPurgeDate": self.purge_date(key),
            }
        return found


@dataclass(slots=True)
class Vaults:
    """All vaults, by host."""

    by_host: dict[str, Vault] = field(default_factory=dict)

    def at(self, host: str) -> Vault | None:
        """The vault that a name leads to."""
        vault = self.by_host.get(host)
        return None if vault is None or vault.deleted else vault

    def vault(self, url: str) -> Vault:
        """A vault by its address.

        Raises:
            AzureError: 404.
        """
        found = self.by_host.get(url.removeprefix("https://").rstrip("/").lower())
        if found is None:
            raise AzureError(404, f"There is no vault {url}.", code="VaultNotFound")
        return found

    def key(self, identifier: str, now: float) -> tuple[Vault, Key, str]:
        """A key that is not deleted, its vault, and the version named, or "".

        Raises:
            AzureError: 404.
            InvalidRequest: It is no identifier.
        """
        named = VaultKey.parse(identifier)
        vault = self.vault(named.vault_url)
        key = vault.find(named.name, now)
        key.chosen(named.version)
        return vault, key, named.version


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as Key Vault takes them.

    Raises:
        AzureError: 400: there are more than 15, or one is longer than 256 characters.
    """
    texts = [text for pair in tags.items() for text in pair]
    if not all(isinstance(text, str) for text in texts):
        raise bad_parameter("Tags are text.")
    if len(tags) > MAX_TAGS or any(len(text) > MAX_TAG for text in texts):
        raise bad_parameter(f"There are at most {MAX_TAGS} tags, of at most {MAX_TAG} characters.")
    return dict(tags)


def checked_ops(family: str, key_ops: tuple[str, ...] | None) -> tuple[str, ...]:
    """The operations of a key of a family; None for all that it can do.

    Raises:
        AzureError: 400: it cannot do one of them.
    """
    if key_ops is None:
        return KEY_OPS[family]
    if not {*key_ops} <= {*KEY_OPS[family]}:
        raise bad_parameter(f"A key of type {family} does not do these operations.")
    return tuple(key_ops)
