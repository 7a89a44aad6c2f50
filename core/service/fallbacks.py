"""The fallback to the platform's key, where a tenant chose it (DESIGN 5, rule 8).

While the tenant's own KEK cannot be reached, new data goes under a branch key of its own that lies under the platform's
KEK. To the record it is a branch key given up with that KEK: it decrypts, and its rows are rewrapped under the tenant's
KEK by the same routine that fetches what waited for a KEK to return (`core.service.key_mover`).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from uuid import uuid4

from core.domain.bindings import Binding, LostKek
from core.domain.tenants import MAX_FORMER_BRANCH_KEYS, TenantRecord
from core.errors import KeysteadError, KeyUnreachable
from core.ports import Events
from core.service.audit import AuditTrail
from core.service.branch_key import BranchKey
from core.service.branch_keys import BranchKeys
from core.service.providers import Providers
from core.service.state_gate import StateGate
from core.service.tenant_records import TenantRecords
from core.service.tenant_view import TenantView

ACTION, SUBJECT = "key.fallback", "keystead"
FALLBACK_BEGUN = "keystead.key.fallback_begun"
log = logging.getLogger("keystead.fallback")


class Fallbacks:
    """Gives the branch key to fall back to.

    Args:
        records: Hold the tenants' records.
        branch_keys: Unwrap it.
        providers: Name the platform's KEK.
        gate: Reads a record anew that was written here.
        audit: Hears of it.
        events: Likewise.
    """

    def __init__(
        self,
        records: TenantRecords,
        branch_keys: BranchKeys,
        providers: Providers,
        gate: StateGate,
        audit: AuditTrail,
        events: Events,
    ) -> None:
        self._records = records
        self._branch_keys = branch_keys
        self._providers = providers
        self._gate = gate
        self._audit = audit
        self._events = events

    def key(self, view: TenantView) -> BranchKey:
        """The branch key that new data goes under for now; begun if there is none.

        Args:
            view: The tenant's view; its record says that it falls back.

        Raises:
            KeyUnreachable: It does not fall back any more.
            VendorFault, KeyUnreachable: The platform's KEK does not serve.
            StoreUnavailable, StoreCorrupt: A store does not answer, or a row is refused.
        """
        # Read once: another thread may read the record anew, and the fallback be over.
        branch_key_id = view.record.fallback_branch_key or self._begin(view)
        return self._branch_keys.fallback(view, branch_key_id)

    def _begin(self, view: TenantView) -> str:
        begun: list[str] = []

        def change(record: TenantRecord) -> TenantRecord | None:
            # Half of the room is left for KEKs that have to be given up.
            if len(record.former_branch_keys) >= MAX_FORMER_BRANCH_KEYS // 2:
                raise KeyUnreachable("the tenant's key does not answer, and has fallen back too often to do so again")
            if not record.falls_back:
                raise KeyUnreachable("the tenant's key changes its state just now", retry_after=1)
            if record.fallback_branch_key:
                return None
            begun[:] = [str(uuid4())]
            platform = self._providers.platform_kek.locator
            known = {lost.locator for lost in record.lost_keks}
            lost = () if platform in known else (LostKek(platform, Binding(since=record.configuration_revision)),)
            return replace(
                record,
                fallback_branch_key=begun[0],
                former_branch_keys=(*record.former_branch_keys, begun[0]),
                lost_keks=(*record.lost_keks, *lost),
                exclusive_from="",
            )

        record = self._records.change(view.tenant_id, change)
        branch_key_id = self._gate.reread(view).fallback_branch_key
        if record is None or not branch_key_id:
            raise KeyUnreachable("the tenant's key changes its state just now", retry_after=1)
        if begun and record.fallback_branch_key == begun[0]:
            self._tell(record)
        return branch_key_id

    def _tell(self, record: TenantRecord) -> None:
        facts = {"branch_key": record.fallback_branch_key, "state": record.state.value, "reason": "CUSTOMER_WRITE"}
        self._events.emit(FALLBACK_BEGUN, record.tenant_id, facts)
        try:
            self._audit.record(record.tenant_id, ACTION, SUBJECT, "ok", facts)
        except KeysteadError as error:
            fields = {"tenant": record.tenant_id, "code": error.code}
            log.warning("the begin of a fallback could not be audited", extra={"fields": fields})
