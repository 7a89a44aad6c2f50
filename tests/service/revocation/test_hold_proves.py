"""In `hold` nothing is served that the KEK in question has not been asked for, through an access made for it."""

from __future__ import annotations

from core.domain.bindings import Binding, LostKek
from core.domain.key_policy import KeyPolicy
from core.domain.states import State
from core.service.access import Permission
from core.service.results import DecryptItem
from tests.service.revocation.withdrawing import Owned
from tests.service.world import PLATFORM, caller


def test_what_lies_under_another_kek_is_not_readable_either(owned: Owned) -> None:
    """Data of a fallback lies under the platform's KEK, which serves; the tenant's own has refused."""
    owned.world.change(policy=KeyPolicy(fallback="platform"))
    owned.world.walk_to(State.DEGRADED, State.UNREACHABLE)
    owned.world.clock.advance(11)
    message = owned.app.encryption.encrypt("acme", b"fallen back", {})
    assert owned.record.lost_keks == (LostKek(PLATFORM.locator, Binding(since=owned.record.configuration_revision)),)
    assert owned.app.encryption.decrypt("acme", message, {}) == b"fallen back"
    for cause in ("unknown", "policy"):
        owned.deny(cause)
        owned.check()
        assert owned.state is State.HOLD
        for _ in range(30):
            owned.world.clock.advance(1)
            owned.message = message
            assert owned.outcome() == "key_revoked"


def test_it_is_proved_through_a_session_of_its_own(owned: Owned) -> None:
    owned.expire_lease()
    owned.deny()
    owned.outcome()
    owned.serve()
    owned.world.clock.advance(2)
    owned.world.connector.accesses.clear()
    assert owned.outcome() == "ok"
    assert owned.world.connector.accesses
    assert {access.lease for access in owned.world.connector.accesses} == {0}


def test_a_batch_is_one_call(owned: Owned) -> None:
    owned.expire_lease()
    owned.deny()
    owned.outcome()
    owned.serve()
    owned.world.clock.advance(2)
    asked, who = len(owned.asked), caller("acme", Permission.DATA_DECRYPT)
    for batches in (1, 2):
        found = owned.app.keystead.decrypt_many(who, "acme", [DecryptItem(owned.message, {})] * 100)
        assert found == [b"secret"] * 100
        assert len(owned.asked) - asked == 2 * batches


def test_a_hold_that_a_process_did_not_see_ends_what_it_had_cached(owned: Owned) -> None:
    """Refused, confirmed, and reinstated between two looks of another process: it must ask for itself."""
    other = owned.world.process()
    assert owned.outcome(other) == "ok"
    owned.world.clock.advance(1)
    owned.deny()
    owned.check()
    owned.world.clock.advance(1)
    owned.check()
    owned.serve()
    owned.check()
    assert owned.state is State.ACTIVE
    owned.world.clock.advance(9)
    owned.deny()
    assert owned.outcome(other) == "key_revoked"
