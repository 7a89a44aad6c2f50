"""Who there is in the emulated Entra: directories, applications, their consents, managed identities."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from core.domain.vaults import CloudName, entra_tenant
from functions.emulators.azure_errors import EntraError
from functions.emulators.keyvault_material import base64url


@dataclass(slots=True)
class Application:
    """A multi-tenant application.

    Attributes:
        client_id: Lower case.
        home_tenant: Where it is registered.
        secret: "" for none.
        secret_expires: Seconds since the epoch, or None.
        certificate_pem: "" for none; what else is in the text is left alone.
        managed_identity: Client id of the identity whose assertions it accepts as its own; "" for none.
    """

    client_id: str
    home_tenant: str
    cloud: CloudName = "public"
    secret: str = field(default="", repr=False)
    secret_expires: float | None = None
    certificate_pem: str = field(default="", repr=False)
    managed_identity: str = ""

    def check_secret(self, presented: str, now: float) -> None:
        """Check a secret.

        Raises:
            EntraError: 7000215, or 7000222 for the right one too late.
        """
        if not self.secret or not hmac.compare_digest(presented.encode(), self.secret.encode()):
            raise EntraError(7000215, client=self.client_id)
        if self.secret_expires is not None and self.secret_expires <= now:
            raise EntraError(7000222, client=self.client_id)

    def certificate(self) -> x509.Certificate | None:
        """Its certificate."""
        return x509.load_pem_x509_certificate(self.certificate_pem.encode()) if self.certificate_pem else None


@dataclass(slots=True)
class Directory:
    """All directories and what is in them.

    Attributes:
        tenants: Ids of the directories that there are.
        applications: By client id.
        consents: Which applications (client id, tenant) have a service principal where.
        disabled: Which of those are disabled.
        blocked: Which of those conditional access blocks.
        identities: Managed identities: tenant by client id.
        missing_number: AADSTS number where there is no consent: 700016, or 7000229 as of late.
    """

    tenants: set[str] = field(default_factory=set)
    applications: dict[str, Application] = field(default_factory=dict)
    consents: set[tuple[str, str]] = field(default_factory=set)
    disabled: set[tuple[str, str]] = field(default_factory=set)
    blocked: set[tuple[str, str]] = field(default_factory=set)
    identities: dict[str, str] = field(default_factory=dict)
    missing_number: int = 700016

    def add(self, application: Application) -> None:
        """Register an application, or replace one; it is consented to at home.

        Raises:
            InvalidRequest: An id is no GUID.
            ValueError: The certificate is none.
        """
        application.client_id = entra_tenant(application.client_id)
        application.home_tenant = entra_tenant(application.home_tenant)
        application.certificate()
        self.tenants.add(application.home_tenant)
        self.applications[application.client_id] = application
        self.consents.add((application.client_id, application.home_tenant))
        if application.managed_identity:
            self.identities[application.managed_identity] = application.home_tenant

    def known_tenant(self, tenant: str) -> str:
        """A directory's id as it stands in tokens.

        Raises:
            EntraError: 90002.
        """
        if tenant.lower() not in self.tenants:
            raise EntraError(90002, tenant=tenant)
        return tenant.lower()

    def application(self, client_id: str, tenant: str) -> Application:
        """An application as seen from a directory.

        Raises:
            EntraError: 700016: it is not there.
        """
        application = self.applications.get(client_id.lower())
        if application is None or (self.missing_number == 700016 and not self.consented(application, tenant)):
            raise EntraError(700016, client=client_id, tenant=tenant)
        return application

    def admit(self, application: Application, tenant: str) -> None:
        """Check that a directory lets an application in, once it has shown who it is.

        Raises:
            EntraError: 7000229, 7000112 or 53003.
        """
        here = (application.client_id, tenant)
        if not self.consented(application, tenant):
            raise EntraError(7000229, client=application.client_id, tenant=tenant)
        if {here, (application.client_id, application.home_tenant)} & self.disabled:
            raise EntraError(7000112, client=application.client_id)
        if here in self.blocked:
            raise EntraError(53003)

    def consented(self, application: Application, tenant: str) -> bool:
        """Whether it has a service principal there."""
        return (application.client_id, tenant) in self.consents


def thumbprints(certificate: x509.Certificate) -> dict[str, str]:
    """By the names of the header fields that an assertion names a certificate with."""
    der = certificate.public_bytes(Encoding.DER)
    return {
        "x5t": base64url(hashlib.sha1(der).digest()),  # noqa: S324 - a name that the standard (RFC 7515, 4.1.7) fixes
        "x5t#S256": base64url(certificate.fingerprint(SHA256())),
    }
