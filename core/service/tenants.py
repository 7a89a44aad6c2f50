"""Creates, lists and reads tenants, and keeps their sequence floors."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from core.domain.branch_keys import CREATE_TIME_FORMAT
from core.domain.key_policy import KeyPolicy
from core.domain.states import RULES
from core.domain.tenants import DEFAULT_OFFERING, MAX_DISPLAY_NAME, TenantRecord, check_tenant_id
from core.errors import Conflict, InvalidRequest, KeysteadError, NotFound, StoreUnavailable
from core.service.branch_key_writer import BranchKeyWriter
from core.service.providers import Providers
from core.service.tenant_records import TenantRecords
from core.service.timekeeper import Timekeeper

MAX_PAGE = 1000


class Tenants:
    """The tenants of this deployment.

    Args:
        records: Hold their records.
        writer: Writes first branch keys.
        providers: Name the platform's KEK.
        timekeeper: Reads the clock.
        policy: The knobs a new tenant starts with.
        offerings: Names of what a tenant may have bought.
    """

    def __init__(
        self,
        records: TenantRecords,
        writer: BranchKeyWriter,
        providers: Providers,
        timekeeper: Timekeeper,
        policy: KeyPolicy,
        offerings: Collection[str] = (DEFAULT_OFFERING,),
    ) -> None:
        self._records = records
        self._writer = writer
        self._providers = providers
        self._timekeeper = timekeeper
        self._policy = policy
        self._offerings = offerings

    def create(self, tenant_id: str, display_name: str = "") -> tuple[TenantRecord, bool]:
        """Create a tenant under the platform's key, or find that it exists.

        The record is written before its branch key: a process that dies in between leaves a tenant whose first use
        writes the branch key.

        Returns:
            The record, and whether this call created it.

        Raises:
            InvalidRequest: The id or name is not well formed.
            Conflict: The id was used before and is spent.
            VendorFault, KeyUnreachable: The platform's key does not serve.
            StoreUnavailable: A store did not answer; calling again is safe.
        """
        check_tenant_id(tenant_id)
        _check_display_name(display_name)
        now = datetime.fromtimestamp(self._timekeeper.now().wall, UTC).strftime(CREATE_TIME_FORMAT)
        record = TenantRecord(
            tenant_id=tenant_id,
            branch_key_id=str(uuid4()),
            kek=self._providers.platform_kek.locator,
            since=now,
            created=now,
            display_name=display_name,
            policy=self._policy,
        )
        try:
            self._records.write(record, expected_revision=0)
            created = True
        except Conflict:
            created = False
            record = self.read(tenant_id)
        if record.sequence_floor == 0:
            self._writer.create(record)
            self.raise_floor(tenant_id, record.branch_key_id, 1)
            record = record.with_floor(1)
        return record, created

    def update(self, tenant_id: str, **changes: Any) -> TenantRecord:
        """Change what the operator knows of a tenant.

        Args:
            tenant_id: The tenant.
            changes: ``display_name``, ``offering`` or ``unbound_policy_accepted``.

        Raises:
            NotFound: There is no such tenant.
            InvalidRequest: A name is not well formed, or there is no such offering.
            Conflict: The record keeps changing, or the id is spent.
            StoreUnavailable, StoreCorrupt: It cannot be read or written now.
        """
        _check_display_name(changes.get("display_name", ""))
        offering = changes.get("offering")
        if offering is not None and offering not in self._offerings:
            raise InvalidRequest("there is no such offering", hint=f"there are: {', '.join(sorted(self._offerings))}")
        self.read(tenant_id)  # refuses what does not exist, and spent ids
        changed = self._records.change(tenant_id, lambda record: replace(record, **changes))
        if changed is None:
            raise NotFound("there is no such tenant")
        return changed

    def read(self, tenant_id: str) -> TenantRecord:
        """A tenant's record as stored now.

        Raises:
            NotFound: There is no such tenant.
            Conflict: The id is spent.
            StoreUnavailable, StoreCorrupt: It cannot be read.
        """
        found = self._records.read(tenant_id)
        if found is None:
            raise NotFound("there is no such tenant")
        record = found[0]
        if record.deleted:
            raise Conflict("this tenant id was used before and is spent")
        return record

    def page(self, after: str = "", limit: int = 100) -> Sequence[TenantRecord]:
        """Tenants in order of id, tombstones left out; fewer than ``limit`` only at the end.

        Args:
            after: Begin above this id.
            limit: At most this many, 1 to 1000.

        Raises:
            InvalidRequest: The limit is out of range.
            StoreUnavailable, StoreCorrupt: They cannot be read.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"a page holds 1 to {MAX_PAGE} tenants")
        records: list[TenantRecord] = []
        while len(records) < limit:
            wanted = limit - len(records)
            found = self._records.page(after=after, limit=wanted)
            records += [record for record in found if not record.deleted]
            if len(found) < wanted:
                break
            after = found[-1].tenant_id
        return records

    def raise_floor(self, tenant_id: str, branch_key_id: str, sequence: int) -> None:
        """Record that an ACTIVE row of this sequence was seen, so that an older one is refused from now on.

        Best effort: a store that does not answer is tried again at the row's next verification. Does nothing if the
        branch key is not the primary one any more.
        """

        def raised(record: TenantRecord) -> TenantRecord | None:
            if record.deleted or record.branch_key_id != branch_key_id:
                return None
            return record.with_floor(sequence)

        with suppress(Conflict, StoreUnavailable):
            self._records.change(tenant_id, raised)

    def interrupt(self, tenant_id: str) -> None:
        """End within the state age what any process has cached of a tenant: a KEK said no, whatever it was asked.

        Best effort: if the store does not answer, the others are left to ask for themselves.
        """

        def interrupted(record: TenantRecord) -> TenantRecord | None:
            if record.deleted or not record.may_read or RULES[record.state].proves:
                return None  # nothing cached serves
            return replace(record, interruptions=record.interruptions + 1)

        with suppress(KeysteadError):
            self._records.change(tenant_id, interrupted)


def _check_display_name(name: str) -> None:
    if len(name) > MAX_DISPLAY_NAME or not name.isprintable():
        raise InvalidRequest(f"a display name has at most {MAX_DISPLAY_NAME} printable characters")
