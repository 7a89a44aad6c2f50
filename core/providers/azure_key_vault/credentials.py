"""Who we are to a tenant's directory, and the token it gives us for that.

A token is asked of one directory, for one kind of vault, and is shown to one vault that names the same two. Whatever
else a vault's challenge asks for is refused here, before the SDK can ask anybody for another token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

from core.domain.vaults import CLOUDS
from core.ports import Clock
from core.providers.azure_key_vault.adapters import json_object
from core.providers.azure_key_vault.certificates import Certificate, UnfitCertificate
from core.providers.azure_key_vault.settings import AzureSettings
from core.providers.azure_key_vault.transport import Wire

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, AccessTokenInfo

_DIRECTORY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,32768}", re.ASCII)
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_PASSING = (404, 410, 429)
"""What a managed identity's endpoint answers while it is busy or being updated. Source: "How to use managed identities
for Azure resources on an Azure VM to acquire an access token", retry guidance."""

Proof = Mapping[str, str]
"""Fields of a request for a token that prove who asks; secret."""


class Unprovable(Exception):
    """We cannot prove who we are: our managed identity or our certificate is in trouble.

    Args:
        seen: What was seen, in a few words; no secret.
        again: Whether trying again at once makes sense.
    """

    def __init__(self, seen: str, *, again: bool = False) -> None:
        super().__init__(seen)
        self.seen = seen
        self.again = again


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

    Tokens are asked for by one request of our own, the same for all three proofs: the SDK's credential for a secret
    looks the token endpoint up, goes where the environment says, and keeps no answer of a service in trouble.

    Args:
        settings: Which, and what proves it.
        clock: Dates what a certificate signs, and tokens.
    """

    def __init__(self, settings: AzureSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._cloud = CLOUDS[settings.cloud]
        self._identity: Any = None
        self._asking = Lock()

    @property
    def authority(self) -> str:
        """Host of the token endpoint."""
        return self._cloud.authority

    def prove(self, entra_tenant: str) -> Proof:
        """What shows a directory that we are the application. Asks nobody but this machine's managed identity.

        Args:
            entra_tenant: The directory.

        Raises:
            Unprovable: There is none.
        """
        settings = self._settings
        if settings.client_secret:
            return {"client_secret": settings.client_secret}
        assertion = self._identity_token() if settings.managed_identity else self._signed(self._endpoint(entra_tenant))
        return {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": assertion}

    def token(self, entra_tenant: str, host: str, proof: Proof, wire: Wire) -> HeldToken:
        """Ask a directory for a token, once.

        Args:
            entra_tenant: The directory.
            host: The vault's.
            proof: Of `prove`, for the same directory.
            wire: Leads to the token endpoint only.

        Raises:
            ValueError: What came is no token; the wire knows what it was.
            azure.core.exceptions.AzureError: Nothing came.
        """
        from azure.core.rest import HttpRequest

        scope = f"https://{host.partition('.')[2]}/.default"
        form = {"client_id": self._settings.client_id, "grant_type": "client_credentials", "scope": scope, **proof}
        asked = HttpRequest("POST", self._endpoint(entra_tenant), data=form, headers={"Accept": "application/json"})
        now = self._clock.wall()
        wire.transport().send(asked)
        seen = wire.last
        body = (json_object(seen.body) if seen is not None and seen.status == 200 else None) or {}
        token, seconds = body.get("access_token"), body.get("expires_in")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token) or type(seconds) is not int:
            raise ValueError("not a token")
        return HeldToken(entra_tenant, scope, token, int(now) + seconds)

    def _endpoint(self, entra_tenant: str) -> str:
        return f"https://{self.authority}/{entra_tenant}/oauth2/v2.0/token"

    def _signed(self, audience: str) -> str:
        try:
            certificate = Certificate.read(self._settings.certificate_file)
        except UnfitCertificate as error:
            raise Unprovable(str(error)) from None
        return certificate.assertion(self._settings.client_id, audience, self._clock.wall())

    def _identity_token(self) -> str:
        # One caller at a time: the SDK keeps the token, but lets all who come before it ask for one of their own.
        with self._asking:
            wire, credential = self._identity = self._identity or self._managed_identity()
            try:
                found = credential.get_token(f"{self._cloud.exchange}/.default").token
            except Exception as error:  # noqa: BLE001 - the SDK raises anything, and its text may hold anything
                self._identity = None  # it also keeps refusals, for seconds
                again = wire.last is None or wire.last.status in _PASSING or wire.last.status >= 500
                seen = f"the managed identity gave no token ({type(error).__name__})"
                raise Unprovable(seen, again=again) from None
            finally:
                wire.rest()
        if not isinstance(found, str) or not _TOKEN.fullmatch(found):
            raise Unprovable("the managed identity gave no token")
        return found

    def _managed_identity(self) -> tuple[Wire, Any]:
        # One for all directories: it keeps its token, which says who we are and opens nobody's vault by itself.
        from azure.identity import ManagedIdentityCredential

        wire = Wire(self._settings, None)
        return wire, ManagedIdentityCredential(
            client_id=self._settings.managed_identity,
            transport=wire.transport(),
            retry_total=0,  # retries are ours, inside the budget
        )
