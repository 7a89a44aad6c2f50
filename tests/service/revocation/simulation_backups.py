"""A simulation's backups: the stores as they were, put back while no process runs, and the order that must follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.domain.branch_keys import VERSION_PREFIX
from core.domain.message_header import parse_header
from core.domain.states import State
from core.domain.tenants import SYSTEM
from core.stores._items import Item
from tests.service.revocation.simulation_clouds import TENANTS
from tests.service.revocation.simulation_processes import Process
from tests.service.revocation.simulation_promises import Broken
from tests.service.world import OPERATOR

if TYPE_CHECKING:
    from tests.service.revocation.simulation_fleet import Fleet

MOVES = "configuration_revision"


@dataclass(frozen=True)
class Backup:
    """What the stores held."""

    documents: dict[tuple[str, str], tuple[int, str]]
    rows: dict[str, dict[str, Item]]
    heads: dict[str, str]
    entries: dict[str, dict[int, str]]

    @classmethod
    def of(cls, fleet: Fleet) -> Backup:
        """Make one now."""
        log = fleet.audit_log
        return cls(
            dict(fleet.tenant_store._documents),
            {branch_key: dict(items) for branch_key, items in fleet.key_store._items.items()},
            dict(log._heads),
            {chain: dict(entries) for chain, entries in log._entries.items()},
        )

    def put_back(self, fleet: Fleet, *, whole: bool, copied: bool) -> None:
        """Stop all processes, put it in place, give the order for every tenant, and start again.

        Args:
            fleet: Everything there is.
            whole: Whether rows and audit chains are put back, too, and not the tenants' documents alone.
            copied: Whether there are copies of the chains, made just before.
        """
        make = Process(fleet).app.audit_copies.make
        copies = {chain: copy for chain in (SYSTEM, *TENANTS) if copied and (copy := make(chain)).entries}
        before = {tenant: dict(fleet.record(tenant)) for tenant in TENANTS}
        fleet.fleet = []
        fleet.tenant_store.restore(self.documents)
        # Records of before a change of key do not fit rows of after it: nobody can put them back alone.
        whole |= any(fleet.record(tenant)[MOVES] != before[tenant][MOVES] for tenant in TENANTS)
        if whole:
            fleet.key_store._items = {branch_key: dict(items) for branch_key, items in self.rows.items()}
            fleet.audit_log._heads = dict(self.heads)
            fleet.audit_log._entries = {chain: dict(entries) for chain, entries in self.entries.items()}
        tool = Process(fleet)
        for chain in (*copies, *TENANTS):
            restored = fleet.record(chain) if chain in TENANTS else None
            tool.app.keystead.store_restored(OPERATOR, chain, copies.get(chain))
            if restored is not None:
                fleet.promises.ordered(chain, fleet.time, restored, replayed=True)
        for tenant in TENANTS:
            self._compare(fleet, tenant, before[tenant], remembered=copied or not whole)
        fleet.fleet = [Process(fleet) for _ in range(fleet.processes)]

    def _compare(self, fleet: Fleet, tenant: str, before: Mapping[str, Any], *, remembered: bool) -> None:
        found = fleet.record(tenant)
        if found["state"] not in {State.HOLD, State.REVOKED, State.SUSPENDED}:
            raise Broken(f"after a restore a tenant is in state {found['state']}")
        if remembered and before["state"] == State.SUSPENDED and found["state"] != State.SUSPENDED:
            raise Broken("the kill switch was on, and a restore turned it off")
        former = before["kek"] not in {found["kek"], found["moving_from"]}
        if remembered and former and found["state"] != State.SUSPENDED:
            raise Broken("a restore took a tenant back to a former key")
        # What was written since the backup may be lost with it.
        named = (found["branch_key_id"], *found["former_branch_keys"])
        rows = {branch_key: fleet.key_store._items.get(branch_key, {}) for branch_key in named}
        fleet.messages[tenant] = [
            (message, plaintext)
            for message, plaintext in fleet.messages[tenant]
            for edk in parse_header(message).edks
            if VERSION_PREFIX + edk.version_id in rows.get(edk.branch_key_id, {})
        ]
        fleet.promises.rotations = [
            rotation
            for rotation in fleet.promises.rotations
            if rotation.tenant_id != tenant or VERSION_PREFIX + rotation.version in rows.get(rotation.branch_key_id, {})
        ]
