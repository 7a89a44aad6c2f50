"""Customers of the emulated Azure: their vaults and keys, and what they do with them through the control API."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import httpx

from benchmarks.revocation.acts import Act, OwnKey, Tenant
from benchmarks.revocation.documented import ENTRA_CONSENT, VAULT_FIREWALL, VAULT_KEY, VAULT_ROLE
from core.domain.canaries import Canary
from core.domain.kek import Kek
from functions.settings import LOCAL_AZURE

CLOUD = "Azure emulator"
NAME = "kek"
CLIENT_ID = LOCAL_AZURE[0]
RSA_BITS = 2048
"""Made faster than the 3072 that are recommended."""


@dataclass(frozen=True, slots=True)
class Vault:
    """A vault of a customer's, with one key in it."""

    url: str
    entra_tenant: str
    key: str


@dataclass(frozen=True, slots=True)
class AzureCustomers:
    """Customers.

    Attributes:
        url: Of the control API.
        ca_file: PEM file of the emulator's own authority.
    """

    url: str
    ca_file: str

    def do(self, name: str, /, **body: Any) -> dict[str, Any]:
        """Have the emulator do something."""
        trust = ssl.create_default_context(cafile=self.ca_file)
        answer = httpx.post(f"{self.url}/_emulator/{name}", json=body, verify=trust, trust_env=False, timeout=30)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def new_vault(self, name: str, proof: str = "") -> Vault:
        """A vault in an Entra tenant of its own, with a key that the service may use."""
        entra_tenant = str(uuid5(NAMESPACE_DNS, f"{name}.example"))
        self.do("consent", client_id=CLIENT_ID, tenant=entra_tenant)
        url = self.do("create-vault", name=f"{name}-kv", tenant=entra_tenant)["vault_url"]
        tags = {"keystead-proof": proof} if proof else {}
        kid = self.do(
            "create-key", vault_url=url, name=NAME, size=RSA_BITS, key_ops=["wrapKey", "unwrapKey"], tags=tags
        )["kid"]
        self.do("grant", vault_url=url, client_id=CLIENT_ID, key=NAME)
        return Vault(url, entra_tenant, Kek(kid).key.locator)

    def disabled(self, tenant: Tenant) -> OwnKey:
        """A key to be disabled."""
        vault = self._of(tenant)
        return _own(vault, lambda: self.do("disable-key", key=vault.key), lambda: self.do("enable-key", key=vault.key))

    def unassigned(self, tenant: Tenant) -> OwnKey:
        """A key whose role assignment is to be removed."""
        vault = self._of(tenant)
        return _own(
            vault,
            lambda: self.do("revoke", vault_url=vault.url, client_id=CLIENT_ID),
            lambda: self.do("grant", vault_url=vault.url, client_id=CLIENT_ID, key=NAME),
        )

    def deleted(self, tenant: Tenant) -> OwnKey:
        """A key to be deleted, so that it can be recovered."""
        vault = self._of(tenant)
        return _own(vault, lambda: self.do("delete-key", key=vault.key), lambda: self.do("recover-key", key=vault.key))

    def behind_firewall(self, tenant: Tenant) -> OwnKey:
        """A key in a vault whose firewall is to refuse the service."""
        vault = self._of(tenant)
        return _own(
            vault,
            lambda: self.do("set-network", vault_url=vault.url, network="firewall"),
            lambda: self.do("set-network", vault_url=vault.url, network="open"),
        )

    def without_consent(self, tenant: Tenant) -> OwnKey:
        """A key in an Entra tenant whose consent is to be removed."""
        vault = self._of(tenant)
        return _own(
            vault,
            lambda: self.do("withdraw-consent", client_id=CLIENT_ID, tenant=vault.entra_tenant),
            lambda: self.do("consent", client_id=CLIENT_ID, tenant=vault.entra_tenant),
        )

    def canaries(self) -> list[Canary]:
        """A key of the operator's own, reached as the customers' are."""
        vault = self.new_vault("canary")
        return [Canary(vault.key, entra_tenant=vault.entra_tenant)]

    def _of(self, tenant: Tenant) -> Vault:
        return self.new_vault(tenant.id, tenant.client.key_setup(tenant.id, "azure_key_vault").external_id)


def _own(vault: Vault, withdraw: Callable[[], object], give_back: Callable[[], object]) -> OwnKey:
    target = {
        "provider": "azure_key_vault",
        "vault_url": vault.url,
        "key_name": NAME,
        "entra_tenant": vault.entra_tenant,
    }
    host = vault.url.removeprefix("https://")
    return OwnKey(target, frozenset({host, vault.entra_tenant}), withdraw, give_back)


def acts(customers: AzureCustomers) -> tuple[Act, ...]:
    """Every way that the emulator of Azure knows."""
    return (
        Act("key disabled", "az-disabled", CLOUD, customers.disabled, VAULT_KEY),
        Act(
            "role assignment removed",
            "az-unassigned",
            CLOUD,
            customers.unassigned,
            VAULT_ROLE,
            cause="policy",
        ),
        Act("key soft-deleted", "az-deleted", CLOUD, customers.deleted, VAULT_KEY, cause="not_found"),
        Act(
            "vault's firewall",
            "az-firewall",
            CLOUD,
            customers.behind_firewall,
            VAULT_FIREWALL,
            cause="network",
            state="network_blocked",
            code="key_network_blocked",
        ),
        Act(
            "Entra consent removed",
            "az-consent",
            CLOUD,
            customers.without_consent,
            ENTRA_CONSENT,
            cause="identity",
            token_life=True,
        ),
    )
