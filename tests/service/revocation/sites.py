"""A guard over a scripted KMS that has canary keys, and everything a test can disturb."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.domain.canaries import Canary, Pattern
from core.domain.kek import Kek
from core.domain.tenants import SYSTEM, TenantRecord
from core.errors import Denial, OwnFault, ProviderSignal, Silence
from core.ports import Document
from core.service.alarms import Alarms
from core.service.kms_budget import KmsBudget
from core.service.providers import Providers
from core.service.revocation.guard import GuardFinding, VendorFaultGuard
from core.service.row_macs import RowMacs
from core.service.timekeeper import Timekeeper
from tests.service.world import (
    ENTRA_TENANT,
    OTHER_KEK,
    PLATFORM,
    VAULT_KEK,
    FakeClock,
    RecordedEvents,
    ScriptedConnector,
    ScriptedKms,
    ShakyTenantStore,
)

ONE, TWO = Canary("local:canary-one"), Canary("local:canary-two")
VERSIONED = Canary(VAULT_KEK.locator, entra_tenant=ENTRA_TENANT)
TABLE = "rows"
AT_A_VAULT = Kek("https://acme-kv.vault.azure.net/keys/of-acme")
PASSED, OURS, UNKNOWN, NO_CANARY = GuardFinding
LOCAL, VAULTS = Pattern("local"), Pattern("azure_key_vault", "public")
ONE_UNUSABLE = ("canary_unusable", SYSTEM, ONE.kek)


def refused(cause: str) -> Denial:
    return Denial("no", cause=cause, kms_code="Code", request_id="r-1")


def no_answer() -> Silence:
    return Silence("no answer")


def own_fault() -> OwnFault:
    return OwnFault("no credentials", kms_code="Expired")


class CanaryKms(ScriptedKms):
    """Keeps canary keys, signals by a KEK's locator, and what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.keys |= {canary.kek: os.urandom(32) for canary in (ONE, TWO)}
        self.signals: dict[str, ProviderSignal] = {}
        self.asked: list[tuple[str, str]] = []
        self.before: Callable[[], None] = lambda: None
        self.trouble = self._trouble

    def _trouble(self, operation: str, context: Mapping[str, str]) -> None:
        kek = Kek(context.get("kms-arn", PLATFORM.locator))
        if kek != PLATFORM:
            self.asked.append((operation, kek.locator))
            self.before()
        for locator in (kek.locator, kek.key.locator):
            if locator in self.signals:
                raise self.signals[locator]

    def told(self) -> list[tuple[str, str]]:
        """What it was asked since the last time."""
        asked, self.asked = self.asked, []
        return asked


class DisturbedStore(ShakyTenantStore):
    """A tenant store in which something happens before a write."""

    def __init__(self) -> None:
        super().__init__()
        self.before_write: Callable[[str], None] = lambda name: None
        self.names: list[str] = []

    def read(self, tenant_id: str, name: str) -> Document | None:
        self.names.append(name)
        return super().read(tenant_id, name)

    def write(self, tenant_id: str, name: str, body: Mapping[str, Any], *, expected_revision: int) -> Document:
        act, self.before_write = self.before_write, lambda name: None
        act(name)
        return super().write(tenant_id, name, body, expected_revision=expected_revision)


@dataclass
class Site:
    """Processes with guards over one store and one KMS."""

    clock: FakeClock = field(default_factory=FakeClock)
    kms: CanaryKms = field(default_factory=CanaryKms)
    store: DisturbedStore = field(default_factory=DisturbedStore)
    events: RecordedEvents = field(default_factory=RecordedEvents)

    def __post_init__(self) -> None:
        self.connector = ScriptedConnector(self.kms)
        self.budget = KmsBudget(self.clock.boot)

    def guard(self, *canaries: Canary) -> VendorFaultGuard:
        """The guard of another process."""
        now = Timekeeper(self.clock, lambda reason: None).now
        alarms = Alarms(self.events, now)
        connectors: Any = {"local": self.connector, "azure_key_vault": self.connector}
        providers = Providers(self.kms, PLATFORM, connectors, alarms, self.budget)
        return VendorFaultGuard(
            canaries=canaries,
            store=self.store,
            macs=RowMacs(self.store, providers, TABLE),
            providers=providers,
            alarms=alarms,
            now=now,
            budget=self.budget,
            table_name=TABLE,
        )

    def served(self, *canaries: Canary) -> VendorFaultGuard:
        """The same, after its canaries served once."""
        guard = self.guard(*canaries)
        guard.retest(Timekeeper(self.clock, lambda reason: None).now().plus(60))
        self.alarms()
        self.kms.told()
        return guard

    def reads(self) -> list[str]:
        """Names of the documents that were read since the last time."""
        names, self.store.names = self.store.names, []
        return names

    def alarms(self) -> list[tuple[str, str, str]]:
        """Alarms since the last time: name, subject and what about."""
        raised = [(kind.rpartition(".")[2], subject, data["about"]) for kind, subject, data in self.events.events]
        self.events.events.clear()
        return raised

    def envelope(self, canary: Canary = ONE) -> Document:
        """A canary's envelope as stored."""
        document = self.store.read(SYSTEM, f"canary:{canary.digest}")
        assert document is not None
        return document

    def overwrite(self, body: Mapping[str, Any], canary: Canary = ONE) -> None:
        """Put something in an envelope's place, as a writer of the store can."""
        found = self.envelope(canary)
        self.store.write(SYSTEM, found.name, body, expected_revision=found.revision)


def tenant(tenant_id: str = "acme", kek: Kek = OTHER_KEK) -> TenantRecord:
    """A tenant's record."""
    now = "2027-01-15T08:00:00.000000Z"
    return TenantRecord(tenant_id, "branch-key", kek.locator, now, now)
