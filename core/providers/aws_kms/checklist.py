"""The checks of an examination: their names in order, and what was found so far."""

from __future__ import annotations

from collections.abc import Iterable

from core.domain.checks import Check, Report, Result
from core.providers.aws_kms.failures import Failure, Kind

NAMES = (
    *("identity", "account", "region", "role", "external_id", "reachable", "exists", "enabled", "type", "usage"),
    *("key_store", "deletion", "round_trip", "tenant_bound", "describe", "rotation", "permissions"),
)
LAG = "New policies may take some minutes to be seen everywhere in AWS: if it was changed just now, try again later."
WITHHELD = ("exists", "enabled", "type", "usage", "key_store", "deletion", "describe", "rotation", "permissions")
"""Checks that tell something of a key: only of one that its examiner may use."""
UNFIT = frozenset({"InvalidKeyUsageException", "UnsupportedOperationException"})
"""Errors of a key of another type or usage."""
OPERATOR = "This is the operator's to mend; nothing is known of the key."
RETRY = "Try again later."


class Checklist:
    """What was found so far; a name without a finding was not tried."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self.custom_key_store = False

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
            self._checks[name] = Check(name, Result.SKIP, "told only to whom the key lets in")

    def any_failed(self, names: Iterable[str]) -> bool:
        """Whether one of these failed."""
        return any(name in self._checks and self._checks[name].result is Result.FAIL for name in names)

    def report(self) -> Report:
        """All checks in order."""
        skipped = "not tried, because of what an earlier check found"
        checks = (self._checks.get(name) or Check(name, Result.SKIP, skipped) for name in NAMES)
        return Report(tuple(checks), self.custom_key_store)


def remedy_of(failure: Failure, denied: str) -> str:
    """What to do about a failed call.

    Args:
        failure: Of the call.
        denied: What to do if it was refused.
    """
    if failure.kind in (Kind.CREDENTIALS, Kind.OWN):
        return OPERATOR
    if failure.kind is Kind.STATE:
        return "Enable the key; if it is to be deleted, cancel that before; if its material is missing, import it."
    if failure.code in UNFIT:
        return "Create a symmetric key (SYMMETRIC_DEFAULT) with usage ENCRYPT_DECRYPT, and name that."
    return f"{denied} {LAG}" if failure.kind is Kind.DENIAL else RETRY
