"""Who we are to a tenant's directory, and the token it gives us for that.

A token is asked of one directory, for one kind of vault, and is shown to one vault that names the same two. Whatever
else a vault's challenge asks for is refused here, before the SDK can ask anybody for another token.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

from core.domain.vaults import CLOUDS
from core.ports import Clock
from core.providers.azure_key_vault.certificates import Certificate, UnfitCertificate
from core.providers.azure_key_vault.settings import AzureSettings
from core.providers.azure_key_vault.transport import Wire

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, AccessTokenInfo

_DIRECTORY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,32768}", re.ASCII)


class Unprovable(Exception):
    """We cannot prove who we are: our managed identity or our certificate is in trouble.

    Args:
        seen: What was seen, in a few words; no secret.
    """

    def __init__(self, seen: str) -> None:
        super().__init__(seen)
        self.seen = seen


class AnotherDirectory(Exception):
    """The vault's challenge names another directory than the tenant did."""


class StrangeChallenge(Exception):
    """The vault's challenge names no directory, or asks for a token for something else than a vault."""


class AnotherToken(Exception):
    """The vault's challenge asks for a token with more claims than the one we have."""


class HeldToken:
    """The credential of one client: one token, for one directory and one resource.

    Args:
        entra_tenant: The directory.
        scope: The resource, in the form in which the SDK asks for it.
        token: The access token.
        expires_on: When it ends, in seconds since the epoch.
    """

    def __init__(self, entra_tenant: str, scope: str, token: str, expires_on: int) -> None:
        self._entra_tenant = entra_tenant
        self._scope = scope
        self._token = token
        self._expires_on = expires_on

    def get_token(self, *scopes: str, tenant_id: str | None = None, claims: str | None = None, **_: Any) -> AccessToken:
        """See ``azure.core.credentials.TokenCredential``.

        Raises:
            AnotherDirectory, StrangeChallenge, AnotherToken: The token is not the one that is asked for.
        """
        from azure.core.credentials import AccessToken

        self._check(scopes, tenant_id, claims)
        return AccessToken(self._token, self._expires_on)

    def get_token_info(self, *scopes: str, options: Any = None) -> AccessTokenInfo:
        """See ``azure.core.credentials.SupportsTokenInfo``; raises as `get_token`."""
        from azure.core.credentials import AccessTokenInfo

        asked = options or {}
        self._check(scopes, asked.get("tenant_id"), asked.get("claims"))
        return AccessTokenInfo(self._token, self._expires_on)

    def _check(self, scopes: tuple[str, ...], entra_tenant: str | None, claims: str | None) -> None:
        named = (entra_tenant or "").lower()
        if scopes != (self._scope,) or not _DIRECTORY.fullmatch(named):
            raise StrangeChallenge
        if named != self._entra_tenant:
            raise AnotherDirectory
        if claims:
            raise AnotherToken


class Application:
    """This service as an application of many directories.

    Args:
        settings: Which, and what proves it.
        clock: Dates what a certificate signs.
    """

    def __init__(self, settings: AzureSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._cloud = CLOUDS[settings.cloud]
        self._identity: Any = None
        self._making = Lock()

    @property
    def authority(self) -> str:
        """Host of the token endpoint."""
        return self._cloud.authority

    def scope(self, host: str) -> str:
        """What tokens for a vault are asked for."""
        return f"https://{host.partition('.')[2]}/.default"

    def token(self, entra_tenant: str, host: str, wire: Wire) -> HeldToken:
        """Ask a directory for a token.

        Args:
            entra_tenant: The directory.
            host: The vault's.
            wire: Leads to the token endpoint only.

        Raises:
            Unprovable: We cannot prove who we are.
            ValueError: What came is no token.
            Exception: The directory refused or did not answer; the wire knows which.
        """
        scope = self.scope(host)
        # Made anew each time: the SDK's credentials keep the tokens they got, and none of them may outlive its session.
        credential = self._credential(entra_tenant, wire)
        info = credential.get_token_info(scope, options={"tenant_id": entra_tenant})
        if not isinstance(info.token, str) or not _TOKEN.fullmatch(info.token):
            raise ValueError("not a token")
        return HeldToken(entra_tenant, scope, info.token, info.expires_on)

    def _credential(self, entra_tenant: str, wire: Wire) -> Any:
        from azure.identity import ClientAssertionCredential, ClientSecretCredential

        settings = self._settings
        more: dict[str, Any] = {"authority": self.authority, "transport": wire.transport(), "retry_total": 0}
        if settings.client_secret:
            return ClientSecretCredential(
                entra_tenant, settings.client_id, settings.client_secret, disable_instance_discovery=True, **more
            )
        return ClientAssertionCredential(entra_tenant, settings.client_id, self._assertion(entra_tenant), **more)

    def _assertion(self, entra_tenant: str) -> Callable[[], str]:
        if self._settings.managed_identity:
            return self._identity_token
        return lambda: self._signed(f"https://{self.authority}/{entra_tenant}/oauth2/v2.0/token")

    def _signed(self, audience: str) -> str:
        try:
            certificate = Certificate.read(self._settings.certificate_file)
        except UnfitCertificate as error:
            raise Unprovable(str(error)) from None
        return certificate.assertion(self._settings.client_id, audience, self._clock.wall())

    def _identity_token(self) -> str:
        try:
            found = self._managed_identity().get_token(f"{self._cloud.exchange}/.default").token
        except Exception as error:  # noqa: BLE001 - the SDK raises anything, and its text may hold anything
            raise Unprovable(f"the managed identity gave no token ({type(error).__name__})") from None
        if not isinstance(found, str) or not _TOKEN.fullmatch(found):
            raise Unprovable("the managed identity gave no token")
        return found

    def _managed_identity(self) -> Any:
        # One for all directories: it keeps its token, which says who we are and opens nobody's vault by itself.
        with self._making:
            if self._identity is None:
                from azure.identity import ManagedIdentityCredential

                self._identity = ManagedIdentityCredential(
                    client_id=self._settings.managed_identity,
                    transport=Wire(self._settings, None).transport(),
                )
            return self._identity
