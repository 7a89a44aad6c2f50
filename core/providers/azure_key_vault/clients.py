"""Clients of the SDK: one per token, which goes to one vault, and the way to get that token."""

from __future__ import annotations

import logging
from contextlib import suppress
from threading import Lock
from typing import Any

from core.ports import Clock
from core.providers._dates import read_date
from core.providers._lines import Line
from core.providers._quiet_logs import quiet
from core.providers.azure_key_vault.adapters import Seen, json_object
from core.providers.azure_key_vault.calls import Answer, Request
from core.providers.azure_key_vault.credentials import (
    AnotherDirectory,
    AnotherToken,
    Application,
    HeldToken,
    Proof,
    StrangeChallenge,
    Unprovable,
)
from core.providers.azure_key_vault.failures import TOKEN, Failure, of_entra, of_error, of_vault, own, silent
from core.providers.azure_key_vault.meanings import Kind
from core.providers.azure_key_vault.operations import API_VERSION
from core.providers.azure_key_vault.settings import AzureSettings
from core.providers.azure_key_vault.transport import Wire


class ClientFactory:
    """Gets tokens and makes clients.

    Args:
        settings: Who we are, and where.
        clock: Dates our assertions.
    """

    def __init__(self, settings: AzureSettings, clock: Clock) -> None:
        quiet("azure", "msal", "urllib3")
        # It warns of each connection that is not kept, which is as it should be.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        self._settings = settings
        self._is_prepared = False
        self._application = Application(settings, clock)

    def prepare(self) -> None:
        """Load the SDK and whom to trust now, on this thread: it takes half a second, which is nobody's KMS time."""
        if self._is_prepared:
            return
        with suppress(ImportError, OSError, ValueError):  # whoever asks next hears why
            import azure.core.rest
            import azure.keyvault.keys

            if self._settings.managed_identity:
                import azure.identity  # noqa: F401 - it loads MSAL, which no other proof needs
            Wire(self._settings, frozenset({self._application.authority})).prepare()
            self._is_prepared = True

    def prove(self, entra_tenant: str, line: Line) -> Proof | Failure:
        """Prove to a directory who we are; every failure is our own."""
        try:
            with line.used():
                return self._application.prove(entra_tenant)
        except Unprovable as error:
            return Failure(Kind.OWN, TOKEN, error.seen, again=error.again)
        except Exception as error:  # noqa: BLE001 - as below
            return own(TOKEN, f"nothing proves who we are ({type(error).__name__})")

    def token(self, entra_tenant: str, host: str, proof: Proof, line: Line) -> HeldToken | Failure:
        """Ask a directory for a token to a vault."""
        wire = Wire(self._settings, frozenset({self._application.authority}))
        # Runs on a thread that may be abandoned: whatever is raised is told, and nothing escapes.
        try:
            with line.used():
                return self._application.token(entra_tenant, host, proof, wire)
        except Exception as error:  # noqa: BLE001 - the SDK raises anything over a broken answer
            return _of_token(wire.last, error)
        finally:
            wire.rest()

    def client(self, host: str, token: HeldToken) -> VaultClient:
        """A client that shows this token to this vault."""
        return VaultClient(self._settings, host, token)


class VaultClient:
    """One client, with one token and connections of its own.

    Args:
        settings: Where an emulator is, if there is one.
        host: The vault's.
        token: Shown to it alone.
    """

    def __init__(self, settings: AzureSettings, host: str, token: HeldToken) -> None:
        self._wire = Wire(settings, frozenset({host}))
        self._url = f"https://{host}"
        self._token = token
        self._client: Any = None
        self._users = 0
        self._lock = Lock()

    def ask(self, request: Request, line: Line) -> Answer | Failure:
        """Make a call once."""
        with self._lock:
            self._users += 1
        try:
            with line.used():
                return self._ask(request)
        finally:
            with self._lock:
                self._users -= 1
            if line.is_cut:  # whoever waited for it has been here before
                self.rest()

    def rest(self) -> None:
        """Close idle connections, unless a call is under way, which may be about to take one."""
        with self._lock:
            if not self._users:
                self._wire.rest()

    def _ask(self, request: Request) -> Answer | Failure:
        from azure.core.rest import HttpRequest

        # Runs on a thread that may be abandoned: whatever is raised is told, and nothing escapes.
        try:
            asked = HttpRequest(request.method, request.path, params={"api-version": API_VERSION}, json=request.body)
            self._made().send_request(asked)
        except AnotherDirectory:
            return self._elsewhere(request.operation)
        except StrangeChallenge:
            _forget_challenge(self._url)
            return silent(request.operation, "a challenge that is not a vault's own", again=True)
        except AnotherToken:
            return Failure(Kind.CREDENTIALS, request.operation, "the vault asks for a token with other claims")
        except Exception as error:  # noqa: BLE001 - the SDK's parsers raise anything over a broken answer
            return of_error(error, request.operation)
        return _read(request.operation, self._wire.last)

    def _elsewhere(self, operation: str) -> Failure:
        # The SDK keeps challenges for the life of the process: what one vault said once must not count for ever.
        _forget_challenge(self._url)
        seen = self._wire.last
        if seen is None:
            return silent(operation, "a challenge heard before names another directory", again=True)
        found = of_vault(operation, seen.status, seen.headers, json_object(seen.body))
        if not found.request_id:
            return found
        return Failure(
            Kind.DENIAL, operation, "the vault lies in another directory", "identity", found.code, found.request_id
        )

    def _made(self) -> Any:
        with self._lock:
            if self._client is None:
                from azure.keyvault.keys import KeyClient

                self._client = KeyClient(
                    self._url,
                    self._token,
                    api_version=API_VERSION,
                    verify_challenge_resource=True,
                    transport=self._wire.transport(),
                    retry_total=0,
                    permit_redirects=False,
                )
            return self._client


def _read(operation: str, seen: Seen | None) -> Answer | Failure:
    if seen is None:
        return silent(operation, "no answer")
    body = json_object(seen.body)
    if seen.status != 200 or body is None:
        return of_vault(operation, seen.status, seen.headers, body)
    request_id = seen.headers.get("x-ms-request-id", "")
    if not request_id:
        return silent(operation, "an answer that is not the service's own", again=True)
    return Answer(body, seen.headers, request_id, read_date(seen.headers.get("date", "")))


def _of_token(seen: Seen | None, error: Exception) -> Failure:
    if seen is None:
        return of_error(error, TOKEN)
    if seen.status == 200:
        return silent(TOKEN, f"an answer that is not the service's own ({type(error).__name__})", again=True)
    return of_entra(seen.status, seen.headers, json_object(seen.body))


def _forget_challenge(url: str) -> None:
    # There is no public way. Where the SDK is built otherwise, what it keeps ends with the process.
    with suppress(ImportError, AttributeError):
        from azure.keyvault.keys._shared import http_challenge_cache

        http_challenge_cache.remove_challenge_for_url(url)
