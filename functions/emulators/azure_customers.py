"""The customers of the Azure emulator: hands that make vaults and keys, grant and revoke, disable and delete.

A ``key`` is an identifier, with a version or without; without one it stands for every version.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.domain.vaults import CLOUDS, CloudName, VaultKey, entra_tenant
from functions.emulators.azure_errors import AzureError
from functions.emulators.azure_state import AzureState
from functions.emulators.keyvault_management import KeyManagement
from functions.emulators.keyvault_material import RsaKeys
from functions.emulators.keyvault_vaults import ACTIONS, Access, Grant, Key, KeyVersion, Network, Vault, Vaults

ENCRYPTION_USER = ("read", "wrap", "unwrap")
"""What the role Key Vault Crypto Service Encryption User allows."""


class AzureCustomers(AzureState):
    """Vaults and their keys. Methods raise `AzureError` for what is not there, `InvalidRequest` for a malformed name.

    Attributes:
        vaults: All vaults.
    """

    def __init__(self, now: Callable[[], float], rsa_keys: RsaKeys) -> None:
        super().__init__(now, rsa_keys)
        self.vaults = Vaults()
        self._management = KeyManagement(now, rsa_keys)

    def create_vault(
        self,
        name: str,
        tenant: str,
        cloud: CloudName = "public",
        hsm: bool = False,
        purge_protection: bool = True,
        soft_delete_days: int = 90,
        access: Access = "rbac",
    ) -> str:
        """Make a vault or a Managed HSM.

        Args:
            name: First part of its host.
            tenant: Directory that it trusts.
            cloud: Where it lies.
            hsm: Whether it is a Managed HSM.
            purge_protection: Whether deleted keys cannot be purged.
            soft_delete_days: 7 to 90; 0 for none, as very old vaults have it.
            access: By roles or by access policies.

        Returns:
            Its address.

        Raises:
            ValueError: A number or a word is not one of those.
        """
        if (
            access not in ("rbac", "policy")
            or cloud not in CLOUDS
            or not (soft_delete_days == 0 or 7 <= soft_delete_days <= 90)
        ):
            raise ValueError("access is rbac or policy, cloud is a cloud's name, and soft_delete_days is 7 to 90, or 0")
        domain = CLOUDS[cloud].hsm_domain if hsm else CLOUDS[cloud].vault_domain
        host = VaultKey.of(f"https://{name}.{domain}", "any").host
        with self._changing():
            if host in self.vaults.by_host:
                raise AzureError(409, f"The vault {host} exists already.", code="VaultAlreadyExists")
            self.directory.tenants.add(entra_tenant(tenant))
            self.vaults.by_host[host] = Vault(
                host,
                entra_tenant(tenant),
                cloud,
                hsm,
                purge_protection and soft_delete_days > 0,
                soft_delete_days,
                access,
            )
        return f"https://{host}"

    def delete_vault(self, url: str) -> None:
        """Delete a vault softly: its name does not resolve, its role assignments are lost."""
        with self._changing():
            vault = self.vaults.vault(url)
            vault.deleted = True
            vault.grants.clear()

    def recover_vault(self, url: str) -> None:
        """Bring a deleted vault back; its role assignments do not come with it."""
        with self._changing():
            self.vaults.vault(url).deleted = False

    def set_network(self, url: str, network: Network) -> None:
        """Let everybody to a vault (``open``), or nobody here (``firewall``, ``private``).

        Raises:
            ValueError: It is another word.
        """
        if network not in ("open", "firewall", "private"):
            raise ValueError("network is open, firewall or private")
        with self._changing():
            self.vaults.vault(url).network = network

    def set_access(self, url: str, access: Access) -> None:
        """Change how a vault decides who may do what; what was granted the other way is lost.

        Raises:
            ValueError: It is another word.
        """
        if access not in ("rbac", "policy"):
            raise ValueError("access is rbac or policy")
        with self._changing():
            vault = self.vaults.vault(url)
            vault.access = access
            vault.grants.clear()

    def grant(self, url: str, client_id: str, key: str = "", actions: Sequence[str] = ENCRYPTION_USER) -> None:
        """Let an application do something.

        Args:
            url: Of the vault.
            client_id: The application.
            key: Name or identifier of the one key that it is about; "" is the whole vault.
            actions: Of `ACTIONS`.

        Raises:
            ValueError: An action is none of them.
        """
        if not {*actions} <= {*ACTIONS}:
            raise ValueError(f"actions are {', '.join(ACTIONS)}")
        with self._changing():
            vault = self.vaults.vault(url)
            name = VaultKey.of(vault.url, key).name if key else ""
            vault.grants.append(Grant(secrets.token_hex(16), entra_tenant(client_id), name, tuple(actions)))

    def revoke(self, url: str, client_id: str) -> None:
        """Take everything back that an application was granted in a vault."""
        with self._changing():
            vault, known = self.vaults.vault(url), entra_tenant(client_id)
            vault.grants[:] = [grant for grant in vault.grants if grant.client_id != known]

    def create_key(
        self,
        url: str,
        name: str,
        kty: str = "RSA",
        size: int = 0,
        key_ops: Sequence[str] | None = None,
        enabled: bool = True,
        nbf: int | None = None,
        exp: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Make a key, or a new version of one.

        Args:
            url: Of the vault.
            name: Of the key.
            kty: ``RSA``, ``RSA-HSM``, ``EC``, ``EC-HSM`` or ``oct-HSM``.
            size: In bits; 0 is 3072 of RSA, 256 of the others.
            key_ops: None for all that a key of its type can do.
            enabled: Whether it may be used.
            nbf: Seconds since the epoch before which it makes nothing new.
            exp: Seconds since the epoch from which on it makes nothing new.
            tags: At most 15.

        Returns:
            The identifier of the version.
        """
        named = VaultKey.of(self.vaults.vault(url).url, name)
        material = self._management.generate(kty, size or (3072 if kty.startswith("RSA") else 256))
        with self._changing():
            vault = self.vaults.vault(url)
            ops = None if key_ops is None else tuple(key_ops)
            key, version = self._management.create(vault, named.name, material, ops, enabled, nbf, exp, tags)
            return vault.kid(key, version)

    def rotate_key(self, key: str) -> str:
        """Make a new version of a key, with the newest one's uses and tags.

        Returns:
            The identifier of the version.
        """
        with self._changing():
            vault, found, _ = self._key(key)
            return vault.kid(*self._management.rotate(vault, found.name))

    def set_enabled(self, key: str, enabled: bool) -> None:
        """Enable or disable a version, or all of a key's."""
        self._update(key, enabled=enabled)

    def set_attributes(self, key: str, **attributes: Any) -> None:
        """Change a version, or all of a key's: ``nbf``, ``exp`` (None: no bound), ``key_ops``, ``enabled``.

        Raises:
            ValueError: Another name.
        """
        if not {*attributes} <= {"nbf", "exp", "key_ops", "enabled"}:
            raise ValueError("attributes are nbf, exp, key_ops and enabled")
        self._update(key, **attributes)

    def set_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace the tags of a version, or of all of a key's."""
        self._update(key, tags=tags)

    def delete_key(self, key: str) -> None:
        """Delete a key with all of its versions."""
        with self._changing():
            vault, found, _ = self._key(key)
            self._management.delete(vault, found.name)

    def recover_key(self, key: str) -> None:
        """Bring a deleted key back."""
        with self._changing():
            named = VaultKey.parse(key)
            self._management.recover(self.vaults.vault(named.vault_url), named.name)

    def purge_key(self, key: str) -> None:
        """Delete a deleted key for good, where the vault's purge protection lets one."""
        with self._changing():
            named = VaultKey.parse(key)
            self._management.purge(self.vaults.vault(named.vault_url), named.name)

    def _key(self, key: str) -> tuple[Vault, Key, list[KeyVersion]]:
        vault, found, version = self.vaults.key(key, self.now())
        return vault, found, found.chosen(version)

    def _update(self, key: str, **changes: Any) -> None:
        with self._changing():
            for version in self._key(key)[2]:
                self._management.update(version, **changes)
