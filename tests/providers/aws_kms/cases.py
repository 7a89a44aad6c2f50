"""One case of an examination: what is wrong, and what the report must say of it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.providers.aws_kms.arrangements import Arrange

OF_METADATA = ("exists", "enabled", "type", "usage", "key_store", "deletion")
FROM_USE = ("round_trip", "tenant_bound", "rotation", "permissions")
FROM_KEY = ("reachable", *OF_METADATA, *FROM_USE, "describe")


def skipped(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "skip")


NOT_LET_IN = {"round_trip": "fail", **skipped(*OF_METADATA, "tenant_bound", "describe", "rotation", "permissions")}
NOT_DESCRIBED = {"describe": "fail", "rotation": "warn", **skipped(*OF_METADATA)}


@dataclass(frozen=True)
class Case:
    """What is wrong, what does not pass then, and the check whose words must contain a piece of advice."""

    arrange: Arrange
    found: dict[str, str]
    check: str = ""
    words: str = ""
