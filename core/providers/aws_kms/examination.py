"""Examines a tenant's key by using it: every check by name, with what was observed and what to do about it.

The policies of a tenant's account cannot be read from outside it, so what they allow is found out by trying.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.domain.arns import KeyArn, RoleArn
from core.domain.checks import Report
from core.domain.kek import KeyAccess
from core.providers.aws_kms.calls import OPERATION_SECONDS, Answer, Budget, Request
from core.providers.aws_kms.checklist import LAG, OPERATOR, Checklist, remedy_of
from core.providers.aws_kms.failures import Failure, Kind
from core.providers.aws_kms.identity import OwnIdentity
from core.providers.aws_kms.key_checks import FITNESS, check_metadata, check_rotation
from core.providers.aws_kms.permissions import check_permissions, dry_runs
from core.providers.aws_kms.probes import CryptoProbe
from core.providers.aws_kms.provider import describe_key, server_time
from core.providers.aws_kms.roles import SESSION_SECONDS
from core.providers.aws_kms.sessions import TenantSession
from core.providers.aws_kms.trust import check_external_id

EXAMINATION_SECONDS = 30.0
"""Of a whole examination."""
_OR_ELSE = (
    "If that is so already, the operator's own role may lack the permission, or the ARN may name no key: a key just "
    "made may take a minute to be found."
)


@dataclass(slots=True, kw_only=True, repr=False)
class Examination:
    """One examination.

    Attributes:
        access: Whose key, and how it is reached.
        key: Its ARN, read.
        role: The role's, or None.
        context: What a row of the tenant would be wrapped under.
        regions: Where tenants' keys may lie.
        own_accounts: The platform's own accounts, as far as they are known already.
        identity: Who we are.
        principal: Whom policies should name; "" for what ``identity`` finds.
        session: The access, narrowed to the key and our actions where a role is assumed.
        unrestricted: The same, not narrowed.
        budget: Begins a budget of so many seconds inside another.
    """

    access: KeyAccess
    key: KeyArn
    role: RoleArn | None
    context: Mapping[str, str]
    regions: frozenset[str]
    own_accounts: frozenset[str]
    identity: OwnIdentity
    principal: str
    session: TenantSession
    unrestricted: TenantSession
    budget: Callable[[float, Callable[[], float]], Budget]
    _checks: Checklist = field(default_factory=Checklist, init=False)
    _whole: Budget = field(init=False)
    _probe: CryptoProbe = field(init=False)
    _described: Mapping[str, Any] = field(default_factory=dict, init=False)

    def report(self, whole: Budget) -> Report:
        """Make the checks.

        Args:
            whole: Bounds them all.
        """
        self._whole = whole
        steps = (self._identity, self._account, self._region, self._role, self._entry, self._metadata, self._use)
        for step in steps:
            if not step():
                break
        return self._checks.report()

    def _identity(self) -> bool:
        found = self.identity.find(self._budget())
        if isinstance(found, Failure):
            return self._checks.failed("identity", f"our own identity cannot be told: {found.seen}", OPERATOR)
        self.own_accounts |= {found.account}
        self.principal = self.principal or found.principal
        refusal = found.refusal(self.principal)
        if refusal:
            return self._checks.failed("identity", refusal, OPERATOR)
        return self._checks.passed("identity", f"this service is {found.arn}")

    def _account(self) -> bool:
        named = {"key": self.key.account} | ({"role": self.role.account} if self.role else {})
        own = [name for name, account in named.items() if account in self.own_accounts]
        if own:
            return self._checks.failed(
                "account",
                f"the {' and the '.join(own)} lies in an account of the platform's own",
                "Name a key in an account of yours: what the platform could switch on again is not your own key.",
            )
        return self._checks.passed(
            "account", f"the key lies in account {self.key.account}, which is not the platform's"
        )

    def _region(self) -> bool:
        if self.key.region in self.regions:
            return self._checks.passed("region", f"keys in {self.key.region} are served")
        served = ", ".join(sorted(self.regions)) or "no Region at all"
        return self._checks.failed(
            "region", f"keys in {self.key.region} are not served", f"Create a key in one of: {served}."
        )

    def _role(self) -> bool:
        if self.role is None:
            self._checks.passed("role", "not used: the key's policy names this service")
            return self._checks.passed("external_id", "not used: no role is assumed")
        if not self.access.external_id:
            return self._checks.failed("external_id", "this tenant has no external id yet", OPERATOR)
        found = self.session.enter(self._budget(), SESSION_SECONDS)
        trust = (
            f"Let the role's trust policy allow sts:AssumeRole to {self.principal} under the condition sts:ExternalId, "
            "as in the set-up kit."
        )
        if isinstance(found, Failure):
            return self._checks.failed("role", f"{found.operation}: {found.seen}", remedy_of(found, trust))
        self._checks.passed("role", "the role can be assumed with the external id")
        check_external_id(
            self._checks, lambda other: self.session.assume(self._budget(), other), self.access.external_id
        )
        return True

    def _entry(self) -> bool:
        arn, direct = self.access.kek.locator, self.role is None
        who = self.principal if direct else f"the role {self.role}"
        remedy = (
            f"Allow {who} kms:Encrypt and kms:Decrypt on this key under the condition StringEquals "
            "kms:EncryptionContext:tenant_id with this tenant's id, as in the set-up kit."
        )
        self._probe = CryptoProbe(
            self._ask, arn, self.key.region, self.context, f"{remedy} {_OR_ELSE}" if direct else remedy
        )
        # A role in the tenant's own account, opened by its external id, may know all of the account's keys.
        return self._probe.check_entry(self._checks) if direct else True

    def _metadata(self) -> bool:
        checks, found = self._checks, self._ask(describe_key(self.access.kek.locator))
        if not isinstance(found, Failure):
            checks.passed("reachable", "AWS KMS answers")
            checks.passed("exists", "the key exists")
            checks.passed("describe", "the key can be described")
            self._described = found["KeyMetadata"]
            check_metadata(checks, self._described, server_time(found))
            return not checks.any_failed(FITNESS)
        if found.kind is not Kind.DENIAL:
            return checks.failed("reachable", f"{found.operation}: {found.seen}", remedy_of(found, ""))
        checks.passed("reachable", f"AWS KMS answers ({found.seen})")
        if found.cause == "not_found":
            return checks.failed(
                "exists", "there is no such key", "Check the key's ARN; a key just made may take a minute to be found."
            )
        checks.failed(
            "describe",
            f"{found.operation}: {found.seen}",
            "Allow kms:DescribeKey and kms:GetKeyRotationStatus in a statement of their own, without a condition on "
            "the encryption context: DescribeKey takes no encryption context, so under such a condition it is never "
            f"allowed. Without it nobody can tell a disabled key from a lost one. {LAG}",
        )
        return True

    def _use(self) -> bool:
        arn, checks, probe = self.access.kek.locator, self._checks, self._probe
        if not checks.any_failed(("round_trip",)) and probe.check_round_trip(checks):
            probe.check_tenant_bound(checks)
        status = Request(
            "GetKeyRotationStatus", {"KeyId": arn}, lambda answer: type(answer["KeyRotationEnabled"]) is bool
        )
        check_rotation(checks, self._ask(status), self._described)
        wide = self.unrestricted if self.role else self.session
        return check_permissions(
            checks,
            lambda request: wide.visit(self._budget(), SESSION_SECONDS).ask(request),
            dry_runs(arn, self.context, probe.ciphertext, self.principal),
            is_role=self.role is not None,
        )

    def _budget(self) -> Budget:
        return self.budget(OPERATION_SECONDS, self._whole.left)

    def _ask(self, request: Request) -> Answer | Failure:
        return self.session.visit(self._budget(), SESSION_SECONDS).ask(request)
