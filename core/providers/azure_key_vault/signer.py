"""Signs with a P-256 key in Azure Key Vault or Managed HSM, in the platform's own Entra tenant.

The application needs the data actions ``keys/read`` and ``keys/sign/action`` on the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from core.domain.tenants import SYSTEM
from core.domain.vaults import VaultKey
from core.errors import Denial, InvalidRequest, Silence
from core.ports import Clock
from core.providers._es256 import Asking, Es256Signer
from core.providers._jws import ES256, P256Key
from core.providers.azure_key_vault.base64url import base64url
from core.providers.azure_key_vault.calls import OPERATION_SECONDS, Answer, Budget, Calls, Request
from core.providers.azure_key_vault.clients import ClientFactory
from core.providers.azure_key_vault.failures import Failure
from core.providers.azure_key_vault.operations import get_key, identifier, is_bundle, value_of
from core.providers.azure_key_vault.sessions import REUSE_SECONDS, SessionKey, TenantSession, Visit
from core.providers.azure_key_vault.settings import AzureSettings
from core.providers.azure_key_vault.tokens import Tokens

SIGN = "sign"
TYPES, CURVE = ("EC", "EC-HSM"), "P-256"


class AzureSigner(Es256Signer):
    """`core.ports.Signer` with one version of a key.

    Args:
        key: Its identifier, with the version: a key set that changed whenever the vault rotates the key would lose the
            former version, and with it every statement signed so far.
        settings: Who we are, and where.
        clock: Counts budgets and the age of tokens.
        retired: See `Es256Signer`.
        remaining: Seconds of KMS time left to the request under way; asked when an operation begins.

    Raises:
        InvalidRequest: The identifier names no version of a key in the settings' cloud, or a retired key is none.
    """

    def __init__(
        self,
        key: str,
        settings: AzureSettings,
        clock: Clock,
        *,
        retired: Sequence[Mapping[str, Any]] = (),
        remaining: Callable[[], float] = lambda: OPERATION_SECONDS,
    ) -> None:
        super().__init__(retired)
        self._version = VaultKey.parse(key)
        if not self._version.version:
            raise InvalidRequest(
                "the signing key's identifier names no version",
                hint="az keyvault key show --vault-name NAME --name KEY --query key.kid gives the newest one's",
            )
        if self._version.cloud != settings.cloud:
            raise InvalidRequest(f"the signing key lies in the cloud {self._version.cloud}, and we in {settings.cloud}")
        self._clock = clock
        self._remaining = remaining
        factory, calls = ClientFactory(settings, clock), Calls()
        tokens = Tokens(factory, calls, settings.home_tenant, clock)
        where = SessionKey(SYSTEM, 0, settings.home_tenant, self._version.host, self._version.name)
        self._session = TenantSession(where, factory, tokens, calls, clock)

    def close(self) -> None:
        """Forget the token and close idle connections."""
        self._session.close()

    @contextmanager
    def _asking(self) -> Iterator[Asking]:
        self._session.prepare()
        budget = Budget(self._clock, OPERATION_SECONDS, self._remaining)
        if budget.left() <= 0:
            raise Silence("no time was left to ask Azure Key Vault for a signature")
        visit = self._session.visit(budget, REUSE_SECONDS)
        try:
            yield _Kms(visit, self._version)
        finally:
            visit.rest()


class _Kms:
    def __init__(self, visit: Visit, version: VaultKey) -> None:
        self._visit = visit
        self._version = version

    def public_key(self) -> P256Key:
        answer = self._asked(replace(get_key(self._version), accept=self._is_public_key))
        key = answer.body["key"]
        if not _is_fit(key):
            kind = f"{key['kty']} {key.get('crv', '')}".strip()
            raise Denial(
                f"the signing key is {kind}, and not EC {CURVE}", cause="unknown", request_id=answer.request_id
            )
        return _point(answer)

    def sign(self, digest: bytes, verifies: Callable[[bytes], bool]) -> bytes:
        version = self._version
        body = {"alg": ES256, "value": base64url(digest)}
        path = f"/keys/{version.name}/{version.version}/{SIGN}"
        answer = self._asked(
            Request(
                SIGN,
                "POST",
                path,
                body,
                lambda found: identifier(found.body["kid"]) == version and verifies(value_of(found)),
            )
        )
        return value_of(answer)

    def _asked(self, request: Request) -> Answer:
        answer = self._visit.ask(request)
        if isinstance(answer, Failure):
            raise answer.signal()
        return answer

    def _is_public_key(self, answer: Answer) -> bool:
        return is_bundle(answer, self._version) and (not _is_fit(answer.body["key"]) or bool(_point(answer)))


def _point(answer: Answer) -> P256Key:
    return P256Key.of_point(answer.body["key"]["x"], answer.body["key"]["y"])


def _is_fit(key: Mapping[str, Any]) -> bool:
    return key["kty"] in TYPES and key.get("crv") == CURVE
