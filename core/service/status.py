"""What a tenant may know of its key at any time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from core.domain.branch_keys import ACTIVE
from core.domain.causes import remedy_for
from core.domain.instants import parse_instant
from core.domain.kek import Kek
from core.domain.states import RULES
from core.domain.tenants import TenantRecord
from core.domain.withdrawals import instant
from core.service.providers import Providers
from core.service.results import KeyStatus, MoveProgress
from core.service.revocation.telling import Teller
from core.service.revocation.turns import Turns
from core.service.rotation import RotationService, due
from core.service.row_checks import RowChecks
from core.service.state_gate import StateGate
from core.service.tenants import Tenants
from core.service.timekeeper import Timekeeper

TIMELINE = 50
"""Changes of state that a status tells."""


class StatusService:
    """Shows the status of keys.

    Args:
        tenants: Hold the records.
        rotation: Reads the ACTIVE row.
        gate: Gives the tenant's view.
        rows: Read and check the versions.
        providers: Name the platform's KEK.
        timekeeper: Reads the clock.
        teller: Keeps the timelines.
        turns: Know what the last check of a key found.
        state_age: Seconds for which a record counts; the kill switch's bound.
    """

    def __init__(
        self,
        tenants: Tenants,
        rotation: RotationService,
        gate: StateGate,
        rows: RowChecks,
        providers: Providers,
        timekeeper: Timekeeper,
        teller: Teller,
        turns: Turns,
        *,
        state_age: float,
    ) -> None:
        self._tenants = tenants
        self._rotation = rotation
        self._gate = gate
        self._rows = rows
        self._providers = providers
        self._timekeeper = timekeeper
        self._teller = teller
        self._turns = turns
        self._state_age = state_age

    def status(self, tenant_id: str) -> KeyStatus:
        """Status of a tenant's key, from the stores, not from a cache.

        Raises:
            NotFound: There is no such tenant.
            StoreUnavailable, StoreCorrupt: It cannot be read.
        """
        self._tenants.read(tenant_id)
        view = self._gate.enter_any(tenant_id)
        self._gate.reread(view)
        active = self._rotation.current(tenant_id)
        record = view.record
        versions = [
            stored.row.kek
            for branch_key_id in record.branch_keys
            for stored in self._rows.versions(view, branch_key_id)
        ]
        former = [self._rows.read(view, branch_key_id, ACTIVE) for branch_key_id in record.former_branch_keys]
        platform = self._providers.platform_kek.locator
        unreadable = sum(under.key.locator not in {*record.keks, platform} for under in versions)
        rows = (active.row.kek, *versions, *(stored.row.kek for stored in former if stored))
        named = {under.locator for under in rows if under.versioned}
        behind = sum(under.key.locator == record.kek and under != active.row.kek for under in versions)
        rule, kek, rotation_due = RULES[record.state], Kek(record.kek), due(active, record)
        turn, withdrawal = self._turns.read(tenant_id), record.withdrawal
        return KeyStatus(
            tenant_id=tenant_id,
            state=record.state,
            cause=record.cause,
            since=record.since,
            wording=rule.wording,
            remedy=remedy_for(record.state, record.cause),
            provider=kek.provider,
            kek=kek.locator,
            platform_key=kek == self._providers.platform_kek,
            branch_key_id=record.branch_key_id,
            active_version=active.row.version_id,
            active_sequence=active.mac.sequence if active.mac else 0,
            active_created=active.row.create_time,
            versions=len(versions) - unreadable,
            rotation_due=rotation_due,
            policy=record.policy,
            bounds={
                "kms_answers": record.lease,
                "kms_silent": max(record.lease, record.outage_grace),
                "kill_switch": self._state_age,
            },
            warnings=(*self._warnings(record, rotation_due, unreadable, behind), *turn.warnings),
            nickname=record.binding.nickname,
            role_arn=record.binding.role_arn,
            entra_tenant=record.binding.entra_tenant,
            kek_version=active.row.kek.locator if active.row.kek.versioned else "",
            kek_versions=tuple(sorted(named, key=lambda locator: (locator != active.row.kek.locator, locator))),
            reversible=record.reversible,
            exclusive_from=record.exclusive_from,
            pending=record.pending,
            move=_progress(record, versions),
            unreadable_versions=unreadable,
            may_read=record.may_read,
            may_write=record.may_write,
            first_denial=withdrawal.first_denial if withdrawal else "",
            confirmed=withdrawal.confirmed if withdrawal else "",
            kms_code=withdrawal.kms_code if withdrawal else "",
            request_id=withdrawal.request_id if withdrawal else "",
            receipt=withdrawal.receipt if withdrawal else "",
            falls_back=record.falls_back,
            checked=instant(turn.checked) if turn.checked else "",
            timeline=self._teller.timeline(tenant_id)[-TIMELINE:],
        )

    def _warnings(self, record: TenantRecord, rotation_due: str, unreadable: int, behind: int) -> Iterator[str]:
        now = self._timekeeper.now().wall
        if parse_instant(rotation_due) < now:
            yield "The branch key's rotation is overdue."
        if record.moving_from is not None:
            yield "A change of key is under way or was cut short; 'keystead check' goes on with it."
        if record.pending is not None and parse_instant(record.pending.activation) <= now:
            yield "The scheduled key's date has passed and it is not in force yet; 'keystead check' activates it."
        if record.fallback_branch_key:
            yield "New data went under the platform's key, by the tenant's choice, until its own serves again."
        if unreadable:
            platform = self._providers.platform_kek.locator
            former = ", ".join(lost.locator for lost in record.lost_keks if lost.locator != platform)
            yield f"{unreadable} older versions wait under a former key that refuses, until it returns: {former}"
        if behind and record.moving_from is None:
            yield (
                f"{behind} older versions lie under another version of the key than the one in use, which must be "
                "enabled for them; 'keystead check' rewraps them then."
            )
        if record.binding.unbound_policy:
            yield "The key's policy was not bound to this tenant when it was put to use; the operator accepted that."
        if record.binding.custom_key_store:
            yield "The key lies in a custom key store: if it does not answer, nothing is served beyond the lease."


def with_found(status: KeyStatus, facts: Mapping[str, Any]) -> KeyStatus:
    """A status with what a check has just found and the stores do not tell.

    Args:
        status: As read after the check.
        facts: What the check did, as for the audit.
    """
    found = []
    if facts.get("unfit"):
        found.append(f"The key's newest version was not taken up: {facts['unfit']}.")
    if facts.get("left_behind"):
        versions = ", ".join(facts["left_under"])
        found.append(
            f"{facts['left_behind']} rows are not readable now: they lie under an older version of the key that "
            f"refuses, {versions}. Enable it, then run 'keystead check' again."
        )
    return replace(status, warnings=(*status.warnings, *found))


def _progress(record: TenantRecord, versions: Sequence[Kek]) -> MoveProgress | None:
    if record.moving_from is None:
        return None
    done = sum(under.key.locator == record.kek for under in versions)
    return MoveProgress(record.moving_from, record.kek, done, len(versions))
