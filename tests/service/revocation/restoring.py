"""Stores that are put back as they were, and what tests of that share."""

from __future__ import annotations

from copy import deepcopy

from core.bootstrap import Application
from core.domain.audit import AuditEntry
from core.domain.audit_copies import ChainCopy
from core.domain.key_target import KeyTarget
from core.domain.tenants import TenantRecord
from core.service.revocation.store_restores import AfterRestore
from tests.service.world import OPERATOR, World, caller

OLDER = "the backup is older than the tenant: its keys and its data are not in it"
DIVERGED = "the chain went on differently after the backup: the rest of the copy could not be put back"
SWITCH = "the kill switch was on"


def moved(locator: str) -> str:
    return f"the backup is older than the tenant's change to another key: {locator}"


class Backup:
    """The stores of a world as they are now."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.kept = [
            (store, name, deepcopy(getattr(store, name)))
            for store, name in (
                (world.keys, "_items"),
                (world.tenants, "_documents"),
                (world.audit_log, "_heads"),
                (world.audit_log, "_entries"),
            )
        ]

    def restore(self) -> Application:
        """Put them in place of what is there; gives a process that was started after it."""
        for store, name, kept in self.kept:
            setattr(store, name, deepcopy(kept))
        self.world.clock.advance(1)
        return self.world.process()


def order(app: Application, copy: ChainCopy | None = None, chain: str = "acme") -> AfterRestore:
    return app.keystead.store_restored(OPERATOR, chain, copy)


def suspend(app: Application, tenant_id: str = "acme") -> None:
    app.keystead.suspend_key(caller(tenant_id), tenant_id, "incident 4711")


def resume(app: Application) -> None:
    app.keystead.resume_key(caller(), "acme")


def record_of(app: Application) -> TenantRecord:
    return app.tenants.read("acme")


def entries(app: Application, chain: str = "acme") -> list[AuditEntry]:
    return list(app.audit.read(chain, limit=1000))


def holds(app: Application, *copies: ChainCopy) -> None:
    """The chain holds, against what was kept elsewhere, too."""
    verdict = app.audit.verify("acme", checkpoints=[copy.checkpoint for copy in copies])
    assert (verdict.ok, verdict.problem) == (True, "")


def go_on(app: Application) -> None:
    """Something of after the restore: whatever the chain had lost cannot be put back any more."""
    app.audit.record("acme", "tenant.update", "operator", "ok")


def configured(app: Application, locator: str, *, reversible: bool = False) -> None:
    app.keystead.configure_key(caller(), "acme", KeyTarget(locator, reversible=reversible))


def platform() -> World:
    world = World()
    world.app.keystead.create_tenant(OPERATOR, "acme")
    return world
