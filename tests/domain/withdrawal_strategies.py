"""Withdrawals and changes of state, as hypothesis draws them."""

from __future__ import annotations

from hypothesis import strategies as st

from core.domain.states import State
from core.domain.withdrawals import StateChange, Withdrawal

texts = st.text(max_size=8)
seconds = st.floats(0, 1e6) | st.integers(0, 1 << 40)
withdrawals = st.builds(
    Withdrawal,
    kek=texts,
    cause=texts,
    kms_code=texts,
    request_id=texts,
    first_denial=texts,
    last_denial=texts,
    back_to=st.sampled_from(State).map(lambda state: state.value),
    lease=seconds,
    outage_grace=seconds,
    receipt=texts,
    confirmed=texts,
    confirmed_code=texts,
    confirmed_request_id=texts,
    guard=texts,
    written=texts,
    last_use=texts,
    data_keys=st.integers(0, 1 << 40),
    restored=st.booleans(),
)
changes = st.builds(StateChange, *[texts] * 9)
