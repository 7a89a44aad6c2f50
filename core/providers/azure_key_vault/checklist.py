"""The checks of an examination: their names in order, what was found so far, and what tenants are told to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from core.domain.checks import Check, Report, Result

NAMES = (
    *("identity", "cloud", "directory", "consent", "reachable", "proof_of_control", "exists", "enabled", "type"),
    *("size", "key_ops", "validity", "recovery", "round_trip", "access_model", "permissions", "rotation"),
)
WITHHELD = NAMES[NAMES.index("proof_of_control") + 1 :]
"""Checks that tell something of a key: only of one whose tag names the tenant."""
PROOF_TAG = "keystead-proof"
"""Tag of a key that holds the external id of the tenant that it belongs to."""
OPERATIONS = ("wrapKey", "unwrapKey")
"""What a key must permit."""
LAG = "Role assignments and firewall rules may take 10 minutes or more to be in force: if just changed, try again then."
OPERATOR = "This is the operator's to mend; nothing is known of the key."
RETRY = "Try again later."


@dataclass(frozen=True, slots=True)
class Role:
    """A built-in role that allows what this service needs, and no more.

    Attributes:
        name: Its name.
        id: Its id, the same in every Entra tenant.
    """

    name: str
    id: str


ROLES: Mapping[Literal["vault", "hsm"], Role] = {
    "vault": Role("Key Vault Crypto Service Encryption User", "e147488a-f6f5-4113-8e2d-b22465e65bf6"),
    "hsm": Role("Managed HSM Crypto Service Encryption User", "33413926-3206-4cdd-b39a-83574fe37a17"),
}


class Checklist:
    """What was found so far; a name without a finding was not tried."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def passed(self, name: str, observed: str) -> bool:
        """Note that a check passed; True."""
        self._checks[name] = Check(name, Result.PASS, observed)
        return True

    def warned(self, name: str, observed: str, remedy: str) -> bool:
        """Note that a check warns; True."""
        self._checks[name] = Check(name, Result.WARN, observed, remedy)
        return True

    def failed(self, name: str, observed: str, remedy: str) -> bool:
        """Note that a check failed; False."""
        self._checks[name] = Check(name, Result.FAIL, observed, remedy)
        return False

    def withhold(self) -> None:
        """Note that nothing is told of the key."""
        for name in WITHHELD:
            self._checks[name] = Check(name, Result.SKIP, "told only to whom the key's tag names")

    def any_failed(self, names: Iterable[str]) -> bool:
        """Whether one of these failed."""
        return any(name in self._checks and self._checks[name].result is Result.FAIL for name in names)

    def report(self) -> Report:
        """All checks in order."""
        skipped = "not tried, because of what an earlier check found"
        return Report(tuple(self._checks.get(name) or Check(name, Result.SKIP, skipped) for name in NAMES))
