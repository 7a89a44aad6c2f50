"""What a tenant may know of its key at any time."""

from __future__ import annotations

from datetime import UTC, datetime

from core.domain.branch_keys import CREATE_TIME_FORMAT
from core.domain.kek import Kek
from core.domain.states import RULES
from core.ports import KeyStore
from core.service.providers import Providers
from core.service.results import KeyStatus
from core.service.rotation import RotationService, due
from core.service.tenants import Tenants
from core.service.timekeeper import Timekeeper


class StatusService:
    """Shows the status of keys.

    Args:
        tenants: Hold the records.
        rotation: Reads the ACTIVE row.
        store: Counts versions.
        providers: Name the platform's KEK.
        timekeeper: Reads the clock.
        state_age: Seconds for which a record counts; the kill switch's bound.
    """

    def __init__(
        self,
        tenants: Tenants,
        rotation: RotationService,
        store: KeyStore,
        providers: Providers,
        timekeeper: Timekeeper,
        *,
        state_age: float,
    ) -> None:
        self._tenants = tenants
        self._rotation = rotation
        self._store = store
        self._providers = providers
        self._timekeeper = timekeeper
        self._state_age = state_age

    def status(self, tenant_id: str) -> KeyStatus:
        """Status of a tenant's key, from the stores, not from a cache.

        Raises:
            NotFound: There is no such tenant.
            StoreUnavailable, StoreCorrupt: It cannot be read.
        """
        record = self._tenants.read(tenant_id)
        active = self._rotation.current(tenant_id)
        rule, kek, rotation_due = RULES[record.state], Kek(record.kek), due(active, record)
        warnings = []
        if rotation_due < datetime.fromtimestamp(self._timekeeper.now().wall, UTC).strftime(CREATE_TIME_FORMAT):
            warnings.append("The branch key's rotation is overdue.")
        return KeyStatus(
            tenant_id=tenant_id,
            state=record.state,
            cause=record.cause,
            since=record.since,
            wording=rule.wording,
            remedy=rule.remedy,
            provider=kek.provider,
            kek=kek.locator,
            platform_key=kek == self._providers.platform_kek,
            branch_key_id=record.branch_key_id,
            active_version=active.row.version_id,
            active_sequence=active.mac.sequence if active.mac else 0,
            active_created=active.row.create_time,
            versions=len(self._store.list_versions(record.branch_key_id)),
            rotation_due=rotation_due,
            policy=record.policy,
            bounds={
                "kms_answers": record.policy.lease,
                "kms_silent": max(record.policy.lease, record.policy.outage_grace),
                "kill_switch": self._state_age,
            },
            warnings=tuple(warnings),
        )
