"""How a deployment is configured, what it stands on, and what is put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from core.domain.canaries import Canary
from core.domain.kek import Kek, ProviderName
from core.domain.key_policy import MAX_LEASE, MAX_OUTAGE_GRACE, KeyPolicy
from core.domain.message import DEFAULT_FRAME_LENGTH
from core.domain.offerings import DEFAULT_OFFERINGS, Offerings
from core.domain.vaults import CloudName
from core.ports import AuditLog, Clock, Events, KeyConnector, KeyProvider, KeyStore, Signer, TenantStore
from core.service.audit import AuditTrail
from core.service.audit_copies import AuditCopies
from core.service.branch_keys import BranchKeys
from core.service.encryption import CacheLimits, EncryptionService
from core.service.key_configuration import KeyConfiguration
from core.service.keystead import Keystead
from core.service.kms_budget import KmsBudget
from core.service.refusals import Refusals
from core.service.revocation.checks import RevocationChecks
from core.service.revocation.kill_switch import KillSwitch
from core.service.revocation.schedules import Schedules
from core.service.revocation.store_restores import StoreRestores
from core.service.rotation import RotationService
from core.service.state_gate import StateGate
from core.service.tenant_records import TenantRecords
from core.service.tenants import Tenants


@dataclass(frozen=True, slots=True)
class AwsConfig:
    """How tenants' keys in AWS KMS are reached.

    Attributes:
        regions: Regions their keys may lie in.
        accounts: The platform's own accounts, besides the one its identity lies in: keys and roles there are refused.
        principal: Whom tenants' policies shall name; "" asks AWS who we are.
        endpoint_url: An emulator on this machine; "" for AWS itself.
        access_key_id: With an emulator; "" takes the SDK's own chain of credentials.
        secret_access_key: Likewise.
    """

    regions: frozenset[str]
    accounts: frozenset[str] = frozenset()
    principal: str = ""
    endpoint_url: str = ""
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class AzureConfig:
    """How tenants' keys in Azure Key Vault are reached: as one application of many tenants.

    Exactly one of ``managed_identity``, ``certificate_file`` and ``client_secret`` proves that we are it.

    Attributes:
        client_id: Of the application, a GUID.
        home_tenant: Id of the platform's own Entra tenant, a lower-case GUID: vaults there are refused.
        cloud: Which of Microsoft's clouds; an application belongs to one.
        managed_identity: Client id of the managed identity that stands in for the application.
        certificate_file: PEM file with the application's certificate and its private key.
        client_secret: The application's secret.
        redirect_url: Where Entra sends a tenant's administrator after the consent; "": the setup kit has no link then.
        egress: Addresses this service calls from, for tenants' firewalls.
        dial: An emulator on this machine, ``127.0.0.1:<port>``, that answers in place of every vault and of Entra.
        ca_file: PEM file with the emulator's own certificate authority.
    """

    client_id: str
    home_tenant: str
    cloud: CloudName = "public"
    managed_identity: str = ""
    certificate_file: str = ""
    client_secret: str = field(default="", repr=False)
    redirect_url: str = ""
    egress: tuple[str, ...] = ()
    dial: str = ""
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """How a deployment is put together. Seconds unless named.

    Attributes:
        data_dir: Where the embedded default keeps its keys and store; needed for ``sqlite``.
        store: ``sqlite`` or ``memory``; the latter forgets everything when the process ends.
        table_name: Logical name of the branch key store. Part of every wrap: chosen once, never changed.
        state_age: How long a tenant's state counts without another look.
        store_silence: How long the last state counts if the store does not answer.
        policy: Knobs a new tenant starts with.
        max_lease: Longest lease that a tenant may have, whatever it chose.
        max_outage_grace: Longest outage grace, likewise.
        frame_length: Bytes of plaintext per frame of new messages.
        cache: Limits of the data key caches.
        max_tenants: Most tenants whose state is kept in memory.
        max_branch_keys: Most unwrapped branch keys kept in memory.
        aws: Tenants' keys in AWS KMS; None for none.
        azure: Tenants' keys in Azure Key Vault; None for none.
        offerings: Which offering may use which cloud.
        canaries: Keys of the operator's own that tell a fault of ours from a tenant's withdrawal.
        signing_key: Key that signs statements: ARN of one in AWS KMS, identifier of a version of one in Azure Key
            Vault; "" for a key file in the data directory.
        retired_signing_keys: Public JWKs of keys that signed before, newest first.
        backup_retention_days: Days after which a backup of the key store is gone.
        longest_operation: How long an operation may run on after its last look at the tenant's state.
        issuer: The deployment's public name or URL, as receipts name it.
        confirm_after: Between two denials of policy or identity, before a withdrawal counts as confirmed.
        check_interval: Between two checks of a key that was used lately.
    """

    data_dir: Path | None = None
    store: Literal["sqlite", "memory"] = "sqlite"
    table_name: str = "keystead-branch-keys"
    state_age: float = 10
    store_silence: float = 30
    policy: KeyPolicy = field(default_factory=KeyPolicy)
    max_lease: float = MAX_LEASE
    max_outage_grace: float = MAX_OUTAGE_GRACE
    frame_length: int = DEFAULT_FRAME_LENGTH
    cache: CacheLimits = field(default_factory=CacheLimits)
    max_tenants: int = 10_000
    max_branch_keys: int = 10_000
    aws: AwsConfig | None = None
    azure: AzureConfig | None = None
    offerings: Offerings = field(default_factory=lambda: DEFAULT_OFFERINGS)
    canaries: tuple[Canary, ...] = ()
    signing_key: str = ""
    retired_signing_keys: tuple[Mapping[str, Any], ...] = ()
    backup_retention_days: int = 35
    longest_operation: float = 5
    issuer: str = "keystead"
    confirm_after: float = 60
    check_interval: float = 60


@dataclass(frozen=True, slots=True)
class Leaves:
    """The leaves a deployment stands on.

    Attributes:
        clock: Reads the clocks.
        key_store: Holds branch key rows.
        tenant_store: Holds tenants' documents.
        audit_log: Holds audit chains.
        signer: Signs statements.
        events: Takes events.
        platform: Reaches the platform's own KEK.
        platform_kek: That KEK.
        connectors: Reach tenants' KEKs, by the provider's name.
        budget: Counts the KMS time of a request; the connectors keep to it.
        closers: Called in order when the application closes.
    """

    clock: Clock
    key_store: KeyStore
    tenant_store: TenantStore
    audit_log: AuditLog
    signer: Signer
    events: Events
    platform: KeyProvider
    platform_kek: Kek
    connectors: Mapping[ProviderName, KeyConnector] = field(default_factory=dict)
    budget: KmsBudget | None = None
    closers: tuple[Callable[[], None], ...] = ()


@dataclass(frozen=True, slots=True)
class Application:
    """Everything that was put together; hosts use `keystead`, tools the rest."""

    config: Config
    leaves: Leaves
    keystead: Keystead
    encryption: EncryptionService
    branch_keys: BranchKeys
    records: TenantRecords
    tenants: Tenants
    rotation: RotationService
    audit: AuditTrail
    audit_copies: AuditCopies
    gate: StateGate
    refusals: Refusals
    key_configuration: KeyConfiguration
    checks: RevocationChecks
    schedules: Schedules
    kill_switch: KillSwitch
    store_restores: StoreRestores

    def close(self) -> None:
        """Write out what is pending and let go of the leaves."""
        self.schedules.close()
        self.refusals.flush()
        for close in self.leaves.closers:
            close()
