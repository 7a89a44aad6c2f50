"""The fallback to the platform's key: by choice alone, for new data alone, and only until the tenant's own serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from core.bootstrap import Application
from core.domain.branch_keys import ACTIVE
from core.domain.instants import parse_instant
from core.domain.key_policy import KeyPolicy, PolicyChange
from core.domain.key_target import KeyTarget
from core.domain.message_header import parse_header
from core.domain.states import State
from core.domain.tenants import MAX_FORMER_BRANCH_KEYS, TenantRecord
from core.errors import (
    Denial,
    KeyNetworkBlocked,
    KeyRevoked,
    KeysteadError,
    KeySuspended,
    KeyUnreachable,
    ProviderSignal,
    Silence,
    StoreUnavailable,
    VendorFault,
)
from core.service.approvals import NOBODY
from core.service.branch_key import BranchKey
from core.service.tenant_view import TenantView
from tests.domain.withdrawn import withdrawal
from tests.service.injection import KMS, Injector, Killed, When, injected
from tests.service.world import OTHER_KEK, PLATFORM, THIRD_KEK, World, caller

OWN = KeyTarget(OTHER_KEK.locator)
SECOND = KeyTarget(THIRD_KEK.locator)
RETENTION = 35 * 86400
FALLS_BACK = (State.UNREACHABLE, State.NETWORK_BLOCKED)


def silence() -> ProviderSignal:
    return Silence("no answer")


def network() -> ProviderSignal:
    return Denial("no", cause="network", kms_code="Forbidden", request_id="r-1")


def disabled() -> ProviderSignal:
    return Denial("no", cause="disabled", kms_code="Disabled", request_id="r-2")


SIGNALS: dict[State, Callable[[], ProviderSignal]] = {State.UNREACHABLE: silence, State.NETWORK_BLOCKED: network}


@dataclass
class Falling:
    """A tenant under a KEK of its own, with a message, whose KMS a test can turn off; by choice it falls back.

    Attributes:
        fallback: The tenant's choice.
        signal: What the tenant's KMS raises, or None.
        platform_signal: What the platform's raises for the tenant's rows, or None.
        asked: Locators of the KEKs asked about rows and probes of the tenant.
    """

    fallback: str = "platform"
    signal: Callable[[], ProviderSignal] | None = None
    platform_signal: Callable[[], ProviderSignal] | None = None
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world = World(policy=KeyPolicy(fallback=self.fallback))
        self.world.tenant()
        self.world.app.key_configuration.configure("acme", OWN, {})
        self.old = self.world.encrypt(b"old")
        self.world.kms.trouble = self._trouble

    def _trouble(self, operation: str, context: Mapping[str, str]) -> None:
        kek = context.get("kms-arn", "")
        if context.get("tenant_id") != "acme":
            return
        self.asked.append(kek)
        signal = {OTHER_KEK.locator: self.signal, PLATFORM.locator: self.platform_signal}.get(kek)
        if signal is not None:
            raise signal()

    @property
    def record(self) -> TenantRecord:
        return self.world.app.tenants.read("acme")

    def fall(self, state: State = State.UNREACHABLE, seconds: float = 1000) -> Falling:
        """Have the KMS be away, and the tenant in a state in which it falls back."""
        self.world.clock.advance(seconds)
        self.signal = SIGNALS[state]
        self.world.change(state=state)
        return self

    def recover(self, app: Application | None = None) -> None:
        """Have the KMS serve again, and the next check find it out and finish what is left."""
        self.signal = None
        app = app or self.world.process()
        self.world.clock.advance(31)
        app.checks.check("acme", forced=True)
        self.world.clock.advance(1000)
        assert app.schedules.run("check", 60).failed == {}
        app.close()

    def encrypt(self, plaintext: bytes = b"new", app: Application | None = None) -> bytes:
        return (app or self.world.process()).encryption.encrypt("acme", plaintext, {})

    def decrypt(self, message: bytes, app: Application | None = None) -> bytes:
        return (app or self.world.process()).encryption.decrypt("acme", message, {})

    def reads(self, *messages: tuple[bytes, bytes]) -> None:
        """Every message is read by a process that has cached nothing."""
        fresh = self.world.process()
        for message, plaintext in ((self.old, b"old"), *messages):
            assert self.decrypt(message, fresh) == plaintext

    def keks(self) -> set[str]:
        """What the tenant's rows lie under."""
        rows = [
            stored
            for branch_key_id in self.record.branch_keys
            for stored in (
                *self.world.keys.list_versions(branch_key_id),
                self.world.keys.read(branch_key_id, ACTIVE),
            )
        ]
        return {stored.row.kek.locator for stored in rows if stored is not None}

    def ended(self, kek: str = OTHER_KEK.locator) -> None:
        """Nothing is left of the fallback but messages, and they do not need the platform's KEK."""
        found = self.record
        assert (found.state, found.kek, found.moving_from) == (State.ACTIVE, kek, None)
        assert (found.fallback_branch_key, found.lost_keks) == ("", ())
        assert self.keks() == {kek}


def branch_key_of(message: bytes) -> str:
    return parse_header(message).edks[0].branch_key_id


@pytest.mark.parametrize("state", FALLS_BACK)
def test_new_data_goes_under_a_branch_key_of_its_own_under_the_platforms_kek(state: State) -> None:
    falling = Falling().fall(state)
    before = falling.record
    message = falling.encrypt()
    found = falling.record
    assert branch_key_of(message) == found.fallback_branch_key != found.branch_key_id == branch_key_of(falling.old)
    assert found.former_branch_keys == (found.fallback_branch_key,)
    assert [lost.locator for lost in found.lost_keks] == [PLATFORM.locator]
    assert (found.state, found.kek, found.branch_key_id) == (before.state, before.kek, before.branch_key_id)
    active = falling.world.keys.read(found.fallback_branch_key, ACTIVE)
    assert active is not None
    assert active.row.kek == PLATFORM
    assert falling.keks() == {PLATFORM.locator, OTHER_KEK.locator}
    # The next one begins nothing: in this process, and in any other.
    for app in (falling.world.app, falling.world.process()):
        assert branch_key_of(falling.encrypt(app=app)) == found.fallback_branch_key
    assert falling.record == found


@pytest.mark.parametrize("state", FALLS_BACK)
def test_without_the_tenants_choice_nothing_falls_back(state: State) -> None:
    falling = Falling(fallback="").fall(state)
    expected = KeyUnreachable if state is State.UNREACHABLE else KeyNetworkBlocked
    with pytest.raises(expected):
        falling.encrypt()
    assert (falling.record.fallback_branch_key, falling.record.lost_keks) == ("", ())


REFUSALS: dict[State, tuple[Callable[[], ProviderSignal] | None, type[KeysteadError]]] = {
    State.DEGRADED: (silence, KeyUnreachable),
    State.HOLD: (disabled, KeyRevoked),
    State.REVOKED: (disabled, KeyRevoked),
    State.SUSPENDED: (None, KeySuspended),
}


@pytest.mark.parametrize("state", REFUSALS)
@pytest.mark.parametrize("begun", [False, True], ids=["never begun", "begun before"])
def test_never_on_denial_hold_or_suspension(state: State, begun: bool) -> None:
    falling = Falling()
    messages = []
    if begun:
        falling.fall()
        messages.append((falling.encrypt(), b"new"))
        falling.signal = None
        falling.world.change(state=State.ACTIVE)
    falling.signal, error = REFUSALS[state]
    if state is State.REVOKED:
        falling.world.change(state=State.HOLD, withdrawal=withdrawal(kek=OTHER_KEK.locator))
    falling.world.clock.advance(1000)
    falling.world.change(state=state)
    before, rows = falling.record, falling.keks()
    for app in (falling.world.app, falling.world.process()):
        with pytest.raises(error):
            app.encryption.encrypt("acme", b"refused", {})
        if state in {State.REVOKED, State.SUSPENDED}:
            for message, _ in messages:
                with pytest.raises(error):
                    app.encryption.decrypt("acme", message, {})
    found = falling.record
    assert (found.fallback_branch_key, found.branch_keys) == (before.fallback_branch_key, before.branch_keys)
    assert falling.keks() == rows


def test_an_outage_as_it_goes_from_its_first_silence_to_its_end() -> None:
    falling = Falling()
    app = falling.world.app
    falling.signal = silence
    falling.world.clock.advance(61)
    assert falling.decrypt(falling.old, app) == b"old", "inside the grace"
    assert falling.record.state.value == "degraded"
    written = []
    for _ in range(300):
        falling.world.clock.advance(5)
        app.schedules.run("watch", 60)
        try:
            written.append(app.encryption.encrypt("acme", b"meanwhile", {}))
        except KeyUnreachable:
            assert falling.record.state.value == "degraded", "between the cached key's end and the state's"
        if falling.record.falls_back:
            break
    message = falling.encrypt(app=app)
    assert branch_key_of(message) == falling.record.fallback_branch_key
    assert falling.decrypt(message, app) == b"new"
    with pytest.raises(KeyUnreachable):
        falling.decrypt(falling.old)
    falling.signal = None
    for _ in range(60):
        falling.world.clock.advance(1)
        app.schedules.run("watch", 60)
    assert falling.record.state is State.ACTIVE
    falling.world.clock.advance(1000)
    app.schedules.run("check", 60)
    falling.ended()
    falling.reads((message, b"new"), *((found, b"meanwhile") for found in written))
    app.close()


@pytest.mark.parametrize("state", FALLS_BACK)
def test_what_is_readable_meanwhile(state: State) -> None:
    falling = Falling().fall(state)
    message = falling.encrypt()
    for app in (falling.world.app, falling.world.process()):
        if state is State.UNREACHABLE:
            assert falling.decrypt(message, app) == b"new"
            with pytest.raises(KeyUnreachable):
                falling.decrypt(falling.old, app)
        else:
            for one in (message, falling.old):
                with pytest.raises(KeyNetworkBlocked):
                    falling.decrypt(one, app)
    falling.recover()
    falling.reads((message, b"new"))


def test_everything_is_rewrapped_when_the_kek_returns_and_needs_the_platforms_no_more() -> None:
    falling = Falling().fall()
    messages = [(falling.encrypt(b"one"), b"one"), (falling.encrypt(b"two"), b"two")]
    falling.recover()
    falling.ended()
    falling.platform_signal = disabled
    falling.asked.clear()
    falling.reads(*messages)
    new = falling.encrypt(b"three")
    assert branch_key_of(new) == falling.record.branch_key_id
    assert set(falling.asked) == {OTHER_KEK.locator}
    # And with the tenant's KEK, what was written meanwhile is withdrawn, too.
    falling.signal = disabled
    for message, _ in messages:
        with pytest.raises(KeyRevoked):
            falling.decrypt(message)


def test_the_tenants_own_check_ends_it_too() -> None:
    falling = Falling().fall()
    message = falling.encrypt()
    falling.signal = None
    falling.world.clock.advance(31)
    shown = falling.world.app.keystead.check_key(caller("acme"), "acme")
    assert (shown.state, shown.falls_back) == (State.ACTIVE, False)
    falling.ended()
    falling.reads((message, b"new"))


def test_every_process_goes_back_to_the_primary_key() -> None:
    falling = Falling().fall()
    app, other = falling.world.app, falling.world.process()
    messages = [(falling.encrypt(b"a", app), b"a"), (falling.encrypt(b"b", other), b"b")]
    falling.signal = None
    falling.world.clock.advance(31)
    assert branch_key_of(falling.encrypt(app=other)) == falling.record.fallback_branch_key
    assert app.checks.check("acme", forced=True) is State.ACTIVE
    assert branch_key_of(falling.encrypt(app=app)) == falling.record.branch_key_id, "at once where it was found out"
    falling.world.clock.advance(10)  # the state's age
    assert branch_key_of(falling.encrypt(app=other)) == falling.record.branch_key_id
    # Nothing was rewrapped yet, and everything is readable.
    assert falling.record.fallback_branch_key
    falling.reads(*messages)


def test_what_was_cached_for_it_serves_no_more_once_its_end_was_read() -> None:
    falling = Falling().fall()
    app = falling.world.process()
    message = falling.encrypt(app=app)
    falling.signal = None
    falling.world.process().checks.check("acme", forced=True)
    assert falling.record.state is State.ACTIVE
    assert branch_key_of(falling.encrypt(app=app)) == branch_key_of(message), "the state's age is not over"
    app.gate.reread(app.gate.enter_any("acme"))
    assert branch_key_of(falling.encrypt(app=app)) == falling.record.branch_key_id


def test_two_outages_in_a_row_are_both_made_good_at_once() -> None:
    falling = Falling()
    app = falling.world.process()
    for number in range(2):
        falling.fall(seconds=61)  # a lease
        message = falling.encrypt(b"%d" % number)
        falling.signal = None
        app.checks.check("acme", forced=True)
        falling.world.clock.advance(1)
        app.schedules._upkeep.mend("acme")
        falling.ended()
        falling.reads((message, b"%d" % number))


def test_a_suspension_ends_it_in_every_process_within_the_state_age() -> None:
    falling = Falling().fall()
    other = falling.world.process()
    falling.encrypt(app=other)
    falling.world.app.kill_switch.suspend("acme", "alice", {})
    with pytest.raises(KeySuspended):
        falling.encrypt(app=falling.world.app)
    falling.world.clock.advance(10)
    with pytest.raises(KeySuspended):
        falling.encrypt(app=other)


def test_a_choice_that_is_taken_back_ends_it() -> None:
    falling = Falling().fall()
    message = falling.encrypt()
    falling.world.change(policy=KeyPolicy())
    with pytest.raises(KeyUnreachable):
        falling.encrypt()
    assert falling.decrypt(message) == b"new"
    falling.recover()
    falling.ended()
    falling.reads((message, b"new"))


def test_status_audit_and_events_show_it() -> None:
    falling = Falling().fall()
    keystead, reader = falling.world.app.keystead, caller("acme")
    warning = "New data went under the platform's key"
    shown = keystead.key_status(reader, "acme")
    assert (shown.falls_back, shown.may_write) == (True, True)
    assert not [found for found in shown.warnings if found.startswith(warning)]
    falling.encrypt()
    falling.encrypt(app=falling.world.app)
    shown = keystead.key_status(reader, "acme")
    assert (shown.state, shown.falls_back, shown.exclusive_from) == (State.UNREACHABLE, True, "")
    assert [found for found in shown.warnings if found.startswith(warning)]
    facts = {
        "branch_key": falling.record.fallback_branch_key,
        "state": "unreachable",
        "reason": "CUSTOMER_WRITE",
    }
    entries = [entry for entry in falling.world.app.audit.read("acme", limit=1000) if entry.action == "key.fallback"]
    assert [(entry.subject, entry.outcome, entry.details) for entry in entries] == [("keystead", "ok", facts)]
    events = [found for found in falling.world.events.events if found[0] == "keystead.key.fallback_begun"]
    assert events == [("keystead.key.fallback_begun", "acme", facts)]
    falling.recover()
    shown = keystead.key_status(reader, "acme")
    assert (shown.falls_back, shown.warnings, shown.unreadable_versions) == (False, (), 0)


def turn_off(app: Application) -> None:
    app.keystead._parts.key_policies.set("acme", PolicyChange(fallback=""), {}, by=NOBODY, by_operator=False)


def written_from_now(falling: Falling, app: Application) -> set[str]:
    """Under which branch keys, or with which error, new data goes in the next seconds."""
    found = set()
    for _ in range(12):
        try:
            found.add(branch_key_of(falling.encrypt(app=app)))
        except KeysteadError as error:
            found.add(error.code)
        falling.world.clock.advance(1)
    return found


@pytest.mark.parametrize("begun", [False, True])
def test_turned_off_here_while_a_key_is_fetched(begun: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another thread: what was about to be written under the platform's key is not, and nothing is cached."""
    falling = Falling().fall()
    app = falling.world.app
    if begun:
        falling.world.clock.advance(11)
        falling.encrypt(app=app)
    falling.world.clock.advance(11)
    fetch, once = app.branch_keys.fallback, [turn_off]

    def late(view: TenantView, branch_key_id: str) -> BranchKey:
        if once:
            once.pop()(app)
        return fetch(view, branch_key_id)

    monkeypatch.setattr(app.branch_keys, "fallback", late)
    assert written_from_now(falling, app) == {"key_unreachable"}
    assert not once


def test_turned_off_elsewhere_while_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = Falling().fall()
    app, other = falling.world.app, falling.world.process()
    falling.world.clock.advance(11)
    reread, once = app.gate.reread, [turn_off]

    def late(view: TenantView) -> TenantRecord:
        if once and falling.record.fallback_branch_key and not view.record.fallback_branch_key:
            once.pop()(other)
        return reread(view)

    monkeypatch.setattr(app.gate, "reread", late)
    assert written_from_now(falling, app) == {"key_unreachable"}
    assert not once


def test_an_audit_log_that_is_silent_stops_no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = Falling().fall()

    def silent(entry: object) -> None:
        raise StoreUnavailable("the audit log does not answer")

    monkeypatch.setattr(falling.world.audit_log, "append", silent)
    assert falling.decrypt(falling.encrypt()) == b"new"


def test_the_day_from_which_no_backup_has_a_row_under_another_kek() -> None:
    falling = Falling()
    before = falling.record.exclusive_from
    assert before
    falling.fall()
    falling.encrypt()
    assert falling.record.exclusive_from == ""
    falling.recover()
    again = falling.record.exclusive_from
    assert again > before
    assert abs(parse_instant(again) - RETENTION - falling.world.clock.wall_time) < 1


def test_another_outage_begins_another_branch_key() -> None:
    falling = Falling()
    messages = []
    for number in range(3):
        falling.fall(FALLS_BACK[number % 2])
        messages.append((falling.encrypt(b"%d" % number), b"%d" % number))
        falling.recover()
        falling.ended()
        falling.reads(*messages)
    found = falling.record
    assert [branch_key_of(message) for message, _ in messages] == list(found.former_branch_keys)
    assert len(set(found.branch_keys)) == 4


def test_a_kek_that_is_gone_again_before_all_is_rewrapped() -> None:
    falling = Falling().fall()
    messages = [(falling.encrypt(b"one"), b"one")]
    falling.signal = None
    falling.world.clock.advance(31)
    falling.world.app.checks.check("acme", forced=True)
    key = falling.record.fallback_branch_key
    falling.fall()
    messages.append((falling.encrypt(b"two"), b"two"))
    assert falling.record.fallback_branch_key == key == branch_key_of(messages[1][0])
    falling.recover()
    falling.ended()
    falling.reads(*messages)


def test_a_platform_kek_that_does_not_serve_is_nobodys_revocation() -> None:
    falling = Falling().fall()
    falling.platform_signal = disabled
    with pytest.raises(VendorFault):
        falling.encrypt()
    assert falling.record.state is State.UNREACHABLE
    falling.platform_signal = None
    message = falling.encrypt()
    falling.recover()
    falling.reads((message, b"new"))
    falling.ended()


def test_there_is_a_bound_to_branch_keys() -> None:
    falling = Falling().fall()
    most = MAX_FORMER_BRANCH_KEYS // 2  # the rest is for KEKs that have to be given up
    former = tuple(f"former-{number}" for number in range(most - 1))
    falling.world.change(former_branch_keys=former)
    falling.encrypt()
    full = falling.record.former_branch_keys
    assert (full[:-1], full[-1]) == (former, falling.record.fallback_branch_key)
    falling.world.change(fallback_branch_key="")
    with pytest.raises(KeyUnreachable):
        falling.encrypt()
    assert (falling.record.former_branch_keys, falling.record.fallback_branch_key) == (full, "")


# -- moves meanwhile -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", FALLS_BACK)
def test_a_move_while_the_kek_is_away_waits_for_it_and_nothing_is_lost(state: State) -> None:
    falling = Falling().fall(state)
    messages = [(falling.encrypt(b"one"), b"one")]
    with pytest.raises(KeyUnreachable if state is State.UNREACHABLE else KeyNetworkBlocked):
        falling.world.process().key_configuration.configure("acme", SECOND, {})
    assert (falling.record.kek, falling.record.moving_from) == (THIRD_KEK.locator, OTHER_KEK.locator)
    falling.world.clock.advance(11)
    messages.append((falling.encrypt(b"two"), b"two"))
    if state is State.UNREACHABLE:
        assert [falling.decrypt(message) for message, _ in messages] == [b"one", b"two"]
    falling.recover()
    falling.ended(THIRD_KEK.locator)
    falling.signal = falling.platform_signal = disabled
    falling.reads(*messages)


def test_a_move_after_the_return_takes_the_rows_along() -> None:
    falling = Falling().fall()
    messages = [(falling.encrypt(b"one"), b"one")]
    falling.signal = None
    falling.world.clock.advance(31)
    falling.world.app.checks.check("acme", forced=True)
    assert falling.record.fallback_branch_key
    falling.world.app.key_configuration.configure("acme", SECOND, {})
    falling.ended(THIRD_KEK.locator)
    falling.signal = falling.platform_signal = disabled
    falling.reads(*messages)


def test_a_key_withdrawn_for_good_and_replaced_leaves_the_fallbacks_rows_with_the_new_one() -> None:
    falling = Falling().fall()
    messages = [(falling.encrypt(b"one"), b"one")]
    falling.signal = disabled
    falling.world.clock.advance(31)
    falling.world.app.checks.check("acme", forced=True)
    assert falling.record.state is State.HOLD
    falling.world.app.key_configuration.configure("acme", SECOND, {})
    found = falling.record
    assert (found.state, found.kek, found.fallback_branch_key) == (State.ACTIVE, THIRD_KEK.locator, "")
    assert [lost.locator for lost in found.lost_keks] == [OTHER_KEK.locator]
    assert falling.keks() == {THIRD_KEK.locator, OTHER_KEK.locator}
    falling.platform_signal = disabled
    assert [falling.decrypt(message) for message, _ in messages] == [b"one"]
    with pytest.raises(KeyRevoked):
        falling.decrypt(falling.old)
    falling.signal = None
    falling.world.clock.advance(1000)
    falling.world.app.schedules.run("check", 60)
    falling.reads(*messages)
    falling.world.app.close()


# -- disturbed -------------------------------------------------------------------------------------------------------


def fail(name: str) -> None:
    raise Silence("no answer") if name in KMS else StoreUnavailable("no answer")


def kill(name: str) -> None:
    raise Killed


@dataclass
class Disturbed:
    """A fallback whose beginning, or whose end, is disturbed at a call."""

    ends: bool
    falling: Falling = field(default_factory=Falling)
    injector: Injector = field(default_factory=Injector)
    messages: list[tuple[bytes, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        falling = self.falling.fall()
        if self.ends:
            self.messages += [(falling.encrypt(name), name) for name in (b"one", b"two")]
            falling.signal = None
            falling.world.clock.advance(31)
            falling.world.process().checks.check("acme", forced=True)
            falling.world.clock.advance(1000)
        self.app = injected(falling.world.app, self.injector)
        self.app.gate.enter_any("acme")

    def act(self, app: Application) -> None:
        """Begin it, or end it."""
        if self.ends:
            app.schedules._upkeep.mend("acme")
        else:
            self.messages.append((self.falling.encrypt(b"begun", app), b"begun"))

    def run(self, at: int = -1, when: When = "before", act: Callable[[str], None] = lambda name: None) -> int:
        """Do it with something happening at a call; gives how many calls there were."""
        self.injector.arm(at, when, act)
        try:
            self.act(self.app)
        except (KeysteadError, Killed):
            assert at >= 0
        finally:
            self.injector.armed = False
        return len(self.injector.points)

    def holds(self) -> None:
        """Nothing is lost now, nor at the end."""
        falling = self.falling
        fresh = falling.world.process()
        for message, plaintext in self.messages:
            assert falling.decrypt(message, fresh) == plaintext
        if not self.ends:
            falling.world.clock.advance(6)  # in which a process does not ask a KMS again that was silent
            self.act(fresh)
            self.act(self.app)
            keys = {branch_key_of(message) for message, _ in self.messages}
            assert keys == {falling.record.fallback_branch_key}
            for message, plaintext in self.messages:
                assert falling.decrypt(message, self.app) == plaintext
        falling.recover()
        falling.ended()
        falling.reads(*self.messages)
        assert not [kind for kind in falling.world.events.types() if kind.startswith("keystead.alarm")]


@pytest.mark.parametrize(
    ("ends", "trouble", "when"),
    [
        (False, kill, "before"),
        (False, fail, "before"),
        (False, fail, "after"),
        (True, kill, "before"),
        (True, fail, "after"),
    ],
    ids=["kill a begin", "fail before", "fail after", "kill a rewrap", "fail after a call of a rewrap"],
)
def test_disturbed_at_every_call_no_message_is_lost(ends: bool, trouble: Callable[[str], None], when: When) -> None:
    points = Disturbed(ends).run()
    assert points > 10
    for at in range(points):
        disturbed = Disturbed(ends)
        disturbed.run(at, when, trouble)
        assert len(disturbed.injector.points) > at
        disturbed.holds()


@pytest.mark.parametrize("ends", [False, True], ids=["begin", "rewrap"])
def test_another_process_does_the_same_at_every_call(ends: bool) -> None:
    for at in range(Disturbed(ends).run()):
        disturbed = Disturbed(ends)
        other = disturbed.falling.world.process()

        def meanwhile(name: str, disturbed: Disturbed = disturbed, other: Application = other) -> None:
            disturbed.act(other)

        disturbed.run(at, "before", meanwhile)
        if not ends:
            assert len(disturbed.messages) == 2, "both were served"
        disturbed.holds()


def test_the_kek_returns_at_every_call_of_a_begin() -> None:
    for at in range(Disturbed(ends=False).run()):
        disturbed = Disturbed(ends=False)
        falling = disturbed.falling

        def back(name: str, falling: Falling = falling) -> None:
            falling.signal = None
            falling.world.clock.advance(31)
            other = falling.world.process()
            other.checks.check("acme", forced=True)
            other.schedules._upkeep.mend("acme")

        disturbed.run(at, "before", back)
        for message, plaintext in disturbed.messages:
            assert falling.decrypt(message) == plaintext
        assert not [kind for kind in falling.world.events.types() if kind.startswith("keystead.alarm")]
        falling.world.clock.advance(11)
        message = falling.encrypt(b"after", disturbed.app)
        assert branch_key_of(message) == falling.record.branch_key_id
        falling.reads(*disturbed.messages, (message, b"after"))
        falling.recover()
        falling.ended()
        falling.reads(*disturbed.messages, (message, b"after"))
        assert not [kind for kind in falling.world.events.types() if kind.startswith("keystead.alarm")]


@pytest.mark.parametrize("state", [State.HOLD, State.SUSPENDED, State.ACTIVE])
def test_who_begins_one_in_a_state_that_ended_meanwhile_is_refused(state: State) -> None:
    falling = Falling().fall()
    injector = Injector()
    app = injected(falling.world.app, injector)
    app.gate.enter_any("acme")

    def meanwhile(name: str) -> None:
        falling.world.change(state=state)

    injector.arm(0, "before", meanwhile)  # the record is read to be changed
    with pytest.raises(KeyUnreachable, match="changes its state just now") as refusal:
        falling.encrypt(app=app)
    assert refusal.value.retry_after == 1
    found = falling.record
    assert (found.state, found.fallback_branch_key, found.branch_keys) == (state, "", (found.branch_key_id,))
    assert replace(found, state=state) == found
