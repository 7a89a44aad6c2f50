"""What a receipt states, in plain sentences: part of what is signed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_GUARDS = {
    "not_needed": "The cause is one that says of the key itself that it is off; a fault of this service's own access"
    " does not bring it about.",
    "passed": "Canary keys that this service reaches in the same way served at that time, so a fault of this service's"
    " own access was not the cause.",
    "no_canary": "No canary key is configured that this service reaches in the same way, so a fault of this service's"
    " own access was not ruled out by one.",
}

_NOT_SERVED = (
    "After {} this service neither encrypts nor decrypts anything for the tenant, and hands out no data key: by then"
    " every process has read that the key is revoked, or has stopped serving the tenant because it cannot read the"
    " state."
)
_UNTIL = (
    "This holds until the key is reinstated or another one takes its place. When that was stands in the list of"
    " receipts, not in this statement."
)
_OUTSIDE = (
    "The memory of processes that are suspended, and plaintext that was given to callers before, are outside of this"
    " statement."
)
_WHO = (
    "Who withdrew the key is not known to this service. It stands in the log of the tenant's own cloud, where the"
    " request ids in this statement are found, too."
)
_FALLBACK = (
    "By the tenant's choice new data was written under the platform's key while the tenant's own could not be reached."
    " What was not rewrapped since does not hang on the tenant's key; while the key is revoked it is not served either."
)

UNCOUNTED = (1 << 53) - 1
"""Stands for a count that could not be read; the largest integer that every JSON reader takes."""


def sentences(payload: Mapping[str, Any]) -> list[str]:
    """The statements that go with the facts of a receipt.

    Args:
        payload: The facts, as in `core.domain.receipts.build`.
    """
    found = (
        _refusal(payload),
        _GUARDS.get(payload["guard"], ""),
        _NOT_SERVED.format(payload["not_served_after"]),
        _UNTIL,
        _data_keys(payload["data_keys"]),
        _OUTSIDE,
        _last_use(payload["last_recorded_use"]),
        _WHO,
        _FALLBACK if payload["platform_key_fallback"] else "",
    )
    return [sentence for sentence in found if sentence]


def _refusal(payload: Mapping[str, Any]) -> str:
    if not payload["first_denial"]:
        return f"The key management system refused the use of the key on {payload['confirmed']}."
    return (
        f"The key management system refused the use of the key on {payload['first_denial']}, and again on"
        f" {payload['confirmed']}."
    )


def _data_keys(counted: Mapping[str, Any]) -> str:
    if counted["at_most"] >= UNCOUNTED:
        return "The count of data keys handed out to callers could not be read: any number may have been."
    if not counted["at_most"]:
        return "No data key was counted as handed out to callers."
    since = f" since {counted['counted_since']}" if counted["counted_since"] else ""
    return (
        f"At most {counted['at_most']} data keys were handed out to callers{since}. They cannot be recalled: who holds"
        " one reads what was encrypted with it."
    )


def _last_use(at: str) -> str:
    if not at:
        return "No use of the key was recorded before."
    return f"The key was in use until {at} at least: the last use that was recorded is a lower bound."
