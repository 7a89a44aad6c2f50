"""A deployment, with memory stores unless told otherwise, whose tenants hold their keys in the emulated AWS KMS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from core.bootstrap import Application, Config, Leaves, assemble
from core.domain.audit import AuditEntry
from core.domain.kek import Kek, ProviderName
from core.domain.key_target import KeyTarget
from core.ports import AuditLog, KeyConnector, KeyStore
from core.providers.aws_kms import AwsKms, AwsSettings
from core.service.kms_budget import KmsBudget
from core.stores.memory import MemoryAuditLog, MemoryKeyStore, MemoryTenantStore
from functions.emulators.kms import (
    CUSTOMER_ACCOUNT,
    DEFAULT_REGION,
    LOCAL_ACCESS_KEY_ID,
    LOCAL_PRINCIPAL,
    LOCAL_SECRET_ACCESS_KEY,
    KmsEmulator,
)
from functions.emulators.wire import serve
from tests.service.world import FakeClock, MemorySigner, RecordedEvents, ScriptedKms

PLATFORM = Kek("local:platform")
PLACEHOLDERS = ("<YOUR-ACCOUNT>", "<KEY-ARN>")


class SteadyClock(FakeClock):
    """Starts at the real time, so that it agrees with what the emulator says; then moves when told."""

    def __init__(self) -> None:
        super().__init__()
        self.wall_time = time.time()
        self.pace = 0.0
        """Seconds by which each reading of the boot clock comes later than the one before."""

    def boot(self) -> float:
        self.boot_time += self.pace
        return super().boot()


@dataclass
class Deployment:
    """The service, its cloud, and everything a test may look at."""

    emulator: KmsEmulator
    endpoint: str
    clock: SteadyClock
    kms: ScriptedKms = field(default_factory=ScriptedKms)
    keys: KeyStore = field(default_factory=MemoryKeyStore)
    tenants: MemoryTenantStore = field(default_factory=MemoryTenantStore)
    audit_log: AuditLog = field(default_factory=MemoryAuditLog)
    events: RecordedEvents = field(default_factory=RecordedEvents)

    def __post_init__(self) -> None:
        self.opened: list[AwsKms] = []
        self.app = self.process()

    def process(self) -> Application:
        """A process of the service, with caches and sessions of its own."""
        budget = KmsBudget(self.clock.boot)
        aws = AwsKms(
            AwsSettings(
                regions=frozenset({DEFAULT_REGION}),
                endpoint_url=self.endpoint,
                access_key_id=LOCAL_ACCESS_KEY_ID,
                secret_access_key=LOCAL_SECRET_ACCESS_KEY,
            ),
            self.clock,
            remaining=budget.remaining,
        )
        self.opened.append(aws)
        leaves = Leaves(
            clock=self.clock,
            key_store=self.keys,
            tenant_store=self.tenants,
            audit_log=self.audit_log,
            signer=MemorySigner(),
            events=self.events,
            platform=self.kms,
            platform_kek=PLATFORM,
            connectors={"aws_kms": aws, **self.more_connectors(budget)},
            budget=budget,
        )
        return assemble(Config(store="memory"), leaves)

    def more_connectors(self, budget: KmsBudget) -> dict[ProviderName, KeyConnector]:
        """Connectors to other clouds, for a process."""
        return {}

    def tenant(self, tenant_id: str) -> None:
        """Create a tenant."""
        self.app.tenants.create(tenant_id)

    def kit(self, tenant_id: str) -> Mapping[str, Any]:
        """The documents of a tenant's setup kit."""
        return self.app.keystead._parts.setup_kits.kit(tenant_id, "aws_kms").documents

    def new_key(self, tenant_id: str, **settings: Any) -> str:
        """A key in the customer's account whose policy is the one of the tenant's setup kit."""
        account = settings.setdefault("account", CUSTOMER_ACCOUNT)
        settings.setdefault("region", DEFAULT_REGION)
        settings.setdefault("policy", filled(self.kit(tenant_id)["key_policy"], account))
        return str(self.emulator.create_key(**settings))

    def new_role_and_key(self, tenant_id: str, name: str, account: str = CUSTOMER_ACCOUNT) -> tuple[str, str]:
        """A key that serves its own account only, and a role there that the kit lets this service assume."""
        kit = self.kit(tenant_id)
        arn = self.new_key(tenant_id, account=account, policy=filled(kit["key_policy_for_role"], account))
        role = f"arn:aws:iam::{account}:role/{name}"
        self.emulator.create_role(
            role,
            trust_policy=filled(kit["trust_policy"], account),
            policies={"keystead": filled(kit["role_policy"], account, arn)},
        )
        return role, arn

    def configure(self, tenant_id: str, arn: str, **fields: Any) -> dict[str, Any]:
        """Put a tenant under a key."""
        facts: dict[str, Any] = {}
        self.app.key_configuration.configure(tenant_id, KeyTarget(arn, **fields), facts)
        return facts

    def check(self, tenant_id: str) -> dict[str, Any]:
        """Do what is due for a tenant's key."""
        facts: dict[str, Any] = {}
        self.app.key_configuration.check(tenant_id, facts)
        return facts

    def audit(self, chain: str) -> Sequence[AuditEntry]:
        """A chain, whole."""
        return self.audit_log.read(chain, limit=10_000)


def filled(document: Any, account: str, arn: str = "") -> Any:
    """A document of the setup kit with its placeholders replaced, as its steps say."""
    text = json.dumps(document)
    for placeholder, value in zip(PLACEHOLDERS, (account, arn), strict=True):
        text = text.replace(placeholder, value)
    return json.loads(text)


@contextmanager
def deployed(**stores: Any) -> Iterator[Deployment]:
    """A deployment that lives as long as the block.

    Args:
        stores: ``keys``, ``tenants`` and ``audit_log`` in place of those in memory.
    """
    clock = SteadyClock()
    emulator = KmsEmulator(now=clock.wall)
    emulator.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL)
    with serve(emulator, port=0) as server:
        made = Deployment(emulator, server.url, clock, **stores)
        try:
            yield made
        finally:
            for aws in made.opened:
                aws.close()
