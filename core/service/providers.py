"""Finds the way to a KEK: to the platform's own directly, to a tenant's through that tenant's access and no other's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from core.domain.causes import hint_for
from core.domain.kek import Kek, KekDescription, KeyAccess, ProviderName, UnwrappedKey, WrappedKey
from core.domain.tenants import SYSTEM, TenantRecord
from core.errors import (
    WRITE_CAUSES,
    Denial,
    InternalError,
    InvalidRequest,
    KeyNetworkBlocked,
    KeyRevoked,
    KeysteadError,
    KeyUnreachable,
    KeyWriteBlocked,
    OwnFault,
    ProviderSignal,
    Silence,
    Unasked,
    VendorFault,
    WrapMismatch,
)
from core.service.alarms import Alarms
from core.service.kms_budget import KmsBudget
from core.service.kms_slots import KmsSlots

if TYPE_CHECKING:
    from core.ports import KeyConnector, KeyProvider

FAIR = 0.5
"""Seconds in which a KMS that serves has answered. Not to answer in less says nothing of it: we were short of time."""


class _Counted:
    # A provider whose calls count as KMS time of the request under way. A tenant's take one of its slots each.

    def __init__(
        self, provider: KeyProvider, budget: KmsBudget, hold: Callable[[float], AbstractContextManager[None]]
    ) -> None:
        self._provider = provider
        self._budget = budget
        self._hold = hold

    def wrap(self, kek: Kek, key: bytes, context: Mapping[str, str]) -> WrappedKey:
        with self._spending():
            return self._provider.wrap(kek, key, context)

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> UnwrappedKey:
        with self._spending():
            return self._provider.unwrap(wrapped, context)

    def describe(self, kek: Kek) -> KekDescription:
        with self._spending():
            return self._provider.describe(kek)

    @contextmanager
    def _spending(self) -> Iterator[None]:
        with self._budget.spending(), self._hold(self._left()):
            given = self._left()
            try:
                yield
            except Silence as silence:
                if given >= FAIR or isinstance(silence, OwnFault):
                    raise
                raise Unasked("this request had too little time left for a key management system to answer") from None

    def _left(self) -> float:
        left = self._budget.remaining()
        if left <= 0:
            raise Unasked("this request has no time left to wait for a key management system")
        return left


class Providers:
    """Finds the provider for a KEK.

    Args:
        platform: Reaches the platform's own KEK.
        platform_kek: That KEK.
        connectors: Reach tenants' KEKs, by the provider's name.
        alarms: Tell the operator of what is the operator's to know.
        budget: Counts the KMS time of a request; when none is left, nothing more is asked.
    """

    def __init__(
        self,
        platform: KeyProvider,
        platform_kek: Kek,
        connectors: Mapping[ProviderName, KeyConnector],
        alarms: Alarms,
        budget: KmsBudget,
    ) -> None:
        self._alarms = alarms
        self._budget = budget
        self._slots = KmsSlots()
        # Every tenant hangs on the platform's KEK: none waits for another's slots there.
        self.platform: KeyProvider = _Counted(platform, budget, lambda _: nullcontext())
        self.platform_kek = platform_kek
        self._connectors = dict(connectors)

    def of(self, record: TenantRecord, kek: Kek) -> KeyProvider:
        """The provider that reaches a KEK of a tenant.

        Raises:
            StoreCorrupt: The KEK is not the tenant's.
            VendorFault: As `connect`.
        """
        if kek == self.platform_kek:
            return self.platform
        return self.connect(record.access(kek))

    def connect(self, access: KeyAccess) -> KeyProvider:
        """The provider that reaches a KEK through an access.

        Raises:
            VendorFault: This deployment does not reach it: the operator's configuration is in the way.
        """
        connector = self._connectors.get(access.kek.provider)
        try:
            if connector is not None:
                return _Counted(connector.connect(access), self._budget, partial(self._slots.hold, access.tenant_id))
        except InvalidRequest:
            pass  # its Region, say, was taken out of the configuration
        raise VendorFault(
            "this service is not configured to reach the tenant's key",
            hint=f"the operator must configure {access.kek.provider} for it",
            retry_after=30,
        )

    def newest(
        self, record: TenantRecord, provider: KeyProvider | None = None, kek: Kek | None = None
    ) -> KekDescription:
        """What to wrap under: a KEK's newest version where it has versions, else the KEK itself, which is not asked.

        Args:
            record: The tenant's record.
            provider: Reaches the KEK; None for the KEK in force.
            kek: The KEK, without a version; None for the one in force.

        Raises:
            KeyWithheld, KeyUnreachable, VendorFault: It cannot be told.
            InternalError: The provider names no version, or another key's.
        """
        wanted = Kek(record.kek) if kek is None else kek
        if not wanted.versioned:
            return KekDescription(wanted, enabled=True, detail="")
        try:
            found = (provider or self.of(record, wanted)).describe(wanted)
        except ProviderSignal as signal:
            raise self.refusal(record.tenant_id, wanted, signal) from None
        if found.kek.key != wanted or found.kek == wanted:
            raise InternalError("a key's newest version was not told")
        return found

    def connector(self, name: str) -> KeyConnector:
        """The connector to a cloud.

        Raises:
            InvalidRequest: This service has none.
        """
        connectors: Mapping[str, KeyConnector] = {str(known): found for known, found in self._connectors.items()}
        if name not in connectors:
            has = (
                f"it reaches {', '.join(sorted(connectors))}" if connectors else "the operator has configured no cloud"
            )
            raise InvalidRequest(f"this service does not reach keys in {name}", hint=has)
        return connectors[name]

    def refusal(self, tenant_id: str, kek: Kek, signal: ProviderSignal) -> KeysteadError:
        """What a caller hears when a KEK's provider gave a signal and nothing cached may serve; alarms where due.

        A denial of the platform's own KEK is our fault and never the tenant's.

        Args:
            tenant_id: Whose KEK it was asked for; ``_system`` for the service's own purposes.
            kek: The KEK.
            signal: What its provider raised.
        """
        self.heard(tenant_id, kek, signal)
        if isinstance(signal, OwnFault):
            return VendorFault("this service's own access to the key management system is in trouble", retry_after=30)
        if isinstance(signal, WrapMismatch):
            return InternalError("the key management system does not take back what it wrapped")
        if not isinstance(signal, Denial):
            return KeyUnreachable("the key management system does not answer", retry_after=5)
        if kek == self.platform_kek:
            return VendorFault("the platform's own key refuses to serve", retry_after=30)
        hint = hint_for(signal.cause, version=kek.version)
        if signal.cause in WRITE_CAUSES:
            return KeyWriteBlocked("the tenant's key may not wrap now", hint=hint)
        if signal.cause == "network":
            return KeyNetworkBlocked("a network rule in front of the tenant's key refuses this service", hint=hint)
        return KeyRevoked("the tenant's KMS refused the use of its key", hint=hint)

    def heard(self, tenant_id: str, kek: Kek, signal: ProviderSignal) -> None:
        """Alarm the operator of a signal that is the operator's to know: our own trouble, or what nobody foresaw."""
        if isinstance(signal, OwnFault):
            self._alarms("own_access", SYSTEM, kek.provider, kms_code=signal.kms_code)
        elif isinstance(signal, Denial) and signal.cause == "unknown":
            self._alarms("unknown_kms_answer", tenant_id, signal.kms_code, request_id=signal.request_id)
