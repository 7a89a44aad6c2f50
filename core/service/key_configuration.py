"""Bring your own key: validate, configure, schedule, activate, replace and go back (DESIGN 4 and 5).

Nothing is changed before the key has passed its examination. What a change needs is written in an order in which every
prefix is harmless: the claim, the probe, then the record, which `core.service.key_mover` carries out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from core.domain.bindings import Binding
from core.domain.checks import Report, Result
from core.domain.instants import parse_instant
from core.domain.kek import Kek
from core.domain.key_target import KeyTarget
from core.domain.states import RULES, Signal, State
from core.domain.tenants import TenantRecord
from core.domain.timing import Instant
from core.errors import Conflict, Denial, InvalidRequest, KeyCheckFailed, KeyWithheld, KeyWriteBlocked, ProviderSignal
from core.ports import KeyProvider
from core.service.approvals import NOBODY, REPLACE_KEY, REVERT_KEY, Approver
from core.service.kek_claims import KekClaims
from core.service.key_changes import (
    NOT_YET_OWN,
    binding_for,
    check_change,
    check_movable,
    lies_ahead,
    may_go_back,
    redirected,
    replaces,
    same_way,
)
from core.service.key_mover import KeyMover
from core.service.key_validation import KeyValidation
from core.service.probes import Probes
from core.service.providers import Providers
from core.service.revocation.signals import signalled
from core.service.revocation.telling import Teller
from core.service.setup_kits import SetupKits
from core.service.state_gate import StateGate
from core.service.tenant_records import TenantRecords
from core.service.tenants import Tenants


class KeyConfiguration:
    """Configures tenants' keys.

    Args:
        tenants: Read the tenants.
        records: Hold their records.
        setup_kits: Make external ids.
        validation: Examines keys.
        claims: Know whose key is whose.
        probes: Make probe envelopes.
        mover: Carries changes of KEK out.
        providers: Reach the clouds.
        gate: Reads a record anew that was written here.
        teller: Tells changes of state.
        now: Reads both clocks.
    """

    def __init__(
        self,
        *,
        tenants: Tenants,
        records: TenantRecords,
        setup_kits: SetupKits,
        validation: KeyValidation,
        claims: KekClaims,
        probes: Probes,
        mover: KeyMover,
        providers: Providers,
        gate: StateGate,
        teller: Teller,
        now: Callable[[], Instant],
    ) -> None:
        self._tenants = tenants
        self._records = records
        self._setup_kits = setup_kits
        self._validation = validation
        self._claims = claims
        self._probes = probes
        self._mover = mover
        self._providers = providers
        self._gate = gate
        self._teller = teller
        self.on_withheld: Callable[[str], None] = _nobody_to_tell
        """As in `core.service.rotation.RotationService`."""
        self._now = now

    def validate(self, tenant_id: str, target: KeyTarget) -> Report:
        """Examine a key for a tenant without putting it to use.

        Raises:
            NotFound: There is no such tenant.
            InvalidRequest: The target is not well formed, or names a cloud this service does not reach.
            StoreUnavailable, StoreCorrupt, VendorFault, KeyUnreachable: Our own stores or keys are in trouble.
        """
        return self._validation.examine(self._setup_kits.with_external_id(tenant_id), target.check())

    def configure(self, tenant_id: str, target: KeyTarget, facts: dict[str, Any], by: Approver = NOBODY) -> Report:
        """Put a tenant under a KEK of its own, or under another, now or from its activation date on.

        Asked again for what is half done, it finishes it.

        Args:
            tenant_id: The tenant.
            target: The KEK.
            facts: What was done is added to these, for the audit.
            by: Asked before a key of the tenant's own gives way to another, or is reached in another way.

        Returns:
            The examination that the key passed.

        Raises:
            NotFound: There is no such tenant.
            InvalidRequest: As in `validate`.
            KeyCheckFailed: The key did not pass its examination; nothing was changed.
            ApprovalNeeded: It takes a second person; nothing was changed.
            Conflict: Another change is under way, or was first.
            KeyWithheld, Unavailable: A key does not serve. If the change had begun, asking again goes on with it.
            StoreUnavailable, StoreCorrupt: A store does not answer, or a row is refused.
        """
        target = target.check()
        record, revision = self._ready_to_change(tenant_id, target)
        ahead = lies_ahead(record, target, self._now().wall)
        report = self._passing(record, target)
        facts["warned"] = [check.name for check in report.checks if check.result is Result.WARN]
        if not ahead:
            check_change(record, target)
            if replaces(record, target, self._providers.platform_kek):
                by.require(record, REPLACE_KEY, target.to_body())
        target = replace(target, custom_key_store=report.custom_key_store, unbound_policy=report.unbound_policy)
        if not self._claims.claim(target.kek, tenant_id):
            raise Conflict("this key was just taken by another tenant")
        if ahead:
            self._schedule(record, revision, target, facts)
        elif self._begin(record, revision, target, facts):
            by.done()
            self._carry_out(tenant_id, facts)
        return report

    def revert(self, tenant_id: str, facts: dict[str, Any], by: Approver = NOBODY) -> None:
        """Cancel a scheduled KEK, or go back to the platform's key where that was allowed at enablement.

        Args:
            tenant_id, facts: As in `configure`.
            by: Asked before a key that is in force is given up.

        Raises:
            NotFound: There is no such tenant.
            ApprovalNeeded: It takes a second person; nothing was changed.
            Conflict: The tenant is under the platform's key, or going back was not allowed at enablement.
            KeyRevoked, KeyUnreachable, VendorFault: A KEK does not serve; calling again goes on where this stopped.
            StoreUnavailable, StoreCorrupt: A store does not answer, or a row is refused.
        """
        record, revision = self._read(tenant_id)
        platform = self._providers.platform_kek
        if record.state is State.SUSPENDED:
            raise RULES[record.state].refusal()
        if record.state is State.SCHEDULED and record.moving_from is None:
            self._write(replace(record, pending=None, probe_digest=""), revision, Signal.CANCEL)
            facts["cancelled"] = True
            return
        if record.kek != platform.locator:
            may_go_back(record, platform)
            # Rows that an enablement cut short never rewrapped still count under the platform's key.
            # So do those of a fallback.
            known = record.every_binding().get(platform.locator)
            binding = Binding(since=record.configuration_revision + 1) if known is None else known
            if record.moving_from is not None:
                binding = record.moving_binding
            check_movable(record, State.PLATFORM)
            if record.state not in NOT_YET_OWN:
                by.require(record, REVERT_KEY, {"kek": record.kek})
            self._move(revision, redirected(record, platform, binding, "", reversible=record.reversible), facts)
            by.done()
        elif record.moving_from is None:
            raise Conflict("the tenant is under the platform's key already")
        self._carry_out(tenant_id, facts)

    def check(self, tenant_id: str, facts: dict[str, Any]) -> None:
        """Do what is due for a tenant's key.

        Activate it; finish what is half done; fetch what a returned KEK gives back; take up a KEK's new version.

        Raises:
            As `configure`, KeyCheckFailed apart.
        """
        record, revision = self._read(tenant_id)
        if record.pending is not None and self.due(record):
            self._activate(record, revision, record.pending, facts)
        elif record.moving_from is None and not record.lost_keks and not Kek(record.kek).versioned:
            self._mover.settle(record)
            return
        self._carry_out(tenant_id, facts)

    def due(self, record: TenantRecord) -> bool:
        """Whether a tenant's scheduled key should be in force by now."""
        if record.state is not State.SCHEDULED:
            return False
        return record.pending is None or parse_instant(record.pending.activation) <= self._now().wall

    def _ready_to_change(self, tenant_id: str, target: KeyTarget) -> tuple[TenantRecord, int]:
        self._setup_kits.with_external_id(tenant_id)
        record, revision = self._read(tenant_id)
        if record.state is State.SUSPENDED:
            raise RULES[record.state].refusal()
        if record.moving_from is not None and target.locator not in record.keks:
            raise Conflict(
                "another change of key is under way",
                hint="finish it first, POST key/check; or take it back by naming the former key again",
            )
        if target.locator == self._providers.platform_kek.locator:
            raise InvalidRequest("this is the platform's own key", hint="DELETE key goes back to it, where allowed")
        return record, revision

    def _passing(self, record: TenantRecord, target: KeyTarget) -> Report:
        report = self._validation.examine(record, target)
        if not report.ok:
            failed = ", ".join(check.name for check in report.failed())
            raise KeyCheckFailed(
                f"the key did not pass its examination: {failed}",
                hint="each check says what was seen and what to do; POST key/validate repeats it without changing "
                "anything",
                checks=tuple(check.to_body() for check in report.checks),
            )
        return report

    def _schedule(self, record: TenantRecord, revision: int, target: KeyTarget, facts: dict[str, Any]) -> None:
        probe = self._probes.make(self._provider(record, target), record, target.kek)
        self._write(replace(record, pending=target, probe_digest=probe.digest), revision, Signal.SCHEDULE)
        facts["scheduled"] = target.activation

    def _begin(self, record: TenantRecord, revision: int, target: KeyTarget, facts: dict[str, Any]) -> bool:
        """Write what is to become of the tenant's key, unless it is written already.

        Returns:
            Whether there is anything left to carry out.
        """
        reversible = target.reversible if record.state in NOT_YET_OWN else record.reversible
        binding = binding_for(record, target)
        if (record.kek, record.binding, record.reversible) == (target.locator, binding, reversible):
            facts["resumed" if record.moving_from else "unchanged"] = True
            return record.moving_from is not None or bool(record.lost_keks)
        probe_digest = record.probe_digest
        if not same_way(record, target):
            probe_digest = self._probes.make(self._provider(record, target), record, target.kek).digest
        self._move(revision, redirected(record, target.kek, binding, probe_digest, reversible=reversible), facts)
        return True

    def _provider(self, record: TenantRecord, target: KeyTarget) -> KeyProvider:
        return self._providers.connect(record.access_as(target.kek, target))

    def _activate(self, record: TenantRecord, revision: int, target: KeyTarget, facts: dict[str, Any]) -> None:
        # Not examined again on a caller's time; the KEK of set-up must serve, and the contract still cover it.
        if not self._validation.entitles(record, target):
            raise Conflict("the tenant's offering does not cover this key any more")
        binding, digest = binding_for(record, target), self._still_serves(record, target)
        self._move(revision, redirected(record, target.kek, binding, digest, reversible=target.reversible), facts)
        facts["activated"] = target.locator

    def _still_serves(self, record: TenantRecord, target: KeyTarget) -> str:
        # Gives the digest of the probe to go on with: the key may have a new version by now, the old one disabled.
        provider = self._provider(record, target)
        try:
            newest = self._providers.newest(record, provider, target.kek)
            if not newest.enabled:
                raise Denial(f"the key may not wrap now: {newest.detail}", cause=newest.cause)
            if newest.kek.versioned and self._probes.read(record.tenant_id, record.probe_digest).kek != newest.kek:
                return self._probes.make(provider, record, newest.kek).digest
            self._probes.unwrap(provider, record.tenant_id, record.probe_digest)
        except ProviderSignal as signal:
            raise self._providers.refusal(record.tenant_id, target.kek, signal) from None
        return record.probe_digest

    def _move(self, revision: int, record: TenantRecord, facts: dict[str, Any]) -> None:
        self._records.write(record, expected_revision=revision)
        facts.update(moving_from=record.moving_from, moving_to=record.kek)

    def _carry_out(self, tenant_id: str, facts: dict[str, Any]) -> None:
        found = self._records.read(tenant_id)
        if found is not None and found[0].moving_from is not None:
            facts.update(moving_from=found[0].moving_from, moving_to=found[0].kek)
        try:
            done = asdict(self._mover.run(tenant_id))
            facts.update({**done, "left_under": sorted(done["left_under"])})
        except KeyWithheld as error:
            if not isinstance(error, KeyWriteBlocked):
                self._gate.purge(tenant_id)  # the KMS said no: whatever it was asked, what is cached serves no more
                self._tenants.interrupt(tenant_id)  # nor elsewhere, should the KMS be silent when it is asked again
                self.on_withheld(tenant_id)
            raise

    def _read(self, tenant_id: str) -> tuple[TenantRecord, int]:
        self._tenants.read(tenant_id)  # refuses what does not exist, and spent ids
        found = self._records.read(tenant_id)
        if found is None:
            raise Conflict("the tenant was removed meanwhile")
        return found

    def _write(self, record: TenantRecord, revision: int, signal: Signal) -> None:
        after = signalled(record, signal, Kek(record.kek), self._now().wall)
        self._records.write(after, expected_revision=revision)
        self._gate.expire(record.tenant_id)
        self._teller.tell(after)


def _nobody_to_tell(_tenant_id: str) -> None:
    """Who hears of a refusal until `KeyConfiguration.on_withheld` is set."""
