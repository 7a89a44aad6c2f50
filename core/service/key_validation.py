"""Decides whether a tenant may put a key to use: the cloud's own examination, and what only this service knows."""

from __future__ import annotations

from dataclasses import replace

from core.domain.checks import Check, Report, Result
from core.domain.key_target import KeyTarget
from core.domain.offerings import Offerings, entitled
from core.domain.tenants import TenantRecord
from core.service.kek_claims import KekClaims
from core.service.probes import Probes
from core.service.providers import Providers

TENANT_BOUND = "tenant_bound"


class KeyValidation:
    """Examines keys.

    Args:
        providers: Reach the clouds.
        claims: Know whose key is whose.
        probes: Name the context to examine under.
        offerings: Who may use which cloud.
    """

    def __init__(self, providers: Providers, claims: KekClaims, probes: Probes, offerings: Offerings) -> None:
        self._providers = providers
        self._claims = claims
        self._probes = probes
        self._offerings = offerings

    def examine(self, record: TenantRecord, target: KeyTarget) -> Report:
        """Examine a key for a tenant; changes nothing.

        Args:
            record: The tenant's record; it has its external id.
            target: The key, well formed.

        Returns:
            ``entitled``, then the cloud's checks, then ``exclusive``. A key that a contract does not cover is not
            touched, and whether it is another tenant's is told only to who has shown control of it.

        Raises:
            InvalidRequest: The service does not reach keys of this form.
            StoreUnavailable, StoreCorrupt, VendorFault, KeyUnreachable: The claims cannot be read now.
        """
        connector = self._providers.connector(target.kek.provider)
        entitlement = self._entitlement(record, target)
        if entitlement.result is Result.FAIL:
            return Report((entitlement,))
        access = record.access_as(target.kek, target)
        report = connector.examine(access, self._probes.context(record.tenant_id, target.kek))
        checks = tuple(self._overridden(record, check) for check in report.checks)
        report = replace(report, checks=(entitlement, *checks), unbound_policy=checks != report.checks)
        return replace(report, checks=(*report.checks, self._exclusive(record, target, controlled=report.ok)))

    def entitles(self, record: TenantRecord, target: KeyTarget) -> bool:
        """Whether the tenant's offering covers a key."""
        return self._entitlement(record, target).result is Result.PASS

    def _entitlement(self, record: TenantRecord, target: KeyTarget) -> Check:
        provider = target.kek.provider
        if entitled(self._offerings, record.offering, provider):
            return Check("entitled", Result.PASS, f"the offering {record.offering!r} covers keys in {provider}")
        return Check(
            "entitled",
            Result.FAIL,
            f"the offering {record.offering!r} does not cover keys in {provider}",
            "Ask the service's operator for an offering that does.",
        )

    def _overridden(self, record: TenantRecord, check: Check) -> Check:
        if check.name != TENANT_BOUND or check.result is not Result.FAIL or not record.unbound_policy_accepted:
            return check
        return replace(check, result=Result.WARN, observed=f"{check.observed}; the operator accepts this")

    def _exclusive(self, record: TenantRecord, target: KeyTarget, *, controlled: bool) -> Check:
        name = "exclusive"
        if not controlled:
            return Check(name, Result.SKIP, "not looked at, because an earlier check failed")
        if self._claims.free_for(target.kek, record.tenant_id):
            return Check(name, Result.PASS, "no other tenant uses this key")
        return Check(
            name,
            Result.FAIL,
            "this key cannot serve this tenant, because it has served another",
            "Use a key of its own for each tenant.",
        )
