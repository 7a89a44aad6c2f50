"""A deployment whose tenants hold their keys in the emulated AWS KMS or Azure Key Vault, and move between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from core.domain.kek import Kek, ProviderName
from core.domain.tenants import TenantRecord
from core.ports import KeyConnector
from core.providers.azure_key_vault import AzureKeyVault, AzureSettings
from core.service.kms_budget import KmsBudget
from functions.emulators.azure_wire import AzureEmulatorServer
from functions.emulators.azure_wire import serve as serve_azure
from functions.emulators.azure_world import AzureEmulator
from functions.emulators.kms import LOCAL_ACCESS_KEY_ID, LOCAL_PRINCIPAL, LOCAL_SECRET_ACCESS_KEY, KmsEmulator
from functions.emulators.wire import serve
from tests.byok.deployment import Deployment, SteadyClock

CLIENT_ID = "00000000-0000-4000-8000-00000000a991"
CLIENT_SECRET = "CANARY-azure-client-secret"
HOME = "00000000-0000-4000-8000-000000000001"
ENTRA_TENANT = "72f988bf-0000-4000-8000-00000000acce"
OTHER_ENTRA_TENANT = "72f988bf-0000-4000-8000-0000000d1fef"
TAG = "keystead-proof"


@dataclass
class TwoClouds(Deployment):
    """The service and both clouds."""

    azure: AzureEmulator = field(kw_only=True)
    server: AzureEmulatorServer = field(kw_only=True)

    def __post_init__(self) -> None:
        self.connectors: list[AzureKeyVault] = []
        self.names: list[str] = []
        self.vaults: set[str] = set()
        super().__post_init__()

    def more_connectors(self, budget: KmsBudget) -> dict[ProviderName, KeyConnector]:
        settings = AzureSettings(
            client_id=CLIENT_ID,
            home_tenant=HOME,
            client_secret=CLIENT_SECRET,
            dial=self.server.dial,
            ca_file=self.server.ca_file,
        )
        connector = AzureKeyVault(settings, self.clock, remaining=budget.remaining)
        self.connectors.append(connector)
        return {"azure_key_vault": connector}

    def proof(self, tenant_id: str) -> str:
        """What a tenant's key carries in its tag."""
        return self.app.keystead._parts.setup_kits.with_external_id(tenant_id).external_id

    def new_vault_key(
        self, tenant_id: str, vault: str = "acme-kv", name: str = "kek", entra_tenant: str = ENTRA_TENANT, **key: Any
    ) -> str:
        """A key that is ready for a tenant: consent given, tagged, and the role assigned on it; gives its locator."""
        self.azure.consent(CLIENT_ID, entra_tenant)
        url = f"https://{vault}.vault.azure.net"
        if url not in self.vaults:
            self.azure.create_vault(vault, entra_tenant)
            self.vaults.add(url)
        key.setdefault("size", 2048)
        kid = self.azure.create_key(url, name, tags={TAG: self.proof(tenant_id)}, **key)
        self.azure.grant(url, CLIENT_ID, key=name)
        return Kek(kid).key.locator

    def into_vault(
        self, tenant_id: str, locator: str, entra_tenant: str = ENTRA_TENANT, **fields: Any
    ) -> dict[str, Any]:
        """Put a tenant under a key in a vault."""
        return self.configure(tenant_id, locator, entra_tenant=entra_tenant, **fields)

    def record(self, tenant_id: str) -> TenantRecord:
        """A tenant's record."""
        return self.app.tenants.read(tenant_id)


@contextmanager
def two_clouds(**stores: Any) -> Iterator[TwoClouds]:
    """A deployment that lives as long as the block; arguments as `tests.byok.deployment.deployed`."""
    clock = SteadyClock()
    emulator = KmsEmulator(now=clock.wall)
    emulator.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL)
    azure = AzureEmulator(now=clock.wall)
    azure.add_application(CLIENT_ID, HOME, secret=CLIENT_SECRET)
    with serve(emulator, port=0) as aws_server, serve_azure(azure) as azure_server:
        made = TwoClouds(emulator, aws_server.url, clock, azure=azure, server=azure_server, **stores)
        try:
            yield made
        finally:
            for aws in made.opened:
                aws.close()
            for connector in made.connectors:
                connector.close()
