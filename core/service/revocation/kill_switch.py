"""The kill switch: suspends a tenant's key in this service, whatever its KMS says, and resumes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

from core.domain.states import Signal, State
from core.domain.tenants import TenantRecord
from core.domain.timing import Instant
from core.errors import NotFound
from core.service.revocation.telling import Teller
from core.service.revocation.turns import Turns
from core.service.revocation.watch import Watch
from core.service.state_gate import StateGate
from core.service.tenant_records import TenantRecords
from core.service.tenants import Tenants

RESUMED_AS = frozenset({State.PLATFORM, State.SCHEDULED, State.ACTIVE, State.HOLD, State.REVOKED})
"""States that are resumed as they were; others as ``active``, and the KMS is asked."""
MAX_REASON = 200


def suspended(record: TenantRecord, now: float, by: str, cause: str = "") -> TenantRecord:
    """The record with the kill switch on.

    Args:
        record: As it is, in another state than ``suspended``.
        now: Seconds since the epoch.
        by: Who ordered it.
        cause: Why, where it was not simply ordered; as in `core.domain.causes.remedy_for`.
    """
    resume_to = record.state if record.state in RESUMED_AS else State.ACTIVE
    after = record.after(Signal.SUSPEND, now, change_id=str(uuid4()), cause=cause, by=by)
    return replace(after, resume_to=resume_to.value)


class KillSwitch:
    """Suspends and resumes.

    Args:
        tenants: Read the tenants.
        records: Hold their records.
        gate: Holds the tenant views.
        turns: Have a resumed key checked soon.
        watch: Likewise.
        teller: Tells changes of state.
        now: Reads both clocks.
    """

    def __init__(
        self,
        *,
        tenants: Tenants,
        records: TenantRecords,
        gate: StateGate,
        turns: Turns,
        watch: Watch,
        teller: Teller,
        now: Callable[[], Instant],
    ) -> None:
        self._tenants = tenants
        self._records = records
        self._gate = gate
        self._turns = turns
        self._watch = watch
        self._teller = teller
        self._now = now

    def suspend(self, tenant_id: str, subject: str, facts: dict[str, Any]) -> None:
        """Turn the switch on: no process serves the tenant's data after its state age. Repeating changes nothing.

        Args:
            tenant_id: The tenant.
            subject: Who ordered it.
            facts: What was done is added to these, for the audit.

        Raises:
            NotFound: There is no such tenant.
            Conflict: The record kept changing, or the id is spent.
            StoreUnavailable, StoreCorrupt: It cannot be written now.
        """
        self._gate.purge(tenant_id)

        def change(record: TenantRecord) -> TenantRecord | None:
            return None if record.state is State.SUSPENDED else suspended(record, self._now().wall, subject)

        self._change(tenant_id, change, facts)
        self._gate.purge(tenant_id)

    def resume(self, tenant_id: str, subject: str, facts: dict[str, Any]) -> None:
        """Turn the switch off: the key is in the state again in which it was. Repeating changes nothing.

        Raises:
            As `suspend`.
        """

        def change(record: TenantRecord) -> TenantRecord | None:
            if record.state is not State.SUSPENDED:
                return None
            back_to = State(record.resume_to or State.HOLD.value)
            cause = "" if record.withdrawal is None else record.withdrawal.cause
            now, change_id = self._now().wall, str(uuid4())
            after = record.after(Signal.RESUME, now, change_id=change_id, cause=cause, by=subject, back_to=back_to)
            return replace(after, resume_to="")

        self._change(tenant_id, change, facts)
        self._turns.begin(tenant_id)
        self._turns.note(tenant_id, described=0.0)  # whether it wraps is looked at again, too
        self._watch.add(tenant_id)

    def _change(
        self, tenant_id: str, change: Callable[[TenantRecord], TenantRecord | None], facts: dict[str, Any]
    ) -> None:
        before = self._tenants.read(tenant_id)  # refuses what does not exist, and spent ids
        after = self._records.change(tenant_id, change)
        self._gate.expire(tenant_id)
        if after is None:
            raise NotFound("there is no such tenant")
        facts.update({"from": before.state.value, "to": after.state.value})
        self._teller.tell(after)
