"""Sentences of docs/revocation.md that hang on the whole service, each by what it promises."""

from collections.abc import Callable

import pytest

from core.domain.key_policy import KeyPolicy, PolicyChange
from core.domain.states import State
from core.errors import Conflict, KeyNetworkBlocked, KeyRevoked, KeysteadError, KeySuspended, KeyUnreachable
from core.service.approvals import NOBODY
from core.service.key_policies import KeyPolicies
from core.service.revocation.turns import INTERVALS
from tests.service.revocation.withdrawing import Owned
from tests.service.world import PLATFORM

FALLBACK = KeyPolicy(fallback="platform")


def blocked(owned: Owned) -> None:
    """Take the key to ``network_blocked``."""
    owned.deny("network", "ForbiddenByFirewall")
    assert owned.check() is State.NETWORK_BLOCKED


def unreachable(owned: Owned) -> None:
    """Take it to ``unreachable``."""
    owned.silence()
    owned.check()
    owned.world.clock.advance(max(owned.policy.lease, owned.policy.outage_grace) + 1)
    assert owned.check() is State.UNREACHABLE


@pytest.mark.parametrize("trouble", [blocked, unreachable])
def test_new_data_goes_under_the_platforms_key_where_that_was_chosen_and_comes_back(
    trouble: Callable[[Owned], None],
) -> None:
    owned = Owned(policy=FALLBACK)
    trouble(owned)
    message = owned.app.encryption.encrypt("acme", b"meanwhile", {})
    assert owned.record.fallback_branch_key
    with pytest.raises(KeysteadError) as raised:
        owned.app.keystead._parts.handed_out.grant("acme", {})
    assert isinstance(raised.value, KeyNetworkBlocked | KeyUnreachable), "no data key is handed out meanwhile"
    if trouble is unreachable:
        assert owned.app.encryption.decrypt("acme", message, {}) == b"meanwhile"
    else:
        with pytest.raises(KeyNetworkBlocked):
            owned.app.encryption.decrypt("acme", message, {})
    owned.serve()
    owned.world.clock.advance(INTERVALS[-1])
    owned.app.schedules.run("check", 60)
    assert owned.state is State.ACTIVE
    assert not owned.record.fallback_branch_key, "the scheduled check has put it under the tenant's key"
    assert PLATFORM.locator not in owned.record.every_binding()
    assert owned.app.encryption.decrypt("acme", message, {}) == b"meanwhile"


@pytest.mark.parametrize("trouble", [blocked, unreachable])
def test_new_data_is_refused_where_it_was_not(trouble: Callable[[Owned], None]) -> None:
    owned = Owned()
    trouble(owned)
    with pytest.raises(KeyNetworkBlocked if trouble is blocked else KeyUnreachable):
        owned.app.encryption.encrypt("acme", b"x", {})


@pytest.mark.parametrize("state", [State.HOLD, State.REVOKED, State.SUSPENDED])
def test_there_is_no_fallback_on_a_refusal_and_no_knob_is_loosened(state: State) -> None:
    owned = Owned(policy=FALLBACK)
    if state is State.REVOKED:
        owned.revoke()
    elif state is State.SUSPENDED:
        owned.app.kill_switch.suspend("acme", "officer", {})
    else:
        owned.deny()
        owned.check()
    assert owned.state is state
    with pytest.raises(KeySuspended if state is State.SUSPENDED else KeyRevoked):
        owned.app.encryption.encrypt("acme", b"x", {})
    assert not owned.record.fallback_branch_key
    knobs: KeyPolicies = owned.app.keystead._parts.key_policies
    with pytest.raises(Conflict):
        knobs.set("acme", PolicyChange(outage_grace=1000), {}, by=NOBODY, by_operator=False)
    knobs.set("acme", PolicyChange(outage_grace=0), {}, by=NOBODY, by_operator=True)
    assert owned.record.policy.outage_grace == 0, "tightening is possible at any time"


def test_what_was_written_under_the_platforms_key_is_refused_with_the_rest() -> None:
    owned = Owned(policy=FALLBACK)
    unreachable(owned)
    message = owned.app.encryption.encrypt("acme", b"meanwhile", {})
    owned.revoke()
    with pytest.raises(KeyRevoked):
        owned.app.encryption.decrypt("acme", message, {})
    assert owned.record.fallback_branch_key, "though it does not hang on the key that was withdrawn"


def test_without_a_grace_nothing_is_served_after_one_lease_of_silence() -> None:
    owned = Owned(policy=KeyPolicy(outage_grace=0))
    assert owned.outcome() == "ok"
    owned.silence()
    owned.expire_lease()
    assert owned.outcome() == "key_unreachable"


def test_a_kill_switch_leaves_a_withdrawn_key_withdrawn() -> None:
    owned = Owned()
    owned.revoke()
    owned.app.kill_switch.suspend("acme", "officer", {})
    owned.serve()
    assert owned.check() is State.SUSPENDED
    owned.deny()
    owned.app.kill_switch.resume("acme", "officer", {})
    assert owned.state is State.REVOKED
    with pytest.raises(KeyRevoked):
        owned.app.encryption.decrypt("acme", owned.message, {})


def test_data_is_served_again_within_thirty_seconds_however_long_it_was_withdrawn() -> None:
    owned = Owned()
    owned.revoke()
    for _ in range(2 * 600):
        owned.world.clock.advance(0.5)
        owned.app.schedules.run("watch", 1)
    assert owned.state is State.REVOKED
    owned.serve()
    waited = 0.0
    while owned.outcome() != "ok":
        owned.world.clock.advance(0.5)
        waited += 0.5
        owned.app.schedules.run("watch", 1)
        assert waited <= 30
