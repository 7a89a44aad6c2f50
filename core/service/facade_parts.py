"""What the public operations are made of."""

from __future__ import annotations

from dataclasses import dataclass

from core.ports import AuditLog, Signer, TenantStore
from core.service.access import AccessGate
from core.service.approvals import Approvals
from core.service.audit import AuditTrail
from core.service.encryption import EncryptionService
from core.service.handed_out_keys import HandedOutKeys
from core.service.key_configuration import KeyConfiguration
from core.service.key_exports import KeyExports
from core.service.key_policies import KeyPolicies
from core.service.kms_budget import KmsBudget
from core.service.revocation.checks import RevocationChecks
from core.service.revocation.kill_switch import KillSwitch
from core.service.revocation.receipts import Receipts
from core.service.revocation.store_restores import StoreRestores
from core.service.rotation import RotationService
from core.service.setup_kits import SetupKits
from core.service.status import StatusService
from core.service.tenants import Tenants


@dataclass(frozen=True, slots=True)
class Parts:
    """What the operations are made of."""

    gate: AccessGate
    tenants: Tenants
    encryption: EncryptionService
    handed_out: HandedOutKeys
    rotation: RotationService
    status: StatusService
    key_configuration: KeyConfiguration
    setup_kits: SetupKits
    key_exports: KeyExports
    audit: AuditTrail
    signer: Signer
    tenant_store: TenantStore
    audit_log: AuditLog
    budget: KmsBudget
    checks: RevocationChecks
    kill_switch: KillSwitch
    store_restores: StoreRestores
    receipts: Receipts
    key_policies: KeyPolicies
    approvals: Approvals
