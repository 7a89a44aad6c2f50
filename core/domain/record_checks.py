"""What every `TenantStore` checks before it stores a tenant record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.domain.states import State, check_transition
from core.domain.tenants import TenantRecord
from core.errors import Conflict


def check_first(body: Mapping[str, Any]) -> None:
    """What every `TenantStore` checks before it stores the first record of a tenant.

    Raises:
        Conflict: It does not start in state ``platform``.
        StoreCorrupt: It is not a tenant record.
    """
    if TenantRecord.from_body(body).state is not State.PLATFORM:
        raise Conflict("a tenant starts in state platform")


def check_rewrite(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """What every `TenantStore` checks before it replaces a tenant record.

    Args:
        old: The stored body.
        new: The body to put in its place.

    Raises:
        Conflict: A transition not in the state table, a changed identity, a counter going back, or a spent id.
        StoreCorrupt: One of the two is not a tenant record.
    """
    before, after = TenantRecord.from_body(old), TenantRecord.from_body(new)
    check_transition(before.state, after.state)
    if before.deleted:
        raise Conflict("this tenant id is spent")
    if (before.tenant_id, before.created) != (after.tenant_id, after.created):
        raise Conflict("a tenant's identity cannot change")
    if after.configuration_revision < before.configuration_revision:
        raise Conflict("a tenant's configuration revision cannot go back")
    if after.branch_key_id == before.branch_key_id and after.sequence_floor < before.sequence_floor:
        raise Conflict("a tenant's sequence floor cannot go back")
    if before.external_id and after.external_id != before.external_id:
        raise Conflict("a tenant's external id cannot change")
    if not {*before.branch_keys} <= {*after.branch_keys}:
        raise Conflict("a tenant's branch key cannot be dropped")
