"""A process that holds a key serves in silence, by whichever row it was unwrapped and whatever else was changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from core.bootstrap import Application
from core.domain.key_target import KeyTarget
from core.domain.message_header import parse_header
from core.domain.states import State
from core.domain.withdrawals import instant
from core.errors import Denial, KeysteadError, KeyUnreachable, ProviderSignal, Silence, Unasked
from tests.service.revocation.test_fallbacks import Falling
from tests.service.revocation.withdrawing import Owned
from tests.service.world import OTHER_KEK, PLATFORM, THIRD_KEK, World, caller

OWN, SECOND = KeyTarget(OTHER_KEK.locator, reversible=True), KeyTarget(THIRD_KEK.locator)


def silence() -> ProviderSignal:
    return Silence("no answer")


def disabled() -> ProviderSignal:
    return Denial("no", cause="disabled", kms_code="Disabled", request_id="r-1")


@dataclass
class Keks:
    """A tenant under a KEK of its own, and another process; each KEK is treated by itself.

    Attributes:
        signals: What the KMS raises, by a KEK's locator.
    """

    signals: dict[str, Callable[[], ProviderSignal]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world = World()
        self.world.tenant()
        self.world.app.key_configuration.configure("acme", OWN, {})
        self.message = self.world.encrypt()
        self.other = self.world.process()
        self.world.kms.trouble = self._trouble

    def _trouble(self, _operation: str, context: Mapping[str, str]) -> None:
        signal = self.signals.get(context.get("kms-arn", ""))
        if signal is not None:
            raise signal()

    def warm(self) -> None:
        """Both processes read and write."""
        for app in (self.world.app, self.other):
            assert self.outcomes(app) == ["ok", "ok"]

    def outcomes(self, app: Application) -> list[str]:
        """What a caller gets who reads, and who writes."""
        uses: tuple[Callable[[], bytes], ...] = (
            lambda: app.encryption.decrypt("acme", self.message, {}),
            lambda: app.encryption.encrypt("acme", b"x", {}),
        )
        return [_outcome(use) for use in uses]


def _outcome(use: Callable[[], bytes]) -> str:
    try:
        use()
    except KeysteadError as error:
        return error.code
    return "ok"


class TestByWhicheverRow:
    def test_who_reads_often_and_writes_seldom(self) -> None:
        """The version's own row was unwrapped a minute ago, the ACTIVE row longer ago than the grace."""
        owned = Owned()
        for _ in range(20):
            owned.world.clock.advance(61)
            assert owned.outcome() == "ok"
        owned.silence()
        owned.world.clock.advance(61)
        assert owned.outcome() == "ok"
        assert owned.world.encrypt()
        assert owned.app.keystead.new_data_key(caller(), "acme", {}).data_key

    def test_who_has_never_written(self) -> None:
        owned = Owned()
        other = owned.world.process()
        assert owned.outcome(other) == "ok"
        owned.silence()
        assert other.encryption.encrypt("acme", b"x", {})

    def test_it_counts_from_when_it_was_proved_last(self) -> None:
        owned = Owned()
        other = owned.world.process()
        assert owned.outcome(other) == "ok"
        owned.silence()
        owned.world.clock.advance(899)
        assert other.encryption.encrypt("acme", b"x", {})
        owned.world.clock.advance(2)
        with pytest.raises(KeyUnreachable):
            other.encryption.encrypt("acme", b"x", {})

    def test_a_version_made_since_is_not_what_was_unwrapped(self) -> None:
        """By another process; this one has only read what lies under the version before."""
        owned = Owned()
        other = owned.world.process()
        assert owned.outcome(other) == "ok"
        owned.app.rotation.rotate("acme")
        owned.silence()
        with pytest.raises(KeyUnreachable):
            other.encryption.encrypt("acme", b"x", {})

    def test_what_is_held_by_a_version_spares_the_active_row_no_lease_of_its_own(self) -> None:
        owned = Owned()
        other = owned.world.process()
        assert owned.outcome(other) == "ok"
        asked = owned.world.kms.branch_unwraps()
        assert other.encryption.encrypt("acme", b"x", {})
        assert owned.world.kms.branch_unwraps() == asked + 1

    def test_the_active_version_opens_no_other(self) -> None:
        owned = Owned()
        owned.app.rotation.rotate("acme")
        other = owned.world.process()
        other.encryption.encrypt("acme", b"x", {})
        owned.silence()
        assert owned.outcome(other) == "key_unreachable"

    def test_an_older_proof_takes_nothing_from_the_versions_own(self) -> None:
        """The version's row was unwrapped now, the ACTIVE row in a session of long ago."""
        owned = Owned()
        other, world = owned.world.process(), owned.world
        other.encryption.encrypt("acme", b"x", {})
        world.clock.advance(61)
        assert owned.outcome(other) == "ok"
        world.kms.proved_ago = 55
        other.encryption.encrypt("acme", b"y", {})
        world.clock.advance(50)
        asked = world.kms.branch_unwraps()
        assert owned.outcome(other) == "ok"
        assert world.kms.branch_unwraps() == asked

    def test_what_the_active_row_took_over_in_silence_is_renewed_by_that_row_alone(self) -> None:
        owned = Owned()
        other, world = owned.world.process(), owned.world
        assert owned.outcome(other) == "ok"
        owned.silence()
        other.encryption.encrypt("acme", b"x", {})
        owned.serve()
        world.clock.advance(61)
        version = owned.app.rotation.rotate("acme").version
        assert owned.outcome(other) == "ok"
        message = other.encryption.encrypt("acme", b"y", {})
        assert parse_header(message).edks[0].version_id == version


class TestARefusal:
    """Heard once, by whoever asks for something else than data; then there is silence."""

    @pytest.mark.parametrize("cause", ["disabled", "policy", "unknown", "network"])
    @pytest.mark.parametrize("act", ["replace", "revert", "rotate"])
    def test_it_ends_what_every_process_holds_within_the_state_age(self, act: str, cause: str) -> None:
        keks = Keks()
        keks.warm()
        once = [Denial("no", cause=cause, kms_code="X", request_id="r-1")]
        keks.signals[OTHER_KEK.locator] = lambda: once.pop() if once else silence()
        app = keks.world.app
        with suppress(KeysteadError):
            if act == "replace":
                app.key_configuration.configure("acme", SECOND, {})
            elif act == "revert":
                app.key_configuration.revert("acme", {})
            else:
                app.rotation.rotate("acme")
        assert not once
        keks.world.clock.advance(11)
        for process in (app, keks.other):
            assert keks.outcomes(process)[0] != "ok"

    def test_one_that_was_missed_ends_what_was_unwrapped_before_it(self) -> None:
        """The KEK was given up, came back, and its rows were fetched, between two looks of the other process."""
        keks = Keks()
        keks.warm()
        keks.signals[OTHER_KEK.locator] = disabled
        keks.world.app.key_configuration.configure("acme", SECOND, {})
        keks.signals.clear()
        keks.world.process().key_configuration.check("acme", {})
        assert keks.world.app.tenants.read("acme").lost_keks == ()
        keks.signals[THIRD_KEK.locator] = silence
        keks.world.clock.advance(11)
        assert keks.outcomes(keks.other)[0] == "key_unreachable"

    @pytest.mark.parametrize("state", [State.SUSPENDED, State.REVOKED, State.HOLD])
    def test_where_nothing_cached_serves_nothing_is_written(self, state: State) -> None:
        owned = Owned()
        owned.world.walk_to(*((State.HOLD, state) if state is State.REVOKED else (state,)))
        before = owned.record
        owned.app.tenants.interrupt("acme")
        assert owned.record == before

    def test_a_store_that_does_not_answer_is_no_reason_to_fail(self) -> None:
        owned = Owned()
        owned.world.tenants.silent = True
        owned.app.tenants.interrupt("acme")


class TestChangesOfKey:
    """The record is changed first; then the former KEK must be asked to wrap anew, and does not answer."""

    @pytest.mark.parametrize("act", ["replace", "revert"])
    def test_a_silent_key_that_is_given_up_serves_what_is_held_until_it_was(self, act: str) -> None:
        keks = Keks()
        keks.warm()
        keks.signals[OTHER_KEK.locator] = silence
        keks.world.clock.advance(61)
        keks.warm()
        configuration = keks.world.app.key_configuration
        with pytest.raises(KeyUnreachable):
            configuration.configure("acme", SECOND, {}) if act == "replace" else configuration.revert("acme", {})
        keks.world.clock.advance(11)
        keks.warm()
        keks.world.clock.advance(900)
        for app in (keks.world.app, keks.other):
            assert keks.outcomes(app)[0] == "key_unreachable"

    def test_a_change_that_was_finished_leaves_what_is_held_to_the_new_key(self) -> None:
        keks = Keks()
        keks.warm()
        keks.world.app.key_configuration.configure("acme", SECOND, {})
        keks.signals[THIRD_KEK.locator] = silence
        keks.world.clock.advance(11)
        assert keks.outcomes(keks.other) == ["ok", "ok"]

    def test_going_back_to_the_platforms_key_leaves_what_is_held_to_it(self) -> None:
        keks = Keks()
        keks.warm()
        keks.world.app.key_configuration.revert("acme", {})
        keks.signals[PLATFORM.locator] = silence
        keks.world.clock.advance(11)
        assert keks.outcomes(keks.other) == ["ok", "ok"]

    @pytest.mark.parametrize("meanwhile", ["renewed", "extended"])
    def test_who_has_no_time_to_ask_knows_the_grace_of_the_new_key(self, meanwhile: str) -> None:
        keks = Keks()
        keks.warm()
        keks.world.app.key_configuration.configure("acme", SECOND, {})
        if meanwhile == "extended":
            keks.signals[THIRD_KEK.locator] = silence
        keks.world.clock.advance(61)
        assert keks.outcomes(keks.other)[0] == "ok"

        def no_time(_operation: str, _context: Mapping[str, str]) -> None:
            raise Unasked("no time left")

        keks.world.kms.trouble = no_time
        keks.world.clock.advance(100)
        assert keks.outcomes(keks.other)[0] == "ok"

    @pytest.mark.parametrize("seconds", [0, 11])
    def test_a_key_that_refuses_the_change_and_is_given_up_ends_what_it_unwrapped(self, seconds: float) -> None:
        keks = Keks()
        keks.warm()
        keks.signals[OTHER_KEK.locator] = disabled
        keks.world.app.key_configuration.configure("acme", SECOND, {})
        keks.signals[OTHER_KEK.locator] = silence
        keks.world.clock.advance(11)
        for app in (keks.world.app, keks.other):
            keks.world.clock.advance(seconds)
            assert keks.outcomes(app) == ["key_unreachable", "ok"]

    def test_a_key_that_comes_back_after_another_ends_what_it_unwrapped_before(self) -> None:
        keks = Keks()
        keks.warm()
        keks.world.app.key_configuration.configure("acme", SECOND, {})
        keks.world.app.key_configuration.configure("acme", OWN, {})
        keks.signals[OTHER_KEK.locator] = silence
        keks.world.clock.advance(11)
        assert keks.outcomes(keks.other) == ["key_unreachable", "key_unreachable"]

    def test_a_key_of_the_tenants_own_ends_what_the_platforms_unwrapped(self) -> None:
        world = World()
        world.tenant()
        message, other = world.encrypt(), world.process()
        assert other.encryption.decrypt("acme", message, {}) == b"secret"
        world.app.key_configuration.configure("acme", OWN, {})

        def trouble(_operation: str, context: Mapping[str, str]) -> None:
            if context.get("kms-arn") == OTHER_KEK.locator:
                raise silence()

        world.kms.trouble = trouble
        world.clock.advance(11)
        with pytest.raises(KeyUnreachable):
            other.encryption.decrypt("acme", message, {})

    @pytest.mark.parametrize("act", ["schedule", "cancel"])
    def test_a_date_that_is_set_or_taken_back_touches_no_key(self, act: str) -> None:
        world = World()
        world.tenant()
        message = world.encrypt()
        target = KeyTarget(OTHER_KEK.locator, activation=instant(world.clock.wall() + 86400))
        if act == "cancel":
            world.app.key_configuration.configure("acme", target, {})
        other = world.process()
        assert other.encryption.decrypt("acme", message, {}) == b"secret"
        if act == "schedule":
            world.app.key_configuration.configure("acme", target, {})
        else:
            world.app.key_configuration.revert("acme", {})

        def trouble(_operation: str, context: Mapping[str, str]) -> None:
            if context.get("kms-arn") == PLATFORM.locator:
                raise silence()

        world.kms.trouble = trouble
        world.clock.advance(61)
        assert other.encryption.decrypt("acme", message, {}) == b"secret"

    def test_another_nickname_touches_no_key(self) -> None:
        keks = Keks()
        keks.warm()
        named = KeyTarget(OTHER_KEK.locator, nickname="ours", reversible=True)
        keks.world.app.key_configuration.configure("acme", named, {})
        keks.signals[OTHER_KEK.locator] = silence
        keks.world.clock.advance(11)
        assert keks.outcomes(keks.other) == ["ok", "ok"]


class TestRowsWrappedAnew:
    """The grace is the one of the KEK that is silent, not of that which unwrapped the key."""

    def test_after_a_fallback_ended(self) -> None:
        falling = Falling()
        other = falling.world.process()
        falling.fall()
        message = falling.encrypt(app=other)
        assert falling.decrypt(message, other) == b"new"
        falling.recover()
        assert falling.record.state is State.ACTIVE
        assert falling.decrypt(message, other) == b"new"
        falling.signal = silence
        falling.world.clock.advance(100)
        assert falling.decrypt(message, other) == b"new"

    def test_after_a_lost_key_came_back_and_its_rows_were_fetched(self) -> None:
        keks = Keks()
        keks.signals[OTHER_KEK.locator] = disabled
        keks.world.app.key_configuration.configure("acme", SECOND, {})
        keks.signals.clear()
        assert keks.outcomes(keks.other) == ["ok", "ok"]
        keks.world.process().key_configuration.check("acme", {})
        assert keks.world.app.tenants.read("acme").lost_keks == ()
        keks.signals[THIRD_KEK.locator] = silence
        keks.world.clock.advance(100)
        assert keks.outcomes(keks.other) == ["ok", "ok"]
