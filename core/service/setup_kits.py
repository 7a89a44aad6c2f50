"""What a tenant needs before it can configure a key: the policies to set in its own cloud, and its external id; and
what to tell its administrator whom Entra sends back after the consent.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from core.domain.consent import check_state, tenant_of
from core.domain.tenants import TenantRecord
from core.domain.vaults import entra_tenant as checked_entra_tenant
from core.errors import InvalidRequest, KeysteadError, NotFound, ProviderSignal, StoreUnavailable
from core.service.providers import Providers
from core.service.results import SetupKit
from core.service.tenant_records import TenantRecords
from core.service.tenants import Tenants

EXTERNAL_ID_BYTES = 24
_CONSENTED = (
    "The application is let into your Entra tenant, and to no key yet. Assign it its role on your key and set the "
    "key's tag, as the setup kit says; then have the key examined: POST .../key/validate, or 'keystead key validate'."
)
_NOT_CONSENTED = (
    "Nothing was consented to, so nothing changed. Open the link of the setup kit again, as an administrator of your "
    "Entra tenant; or create the service principal with 'az ad sp create', as the kit says."
)


@dataclass(frozen=True, slots=True)
class Consent:
    """What came back from an administrator's consent. A browser brought it, so it proves nothing.

    Attributes:
        tenant_id: Whose link it was.
        entra_tenant: The Entra tenant that was asked, a lower-case GUID.
        consented: Whether the administrator let the application in, as the browser says.
        next: What to do now.
    """

    tenant_id: str
    entra_tenant: str
    consented: bool
    next: str


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

    def consent(self, state: str, entra_tenant: str, *, consented: bool) -> Consent:
        """What to tell an administrator whom Entra sends back; changes nothing. Open to all.

        Args:
            state: From the link; shows that this service made it for a tenant of its own.
            entra_tenant: The Entra tenant that was asked, as Entra names it.
            consented: Whether it says that the administrator consented.

        Raises:
            InvalidRequest: No link of this service's leads here: one and the same answer, whatever is wrong, so that
                nobody learns whether a tenant exists.
            StoreUnavailable: Nothing can be read now.
        """
        try:
            tenant_id, asked = tenant_of(state), checked_entra_tenant(entra_tenant)
            # A tenant that has no external id yet was never given a link; the check refuses it too.
            check_state(state, tenant_id, self._tenants.read(tenant_id).external_id, asked)
        except StoreUnavailable:
            raise
        except KeysteadError:
            # Also what only a tenant that exists can cause: a spent id, a damaged record, a MAC that waits for a KMS.
            raise InvalidRequest(
                "this is not the end of a consent link of this service",
                hint="take a new link from the setup kit, GET .../key/setup/azure_key_vault, or try again later",
            ) from None
        return Consent(tenant_id, asked, consented, _CONSENTED if consented else _NOT_CONSENTED)

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
