"""Key identifiers of Azure Key Vault and Managed HSM, as a tenant may give them: read strictly, never guessed at.

A vault's address comes from a tenant and this service sends requests to it, so nothing passes that is not, character
for character, the https address of a vault in a domain that only Microsoft hands out names in. Sources: Azure Key
Vault, "Keys, secrets, and certificates overview" (names are case-insensitive, so here they are lower case); DESIGN 10
(a stored row always names a version).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from core.errors import InvalidRequest

MAX_VAULT_NAME = 24
CloudName = Literal["public", "china", "usgovernment"]


@dataclass(frozen=True, slots=True)
class Cloud:
    """One of Microsoft's clouds.

    Attributes:
        vault_domain: Where its vaults' names lie.
        hsm_domain: Where its Managed HSMs' names lie.
        authority: Host of its Entra token endpoint.
        exchange: Audience of a managed identity's assertion, where it stands in for an application.
    """

    vault_domain: str
    hsm_domain: str
    authority: str
    exchange: str


CLOUDS: Mapping[CloudName, Cloud] = {
    "public": Cloud(
        "vault.azure.net", "managedhsm.azure.net", "login.microsoftonline.com", "api://AzureADTokenExchange"
    ),
    "china": Cloud(
        "vault.azure.cn", "managedhsm.azure.cn", "login.chinacloudapi.cn", "api://AzureADTokenExchangeChina"
    ),
    "usgovernment": Cloud(
        "vault.usgovcloudapi.net",
        "managedhsm.usgovcloudapi.net",
        "login.microsoftonline.us",
        "api://AzureADTokenExchangeUSGov",
    ),
}
_DOMAINS = {cloud.vault_domain: (name, False) for name, cloud in CLOUDS.items()} | {
    cloud.hsm_domain: (name, True) for name, cloud in CLOUDS.items()
}
_HOST = r"([A-Za-z](?:-?[A-Za-z0-9]){2,23})\.([A-Za-z]+(?:\.[A-Za-z]+){2})"
_VAULT = re.compile(rf"https://{_HOST}/?", re.ASCII)
_KEY = re.compile(rf"https://{_HOST}/keys/([A-Za-z0-9-]{{1,127}})(?:/([0-9A-Fa-f]{{32}}))?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9-]{1,127}", re.ASCII)
_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_HINT = "it looks like https://my-vault.vault.azure.net"


@dataclass(frozen=True, slots=True)
class VaultKey:
    """A key in Key Vault or a Managed HSM, or one version of it.

    Attributes:
        host: Of the vault, lower case.
        name: The key's, lower case.
        version: 32 hex digits, lower case; "" for the key itself, whatever its versions.
    """

    host: str
    name: str
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> VaultKey:
        """Read a key identifier.

        Raises:
            InvalidRequest: It is not one; the hint says how one looks.
        """
        found = _KEY.fullmatch(text)
        if found is None:
            raise InvalidRequest(
                "this is not the identifier of a key in Azure Key Vault",
                hint="it looks like https://my-vault.vault.azure.net/keys/my-key",
            )
        vault, domain, name, version = found.groups()
        return cls(_host(vault, domain), name.lower(), (version or "").lower())

    @classmethod
    def of(cls, vault_url: str, key: str) -> VaultKey:
        """A key from its vault's address and its name, or its whole identifier.

        Args:
            vault_url: The vault's address; "" where ``key`` is an identifier.
            key: Name or identifier.

        Raises:
            InvalidRequest: One of the two is not well formed, or they contradict each other.
        """
        found = _VAULT.fullmatch(vault_url) if vault_url else None
        if vault_url and found is None:
            raise InvalidRequest("this is not the address of a vault in Azure", hint=_HINT)
        if key.lower().startswith("https:"):
            identified = cls.parse(key)
            if found is not None and _host(*found.groups()) != identified.host:
                raise InvalidRequest("the key's identifier names another vault than the vault's address")
            return identified
        if found is None:
            raise InvalidRequest("the vault's address is missing", hint=_HINT)
        if not _NAME.fullmatch(key):
            raise InvalidRequest("a key's name in Azure Key Vault is 1 to 127 letters, digits and hyphens")
        return cls(_host(*found.groups()), key.lower())

    @property
    def vault_url(self) -> str:
        """The vault's address, without a slash at its end."""
        return f"https://{self.host}"

    @property
    def cloud(self) -> CloudName:
        """The cloud that the vault lies in."""
        return _DOMAINS[self.host.partition(".")[2]][0]

    @property
    def hsm(self) -> bool:
        """Whether it lies in a Managed HSM."""
        return _DOMAINS[self.host.partition(".")[2]][1]

    @property
    def key(self) -> VaultKey:
        """The key without its version."""
        return replace(self, version="")

    def __str__(self) -> str:
        return f"{self.vault_url}/keys/{self.name}" + (f"/{self.version}" if self.version else "")


def entra_tenant(text: str) -> str:
    """An Entra tenant's id in its one form. A domain name is refused: it can be given to another tenant.

    Raises:
        InvalidRequest: It is not a GUID.
    """
    found = text.lower()
    if not text.isascii() or not _GUID.fullmatch(found):
        raise InvalidRequest(
            "an Entra tenant is named by its id",
            hint="it is a GUID, on the overview page of Microsoft Entra ID or from: az account show --query tenantId",
        )
    return found


def _host(vault: str, domain: str) -> str:
    host_domain = domain.lower()
    if len(vault) > MAX_VAULT_NAME:
        raise InvalidRequest(f"a vault's name has at most {MAX_VAULT_NAME} characters", hint=_HINT)
    if host_domain not in _DOMAINS:
        raise InvalidRequest(
            "this is not the address of a vault in Azure", hint=f"vaults lie in {', '.join(sorted(_DOMAINS))}"
        )
    return f"{vault.lower()}.{host_domain}"
