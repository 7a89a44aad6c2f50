"""The KMS of a simulation: how it treats each KEK, which calls it refused, and one process's way to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from core.domain.checks import Check, Report, Result
from core.domain.kek import Kek, KekDescription, KeyAccess, UnwrappedKey, WrappedKey
from core.errors import Denial, OwnFault, ProviderSignal, Silence
from core.ports import KeyProvider

if TYPE_CHECKING:
    from tests.service.revocation.simulation_fleet import Fleet
    from tests.service.revocation.simulation_processes import Process

ACME, GLOBEX = "acme", "globex"
TENANTS = (ACME, GLOBEX)
CANARY = Kek("local:canary")
VAULT_KEK, VAULT_CANARY = (Kek(f"https://{who}-kv.vault.azure.net/keys/kek") for who in (GLOBEX, "operator"))
"""Those whose versions are named."""
KEKS = {ACME: (Kek("local:acme-one"), Kek("local:acme-two")), GLOBEX: (Kek("local:globex-one"), VAULT_KEK)}
CAUSES = ("disabled", "pending_deletion", "not_found", "policy", "identity", "unknown", "network")
TIMED_OUT = 2.5
LONGEST_SESSION = 600.0
"""Seconds for which a session may be used again at most."""
ACCESS, PLAIN = frozenset({"policy", "identity"}), frozenset({"disabled", "pending_deletion", "not_found"})


@dataclass
class Call:
    """A call that the KMS answered with a refusal."""

    time: float
    request_id: str
    kek: Kek


@dataclass
class Mood:
    """How the KMS treats a KEK."""

    cause: str = ""
    silent: bool = False
    since: float = 0.0
    refused: float | None = None
    """When it first refused since it was withdrawn."""
    told: float | None = None
    """When it first refused a process that could tell the others."""
    lingers: bool = False
    """Whether sessions of before the withdrawal are still good: what was taken is the way to new ones."""


class Kms:
    """One process's way to the KMS."""

    def __init__(self, fleet: Fleet, process: Process) -> None:
        self.fleet = fleet
        self.process = process
        self._sessions: dict[tuple[str, Kek], float] = {}

    def ask(self, kek: Kek, access: KeyAccess | None, *, uses: bool = True) -> float:
        """Ask for something to be done under a KEK.

        Args:
            kek: The KEK, with its version where there are versions.
            access: How it is reached; None for the platform's.
            uses: Whether it is used, and not only described: then it must not be off in this version, either.

        Returns:
            When the session was made that this was asked in.
        """
        fleet, mood = self.fleet, self.fleet.moods[kek.key]
        self.process.hold_up("asked")
        if access is None:
            return fleet.time
        if mood.silent or self.process.cut_off:
            fleet.time += TIMED_OUT
            raise Silence("no answer")
        if fleet.own_fault == "credentials":
            raise OwnFault("our own credentials", kms_code="Expired")
        session = self._sessions.get((access.tenant_id, kek.key), float("-inf"))
        if not fleet.sessions or fleet.time - session >= min(access.lease, LONGEST_SESSION):
            session = fleet.time
        if mood.cause and not (mood.lingers and session < mood.since):
            raise self._refused(mood, kek, "r")
        if fleet.own_fault == "policy":
            # To the tenant it is a refusal like any other, but not one of its making.
            raise self._refused(Mood("policy"), kek, "ours")
        self._sessions[access.tenant_id, kek.key] = session
        if uses and kek != kek.key and fleet.moods[kek].cause:
            raise self._refused(fleet.moods[kek], kek, "r")
        return session

    def _refused(self, mood: Mood, kek: Kek, whose: str) -> Denial:
        fleet = self.fleet
        call = Call(fleet.time, f"{whose}-{len(fleet.refusals)}", kek)
        fleet.refusals.append(call)
        mood.refused = fleet.time if mood.refused is None else mood.refused
        if mood.told is None and not self.process.store.silent:
            mood.told = fleet.time
        return Denial("no", cause=mood.cause, kms_code="No", request_id=call.request_id, server_time=fleet.time)


class Provider:
    """A KeyProvider of one process."""

    def __init__(self, kms: Kms, access: KeyAccess | None = None) -> None:
        self._kms, self._access = kms, access

    def wrap(self, kek: Kek, key: bytes, context: Mapping[str, str]) -> WrappedKey:
        self._kms.ask(kek, self._access)
        return self._kms.fleet.kms.wrap(kek, key, context)

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> UnwrappedKey:
        fleet, process = self._kms.fleet, self._kms.process
        asked = fleet.time
        proved_ago = max(0.0, asked - self._kms.ask(wrapped.kek, self._access))
        found = fleet.kms.unwrap(wrapped, context)
        process.served(context, asked, proved_ago)
        process.hold_up("answered")
        return replace(found, server_time=fleet.time, proved_ago=proved_ago)

    def describe(self, kek: Kek) -> KekDescription:
        self._kms.ask(kek, self._access, uses=False)
        versions = self._kms.fleet.versions
        if not kek.versioned:
            return KekDescription(kek, enabled=True, detail="Enabled")
        found = [version for version in versions if version.key == kek][-1] if kek == kek.key else kek
        cause = self._kms.fleet.moods[found].cause
        return KekDescription(found, not cause, cause or "enabled", float(versions.index(found)), cause)


class Connector:
    """Reaches tenants' KEKs for one process."""

    def __init__(self, kms: Kms, real: Any) -> None:
        self._kms, self._real = kms, real

    def connect(self, access: KeyAccess) -> KeyProvider:
        return Provider(self._kms, access)

    def examine(self, access: KeyAccess, context: Mapping[str, str]) -> Report:
        """As at the KEK itself; the newest version has to serve."""
        try:
            found = Provider(self._kms, access).describe(access.kek)
            self._kms.ask(found.kek, access)
        except ProviderSignal as signal:
            return Report((Check("round_trip", Result.FAIL, signal.detail),))
        return Report((Check("round_trip", Result.PASS, "what was wrapped comes back"),))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
