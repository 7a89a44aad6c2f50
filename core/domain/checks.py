"""What an examination of a tenant's key found: named checks, each with what was observed and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Result(StrEnum):
    """How a check went. ``skip``: not tried, because an earlier one failed."""

    PASS = "pass"  # noqa: S105 - a result, not a password
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: Stable, lower case with underscores, such as ``tenant_bound``.
        result: How it went.
        observed: What was seen, in one sentence; never a secret.
        remedy: What to do about it; "" where nothing is.
    """

    name: str
    result: Result
    observed: str
    remedy: str = ""

    def to_body(self) -> dict[str, str]:
        """JSON form."""
        return {"name": self.name, "result": self.result.value, "observed": self.observed, "remedy": self.remedy}


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one examination, in the order they were made.

    Attributes:
        checks: The checks; names are unique.
        custom_key_store: Whether the key lies in a custom or external key store, where a withdrawal looks like silence.
        unbound_policy: Whether it passed although its policy is not bound to the tenant, by the operator's word.
    """

    checks: tuple[Check, ...]
    custom_key_store: bool = False
    unbound_policy: bool = False

    @property
    def ok(self) -> bool:
        """Whether the key may be put to use: no check failed, and none is outstanding."""
        return all(check.result in (Result.PASS, Result.WARN) for check in self.checks)

    def failed(self) -> Iterable[Check]:
        """The checks that failed."""
        return (check for check in self.checks if check.result is Result.FAIL)

    def to_body(self) -> dict[str, Any]:
        """JSON form."""
        return {"ok": self.ok, "checks": [check.to_body() for check in self.checks]}
