"""Reaches tenants' keys in Azure Key Vault and Managed HSM: `core.ports.KeyConnector`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core.domain.checks import Report
from core.domain.kek import KeyAccess
from core.domain.vaults import VaultKey, entra_tenant
from core.errors import InvalidRequest
from core.ports import Clock
from core.providers._session_cache import SessionCache
from core.providers.azure_key_vault.calls import OPERATION_SECONDS, Budget, Calls
from core.providers.azure_key_vault.clients import ClientFactory
from core.providers.azure_key_vault.examination import EXAMINATION_SECONDS, Examination
from core.providers.azure_key_vault.provider import AzureKeyProvider
from core.providers.azure_key_vault.sessions import SessionKey, TenantSession
from core.providers.azure_key_vault.settings import AzureSettings
from core.providers.azure_key_vault.setup_kit import setup_kit
from core.providers.azure_key_vault.tokens import Tokens


class AzureKeyVault:
    """Connector to Azure Key Vault. Thread-safe; does no I/O until a key is used.

    Args:
        settings: What the operator configures.
        clock: Counts budgets and the age of tokens; says whether a key is valid where a vault tells no time.
        remaining: Seconds of KMS time left to the request under way; asked when an operation begins.
        limit: Most accesses kept ready. Each that was used holds a client and a token, but no connection while no
            operation is under way.
    """

    def __init__(
        self,
        settings: AzureSettings,
        clock: Clock,
        *,
        remaining: Callable[[], float] = lambda: OPERATION_SECONDS,
        limit: int = 256,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._remaining = remaining
        self._factory = ClientFactory(settings, clock)
        self._calls = Calls()
        self._tokens = Tokens(self._factory, self._calls, settings.home_tenant, clock)
        self._sessions = SessionCache(limit, self._session)

    def connect(self, access: KeyAccess) -> AzureKeyProvider:
        """See `core.ports.KeyConnector.connect`.

        Raises:
            InvalidRequest: The KEK is not a key in Key Vault, lies in another of Microsoft's clouds, or its Entra
                tenant is not named by its id, or is the platform's own.
        """
        key = _parsed(access)
        if key.cloud != self._settings.cloud:
            raise InvalidRequest(
                f"keys in the cloud {key.cloud} are not served", hint=f"name a key in the cloud {self._settings.cloud}"
            )
        if access.entra_tenant == self._settings.home_tenant:
            raise InvalidRequest("a tenant's key cannot lie in the platform's own Entra tenant")
        session = self._sessions.get(SessionKey.of(access))
        return AzureKeyProvider(key.key, session, access.lease, self._operation, self._clock.wall)

    def examine(self, access: KeyAccess, context: Mapping[str, str]) -> Report:
        """See `core.ports.KeyConnector.examine`. Takes at most about 30 seconds.

        Raises:
            InvalidRequest: The KEK is not a key in Key Vault, or its Entra tenant is not named by its id.
        """
        key = _parsed(access)
        session = self._session(SessionKey.of(access))
        session.prepare()
        try:
            return Examination(
                access=access,
                key=key.key,
                context=context,
                settings=self._settings,
                session=session,
                wall=self._clock.wall,
                budget=lambda seconds, remaining: Budget(self._clock, seconds, remaining),
            ).report(Budget(self._clock, EXAMINATION_SECONDS, lambda: EXAMINATION_SECONDS))
        finally:
            session.close()

    def setup_kit(self, tenant_id: str, external_id: str, entra_tenant: str = "") -> Mapping[str, Any]:
        """See `core.ports.KeyConnector.setup_kit`. Does no I/O.

        Raises:
            InvalidRequest: The Entra tenant is not named by its id.
        """
        return setup_kit(self._settings, tenant_id, external_id, entra_tenant)

    def close(self) -> None:
        """Close every connection and forget every token."""
        self._sessions.clear()

    def _operation(self) -> Budget:
        return Budget(self._clock, OPERATION_SECONDS, self._remaining)

    def _session(self, key: SessionKey) -> TenantSession:
        return TenantSession(key, self._factory, self._tokens, self._calls, self._clock)


def _parsed(access: KeyAccess) -> VaultKey:
    key = VaultKey.parse(access.kek.locator)
    if str(key) != access.kek.locator:
        raise InvalidRequest("a key in Azure Key Vault is named in lower case")
    if entra_tenant(access.entra_tenant) != access.entra_tenant:
        raise InvalidRequest("the id of an Entra tenant is kept in lower case")
    return key
