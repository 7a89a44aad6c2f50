"""Tokens to tenants' vaults, and who is at fault where there is none: the tenant, or our own application.

A tenant's directory that does not know our application, or has it disabled, says no: that is how a tenant withdraws its
key. Every directory says the very same once our own one has lost or disabled the application. So before a tenant is
taken at its word our own directory is asked for a token, too: only if that one gives it, the no is the tenant's.
"""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple

from core.domain.timing import Instant
from core.ports import Clock
from core.providers.azure_key_vault.calls import Budget, Calls
from core.providers.azure_key_vault.clients import ClientFactory
from core.providers.azure_key_vault.credentials import HeldToken
from core.providers.azure_key_vault.failures import TOKEN, Failure, own, silent
from core.providers.azure_key_vault.meanings import Kind

GRANTED_SECONDS = 10
"""For which a token that our own directory gave vouches for us. Short: should the application be lost meanwhile, what
tenants' directories say because of it counts as theirs for so long."""
REFUSED_SECONDS = 60
SILENT_SECONDS = 5


class Verdict(NamedTuple):
    """What our own directory said, and when it was asked; no failure if it gave a token."""

    failure: Failure | None
    asked: Instant


class Tokens:
    """Gets tokens, for all tenants.

    Args:
        factory: Asks for them.
        calls: Bounds the asking.
        home_tenant: Our own directory.
        clock: Counts the age of what that one said.
    """

    def __init__(self, factory: ClientFactory, calls: Calls, home_tenant: str, clock: Clock) -> None:
        self._factory = factory
        self._calls = calls
        self._home_tenant = home_tenant
        self._clock = clock
        self._verdicts: dict[str, Verdict] = {}  # by the domain of vaults
        self._lock = Lock()  # held while one caller asks our own directory

    def get(self, entra_tenant: str, host: str, budget: Budget) -> HeldToken | Failure:
        """A token of a tenant's directory to a vault.

        Args:
            entra_tenant: The directory.
            host: The vault's.
            budget: Ends it all.
        """
        found = self._ask(entra_tenant, host, budget)
        if isinstance(found, Failure) and found.application_gone:
            return self._judged(found, host, budget)
        return found

    def _ask(self, entra_tenant: str, host: str, budget: Budget) -> HeldToken | Failure:
        proof = self._calls.proof(lambda line: self._factory.prove(entra_tenant, line), budget)
        if isinstance(proof, Failure):
            return proof
        return self._calls.token(
            lambda line: self._factory.token(entra_tenant, host, proof, line), budget, entra_tenant
        )

    def _judged(self, denial: Failure, host: str, budget: Budget) -> Failure:
        said = self._said_at_home(host, budget)
        if said is None:
            return denial
        if said.kind is Kind.SILENCE:
            return silent(TOKEN, f"{denial.seen}, and whether our own directory says so too is not known: {said.seen}")
        return own(TOKEN, f"{denial.seen}, and our own directory refuses us too: {said.seen}")

    def _said_at_home(self, host: str, budget: Budget) -> Failure | None:
        if not self._lock.acquire(timeout=max(budget.left(), 0)):
            return silent(TOKEN, "time was up while another call asked")
        try:
            domain = host.partition(".")[2]
            known = self._verdicts.get(domain)
            now = self._now()
            if known is not None and now.elapsed(known.asked) < _lifetime(known.failure):
                return known.failure
            found = self._ask(self._home_tenant, host, budget)
            failure = found if isinstance(found, Failure) else None
            if failure is None or failure.kind is not Kind.SILENCE or budget.left() > 0:
                # An asker who ran out of time has learned nothing for the others.
                self._verdicts[domain] = Verdict(failure, now)
            return failure
        finally:
            self._lock.release()

    def _now(self) -> Instant:
        return Instant(self._clock.wall(), self._clock.boot())


def _lifetime(failure: Failure | None) -> float:
    if failure is None:
        return GRANTED_SECONDS
    return SILENT_SECONDS if failure.kind is Kind.SILENCE else REFUSED_SECONDS
