"""The configured key providers, and how their signals about the platform's own KEK are heard."""

from __future__ import annotations

from collections.abc import Mapping

from core.domain.kek import Kek, ProviderName
from core.errors import Denial, InternalError, KeyRevoked, KeysteadError, KeyUnreachable, ProviderSignal, VendorFault
from core.ports import KeyProvider


class Providers:
    """Finds the provider for a KEK.

    Args:
        providers: By name.
        platform_kek: The platform's own KEK.
    """

    def __init__(self, providers: Mapping[ProviderName, KeyProvider], platform_kek: Kek) -> None:
        self._providers = dict(providers)
        self.platform_kek = platform_kek

    def of(self, kek: Kek) -> KeyProvider:
        """The provider that reaches a KEK.

        Raises:
            InternalError: None is configured for it.
        """
        try:
            return self._providers[kek.provider]
        except KeyError:
            raise InternalError(f"this service has no key provider {kek.provider}") from None

    def refusal(self, kek: Kek, signal: ProviderSignal) -> KeysteadError:
        """What a caller hears when a KEK's provider gave a signal and nothing cached may serve.

        A denial of the platform's own KEK is our fault and never the tenant's.
        """
        if not isinstance(signal, Denial):
            return KeyUnreachable("the key management system does not answer", retry_after=5)
        if kek == self.platform_kek:
            return VendorFault("the platform's own key refuses to serve", retry_after=30)
        return KeyRevoked("the tenant's KMS refused the use of its key", hint=f"cause: {signal.cause}")
