"""What the operator configures for Azure Key Vault."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.domain.vaults import CloudName


@dataclass(frozen=True, slots=True)
class AzureSettings:
    """Settings of `AzureKeyVault`. Exactly one of the last three ways proves that we are the application.

    Attributes:
        client_id: Of the multi-tenant application that tenants consent to, a GUID.
        home_tenant: Id of the platform's own Entra tenant, a lower-case GUID. Vaults in it are refused.
        cloud: Which of Microsoft's clouds; an application belongs to one.
        redirect_url: Where Entra sends a tenant's administrator after the consent; "": the setup kit has no link then.
        egress: Addresses this service calls from, for tenants' firewalls.
        dial: ``127.0.0.1:<port>`` of an emulator that answers in place of every vault and of Entra, in stage
            ``local`` only; "" for Azure itself. Names, certificates and host checks stay as they are.
        ca_file: PEM file with the emulator's certificate authority.
        managed_identity: Client id of the managed identity that stands in for the application.
        certificate_file: PEM file with the application's certificate and its private key.
        client_secret: The application's secret.
    """

    client_id: str
    home_tenant: str
    cloud: CloudName = "public"
    redirect_url: str = ""
    egress: tuple[str, ...] = ()
    dial: str = ""
    ca_file: str = ""
    managed_identity: str = ""
    certificate_file: str = ""
    client_secret: str = field(default="", repr=False)
