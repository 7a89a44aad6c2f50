"""The operator's caps on what tenants may tune."""

from __future__ import annotations

import math

import pytest

from core.domain.key_policy import KeyPolicy, PolicyChange
from core.domain.policy_caps import UNCAPPED, PolicyCaps
from core.errors import InvalidRequest

CAPS = PolicyCaps(lease=300, outage_grace=600)


@pytest.mark.parametrize(
    ("policy", "in_force"),
    [
        (KeyPolicy(lease=0, outage_grace=0), (0, 0)),
        (KeyPolicy(lease=300, outage_grace=600), (300, 600)),
        (KeyPolicy(lease=301, outage_grace=600), (300, 600)),
        (KeyPolicy(lease=3600, outage_grace=86400), (300, 600)),
        (KeyPolicy(lease=60, outage_grace=601), (60, 600)),
    ],
)
def test_what_is_in_force(policy: KeyPolicy, in_force: tuple[float, float]) -> None:
    found = CAPS.capped(policy)
    assert (found.lease, found.outage_grace) == in_force
    assert UNCAPPED.capped(policy) == policy


def test_caps_touch_nothing_else() -> None:
    policy = KeyPolicy(rotation_days=7, fallback="platform", approval="second_person")
    found = PolicyCaps(0, 0).capped(policy)
    assert found == KeyPolicy(lease=0, outage_grace=0, rotation_days=7, fallback="platform", approval="second_person")


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (PolicyChange(lease=301), "300 seconds"),
        (PolicyChange(outage_grace=600.5), "600 seconds"),
        (PolicyChange(lease=1, outage_grace=86400), "600 seconds"),
    ],
)
def test_more_than_the_caps_is_refused(change: PolicyChange, hint: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        CAPS.admit(change)
    assert hint in (caught.value.hint or "")
    UNCAPPED.admit(change)


@pytest.mark.parametrize("change", [PolicyChange(), PolicyChange(lease=300, outage_grace=600), PolicyChange(lease=0)])
def test_as_much_as_the_caps_passes(change: PolicyChange) -> None:
    CAPS.admit(change)


@pytest.mark.parametrize(
    "caps",
    [PolicyCaps(lease=3601), PolicyCaps(lease=-1), PolicyCaps(outage_grace=86401), PolicyCaps(outage_grace=math.nan)],
)
def test_caps_have_a_range(caps: PolicyCaps) -> None:
    with pytest.raises(InvalidRequest, match="caps"):
        caps.check()
    UNCAPPED.check()
    PolicyCaps(0, 0).check()
