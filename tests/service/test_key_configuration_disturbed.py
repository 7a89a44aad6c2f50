"""What once went wrong around changes of key: races, lost KEKs, silences, states that must not be undone."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from core.domain.branch_keys import ACTIVE, StoredRow
from core.domain.checks import Check, Report, Result
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.domain.tenants import MAX_FORMER_BRANCH_KEYS
from core.errors import (
    Conflict,
    Denial,
    InternalError,
    InvalidRequest,
    KeyRevoked,
    KeysteadError,
    KeySuspended,
    KeyUnreachable,
    OwnFault,
    Silence,
    StoreCorrupt,
    StoreUnavailable,
    VendorFault,
    WrapMismatch,
)
from tests.service.test_key_configuration import (
    OWN,
    SECOND,
    configure,
    in_seconds,
    record,
    refuse,
    rows_by_kek,
    status,
)
from tests.service.world import OTHER_KEK, PLATFORM, THIRD_KEK, World, caller

FOURTH = "local:fourth"


def lose(world: World) -> None:
    """The tenant's key goes, and another takes its place."""
    configure(world)
    world.encrypt()
    refuse(world, OTHER_KEK)
    configure(world, SECOND)


def half_moved(world: World, target: KeyTarget = SECOND) -> None:
    """A change to another key that was cut short, because the former one did not answer."""
    configure(world)
    refuse(world, OTHER_KEK, error=Silence)
    with pytest.raises(KeyUnreachable):
        configure(world, target)
    refuse(world)


class TestLostKeks:
    @pytest.mark.parametrize("checked", [False, True])
    def test_a_lost_key_that_returned_can_be_configured_again(self, world: World, checked: bool) -> None:
        old = world.encrypt(b"old")
        lose(world)
        newer = world.encrypt(b"newer")
        refuse(world)
        if checked:
            world.app.key_configuration.check("acme", {})
        configure(world, OWN)
        assert [world.decrypt(message) for message in (old, newer)] == [b"old", b"newer"]
        assert record(world).lost_keks == ()
        assert set(rows_by_kek(world)) == {OTHER_KEK.locator}

    def test_its_silence_serves_nothing_after_it_has_denied(self, world: World) -> None:
        configure(world)
        message = world.encrypt(b"x")
        refuse(world, OTHER_KEK)
        configure(world, SECOND)
        refuse(world)
        assert world.decrypt(message) == b"x"
        world.clock.advance(61)
        refuse(world, OTHER_KEK)
        with pytest.raises(KeyRevoked):
            world.decrypt(message)
        refuse(world, OTHER_KEK, error=Silence)
        with pytest.raises(KeyUnreachable):
            world.decrypt(message)

    def test_exclusive_from_counts_from_when_its_rows_were_fetched(self, world: World) -> None:
        lose(world)
        assert status(world).exclusive_from == ""
        world.clock.advance(100 * 86400)
        refuse(world)
        world.app.key_configuration.check("acme", {})
        assert status(world).exclusive_from > in_seconds(world, 34 * 86400)

    def test_one_that_is_no_longer_configured_blocks_nothing(self, world: World) -> None:
        lose(world)
        world.kms.keys[FOURTH] = bytes(32)
        connect = world.connector.connect

        def only(access: object) -> object:
            if access.kek == OTHER_KEK:  # type: ignore[attr-defined]
                raise VendorFault("the Region is not served any more")
            return connect(access)  # type: ignore[arg-type]

        world.connector.connect = only  # type: ignore[method-assign, assignment]
        configure(world, KeyTarget(FOURTH))
        assert record(world).kek == FOURTH

    def test_what_was_given_up_is_told(self, world: World) -> None:
        configure(world)
        world.encrypt()
        refuse(world, OTHER_KEK)
        facts = configure(world, SECOND)
        assert facts["branch_key_begun"]
        begun = [data for kind, _, data in world.events.events if kind == "keystead.key.branch_key_begun"]
        assert begun == [{"lost": OTHER_KEK.locator, "cause": "disabled"}]

    def test_their_number_is_bounded(self, world: World) -> None:
        configure(world)
        world.change(former_branch_keys=tuple(f"former-{n}" for n in range(MAX_FORMER_BRANCH_KEYS)))
        refuse(world, OTHER_KEK)
        with pytest.raises(KeyRevoked):
            configure(world, SECOND)
        assert len(record(world).former_branch_keys) == MAX_FORMER_BRANCH_KEYS

    @pytest.mark.parametrize(
        ("signal", "alarm", "error"),
        [
            (OwnFault("no", kms_code="C"), "own_access", VendorFault),
            (Denial("no", cause="unknown", kms_code="New"), "unknown_kms_answer", KeyRevoked),
        ],
        ids=["own fault", "unknown answer"],
    )
    def test_nothing_is_given_up_for_a_reason_that_is_not_plain(
        self, world: World, signal: KeysteadError, alarm: str, error: type[KeysteadError]
    ) -> None:
        configure(world)

        def trouble(operation: str, context: object) -> None:
            if context.get("kms-arn") == OTHER_KEK.locator:  # type: ignore[attr-defined]
                raise signal

        world.kms.trouble = trouble
        with pytest.raises(error):
            configure(world, SECOND)
        assert record(world).former_branch_keys == ()
        assert f"keystead.alarm.{alarm}" in world.events.types()

    def test_an_export_of_a_tenant_whose_new_branch_key_is_not_written_yet(self, world: World) -> None:
        lose(world)
        found = record(world)
        bare = "00000000-0000-4000-8000-000000000000"
        world.change(branch_key_id=bare, sequence_floor=0, former_branch_keys=found.branch_keys)
        assert len(world.app.keystead._parts.key_exports.export("acme").items) == 5


class TestFloors:
    def test_a_row_of_the_former_branch_key_does_not_raise_the_new_ones(self, world: World) -> None:
        configure(world)
        world.encrypt()
        dying = world.process()
        view = dying.gate.enter("acme", "write")
        dying.rotation._writer.rotate(view.record, dying.rotation._current(view), OTHER_KEK)  # and dies before it tells
        stale = world.process()
        stale.gate.enter_any("acme")
        refuse(world, OTHER_KEK)
        configure(world, SECOND)
        with pytest.raises(KeysteadError):
            stale.encryption.encrypt("acme", b"x", {})
        world.clock.advance(61)
        assert world.process().encryption.encrypt("acme", b"x", {})
        assert record(world).sequence_floor == 1

    def test_what_a_thread_saw_of_a_former_branch_key_counts_for_nothing(self, world: World) -> None:
        configure(world)
        view = world.app.gate.enter_any("acme")
        former = view.record.branch_key_id
        lose(world)
        world.app.gate.reread(view)
        view.saw(former, 99)
        assert view.lowest(view.record.branch_key_id) == 1
        assert world.encrypt()


class TestRaces:
    def test_a_rotation_between_reading_a_row_and_checking_it(self, world: World) -> None:
        world.encrypt()
        world.clock.advance(61)
        self.once(world, ACTIVE, lambda: world.app.rotation.rotate("acme"))
        assert world.encrypt()
        assert world.events.events == []

    def test_a_change_of_key_between_reading_a_row_and_checking_it(self, world: World) -> None:
        configure(world)
        message = world.encrypt(b"x")
        other = world.process()
        view = other.gate.enter_any("acme")

        def change() -> None:
            configure(world, SECOND)
            other.gate.reread(view)

        self.once(world, "branch:version:", change)
        assert other.encryption.decrypt("acme", message, {}) == b"x"
        assert "keystead.alarm.store_corrupt" not in world.events.types()

    @pytest.mark.parametrize("changes", [1, 2, 5])
    def test_changes_of_key_between_reading_the_record_and_the_row(
        self, world: World, changes: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However often the key changes between the two, the row is not called corrupt."""
        message = world.encrypt(b"x")
        configure(world)
        other = world.process()
        other.gate.enter_any("acme")
        targets, inner, reading = [OWN, SECOND] * 3, world.keys.read, list[bool]()

        def read(branch_key_id: str, row_type: str) -> StoredRow | None:
            if not reading and row_type != ACTIVE and len(targets) > 6 - changes:
                reading.append(True)
                configure(world, targets.pop())
                reading.clear()
            return inner(branch_key_id, row_type)

        monkeypatch.setattr(world.keys, "read", read)
        assert other.encryption.decrypt("acme", message, {}) == b"x"
        assert len(targets) == 6 - changes
        assert "keystead.alarm.store_corrupt" not in world.events.types()

    def test_a_row_that_never_fits_is_corrupt_after_one_look_at_an_unchanged_record(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        message = world.encrypt(b"x")
        configure(world)
        inner, reads = world.keys.read, list[str]()

        def read(branch_key_id: str, row_type: str) -> StoredRow | None:
            reads.append(row_type)
            found = inner(branch_key_id, row_type)
            return found and replace(found, row=replace(found.row, kek=THIRD_KEK))

        monkeypatch.setattr(world.keys, "read", read)
        with pytest.raises(StoreCorrupt):
            world.process().encryption.decrypt("acme", message, {})
        assert len(reads) == 1

    def test_a_key_that_never_stops_changing_is_not_called_corrupt_either(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        message = world.encrypt(b"x")
        configure(world)
        other = world.process()
        inner = world.keys.read

        def read(branch_key_id: str, row_type: str) -> StoredRow | None:
            found = inner(branch_key_id, row_type)
            world.change(display_name=f"{len(world.events.events)}{os.urandom(4).hex()}")
            return found and replace(found, row=replace(found.row, kek=THIRD_KEK))

        monkeypatch.setattr(world.keys, "read", read)
        with pytest.raises(StoreUnavailable):
            other.encryption.decrypt("acme", message, {})
        assert "keystead.alarm.store_corrupt" not in world.events.types()

    def test_another_process_ends_this_change_and_makes_the_next(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.encrypt()
        configure(world)
        other = world.process()
        world.kms.keys[FOURTH] = bytes(32)
        listed, done = world.keys.list_versions, list[bool]()

        def list_versions(branch_key_id: str) -> Sequence[StoredRow]:
            if not done and record(world).kek == THIRD_KEK.locator:
                done.append(True)
                configure(world, SECOND)
                configure(world, KeyTarget(FOURTH))
            return listed(branch_key_id)

        monkeypatch.setattr(world.keys, "list_versions", list_versions)
        other.key_configuration.configure("acme", SECOND, {})
        assert done
        assert record(world).kek == FOURTH
        assert "keystead.alarm.store_corrupt" not in world.events.types()

    def once(self, world: World, kind: str, act: Callable[[], object]) -> None:
        """Have something happen between the next reading of a row and what is done with it."""
        done: list[bool] = []

        def tamper(row_type: str, stored: StoredRow | None) -> StoredRow | None:
            if row_type.startswith(kind) and not done:
                done.append(True)
                act()
            return stored

        world.keys.tamper = tamper

    def test_the_loser_of_the_race_to_activate_says_nothing(self, world: World) -> None:
        configure(world, replace(OWN, activation=in_seconds(world, 5)))
        world.clock.advance(6)
        other = world.process()
        done: list[bool] = []

        def meanwhile(operation: str, context: object) -> None:
            if context.get("type") == "keystead:probe" and not done:  # type: ignore[attr-defined]
                done.append(True)
                other.encryption.encrypt("acme", b"x", {})

        world.kms.trouble = meanwhile
        assert world.encrypt()
        assert done
        assert "keystead.alarm.activation_failed" not in world.events.types()
        assert [entry.outcome for entry in world.audit_log.read("acme") if entry.action == "key.activate"] == ["ok"]

    def test_an_activation_that_fails_alike_is_audited_once(self, world: World) -> None:
        configure(world, replace(OWN, activation=in_seconds(world, 5)))

        def trouble(operation: str, context: object) -> None:
            if context.get("type") == "keystead:probe":  # type: ignore[attr-defined]
                raise Denial("no", cause="disabled")

        world.kms.trouble = trouble
        for _ in range(5):
            world.clock.advance(61)
            world.encrypt()
        outcomes = [entry.outcome for entry in world.audit_log.read("acme") if entry.action == "key.activate"]
        assert outcomes == ["key_revoked"]

    def test_every_activation_that_succeeds_is_audited(self, world: World) -> None:
        for _ in range(2):
            configure(world, replace(OWN, activation=in_seconds(world, 5), reversible=True))
            world.clock.advance(6)
            world.encrypt()
            assert record(world).state is State.ACTIVE
            world.app.key_configuration.revert("acme", {})
        outcomes = [entry.outcome for entry in world.audit_log.read("acme") if entry.action == "key.activate"]
        assert outcomes == ["ok", "ok"]


class TestSilentStore:
    def test_nothing_is_concluded_from_a_record_that_could_not_be_read_again(self, world: World) -> None:
        configure(world)
        stale = world.process()
        stale.encryption.encrypt("acme", b"x", {})
        refuse(world, OTHER_KEK)
        configure(world, SECOND)
        message = world.encrypt(b"new")
        world.tenants.silent = True
        with pytest.raises(StoreUnavailable):
            stale.encryption.decrypt("acme", message, {})
        world.tenants.silent = False
        assert stale.encryption.decrypt("acme", message, {}) == b"new"

    def test_a_moved_row_is_not_called_corrupt(self, world: World) -> None:
        message = world.encrypt(b"x")
        world.app.rotation.rotate("acme")
        stale = world.process()
        stale.encryption.encrypt("acme", b"y", {})
        configure(world)
        world.tenants.silent = True
        with pytest.raises(StoreUnavailable):
            stale.encryption.decrypt("acme", message, {})
        assert "keystead.alarm.store_corrupt" not in world.events.types()


class TestDenials:
    def test_one_that_a_change_of_key_hears_purges(self, world: World) -> None:
        half_moved(world, SECOND)
        message = world.encrypt(b"x")
        refuse(world, THIRD_KEK)
        with pytest.raises(KeyRevoked):
            world.app.key_configuration.check("acme", {})
        refuse(world, OTHER_KEK, THIRD_KEK, error=Silence)
        world.clock.advance(600)
        with pytest.raises(KeyUnreachable):
            world.decrypt(message)

    def test_the_grace_is_that_of_the_key_the_row_lies_under(self, world: World) -> None:
        """An external key store that is being left: silence may be its withdrawal."""
        world.connector.report = Report((Check("key_store", Result.WARN, "external"),), custom_key_store=True)
        configure(world)
        message = world.encrypt(b"x")
        world.connector.report = Report((Check("round_trip", Result.PASS, "ok"),))
        refuse(world, OTHER_KEK, error=Silence)
        with pytest.raises(KeyUnreachable):
            configure(world, SECOND)
        refuse(world)
        assert world.decrypt(message) == b"x"
        refuse(world, OTHER_KEK, error=Silence)
        world.clock.advance(300)
        with pytest.raises(KeyUnreachable):
            world.decrypt(message)


class TestStates:
    def test_a_rotation_does_not_finish_what_the_tenants_key_refuses(self, world: World) -> None:
        configure(world, replace(OWN, reversible=True))
        refuse(world, OTHER_KEK)
        with pytest.raises(KeyRevoked):
            world.app.key_configuration.revert("acme", {})
        with pytest.raises(Conflict):
            world.app.keystead.rotate(caller(), "acme")
        with pytest.raises(KeyRevoked):
            world.encrypt()
        assert PLATFORM.locator not in rows_by_kek(world)

    @pytest.mark.parametrize("act", ["check", "revert"])
    def test_the_kill_switch_stays_on(self, world: World, act: str) -> None:
        half_moved(world)
        world.change(state=State.SUSPENDED)
        with pytest.raises(KeySuspended):
            getattr(world.app.key_configuration, act)("acme", {})
        assert record(world).state is State.SUSPENDED

    def test_going_back_from_a_state_that_has_no_way_there_touches_nothing(self, world: World) -> None:
        configure(world, replace(OWN, reversible=True))
        world.walk_to(State.HOLD, State.REVOKED)
        before = record(world)
        with pytest.raises(Conflict):
            world.app.key_configuration.revert("acme", {})
        assert record(world) == before

    def test_a_new_key_that_serves_ends_a_revocation_of_the_former(self, world: World) -> None:
        configure(world)
        message = world.encrypt(b"x")
        world.walk_to(State.HOLD, State.REVOKED)
        configure(world, SECOND)
        assert record(world).state is State.ACTIVE
        assert world.decrypt(message) == b"x"

    def test_an_enablement_whose_key_died_half_way_can_be_given_up(self, world: World) -> None:
        messages = [world.encrypt(b"one")]
        world.app.rotation.rotate("acme")
        messages.append(world.encrypt(b"two"))
        calls: list[bool] = []

        def trouble(operation: str, context: object) -> None:
            if context.get("kms-arn") == OTHER_KEK.locator and context.get("type") != "keystead:probe":  # type: ignore[attr-defined]
                calls.append(True)
                if len(calls) > 2:
                    raise Denial("gone", cause="deleted")

        world.kms.trouble = trouble
        with pytest.raises(KeyRevoked):
            configure(world)
        world.app.key_configuration.revert("acme", {})
        assert (record(world).state, record(world).kek) == (State.PLATFORM, PLATFORM.locator)
        assert world.decrypt(world.encrypt(b"on")) == b"on"
        configure(world, SECOND)
        world.kms.trouble = lambda operation, context: None
        world.app.key_configuration.check("acme", {})
        assert [world.decrypt(message) for message in messages] == [b"one", b"two"]


class TestConfigure:
    def test_the_same_again_changes_nothing(self, world: World) -> None:
        configure(world)
        world.encrypt()
        before, unwraps = record(world), world.kms.branch_unwraps()
        assert configure(world)["unchanged"]
        world.encrypt()
        assert (record(world), world.kms.branch_unwraps()) == (before, unwraps)

    def test_a_new_name_makes_no_new_probe(self, world: World) -> None:
        configure(world)
        for name in ("one", "two", "three"):
            configure(world, replace(OWN, nickname=name))
        assert sum(name.startswith("probe:") for _, name in world.tenants._documents) == 1
        assert record(world).binding.nickname == "three"

    def test_resuming_with_other_wishes_heeds_them(self, world: World) -> None:
        refuse(world, OTHER_KEK, error=Silence)
        with pytest.raises(KeyUnreachable):
            configure(world, replace(OWN, reversible=True))
        refuse(world)
        configure(world, replace(OWN, nickname="other"))
        assert (record(world).reversible, record(world).binding.nickname) == (False, "other")

    def test_a_schedule_that_cannot_be_claims_no_key(self, world: World) -> None:
        configure(world)
        world.tenant("rival")
        with pytest.raises(Conflict):
            configure(world, replace(SECOND, activation=in_seconds(world, 50)))
        configure(world, SECOND, "rival")

    @pytest.mark.parametrize("lie", ["another key", "mismatch"])
    def test_a_kms_that_does_not_give_back_what_it_wrapped(self, world: World, lie: str) -> None:
        unwrap = world.kms.unwrap

        def wrong(wrapped: object, context: object) -> object:
            found = unwrap(wrapped, context)  # type: ignore[arg-type]
            if context.get("type") == "keystead:probe":  # type: ignore[attr-defined]
                if lie == "mismatch":
                    raise WrapMismatch("no match")
                return replace(found, key=bytes(32))
            return found

        world.kms.unwrap = wrong  # type: ignore[method-assign, assignment]
        with pytest.raises(InternalError):
            configure(world)
        assert record(world).kek == PLATFORM.locator


class TestDates:
    def test_a_date_long_past_is_a_slip(self, world: World) -> None:
        with pytest.raises(InvalidRequest):
            configure(world, replace(OWN, activation=in_seconds(world, -2 * 86400)))
        assert record(world).state is State.PLATFORM

    def test_it_may_pass_while_the_same_is_asked_again(self, world: World) -> None:
        target = replace(OWN, activation=in_seconds(world, 60))
        configure(world, target)
        world.clock.advance(3 * 86400)
        configure(world, target)
        assert record(world).state is State.ACTIVE
        assert configure(world, target)["unchanged"]

    def test_a_way_back_cannot_be_had_afterwards(self, world: World) -> None:
        configure(world)
        with pytest.raises(Conflict):
            configure(world, replace(OWN, reversible=True))
        assert not record(world).reversible
