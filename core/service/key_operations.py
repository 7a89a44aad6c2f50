"""The public operations on a tenant's key, each through the one gate."""

from __future__ import annotations

from collections.abc import Sequence

from core.domain.checks import Report
from core.domain.key_policy import PolicyChange
from core.domain.key_target import KeyTarget
from core.domain.tenants import check_tenant_id
from core.errors import InvalidRequest
from core.service.access import Caller, Op, Permission
from core.service.facade_parts import Parts
from core.service.results import KeyConfigured, KeyExport, KeyStatus, Receipt, ReceiptEntry, Rotation, SetupKit
from core.service.revocation.kill_switch import MAX_REASON
from core.service.revocation.upkeep import SERVING
from core.service.setup_kits import Consent
from core.service.status import with_found


class KeyOperations:
    """Half of `core.service.keystead.Keystead`. Each raises `KeysteadError`s that callers may see.

    Args:
        parts: The services behind the operations.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def key_status(self, caller: Caller, tenant_id: str) -> KeyStatus:
        """Status of a tenant's key; see `StatusService.status`."""
        with self._parts.gate.enter(caller, Op.KEY_STATUS, tenant_id):
            return self._parts.status.status(tenant_id)

    def validate_key(self, caller: Caller, tenant_id: str, target: KeyTarget) -> Report:
        """Examine a key without changing anything; see `KeyConfiguration.validate`."""
        with self._parts.gate.enter(caller, Op.KEY_VALIDATE, tenant_id) as facts:
            facts.update(kek=target.locator)
            report = self._parts.key_configuration.validate(tenant_id, target)
            facts.update(passed=report.ok, failed=[check.name for check in report.failed()])
            return report

    def configure_key(self, caller: Caller, tenant_id: str, target: KeyTarget) -> KeyConfigured:
        """Put a tenant under a KEK of its own, or under another; see `KeyConfiguration.configure`."""
        with self._parts.gate.enter(caller, Op.KEY_CONFIGURE, tenant_id) as facts:
            facts.update(kek=target.locator, role_arn=target.role_arn, entra_tenant=target.entra_tenant)
            facts.update(activation=target.activation)
            by = self._parts.approvals.by(caller.subject, caller.issuer, facts)
            report = self._parts.key_configuration.configure(tenant_id, target, facts, by)
            return KeyConfigured(report, self._parts.status.status(tenant_id))

    def revert_key(self, caller: Caller, tenant_id: str) -> KeyStatus:
        """Cancel a scheduled KEK, or go back to the platform's; see `KeyConfiguration.revert`."""
        with self._parts.gate.enter(caller, Op.KEY_REVERT, tenant_id) as facts:
            by = self._parts.approvals.by(caller.subject, caller.issuer, facts)
            self._parts.key_configuration.revert(tenant_id, facts, by)
            return self._parts.status.status(tenant_id)

    def check_key(self, caller: Caller, tenant_id: str) -> KeyStatus:
        """Ask a tenant's KMS now, and do what is due for its key.

        See `RevocationChecks.check` and `KeyConfiguration.check`; the latter is left out while the key does not serve.
        """
        with self._parts.gate.enter(caller, Op.KEY_CHECK, check_tenant_id(tenant_id)) as facts:
            self._parts.tenants.read(tenant_id)
            state = self._parts.checks.check(tenant_id, forced=True)
            facts["state"] = "" if state is None else state.value
            if state in SERVING or self._parts.tenants.read(tenant_id).moving_from is not None:
                self._parts.key_configuration.check(tenant_id, facts)
            return with_found(self._parts.status.status(tenant_id), facts)

    def key_setup(self, caller: Caller, tenant_id: str, provider: str, entra_tenant: str = "") -> SetupKit:
        """What the tenant does in its own cloud; see `SetupKits.kit`."""
        with self._parts.gate.enter(caller, Op.KEY_SETUP, tenant_id):
            return self._parts.setup_kits.kit(tenant_id, provider, entra_tenant)

    def azure_consent(self, state: str, entra_tenant: str, *, consented: bool) -> Consent:
        """What to tell an administrator whom Entra sends back; see `SetupKits.consent`. Open to all."""
        return self._parts.setup_kits.consent(state, entra_tenant, consented=consented)

    def key_export(self, caller: Caller, tenant_id: str) -> KeyExport:
        """Everything needed to read messages without this service; see `KeyExports.export`."""
        with self._parts.gate.enter(caller, Op.KEY_EXPORT, tenant_id) as facts:
            export = self._parts.key_exports.export(tenant_id)
            facts.update(rows=len(export.items))
            return export

    def rotate(self, caller: Caller, tenant_id: str) -> Rotation:
        """Rotate a tenant's branch key; see `RotationService.rotate`."""
        with self._parts.gate.enter(caller, Op.KEY_ROTATE, tenant_id) as facts:
            rotation = self._parts.rotation.rotate(tenant_id)
            facts.update(version=rotation.version, sequence=rotation.sequence)
            return rotation

    def suspend_key(self, caller: Caller, tenant_id: str, reason: str = "") -> KeyStatus:
        """Turn the kill switch on; see `KillSwitch.suspend`.

        Raises:
            InvalidRequest: The reason is too long, or not printable.
        """
        with self._parts.gate.enter(caller, Op.KEY_SUSPEND, check_tenant_id(tenant_id)) as facts:
            if len(reason) > MAX_REASON or not reason.isprintable():
                raise InvalidRequest(f"a reason has at most {MAX_REASON} printable characters")
            facts["why"] = reason
            self._parts.kill_switch.suspend(tenant_id, caller.subject, facts)
            return self._parts.status.status(tenant_id)

    def resume_key(self, caller: Caller, tenant_id: str) -> KeyStatus:
        """Turn the kill switch off; see `KillSwitch.resume`."""
        with self._parts.gate.enter(caller, Op.KEY_RESUME, tenant_id) as facts:
            self._parts.kill_switch.resume(tenant_id, caller.subject, facts)
            return self._parts.status.status(tenant_id)

    def set_policy(self, caller: Caller, tenant_id: str, changes: PolicyChange) -> KeyStatus:
        """Change some of a tenant's knobs; see `KeyPolicies.set`."""
        with self._parts.gate.enter(caller, Op.KEY_POLICY, check_tenant_id(tenant_id)) as facts:
            by = self._parts.approvals.by(caller.subject, caller.issuer, facts)
            by_operator = not (caller.tenant_id == tenant_id and Permission.KEY_MANAGE in caller.scopes)
            self._parts.key_policies.set(tenant_id, changes, facts, by=by, by_operator=by_operator)
            return self._parts.status.status(tenant_id)

    def list_receipts(self, caller: Caller, tenant_id: str) -> Sequence[ReceiptEntry]:
        """Receipts of a tenant's withdrawals, newest last; see `Receipts.list`."""
        with self._parts.gate.enter(caller, Op.RECEIPT_LIST, tenant_id):
            self._parts.tenants.read(tenant_id)
            return self._parts.receipts.list(tenant_id)

    def receipt(self, caller: Caller, tenant_id: str, receipt_id: str) -> Receipt:
        """One receipt; see `Receipts.read`."""
        with self._parts.gate.enter(caller, Op.RECEIPT_SHOW, tenant_id):
            self._parts.tenants.read(tenant_id)
            return self._parts.receipts.read(tenant_id, receipt_id)
