"""What the Azure emulator knows of Entra and of faults, and the hands that change it from outside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

from core.domain.vaults import CloudName, entra_tenant
from functions.emulators.azure_applications import Application, Directory
from functions.emulators.azure_certificates import Authority
from functions.emulators.azure_faults import AzureFault, AzureFaults
from functions.emulators.azure_tokens import Signer
from functions.emulators.keyvault_material import RsaKeys


class AzureState:
    """Directories, applications and faults. Safe across threads.

    Methods raise `InvalidRequest` for an id that is no GUID.

    Args:
        now: Seconds since the epoch.
        rsa_keys: Gives new RSA keys, by size in bits; making one takes up to half a second.

    Attributes:
        directory: Who there is in Entra.
        faults: In force.
        skew: Seconds that the answers' Date runs ahead of ``now``.
        revision: Counts changes of what is saved.
    """

    def __init__(self, now: Callable[[], float], rsa_keys: RsaKeys) -> None:
        self.now = now
        self.skew = 0.0
        self.revision = 0
        self.directory = Directory()
        self.faults = AzureFaults()
        self.lock = threading.RLock()
        self._rsa_keys = rsa_keys

    @cached_property
    def signer(self) -> Signer:
        """Entra's signing key."""
        return Signer(self._rsa_keys(2048))

    @cached_property
    def authority(self) -> Authority:
        """The certificate authority of the server."""
        return Authority.generate()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self.lock:
            yield
            self.revision += 1

    def add_application(
        self,
        client_id: str,
        home_tenant: str,
        secret: str = "",
        certificate_pem: str = "",
        managed_identity: str = "",
        *,
        cloud: CloudName = "public",
        secret_expires: float | None = None,
    ) -> None:
        """Register a multi-tenant application, or replace it; it is consented to at home.

        Args:
            client_id: A GUID.
            home_tenant: A GUID.
            secret: With which it may show who it is; "" for none.
            certificate_pem: The certificate with which it may; "" for none.
            managed_identity: Client id of the managed identity that may stand in for it; "" for none.
            cloud: That it belongs to.
            secret_expires: Seconds since the epoch, or None.
        """
        identity = entra_tenant(managed_identity) if managed_identity else ""
        with self._changing():
            self.directory.add(
                Application(client_id, home_tenant, cloud, secret, secret_expires, certificate_pem, identity)
            )

    def consent(self, client_id: str, tenant: str) -> None:
        """A directory's administrator lets an application in."""
        with self._changing():
            self.directory.tenants.add(entra_tenant(tenant))
            self.directory.consents.add(_pair(client_id, tenant))

    def withdraw_consent(self, client_id: str, tenant: str) -> None:
        """The application's service principal is deleted: no token from now on; tokens that are out stay good."""
        with self._changing():
            self.directory.consents.discard(_pair(client_id, tenant))

    def disable_application(self, client_id: str, tenant: str) -> None:
        """Disable an application in a directory; in its home, for all."""
        with self._changing():
            self.directory.disabled.add(_pair(client_id, tenant))

    def enable_application(self, client_id: str, tenant: str) -> None:
        """Enable an application again."""
        with self._changing():
            self.directory.disabled.discard(_pair(client_id, tenant))

    def set_conditional_access(self, client_id: str, tenant: str, blocked: bool = True) -> None:
        """Block an application by a directory's conditional access, or let it."""
        with self._changing():
            change = self.directory.blocked.add if blocked else self.directory.blocked.discard
            change(_pair(client_id, tenant))

    def add_tenant(self, tenant: str) -> None:
        """Make a directory; consents, applications and vaults make theirs by themselves."""
        with self._changing():
            self.directory.tenants.add(entra_tenant(tenant))

    def remove_tenant(self, tenant: str) -> None:
        """Delete a directory."""
        with self._changing():
            self.directory.tenants.discard(entra_tenant(tenant))

    def add_managed_identity(self, client_id: str, tenant: str) -> None:
        """Make a managed identity that stands in for no application."""
        with self._changing():
            self.directory.identities[entra_tenant(client_id)] = entra_tenant(tenant)

    def add_fault(self, fault: AzureFault) -> None:
        """Put a fault in force.

        Raises:
            ValueError: There are too many.
        """
        self.faults.add(fault)

    def clear_faults(self) -> None:
        """End all faults."""
        self.faults.clear()


def _pair(client_id: str, tenant: str) -> tuple[str, str]:
    return entra_tenant(client_id), entra_tenant(tenant)
