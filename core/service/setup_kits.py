"""What a tenant needs before it can configure a key: the policies to set in its own cloud, and its external id."""

from __future__ import annotations

import secrets
from dataclasses import replace

from core.domain.tenants import TenantRecord
from core.errors import NotFound, ProviderSignal
from core.service.providers import Providers
from core.service.results import SetupKit
from core.service.tenant_records import TenantRecords
from core.service.tenants import Tenants

EXTERNAL_ID_BYTES = 24


class SetupKits:
    """Makes setup kits.

    Args:
        tenants: Read the tenants.
        records: Hold their records.
        providers: Reach the clouds.
    """

    def __init__(self, tenants: Tenants, records: TenantRecords, providers: Providers) -> None:
        self._tenants = tenants
        self._records = records
        self._providers = providers

    def kit(self, tenant_id: str, provider: str, entra_tenant: str = "") -> SetupKit:
        """What a tenant does in its own cloud to let this service use a key.

        Raises:
            NotFound: There is no such tenant.
            InvalidRequest: This service does not reach such keys.
            VendorFault, KeyUnreachable: Our own identity cannot be told now.
        """
        connector = self._providers.connector(provider)
        record = self.with_external_id(tenant_id)
        try:
            kit = connector.setup_kit(tenant_id, record.external_id, entra_tenant)
        except ProviderSignal as signal:
            raise self._providers.refusal(tenant_id, self._providers.platform_kek, signal) from None
        return SetupKit(
            tenant_id, provider, record.external_id, str(kit["identity"]), dict(kit["documents"]), tuple(kit["steps"])
        )

    def with_external_id(self, tenant_id: str) -> TenantRecord:
        """A tenant's record with its external id, made by this service on first need and never changed again.

        Raises:
            NotFound: There is no such tenant.
            Conflict: The record keeps changing, or the id is spent.
            StoreUnavailable, StoreCorrupt: It cannot be read or written now.
        """

        def with_id(record: TenantRecord) -> TenantRecord | None:
            if record.external_id:
                return None
            return replace(record, external_id=f"keystead-{secrets.token_hex(EXTERNAL_ID_BYTES)}")

        self._tenants.read(tenant_id)  # refuses what does not exist, and spent ids
        record = self._records.change(tenant_id, with_id)
        if record is None:
            raise NotFound("there is no such tenant")
        return record
