"""How a fallback to the platform's key ends: whatever else happens to the key, what was written is never lost."""

from __future__ import annotations

from typing import Any

import pytest

from core.domain.states import State
from core.errors import Denial, KeyRevoked, KeyUnreachable
from core.service.branch_key import BranchKey
from tests.service.injection import Injector, Killed, injected
from tests.service.revocation.test_fallbacks import Falling, branch_key_of, silence


def reversible() -> Falling:
    """A tenant that may go back to the platform's key, while it falls back."""
    falling = Falling()
    falling.world.change(reversible=True)
    return falling.fall()


def test_going_back_to_the_platforms_key_takes_the_fallbacks_rows_along() -> None:
    falling = reversible()
    message = falling.encrypt()
    falling.signal = None
    falling.world.clock.advance(31)
    falling.world.app.checks.check("acme", forced=True)
    falling.world.app.key_configuration.revert("acme", {})
    assert falling.record.state is State.PLATFORM
    falling.reads((message, b"new"))


def test_going_back_while_the_kek_is_away_leaves_the_fallbacks_data_readable() -> None:
    falling = reversible()
    message = falling.encrypt()
    with pytest.raises(KeyUnreachable):
        falling.world.process().key_configuration.revert("acme", {})
    assert falling.decrypt(message) == b"new"


def cut_short_before_the_first_row() -> Falling:
    """A fallback that the record names, and whose process died before the first row of its branch key."""

    def die(name: str) -> None:
        if name == "create":
            raise Killed

    for at in range(30):
        falling, injector = Falling().fall(), Injector()
        app = injected(falling.world.app, injector)
        app.gate.enter_any("acme")
        injector.arm(at, "before", die)
        try:
            app.encryption.encrypt("acme", b"x", {})
        except Killed:
            injector.armed = False
            assert falling.record.fallback_branch_key
            return falling
    raise AssertionError("no row was made")


def test_a_fallback_that_has_no_row_yet_ends_when_the_kek_returns() -> None:
    falling = cut_short_before_the_first_row()
    falling.recover()
    falling.world.clock.advance(86400)
    process = falling.world.process()
    assert process.schedules.run("check", 60).failed == {}
    assert falling.record.fallback_branch_key == ""
    assert falling.record.exclusive_from
    process.close()


def test_a_fallback_that_ends_between_two_looks_at_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = Falling().fall()
    app = falling.world.process()
    falling.encrypt(app=app)
    view = app.gate.enter_any("acme")
    real = app.branch_keys.fallback
    falling.world.clock.advance(100)

    def late(*args: Any) -> BranchKey:
        # As another thread of this process does just here.
        falling.recover()
        app.gate.reread(view)
        return real(*args)

    monkeypatch.setattr(app.branch_keys, "fallback", late)
    message = app.encryption.encrypt("acme", b"late", {})
    assert falling.decrypt(message) == b"late"
    assert branch_key_of(message), "no branch key without a name was begun"
    assert not [name for name in falling.world.events.types() if "alarm" in name]


def test_what_was_written_meanwhile_is_not_readable_in_hold() -> None:
    falling = Falling().fall()
    message = falling.encrypt()
    falling.signal = lambda: Denial("no", cause="unknown", kms_code="Odd")
    falling.world.app.checks.check("acme", forced=True)
    assert falling.record.state is State.HOLD
    with pytest.raises(KeyRevoked):
        falling.decrypt(message)


def test_a_blip_of_the_platforms_kms_does_not_wait_for_the_tenants_probe_turn() -> None:
    falling = Falling().fall()
    app, other = falling.world.process(), falling.world.process()
    falling.encrypt(app=app)
    for _ in range(8):
        falling.world.clock.advance(25)
        app.schedules._watch.add("acme")
        app.schedules.run("watch", 60)
    falling.world.clock.advance(1000)
    falling.platform_signal = silence
    with pytest.raises(KeyUnreachable):
        falling.encrypt(app=other)
    falling.platform_signal = None
    app.checks.check("acme", forced=True)  # somebody takes the tenant's turn
    falling.world.clock.advance(6)
    message = falling.encrypt(app=other)
    assert branch_key_of(message) == falling.record.fallback_branch_key
    app.close()
