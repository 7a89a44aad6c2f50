"""Puts the service together over its leaves."""

from __future__ import annotations

from core.bootstrap.local import local_leaves
from core.bootstrap.parts import Application, Config, Leaves
from core.bootstrap.revocation import Foundations, Revocation
from core.domain.policy_caps import PolicyCaps
from core.domain.tenants import SYSTEM
from core.errors import InvalidRequest
from core.service.access import AccessGate
from core.service.activation import Activation
from core.service.alarms import Alarms
from core.service.approvals import Approvals
from core.service.audit import AuditTrail
from core.service.audit_copies import AuditCopies
from core.service.branch_key_writer import BranchKeyWriter
from core.service.branch_keys import BranchKeys
from core.service.encryption import EncryptionService
from core.service.facade_parts import Parts
from core.service.fallbacks import Fallbacks
from core.service.handed_out_keys import HandedOutKeys
from core.service.kek_claims import KekClaims
from core.service.kek_versions import KekVersions
from core.service.key_configuration import KeyConfiguration
from core.service.key_exports import KeyExports
from core.service.key_mover import KeyMover
from core.service.key_policies import KeyPolicies
from core.service.key_validation import KeyValidation
from core.service.keystead import Keystead
from core.service.kms_budget import KmsBudget
from core.service.probes import Probes
from core.service.providers import Providers
from core.service.refusals import Refusals
from core.service.revocation.store_restores import StoreRestores
from core.service.rewrapper import Rewrapper
from core.service.rotation import RotationService
from core.service.row_checks import RowChecks
from core.service.row_macs import RowMacs
from core.service.setup_kits import SetupKits
from core.service.state_gate import StateGate
from core.service.status import StatusService
from core.service.tenant_records import TenantRecords
from core.service.tenants import Tenants
from core.service.timekeeper import Timekeeper


def build(config: Config) -> Application:
    """Put the embedded default together, creating its keys on first use. Safe for several processes at once.

    Raises:
        InvalidRequest: The configuration is contradictory.
        KeysteadError: The data directory cannot be used; the message says why.
    """
    return assemble(config, local_leaves(config))


def assemble(config: Config, leaves: Leaves) -> Application:
    """Put the service together over given leaves.

    Raises:
        InvalidRequest: The configuration is out of range.
    """
    config.policy.check()
    if not 0 < config.state_age <= config.store_silence:
        raise InvalidRequest("state_age must be above 0 and not above store_silence")
    timekeeper = Timekeeper(leaves.clock, lambda reason: _distrust_clock(reason, gate, alarms))
    alarms = Alarms(leaves.events, timekeeper.now)
    budget = leaves.budget or KmsBudget(leaves.clock.boot)
    providers = Providers(leaves.platform, leaves.platform_kek, leaves.connectors, alarms, budget)
    macs = RowMacs(leaves.tenant_store, providers, config.table_name)
    caps = PolicyCaps(config.max_lease, config.max_outage_grace)
    records = TenantRecords(leaves.tenant_store, macs, alarms, caps)
    gate = StateGate(
        records,
        timekeeper,
        state_age=config.state_age,
        store_silence=config.store_silence,
        limit=config.max_tenants,
    )
    writer = BranchKeyWriter(leaves.key_store, providers, macs, timekeeper.now, config.table_name)
    tenants = Tenants(records, writer, providers, timekeeper, config.policy, config.offerings)
    rows = RowChecks(leaves.key_store, macs, gate, alarms, tenants.raise_floor)
    probes = Probes(leaves.tenant_store, providers, config.table_name)
    audit = AuditTrail(leaves.audit_log, leaves.tenant_store, leaves.signer, timekeeper.now)
    revocation = Revocation(
        Foundations(
            config=config,
            leaves=leaves,
            timekeeper=timekeeper,
            alarms=alarms,
            budget=budget,
            providers=providers,
            macs=macs,
            records=records,
            gate=gate,
            rows=rows,
            tenants=tenants,
            audit=audit,
            probes=probes,
        )
    )
    branch_keys = BranchKeys(
        rows=rows,
        writer=writer,
        providers=providers,
        gate=gate,
        reports=revocation.reports,
        timekeeper=timekeeper,
        budget=budget,
        table_name=config.table_name,
        limit=config.max_branch_keys,
    )
    encryption = EncryptionService(
        gate,
        branch_keys,
        timekeeper,
        fallback=Fallbacks(records, branch_keys, providers, gate, audit, leaves.events).key,
        limits=config.cache,
        frame_length=config.frame_length,
    )
    versions = KekVersions(providers)
    mover = KeyMover(
        records=records,
        store=leaves.key_store,
        rows=rows,
        rewrapper=Rewrapper(rows, writer),
        versions=versions,
        providers=providers,
        probes=probes,
        gate=gate,
        teller=revocation.teller,
        events=leaves.events,
        alarms=alarms,
        now=timekeeper.now,
        backup_retention_days=config.backup_retention_days,
    )
    rotation = RotationService(gate, rows, writer, mover, tenants, versions)
    copies = AuditCopies(leaves.audit_log, audit)
    refusals = Refusals(audit, timekeeper.now)
    claims = KekClaims(leaves.tenant_store, macs)
    setup_kits = SetupKits(tenants, records, providers)
    key_configuration = KeyConfiguration(
        tenants=tenants,
        records=records,
        setup_kits=setup_kits,
        validation=KeyValidation(providers, claims, probes, config.offerings),
        claims=claims,
        probes=probes,
        mover=mover,
        providers=providers,
        gate=gate,
        teller=revocation.teller,
        now=timekeeper.now,
    )
    mover.on_reinstating = revocation.checks.reinstating
    rotation.on_withheld = key_configuration.on_withheld = revocation.checks.suspect
    gate.on_scheduled = Activation(key_configuration, gate, audit, alarms, budget, timekeeper.now)
    store_restores = StoreRestores(
        records=records,
        copies=copies,
        rows=rows,
        gate=gate,
        turns=revocation.turns,
        watch=revocation.watch,
        teller=revocation.teller,
        receipts=revocation.receipts,
        now=timekeeper.now,
        platform=leaves.platform_kek.locator,
    )
    parts = Parts(
        gate=AccessGate(audit, refusals, alarms, budget),
        tenants=tenants,
        encryption=encryption,
        handed_out=HandedOutKeys(gate, branch_keys, timekeeper, revocation.counts),
        rotation=rotation,
        status=StatusService(
            tenants,
            rotation,
            gate,
            rows,
            providers,
            timekeeper,
            revocation.teller,
            revocation.turns,
            state_age=config.state_age,
        ),
        key_configuration=key_configuration,
        setup_kits=setup_kits,
        key_exports=KeyExports(gate, rows, config.table_name),
        audit=audit,
        signer=leaves.signer,
        tenant_store=leaves.tenant_store,
        audit_log=leaves.audit_log,
        budget=budget,
        checks=revocation.checks,
        kill_switch=revocation.kill_switch,
        store_restores=store_restores,
        receipts=revocation.receipts,
        key_policies=KeyPolicies(tenants, records, gate, caps),
        approvals=Approvals(leaves.tenant_store, macs, alarms, timekeeper.now),
    )
    return Application(
        config=config,
        leaves=leaves,
        keystead=Keystead(parts),
        encryption=encryption,
        branch_keys=branch_keys,
        records=records,
        tenants=tenants,
        rotation=rotation,
        audit=audit,
        audit_copies=copies,
        gate=gate,
        refusals=refusals,
        key_configuration=key_configuration,
        checks=revocation.checks,
        schedules=revocation.schedules(key_configuration),
        kill_switch=revocation.kill_switch,
        store_restores=store_restores,
    )


def _distrust_clock(reason: str, gate: StateGate, alarms: Alarms) -> None:
    gate.purge_all()
    alarms(reason, SYSTEM, "clock", action="every cached key was purged")
