"""Finds the way to a KEK: to the platform's own directly, to a tenant's through that tenant's access and no other's."""

from __future__ import annotations

from collections.abc import Mapping

from core.domain.kek import Kek, KeyAccess, ProviderName
from core.domain.tenants import TenantRecord
from core.errors import (
    Denial,
    InternalError,
    InvalidRequest,
    KeyRevoked,
    KeysteadError,
    KeyUnreachable,
    OwnFault,
    ProviderSignal,
    VendorFault,
)
from core.ports import KeyConnector, KeyProvider


class Providers:
    """Finds the provider for a KEK.

    Args:
        platform: Reaches the platform's own KEK.
        platform_kek: That KEK.
        connectors: Reach tenants' KEKs, by the provider's name.
    """

    def __init__(
        self, platform: KeyProvider, platform_kek: Kek, connectors: Mapping[ProviderName, KeyConnector]
    ) -> None:
        self.platform = platform
        self.platform_kek = platform_kek
        self._connectors = dict(connectors)

    def of(self, record: TenantRecord, kek: Kek) -> KeyProvider:
        """The provider that reaches a KEK of a tenant.

        Raises:
            StoreCorrupt: The KEK is not the tenant's.
            VendorFault: This deployment does not reach it, though it once did: the operator changed its configuration.
        """
        if kek == self.platform_kek:
            return self.platform
        access = record.access(kek)
        try:
            return self.connect(access)
        except (InternalError, InvalidRequest):
            raise VendorFault(
                "this service is not configured to reach the tenant's key",
                hint=f"the operator must configure {kek.provider} for it",
                retry_after=30,
            ) from None

    def connect(self, access: KeyAccess) -> KeyProvider:
        """The provider that reaches a KEK through an access.

        Raises:
            InternalError: No provider is configured for it.
        """
        connector = self._connectors.get(access.kek.provider)
        if connector is None:
            raise InternalError(f"this service has no key provider {access.kek.provider}")
        return connector.connect(access)

    def connector(self, name: str) -> KeyConnector:
        """The connector to a cloud.

        Raises:
            InvalidRequest: This service has none.
        """
        for known, connector in self._connectors.items():
            if known == name:
                return connector
        has = ", ".join(sorted(self._connectors)) or "none: the operator has configured no cloud"
        raise InvalidRequest(f"this service does not reach keys in {name}", hint=f"it reaches: {has}")

    def refusal(self, kek: Kek, signal: ProviderSignal) -> KeysteadError:
        """What a caller hears when a KEK's provider gave a signal and nothing cached may serve.

        A denial of the platform's own KEK is our fault and never the tenant's.
        """
        if isinstance(signal, OwnFault):
            return VendorFault("this service's own access to the key management system is in trouble", retry_after=30)
        if not isinstance(signal, Denial):
            return KeyUnreachable("the key management system does not answer", retry_after=5)
        if kek == self.platform_kek:
            return VendorFault("the platform's own key refuses to serve", retry_after=30)
        return KeyRevoked("the tenant's KMS refused the use of its key", hint=f"cause: {signal.cause}")
