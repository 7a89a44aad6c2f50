"""Receipts of revocations: what one states, as data, and how it is read back (DESIGN 5, "Receipt").

A receipt is a compact JWS over the JSON object that `build` gives; whoever has this service's JWK set can verify it
without the service. docs/receipts.md tells its fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from core.domain import jws
from core.domain.instants import parse_instant
from core.domain.kek import Kek
from core.domain.receipt_sentences import sentences
from core.domain.tenants import TenantRecord
from core.domain.withdrawals import instant
from core.errors import InternalError, InvalidRequest

TYPE = "keystead-revocation-receipt"
VERSION = 1
GUARDS = frozenset({"not_needed", "passed", "no_canary"})


@dataclass(frozen=True, slots=True)
class ReceiptBounds:
    """What `not_served_after` is reckoned from, in seconds.

    Attributes:
        state_age: How long a tenant's state counts without another look.
        store_silence: How long the last state counts if the store does not answer.
        longest_operation: How long an operation may run on after its last look at the state.
        skew: How far the clocks of this service's machines may differ.
    """

    state_age: float
    store_silence: float
    longest_operation: float
    skew: float

    @property
    def total(self) -> float:
        """Seconds after which no process serves any more, from when `revoked` is known to be stored."""
        return max(self.state_age, self.store_silence) + self.longest_operation + self.skew


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found out once a process knew that `revoked` was stored.

    Attributes:
        stored_by: UTC: it was stored by then. A write that the store answered late, or not at all, may have come into
            force long after it was begun.
        data_keys: At most so many data keys were handed out to callers.
        counted_since: UTC: since when they were counted; "" if none ever was.
    """

    stored_by: str
    data_keys: int = 0
    counted_since: str = ""


def not_served_after(stored_by: str, bounds: ReceiptBounds) -> str:
    """From when on nothing is served.

    Args:
        stored_by: UTC, ``CREATE_TIME_FORMAT``: when `revoked` was stored, or known to be.
        bounds: As the service was configured then.

    Raises:
        InvalidRequest: It is not an instant.
    """
    return instant(parse_instant(stored_by) + bounds.total)


def build(record: TenantRecord, found: Findings, *, bounds: ReceiptBounds, issued: str, issuer: str) -> dict[str, Any]:
    """The payload of the receipt for a record's withdrawal.

    Args:
        record: In state ``revoked``, with the withdrawal that was confirmed.
        found: What its store and counters said since. It counts only as far as the record, which is authenticated,
            and the clock allow.
        bounds: Of this deployment.
        issued: UTC, ``CREATE_TIME_FORMAT``.
        issuer: The deployment's public name or URL.

    Raises:
        InternalError: The record has no confirmed withdrawal.
        InvalidRequest: The record or the findings hold what cannot stand in a receipt.
    """
    withdrawal = record.withdrawal
    if withdrawal is None or not withdrawal.receipt:
        raise InternalError("a receipt was to be made of a withdrawal that is not confirmed")
    stored_by = max(withdrawal.written, min(found.stored_by, issued))
    until, kek = not_served_after(stored_by, bounds), Kek(withdrawal.kek)
    payload: dict[str, Any] = {
        "typ": TYPE,
        "version": VERSION,
        "issuer": issuer,
        "tenant_id": record.tenant_id,
        "id": withdrawal.receipt,
        "issued": issued,
        "provider": kek.provider,
        "kek": kek.key.locator,
        "kek_version": kek.version,
        "cause": withdrawal.cause,
        "first_denial": withdrawal.first_denial,
        "kms_code": withdrawal.kms_code,
        "kms_request_id": withdrawal.request_id,
        "confirmed": withdrawal.confirmed,
        "confirmation_code": withdrawal.confirmed_code,
        "confirmation_request_id": withdrawal.confirmed_request_id,
        "guard": withdrawal.guard,
        "state_written": withdrawal.written,
        "state_stored_by": stored_by,
        "bounds": asdict(bounds),
        "not_served_after": until,
        "longest_lease": withdrawal.lease,
        "longest_outage_grace": withdrawal.outage_grace,
        "last_recorded_use": withdrawal.last_use,
        "data_keys": {
            "at_most": max(withdrawal.data_keys, found.data_keys),
            "counted_since": found.counted_since,
            "none_after": until,
        },
        "platform_key_fallback": bool(record.fallback_branch_key),
    }
    payload["statements"] = sentences(payload)
    check(payload)
    return payload


def verify(statement: str, jwks: Mapping[str, Any]) -> dict[str, Any]:
    """Verify a receipt and give its payload.

    Args:
        statement: A compact JWS.
        jwks: The issuer's JWK set.

    Raises:
        InvalidRequest: It is not signed by a key of the set, or not a receipt.
    """
    payload = jws.verify(statement, jwks)
    check(payload)
    return payload


def check(payload: Mapping[str, Any]) -> None:
    """Refuse what is not the payload of a receipt of version 1. Members that it does not know may be there.

    Raises:
        InvalidRequest: It is none, or its sum is wrong.
    """
    if payload.get("typ") != TYPE:
        raise InvalidRequest("the signed statement is not a revocation receipt")
    if payload.get("version") != VERSION or type(payload["version"]) is not int:
        raise InvalidRequest(f"the receipt has another format than version {VERSION}, the one known here")
    try:
        _check_members(payload)
        bounds = ReceiptBounds(**payload["bounds"])
        right = not_served_after(payload["state_stored_by"], bounds) == payload["not_served_after"]
    except (KeyError, TypeError, ValueError, OverflowError, InvalidRequest):
        raise InvalidRequest("the signed statement does not have the form of a revocation receipt") from None
    if not right or payload["data_keys"]["none_after"] != payload["not_served_after"]:
        raise InvalidRequest("the receipt's not_served_after is not the sum of its parts")


_TEXTS = (
    *("issuer", "tenant_id", "id", "provider", "kek", "kek_version", "cause", "guard"),
    *("kms_code", "kms_request_id", "confirmation_code", "confirmation_request_id"),
)
_INSTANTS = ("issued", "confirmed", "state_written", "state_stored_by", "not_served_after")
_MAYBE_INSTANTS = ("first_denial", "last_recorded_use")
_SECONDS = ("longest_lease", "longest_outage_grace")


def _check_members(payload: Mapping[str, Any]) -> None:
    # KeyError, TypeError, ValueError or InvalidRequest: a member is missing, or is not what it has to be.
    bounds, data_keys = payload["bounds"], payload["data_keys"]
    texts = [payload[name] for name in _TEXTS]
    instants = [payload[name] for name in _INSTANTS]
    maybe = [*(payload[name] for name in _MAYBE_INSTANTS), data_keys["counted_since"]]
    seconds = [*(payload[name] for name in _SECONDS), *(bounds[name] for name in ReceiptBounds.__slots__)]
    at_most, sentences_given = data_keys["at_most"], payload["statements"]
    if not (
        all(type(text) is str for text in (*texts, *instants, *maybe, *sentences_given))
        and all(type(number) in (int, float) and number >= 0 for number in seconds)
        and type(at_most) is int
        and at_most >= 0
        and type(payload["platform_key_fallback"]) is bool
        and type(sentences_given) is list
    ):
        raise TypeError("a member has another type")
    if str(UUID(payload["id"])) != payload["id"] or payload["guard"] not in GUARDS:
        raise ValueError("an id or a guard that is none")
    for text in [*instants, *filter(None, maybe)]:
        parse_instant(text)
