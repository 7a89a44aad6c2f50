"""Examines a tenant's key by using it: every check by name, with what was observed and what to do about it.

Nothing is told of a key, and nothing is wrapped under it, before its tag has shown that it is the tenant's to offer. An
application's role on a key was given for one tenant, and a vault cannot know for which of them this service asks; so
whoever names somebody else's key must not even learn whether there is one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hmac import compare_digest

from core.domain.checks import Report
from core.domain.kek import KEY_BYTES, Kek, KeyAccess
from core.domain.vaults import VaultKey
from core.errors import Denial, OwnFault, ProviderSignal, WrapMismatch
from core.providers.azure_key_vault.attributes import KeyAttributes
from core.providers.azure_key_vault.calls import OPERATION_SECONDS, Answer, Budget
from core.providers.azure_key_vault.checklist import LAG, OPERATOR, PROOF_TAG, RETRY, ROLES, Checklist, Role
from core.providers.azure_key_vault.consents import refused_token
from core.providers.azure_key_vault.failures import TOKEN, Failure
from core.providers.azure_key_vault.key_checks import (
    AES_TYPE,
    FITNESS,
    RBAC_HEADER,
    check_access_model,
    check_key,
    fail_aes_size,
)
from core.providers.azure_key_vault.operations import is_bundle, look_up, rotation_policy, tags_of, wrap
from core.providers.azure_key_vault.permissions import check_permissions, check_rotation
from core.providers.azure_key_vault.provider import AzureKeyProvider
from core.providers.azure_key_vault.sessions import REUSE_SECONDS, TenantSession, Visit
from core.providers.azure_key_vault.settings import AzureSettings

log = logging.getLogger("keystead.azure")
EXAMINATION_SECONDS = 30.0
"""Of a whole examination."""
ENTRY_SECONDS = 2 * OPERATION_SECONDS
"""Of the first call, which proves our identity, gets a token and hears the vault's challenge."""
_BAD_PARAMETER = "BadParameter"


@dataclass(slots=True, kw_only=True, repr=False)
class Examination:
    """One examination.

    Attributes:
        access: Whose key, and how it is reached.
        key: It, read, without a version.
        context: What a row of the tenant would be wrapped under.
        settings: Of this deployment.
        session: The access; nobody else uses it.
        wall: Our own clock, in seconds since the epoch.
        budget: Begins a budget of so many seconds inside another.
    """

    access: KeyAccess
    key: VaultKey
    context: Mapping[str, str]
    settings: AzureSettings
    session: TenantSession
    wall: Callable[[], float]
    budget: Callable[[float, Callable[[], float]], Budget]
    _checks: Checklist = field(default_factory=Checklist, init=False)
    _whole: Budget = field(init=False)
    _answer: Answer = field(init=False)
    _found: KeyAttributes = field(init=False)

    def report(self, whole: Budget) -> Report:
        """Make the checks.

        Args:
            whole: Bounds them all.
        """
        self._whole = whole
        for step in (self._before, self._entry, self._proof, self._fitness, self._round_trip, self._beyond):
            if not step():
                break
        return self._checks.report()

    def _before(self) -> bool:
        settings, checks = self.settings, self._checks
        if not self.access.external_id:
            return checks.failed("proof_of_control", "this tenant has no external id yet", OPERATOR)
        checks.passed("identity", f"this service is the application {settings.client_id}")
        if self.key.cloud != settings.cloud:
            return checks.failed(
                "cloud",
                f"the vault lies in the cloud {self.key.cloud}, which is not served",
                f"Name a key in the cloud {settings.cloud}.",
            )
        checks.passed("cloud", f"the vault lies in the cloud {settings.cloud}")
        if self.access.entra_tenant == settings.home_tenant:
            return checks.failed(
                "directory",
                "the Entra tenant is the platform's own",
                "Name a key in an Entra tenant of yours: what the platform could switch on again is not your own key.",
            )
        return True

    def _entry(self) -> bool:
        checks, entra_tenant = self._checks, self.access.entra_tenant
        with self._visit(ENTRY_SECONDS) as visit:
            found = visit.ask(look_up(self.key))
        if isinstance(found, Failure):
            self._tell_operator(f"{found.operation}: {found.seen}")
            if found.operation == TOKEN:
                return refused_token(checks, found)
        checks.passed("consent", f"the Entra tenant {entra_tenant} lets this service's application in")
        if isinstance(found, Failure):
            if found.cause == "identity":
                return checks.failed(
                    "directory",
                    f"the vault does not belong to the Entra tenant {entra_tenant}",
                    "Name the one that it belongs to: az keyvault show --query properties.tenantId.",
                )
            if not _answered(found):
                return checks.failed(
                    "reachable", f"{found.operation}: {found.seen}", f"Check the vault's name. {RETRY}"
                )
        # A vault may refuse by its network rules before it says whose it is, so this is all that holds of each.
        checks.passed("directory", f"the vault names no other Entra tenant than {entra_tenant}")
        checks.passed("reachable", "the vault answers")
        if isinstance(found, Failure):
            return self._unproved()
        if not is_bundle(found, self.key):
            self._tell_operator("the vault answers with something that is not the key")
            return self._unproved()
        self._answer, self._found = found, KeyAttributes.of(found, self.wall)
        return True

    def _proof(self) -> bool:
        told = tags_of(self._answer).get(PROOF_TAG)
        if not isinstance(told, str):
            self._tell_operator("the key has no tag that proves control")
            return self._unproved()
        if not compare_digest(told.encode("utf-8", "surrogatepass"), self.access.external_id.encode()):
            self._tell_operator("the key's tag is another tenant's, or wrong")
            return self._unproved()
        return self._checks.passed("proof_of_control", f"the key's tag {PROOF_TAG} holds this tenant's external id")

    def _unproved(self) -> bool:
        """One and the same answer, whatever the reason is."""
        self._checks.withhold()
        role = self._role
        return self._checks.failed(
            "proof_of_control",
            "the key does not show that it is this tenant's",
            "Make sure, in this order, that the key exists; that this service's application has the role "
            f"{role.name} ({role.id}) on it; that its newest version's tag {PROOF_TAG} holds this tenant's external "
            "id; and that the vault's firewall lets this service's addresses through. The setup kit has the commands: "
            f"keystead key setup azure_key_vault. {LAG}",
        )

    def _fitness(self) -> bool:
        self._checks.passed("exists", "the key exists")
        check_key(self._checks, self._found, self._answer)
        check_access_model(self._checks, self._answer, is_hsm=self.key.hsm)
        return not self._checks.any_failed(FITNESS)

    def _round_trip(self) -> bool:
        """Wrap, unwrap and compare, as the service itself does; other checks do not hang on it."""
        provider = AzureKeyProvider(self.key, self.session, REUSE_SECONDS, self._budget, self.wall)
        kek, key = Kek(str(self._found.version)), os.urandom(KEY_BYTES)
        try:
            unwrapped = provider.unwrap(provider.wrap(kek, key, self.context), self.context)
        except ProviderSignal as signal:
            self._failed_round_trip(signal)
        else:
            if compare_digest(unwrapped.key, key):
                self._checks.passed("round_trip", "what was wrapped comes back")
            else:
                self._failed_round_trip(WrapMismatch("another key came back than was wrapped"))
        return True

    def _failed_round_trip(self, signal: ProviderSignal) -> None:
        self._tell_operator(signal.detail)
        self._checks.failed("round_trip", signal.detail, self._mended(signal))
        if self._found.type == AES_TYPE and self._refuses_256_bits():
            fail_aes_size(self._checks, "the key does not wrap as one of 256 bits does")

    def _refuses_256_bits(self) -> bool:
        algorithm = self._found.algorithm
        if algorithm is None:
            return False
        value = os.urandom(algorithm.size - 8)
        with self._visit() as visit:
            tried = visit.ask(wrap(self._found.version, algorithm.name, value, algorithm.size))
        return isinstance(tried, Failure) and tried.code == _BAD_PARAMETER

    def _mended(self, signal: ProviderSignal) -> str:
        if isinstance(signal, OwnFault):
            return OPERATOR
        if not isinstance(signal, Denial):
            return RETRY
        role = self._role
        return {
            "disabled": "Enable the key's newest version.",
            "not_found": "Recover the key, or its newest version: it was there a moment ago.",
            "identity": "Let this service's application into the Entra tenant again, as in the setup kit.",
            "network": f"Let this service's addresses through the vault's firewall. {LAG}",
        }.get(signal.cause, f"Assign the role {role.name} ({role.id}) on this key, which wraps and unwraps. {LAG}")

    def _beyond(self) -> bool:
        is_hsm, has_header = self.key.hsm, bool(self._answer.headers.get(RBAC_HEADER))
        with self._visit() as visit:
            check_permissions(self._checks, visit.ask, self._found, is_hsm=is_hsm, has_roles=is_hsm or has_header)
        with self._visit() as visit:
            check_rotation(self._checks, visit.ask(rotation_policy(self.key)))
        return True

    @property
    def _role(self) -> Role:
        return ROLES["hsm" if self.key.hsm else "vault"]

    def _tell_operator(self, seen: str) -> None:
        # What the tenant must not be told is what the operator needs to help it.
        log.info("examination of %s for tenant %s: %s", self.key, self.access.tenant_id, seen)

    def _budget(self, seconds: float = OPERATION_SECONDS) -> Budget:
        return self.budget(seconds, self._whole.left)

    @contextmanager
    def _visit(self, seconds: float = OPERATION_SECONDS) -> Iterator[Visit]:
        visit = self.session.visit(self._budget(seconds), REUSE_SECONDS)
        try:
            yield visit
        finally:
            visit.rest()


def _answered(failure: Failure) -> bool:
    """Whether the vault itself answered, with something that asking again does not change.

    What it answered must then make no difference, whether it settles anything or not: it may hang on the key.
    """
    return bool(failure.request_id) and not failure.again
