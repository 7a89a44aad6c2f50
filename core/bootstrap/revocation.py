"""Puts the machinery of revocation together."""

from __future__ import annotations

from dataclasses import dataclass

from core.bootstrap.parts import Config, Leaves
from core.domain.receipts import ReceiptBounds
from core.domain.states import State
from core.service.alarms import Alarms
from core.service.audit import AuditTrail
from core.service.handed_out_counts import HandedOutCounts
from core.service.key_configuration import KeyConfiguration
from core.service.kms_budget import KmsBudget
from core.service.probes import Probes
from core.service.providers import Providers
from core.service.revocation.asking import Asking
from core.service.revocation.checks import RevocationChecks
from core.service.revocation.denials import Denials, Pace
from core.service.revocation.guard import VendorFaultGuard
from core.service.revocation.kill_switch import KillSwitch
from core.service.revocation.receipts import Receipts
from core.service.revocation.reports import Reports
from core.service.revocation.schedules import Schedules
from core.service.revocation.telling import Teller
from core.service.revocation.turns import Turns
from core.service.revocation.upkeep import Upkeep
from core.service.revocation.uses import Uses
from core.service.revocation.watch import Watch
from core.service.row_checks import RowChecks
from core.service.row_macs import RowMacs
from core.service.state_gate import StateGate
from core.service.tenant_records import TenantRecords
from core.service.tenant_view import TenantView
from core.service.tenants import Tenants
from core.service.timekeeper import MAX_SKEW, Timekeeper


@dataclass(frozen=True, slots=True)
class Foundations:
    """What revocation stands on."""

    config: Config
    leaves: Leaves
    timekeeper: Timekeeper
    alarms: Alarms
    budget: KmsBudget
    providers: Providers
    macs: RowMacs
    records: TenantRecords
    gate: StateGate
    rows: RowChecks
    tenants: Tenants
    audit: AuditTrail
    probes: Probes


class Revocation:
    """The parts, in an order in which each finds what it needs.

    Args:
        on: What it stands on.
    """

    def __init__(self, on: Foundations) -> None:
        self._on = on
        store, now, config = on.leaves.tenant_store, on.timekeeper.now, on.config
        self.teller = Teller(on.records, store, on.audit, on.leaves.events)
        self.turns = Turns(store, now)
        self.watch = Watch(now)
        self.uses = Uses(store, now)
        self.counts = HandedOutCounts(store, now, on.macs)
        self.guard = VendorFaultGuard(
            canaries=config.canaries,
            store=store,
            macs=on.macs,
            providers=on.providers,
            alarms=on.alarms,
            now=now,
            budget=on.budget,
            table_name=config.table_name,
        )
        self.receipts = Receipts(
            store,
            on.leaves.signer,
            now,
            counts=self.counts,
            bounds=ReceiptBounds(config.state_age, config.store_silence, config.longest_operation, MAX_SKEW),
            issuer=config.issuer,
        )
        self.reports = Reports(
            records=on.records,
            rows=on.rows,
            gate=on.gate,
            providers=on.providers,
            guard=self.guard,
            turns=self.turns,
            watch=self.watch,
            teller=self.teller,
            uses=self.uses,
            timekeeper=on.timekeeper,
        )
        asking = Asking(on.providers, on.rows, on.probes, on.alarms, on.timekeeper, config.table_name)
        pace = Pace(confirm_access=config.confirm_after, used=config.check_interval)
        self.checks = RevocationChecks(
            records=on.records,
            rows=on.rows,
            gate=on.gate,
            asking=asking,
            turns=self.turns,
            watch=self.watch,
            teller=self.teller,
            receipts=self.receipts,
            reports=self.reports,
            uses=self.uses,
            denials=Denials(
                asking=asking,
                guard=self.guard,
                receipts=self.receipts,
                uses=self.uses,
                counts=self.counts,
                alarms=on.alarms,
                timekeeper=on.timekeeper,
                pace=pace,
            ),
            alarms=on.alarms,
            timekeeper=on.timekeeper,
            pace=pace,
            platform=on.providers.platform_kek,
        )
        self.kill_switch = KillSwitch(
            tenants=on.tenants,
            records=on.records,
            gate=on.gate,
            turns=self.turns,
            watch=self.watch,
            teller=self.teller,
            now=now,
        )
        on.gate.on_trouble = self._on_trouble

    def schedules(self, configuration: KeyConfiguration) -> Schedules:
        """What runs on a schedule.

        Args:
            configuration: Finishes what is half done.
        """
        on = self._on
        return Schedules(
            records=on.records,
            store=on.leaves.tenant_store,
            checks=self.checks,
            upkeep=Upkeep(on.records, configuration, on.audit, on.timekeeper.now),
            guard=self.guard,
            watch=self.watch,
            now=on.timekeeper.now,
        )

    def _on_trouble(self, view: TenantView) -> None:
        if view.record.state is not State.SCHEDULED:
            self.watch.notice(view.tenant_id)
