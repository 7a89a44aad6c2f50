"""What a signal makes of a tenant's record: decisions, no I/O."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from core.domain.kek import Kek
from core.domain.states import Signal, State, next_state
from core.domain.tenants import TenantRecord
from core.domain.withdrawals import Withdrawal, instant
from core.errors import Denial

NOT_YET_OWN = frozenset({State.PLATFORM, State.SCHEDULED})
ENDS = frozenset(
    {Signal.GRANTED, Signal.EXCUSED, Signal.NETWORK_REFUSED, Signal.WRITE_REFUSED, Signal.MOVE, Signal.REVERT}
)
"""Signals that end one, whatever it had come to."""


def signalled(
    record: TenantRecord,
    signal: Signal,
    kek: Kek,
    now: float,
    denial: Denial | None = None,
    by: str = "",
    *,
    dated: bool = True,
) -> TenantRecord:
    """The record after a signal; itself if the signal changes nothing in its state.

    Args:
        record: As it is.
        signal: What happened; `confirmed` has a function of its own.
        kek: The KEK it is about, with its version where there are versions.
        now: Seconds since the epoch: when it was heard.
        denial: What the KMS said, where it said no.
        by: Who ordered it, or "".
        dated: Whether the clock is to be believed: what is confirmed later counts from it.
    """
    back_to = State(record.withdrawal.back_to) if record.withdrawal is not None else None
    if next_state(record.state, signal, back_to) is record.state:
        return record
    after = record.after(
        signal,
        now,
        change_id=str(uuid4()),
        cause=denial.cause if denial else "",
        kek=kek.locator,
        request_id=denial.request_id if denial else "",
        by=by,
        back_to=back_to,
    )
    if signal in (Signal.DENIED, Signal.STORE_RESTORED):
        withdrawal = _withdrawal(record, kek, now, denial if dated else None, denial)
        return replace(after, withdrawal=replace(withdrawal, restored=signal is Signal.STORE_RESTORED))
    return replace(after, withdrawal=None) if signal in ENDS else after


def confirmed(
    record: TenantRecord, kek: Kek, now: float, denial: Denial, *, guard: str, last_use: str, data_keys: int
) -> TenantRecord:
    """The record of a withdrawal that was confirmed.

    Args:
        record: As it is, in state ``hold``.
        kek, now: As in `signalled`.
        denial: The KMS's second no.
        guard, last_use, data_keys: As in `Withdrawal`.
    """
    after = record.after(
        Signal.CONFIRMED,
        now,
        change_id=str(uuid4()),
        cause=denial.cause,
        kek=kek.locator,
        request_id=denial.request_id,
    )
    if record.withdrawal is None or after is record:
        return record
    return replace(
        after,
        withdrawal=replace(
            record.withdrawal,
            cause=denial.cause,
            receipt=str(uuid4()),
            confirmed=instant(now),
            confirmed_code=denial.kms_code,
            confirmed_request_id=denial.request_id,
            guard=guard,
            written=instant(now),
            last_use=last_use,
            data_keys=data_keys,
        ),
    )


def denied_anew(record: TenantRecord, kek: Kek, now: float, denial: Denial) -> TenantRecord:
    """The record in ``hold`` after a denial that is the first one of its KEK: from here the confirmation counts.

    Args:
        record, kek, now, denial: As in `confirmed`.
    """
    known = record.withdrawal
    withdrawal = _withdrawal(record, kek, now, denial, denial)
    if known is None:  # nobody knows where it came from
        withdrawal = replace(withdrawal, restored=True)
    else:
        withdrawal = replace(withdrawal, back_to=known.back_to, restored=known.restored)
    return replace(record, cause=denial.cause, withdrawal=withdrawal)


def _withdrawal(record: TenantRecord, kek: Kek, now: float, dated: Denial | None, denial: Denial | None) -> Withdrawal:
    own = record.state not in NOT_YET_OWN
    return Withdrawal(
        kek=kek.locator,
        cause=denial.cause if denial else "",
        kms_code=denial.kms_code if denial else "",
        request_id=denial.request_id if denial else "",
        first_denial=instant(now) if dated else "",
        back_to=State.ACTIVE.value if own else record.state.value,
        lease=record.lease,
        outage_grace=record.grace(kek.locator),
    )
