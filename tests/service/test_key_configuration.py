"""Bring your own key, without any disturbance: enable, schedule, replace, go back, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from core.bootstrap import assemble
from core.domain.branch_keys import ACTIVE, CREATE_TIME_FORMAT
from core.domain.checks import Check, Report, Result
from core.domain.instants import parse_instant
from core.domain.kek import Kek, WrappedKey
from core.domain.key_target import KeyTarget, activation_time
from core.domain.message_header import parse_header
from core.domain.states import State
from core.domain.tenants import TenantRecord
from core.errors import (
    Conflict,
    Denial,
    InvalidRequest,
    KeyCheckFailed,
    KeyRevoked,
    KeysteadError,
    KeySuspended,
    KeyUnreachable,
    MessageInvalid,
    NotFound,
    Silence,
    StoreCorrupt,
    VendorFault,
)
from core.service.results import KeyStatus, MoveProgress
from tests.service.world import OTHER_KEK, PLATFORM, THIRD_KEK, World

OWN = KeyTarget(OTHER_KEK.locator)
SECOND = KeyTarget(THIRD_KEK.locator)


def configure(world: World, target: KeyTarget = OWN, tenant_id: str = "acme") -> dict[str, Any]:
    facts: dict[str, Any] = {}
    world.app.key_configuration.configure(tenant_id, target, facts)
    return facts


def record(world: World, tenant_id: str = "acme") -> TenantRecord:
    return world.app.tenants.read(tenant_id)


def status(world: World) -> KeyStatus:
    return world.app.keystead._parts.status.status("acme")


def rows_by_kek(world: World) -> dict[str, int]:
    """How many live rows, ACTIVE ones included, lie under each KEK."""
    found: dict[str, int] = {}
    for branch_key_id in record(world).branch_keys:
        active = world.keys.read(branch_key_id, ACTIVE)
        assert active is not None
        for stored in (*world.keys.list_versions(branch_key_id), active):
            found[stored.row.kek.locator] = found.get(stored.row.kek.locator, 0) + 1
    return found


def in_seconds(world: World, seconds: float) -> str:
    return datetime.fromtimestamp(world.clock.wall_time + seconds, UTC).strftime(CREATE_TIME_FORMAT)


def refuse(world: World, *keks: Kek, error: type[KeysteadError] = Denial) -> None:
    """Have KEKs withdrawn, or silent."""

    def trouble(operation: str, context: Any) -> None:
        if context.get("kms-arn") in {kek.locator for kek in keks} and context.get("type") != "keystead:probe":
            raise Denial("no", cause="disabled") if error is Denial else error("no")

    world.kms.trouble = trouble


def test_enabling_rewraps_everything_and_rotates(world: World) -> None:
    old = [world.encrypt(b"one")]
    world.app.rotation.rotate("acme")
    old.append(world.encrypt(b"two"))
    facts = configure(world)
    assert facts["rewrapped"] == 2
    assert facts["rotated"]
    found = record(world)
    assert (found.state, found.kek, found.moving_from) == (State.ACTIVE, OTHER_KEK.locator, None)
    assert found.configuration_revision == 2
    assert rows_by_kek(world) == {OTHER_KEK.locator: 4}
    assert [world.decrypt(message) for message in old] == [b"one", b"two"]
    assert world.decrypt(world.encrypt(b"three")) == b"three"
    shown = status(world)
    assert (shown.versions, shown.active_sequence, shown.platform_key, shown.move) == (3, 3, False, None)


def test_a_slip_in_the_date_does_not_activate_a_scheduled_key(world: World) -> None:
    scheduled = replace(OWN, activation=in_seconds(world, 30 * 86400))
    configure(world, scheduled)
    with pytest.raises(InvalidRequest, match="lies in the past"):
        configure(world, replace(OWN, activation=in_seconds(world, -300 * 86400)))
    found = record(world)
    assert (found.state, found.pending) == (State.SCHEDULED, scheduled)
    world.clock.advance(40 * 86400)
    configure(world, scheduled)  # the same again is a repetition, however late
    assert record(world).state is State.ACTIVE


def test_after_enablement_no_live_row_opens_under_the_platform_key(world: World) -> None:
    world.encrypt()
    branch_key_id = record(world).branch_key_id
    before = world.keys.list_versions(branch_key_id)
    configure(world)
    active = world.keys.read(branch_key_id, ACTIVE)
    assert active is not None
    for stored in (*world.keys.list_versions(branch_key_id), active):
        for kek in (PLATFORM, stored.row.kek):
            row = replace(stored.row, kek=kek)
            for context in (row.kms_context("keystead-branch-keys"), stored.row.kms_context("keystead-branch-keys")):
                opens = kek != PLATFORM and context["kms-arn"] == stored.row.kek.locator
                try:
                    world.kms.unwrap(WrappedKey(kek, stored.row.enc), context)
                    assert opens
                except KeysteadError:
                    assert not opens
    assert active.row.version not in {stored.row.type for stored in before}  # born under the new KEK


@pytest.mark.parametrize("which", ["version", "active"])
def test_a_row_of_before_the_move_is_refused(world: World, which: str) -> None:
    message = world.encrypt()
    branch_key_id = record(world).branch_key_id
    version, active = world.keys.list_versions(branch_key_id)[0], world.keys.read(branch_key_id, ACTIVE)
    configure(world)
    world.keys.tamper = lambda row_type, stored: (
        (active if row_type == ACTIVE else version) if (row_type == ACTIVE) == (which == "active") else stored
    )
    other = world.process()
    act = other.encryption.encrypt if which == "active" else other.encryption.decrypt
    with pytest.raises(StoreCorrupt):
        act("acme", message, {})
    assert "keystead.alarm.store_corrupt" in world.events.types()


def test_a_row_of_an_earlier_time_under_the_same_kek_is_refused(world: World) -> None:
    """Enable, go back, enable again: the KEK in force is one that old rows name too."""
    message = world.encrypt()
    branch_key_id = record(world).branch_key_id
    configure(world, replace(OWN, reversible=True))
    old = world.keys.list_versions(branch_key_id)[0]
    world.app.key_configuration.revert("acme", {})
    configure(world, replace(OWN, reversible=True))
    assert old.row.kek.locator == record(world).kek
    world.keys.tamper = lambda row_type, stored: old if row_type == old.row.type else stored
    with pytest.raises(StoreCorrupt):
        world.process().encryption.decrypt("acme", message, {})


def test_a_process_of_before_serves_on_across_the_move(world: World) -> None:
    other = world.process()
    message = other.encryption.encrypt("acme", b"before", {})
    configure(world)
    assert other.encryption.decrypt("acme", message, {}) == b"before"
    after = world.encrypt(b"after")
    assert other.encryption.decrypt("acme", after, {}) == b"after"
    world.clock.advance(11)
    other.encryption.encrypt("acme", b"x", {})
    assert other.gate.enter("acme", "read").record.kek == OTHER_KEK.locator


def test_a_rotation_of_a_process_of_before_is_fenced(world: World) -> None:
    other = world.process()
    other.encryption.encrypt("acme", b"x", {})
    stale = other.gate.enter("acme", "write").record
    active = world.keys.read(stale.branch_key_id, ACTIVE)
    assert active is not None
    configure(world)
    with pytest.raises(Conflict):
        other.rotation._writer.rotate(stale, active, PLATFORM)
    assert rows_by_kek(world) == {OTHER_KEK.locator: 3}


class TestSchedule:
    def test_the_first_call_after_the_date_is_served_under_the_new_key(self, world: World) -> None:
        configure(world, replace(OWN, activation=in_seconds(world, 5)))
        assert record(world).state is State.SCHEDULED
        world.encrypt()
        world.clock.advance(4.5)
        world.encrypt()
        assert record(world).kek == PLATFORM.locator
        world.clock.advance(0.6)
        message = world.encrypt()
        found = record(world)
        assert (found.state, found.kek, found.pending) == (State.ACTIVE, OTHER_KEK.locator, None)
        assert rows_by_kek(world) == {OTHER_KEK.locator: 3}
        # The message names the version born under the new key.
        refuse(world, OTHER_KEK)
        with pytest.raises(KeyRevoked):
            world.process().encryption.decrypt("acme", message, {})

    def test_the_activation_is_audited_as_the_services_own_act(self, world: World) -> None:
        configure(world, replace(OWN, activation=in_seconds(world, 5)))
        world.clock.advance(6)
        world.encrypt()
        entries = [(e.action, e.subject, e.outcome) for e in world.audit_log.read("acme")]
        assert ("key.activate", "keystead", "ok") in entries
        changes = [data for kind, _, data in world.events.events if kind == "keystead.key.state_changed"]
        assert [(data["from"], data["to"]) for data in changes] == [("platform", "scheduled"), ("scheduled", "active")]
        moved = {"from": PLATFORM.locator, "to": OWN.locator}
        assert ("keystead.key.kek_changed", "acme", moved) in world.events.events

    def test_a_check_activates_too(self, world: World) -> None:
        configure(world, replace(OWN, activation=in_seconds(world, 5)))
        world.app.key_configuration.check("acme", {})
        assert record(world).state is State.SCHEDULED
        world.clock.advance(6)
        world.app.key_configuration.check("acme", {})
        assert record(world).state is State.ACTIVE

    @pytest.mark.parametrize("error", [Denial, Silence])
    def test_a_key_that_does_not_serve_then_leaves_the_platform_key_in_force(
        self, world: World, error: type[KeysteadError]
    ) -> None:
        message = world.encrypt(b"x")
        configure(world, replace(OWN, activation=in_seconds(world, 5)))
        world.clock.advance(6)
        unwraps = len(world.kms.unwraps)

        def trouble(operation: str, context: Mapping[str, str]) -> None:
            if context.get("type") == "keystead:probe":
                raise Denial("no", cause="disabled") if error is Denial else error("no")

        world.kms.trouble = trouble
        assert world.decrypt(message) == b"x"
        assert world.encrypt()
        asked = sum(context.get("type") == "keystead:probe" for context in world.kms.unwraps[unwraps:])
        assert asked == 1  # not by every call
        assert record(world).state is State.SCHEDULED
        assert "keystead.alarm.activation_failed" in world.events.types()
        assert any("has passed" in warning for warning in status(world).warnings)
        world.kms.trouble = lambda operation, context: None
        world.clock.advance(61)
        world.encrypt()
        assert record(world).state is State.ACTIVE

    def test_a_date_in_the_past_is_now(self, world: World) -> None:
        configure(world, replace(OWN, activation=in_seconds(world, -5)))
        assert record(world).state is State.ACTIVE

    def test_it_can_be_cancelled(self, world: World) -> None:
        configure(world, replace(OWN, activation=in_seconds(world, 5)))
        world.app.key_configuration.revert("acme", {})
        found = record(world)
        assert (found.state, found.pending) == (State.PLATFORM, None)
        world.clock.advance(20)
        world.encrypt()
        assert record(world).kek == PLATFORM.locator

    def test_it_can_be_changed_and_pulled_forward(self, world: World) -> None:
        configure(world, replace(OWN, activation=in_seconds(world, 5)))
        configure(world, replace(SECOND, activation=in_seconds(world, 50)))
        world.clock.advance(10)
        world.encrypt()
        assert record(world).state is State.SCHEDULED
        configure(world, SECOND)
        assert (record(world).state, record(world).kek) == (State.ACTIVE, THIRD_KEK.locator)

    def test_only_a_first_key_can_be_scheduled(self, world: World) -> None:
        configure(world)
        with pytest.raises(Conflict):
            configure(world, replace(SECOND, activation=in_seconds(world, 5)))
        assert record(world).kek == OTHER_KEK.locator


class TestReplace:
    def test_everything_moves_to_the_new_key(self, world: World) -> None:
        configure(world)
        message = world.encrypt(b"under the first")
        configure(world, replace(SECOND, nickname="second"))
        assert rows_by_kek(world) == {THIRD_KEK.locator: 4}
        assert world.decrypt(message) == b"under the first"
        assert record(world).binding.nickname == "second"
        assert record(world).former_branch_keys == ()

    def test_another_way_to_the_same_key_keeps_the_rows(self, world: World) -> None:
        configure(world)
        version = status(world).active_version
        configure(world, replace(OWN, nickname="renamed"))
        assert status(world).active_version == version
        assert status(world).nickname == "renamed"
        assert record(world).configuration_revision == 3
        world.app.rotation.rotate("acme")  # the fence came along

    def test_a_key_that_is_gone_starts_a_new_branch_key(self, world: World) -> None:
        old = world.encrypt(b"old")
        configure(world)
        lost = world.encrypt(b"lost for now")
        refuse(world, OTHER_KEK)
        facts = configure(world, SECOND)
        assert facts["waiting"] == 3  # two versions and the former ACTIVE row
        found = record(world)
        assert (found.kek, len(found.former_branch_keys)) == (THIRD_KEK.locator, 1)
        new = world.encrypt(b"new")
        assert world.decrypt(new) == b"new"
        for message in (old, lost):
            with pytest.raises(KeyRevoked):
                world.decrypt(message)
        assert world.decrypt(new) == b"new"
        shown = status(world)
        assert (shown.versions, shown.unreadable_versions) == (1, 2)
        assert any("former key" in warning for warning in shown.warnings)

        refuse(world)  # the former key returns
        assert world.decrypt(lost) == b"lost for now"
        world.app.key_configuration.check("acme", {})
        assert rows_by_kek(world) == {THIRD_KEK.locator: 5}
        assert record(world).lost_keks == ()
        refuse(world, OTHER_KEK)
        other = world.process()
        assert [other.encryption.decrypt("acme", m, {}) for m in (old, lost, new)] == [b"old", b"lost for now", b"new"]
        assert (status(world).versions, status(world).unreadable_versions) == (3, 0)

    def test_an_unreadable_old_message_does_not_purge_what_serves(self, world: World) -> None:
        configure(world)
        lost = world.encrypt()
        refuse(world, OTHER_KEK)
        configure(world, SECOND)
        world.encrypt()
        unwraps = world.kms.branch_unwraps()
        with pytest.raises(KeyRevoked):
            world.decrypt(lost)
        world.encrypt(b"cached still")
        assert world.kms.branch_unwraps() == unwraps + 1  # the former key was asked, the one in force was not

    def test_a_process_of_before_decrypts_under_the_new_branch_key(self, world: World) -> None:
        configure(world)
        other = world.process()
        other.encryption.encrypt("acme", b"x", {})
        refuse(world, OTHER_KEK)
        configure(world, SECOND)
        assert other.encryption.decrypt("acme", world.encrypt(b"new"), {}) == b"new"

    def test_a_foreign_branch_key_is_looked_up_once_only(self, world: World) -> None:
        world.tenant("other")
        foreign = world.app.encryption.encrypt("other", b"x", {})
        for _ in range(5):
            with pytest.raises(MessageInvalid):
                world.app.encryption._open(
                    world.app.gate.enter("acme", "read"),
                    parse_header(foreign),
                )
        reads = world.tenants.reads
        with pytest.raises(MessageInvalid):
            world.app.encryption._open(
                world.app.gate.enter("acme", "read"),
                parse_header(foreign),
            )
        assert world.tenants.reads == reads

    def test_silence_of_the_former_key_is_no_loss(self, world: World) -> None:
        configure(world)
        message = world.encrypt(b"x")
        refuse(world, OTHER_KEK, error=Silence)
        with pytest.raises(KeyUnreachable):
            configure(world, SECOND)
        assert record(world).former_branch_keys == ()
        shown = status(world)
        assert shown.move == MoveProgress(OTHER_KEK.locator, THIRD_KEK.locator, 0, 2)
        refuse(world)
        configure(world, SECOND)
        assert rows_by_kek(world) == {THIRD_KEK.locator: 4}
        assert world.decrypt(message) == b"x"

    def test_a_change_under_way_can_be_taken_back_but_not_diverted(self, world: World) -> None:
        configure(world)
        message = world.encrypt(b"x")
        refuse(world, OTHER_KEK, error=Silence)
        with pytest.raises(KeyUnreachable):
            configure(world, SECOND)
        world.kms.keys["local:fourth"] = bytes(32)
        with pytest.raises(Conflict):
            configure(world, KeyTarget("local:fourth"))
        refuse(world)
        configure(world, OWN)
        assert set(rows_by_kek(world)) == {OTHER_KEK.locator}
        assert world.decrypt(message) == b"x"


class TestGoBack:
    def test_it_is_refused_by_default(self, world: World) -> None:
        configure(world)
        with pytest.raises(Conflict, match="for good"):
            world.app.key_configuration.revert("acme", {})
        assert record(world).state is State.ACTIVE

    def test_a_later_configuration_does_not_make_it_possible(self, world: World) -> None:
        configure(world)
        with pytest.raises(Conflict, match="fixed"):
            configure(world, replace(SECOND, reversible=True))
        configure(world, SECOND)
        with pytest.raises(Conflict, match="for good"):
            world.app.key_configuration.revert("acme", {})

    def test_where_it_was_allowed_everything_moves_back(self, world: World) -> None:
        configure(world, replace(OWN, reversible=True))
        message = world.encrypt(b"x")
        world.app.key_configuration.revert("acme", {})
        found = record(world)
        assert (found.state, found.kek, found.exclusive_from) == (State.PLATFORM, PLATFORM.locator, "")
        assert set(rows_by_kek(world)) == {PLATFORM.locator}
        assert world.decrypt(message) == b"x"
        assert not record(world).former_branch_keys

    def test_not_from_a_key_that_refuses(self, world: World) -> None:
        configure(world, replace(OWN, reversible=True))
        message = world.encrypt(b"x")
        refuse(world, OTHER_KEK)
        with pytest.raises(KeyRevoked):
            world.app.key_configuration.revert("acme", {})
        assert not record(world).former_branch_keys
        refuse(world)
        world.app.key_configuration.revert("acme", {})
        assert record(world).state is State.PLATFORM
        assert world.decrypt(message) == b"x"

    def test_an_enablement_cut_short_can_be_given_up(self, world: World) -> None:
        message = world.encrypt(b"x")
        refuse(world, OTHER_KEK, error=Silence)
        with pytest.raises(KeyUnreachable):
            configure(world)
        world.app.key_configuration.revert("acme", {})
        found = record(world)
        assert (found.state, found.kek, found.moving_from) == (State.PLATFORM, PLATFORM.locator, None)
        assert set(rows_by_kek(world)) == {PLATFORM.locator}
        refuse(world)
        assert world.decrypt(message) == b"x"

    def test_there_is_nothing_to_go_back_from(self, world: World) -> None:
        with pytest.raises(Conflict):
            world.app.key_configuration.revert("acme", {})


class TestRefused:
    def test_a_failed_examination_changes_nothing(self, world: World) -> None:
        world.connector.report = Report((Check("enabled", Result.FAIL, "the key is disabled", "Enable it."),))
        before = record(world)
        with pytest.raises(KeyCheckFailed) as raised:
            configure(world)
        assert [check["name"] for check in raised.value.checks] == ["entitled", "enabled", "exclusive"]
        assert raised.value.checks[2]["result"] == "skip"
        assert replace(record(world), external_id="") == before
        world.tenant("other")
        assert world.app.key_configuration._claims.free_for(OTHER_KEK, "other")

    def test_an_outstanding_check_does_not_pass(self, world: World) -> None:
        world.connector.report = Report((Check("enabled", Result.SKIP, "not tried"),))
        with pytest.raises(KeyCheckFailed):
            configure(world)

    def test_a_key_of_another_tenant(self, world: World) -> None:
        configure(world)
        world.tenant("other")
        with pytest.raises(KeyCheckFailed) as raised:
            configure(world, OWN, "other")
        assert [c["name"] for c in raised.value.checks if c["result"] == "fail"] == ["exclusive"]
        assert "acme" not in str(raised.value.checks) + raised.value.detail

    def test_a_key_of_another_tenant_stays_its_own_after_it_left(self, world: World) -> None:
        configure(world, replace(OWN, reversible=True))
        world.app.key_configuration.revert("acme", {})
        world.tenant("other")
        with pytest.raises(KeyCheckFailed):
            configure(world, OWN, "other")

    def test_whose_key_it_is_is_not_told_to_who_has_not_shown_control(self, world: World) -> None:
        configure(world)
        world.tenant("other")
        world.connector.report = Report((Check("round_trip", Result.FAIL, "refused"),))
        report = world.app.key_configuration.validate("other", OWN)
        assert [c.result for c in report.checks if c.name == "exclusive"] == [Result.SKIP]

    def test_an_offering_that_does_not_cover_the_cloud(self, world: World) -> None:
        world.app.tenants.update("acme", offering="basic")
        accesses = len(world.connector.accesses)
        with pytest.raises(KeyCheckFailed) as raised:
            configure(world)
        assert [c["name"] for c in raised.value.checks] == ["entitled"]
        assert len(world.connector.accesses) == accesses  # the key was not touched

    def test_an_unbound_policy_passes_with_the_operators_word_only(self, world: World) -> None:
        world.connector.report = Report((Check("tenant_bound", Result.FAIL, "another tenant's context passed"),))
        with pytest.raises(KeyCheckFailed):
            configure(world)
        world.app.tenants.update("acme", unbound_policy_accepted=True)
        facts = configure(world)
        assert facts["warned"] == ["tenant_bound"]
        world.app.tenants.update("acme", unbound_policy_accepted=False)
        assert any("not bound" in warning for warning in status(world).warnings)  # for as long as that key serves
        world.connector.report = Report((Check("tenant_bound", Result.PASS, "bound"),))
        configure(world, SECOND)
        assert not any("not bound" in warning for warning in status(world).warnings)

    def test_the_operators_word_covers_no_other_check(self, world: World) -> None:
        world.app.tenants.update("acme", unbound_policy_accepted=True)
        world.connector.report = Report((Check("enabled", Result.FAIL, "disabled"),))
        with pytest.raises(KeyCheckFailed):
            configure(world)

    @pytest.mark.parametrize(
        ("target", "error"),
        [
            (KeyTarget("arn:aws:kms:eu-central-1:111122223333:alias/x"), InvalidRequest),
            (KeyTarget("arn:aws:kms:eu-central-1:111122223333:key/*"), InvalidRequest),
            (KeyTarget("https://x.vault.azure.net/keys/a/b"), InvalidRequest),
            (KeyTarget("nonsense"), InvalidRequest),
            (KeyTarget("local:x", role_arn="arn:aws:iam::111122223333:role/x"), InvalidRequest),
            (KeyTarget(OTHER_KEK.locator, nickname="x" * 101), InvalidRequest),
            (KeyTarget(OTHER_KEK.locator, nickname="a\nb"), InvalidRequest),
            (KeyTarget(OTHER_KEK.locator, activation="tomorrow"), InvalidRequest),
            (KeyTarget(PLATFORM.locator), InvalidRequest),
        ],
        ids=lambda value: str(value)[:60],
    )
    def test_targets_that_cannot_be(self, world: World, target: KeyTarget, error: type[KeysteadError]) -> None:
        with pytest.raises(error):
            configure(world, target)

    def test_an_unknown_tenant(self, world: World) -> None:
        with pytest.raises(NotFound):
            configure(world, OWN, "nobody")

    def test_a_suspended_tenant(self, world: World) -> None:
        world.change(state=State.SUSPENDED)
        with pytest.raises(KeySuspended):
            configure(world)

    def test_trouble_with_the_platforms_key_is_never_the_tenants_fault(self, world: World) -> None:
        message = world.encrypt(b"x")
        refuse(world, PLATFORM)
        with pytest.raises(VendorFault):
            configure(world)
        assert not record(world).former_branch_keys
        refuse(world)
        configure(world)
        assert world.decrypt(message) == b"x"


class TestExternalId:
    def test_it_is_made_once_random_and_kept(self, world: World) -> None:
        world.tenant("other")
        kits = world.app.keystead._parts.setup_kits
        first = kits.kit("acme", "local").external_id
        assert kits.kit("acme", "local").external_id == first
        assert kits.kit("other", "local").external_id != first
        assert len(first) > 40
        configure(world)
        assert {access.external_id for access in world.connector.accesses} == {first}

    def test_an_unknown_cloud(self, world: World) -> None:
        with pytest.raises(InvalidRequest):
            world.app.keystead._parts.setup_kits.kit("acme", "oracle")


def test_a_deployment_that_no_longer_reaches_the_key_is_the_operators_fault(world: World) -> None:
    configure(world)
    message = world.encrypt(b"x")
    other = assemble(world.app.config, replace(world.app.leaves, connectors={}))
    with pytest.raises(VendorFault):
        other.encryption.decrypt("acme", message, {})
    with pytest.raises(VendorFault):
        other.rotation.rotate("acme")
    assert world.decrypt(message) == b"x"


def test_every_access_names_tenant_and_revision(world: World) -> None:
    world.tenant("other")
    configure(world)
    configure(world, SECOND, "other")
    world.encrypt()
    assert {(a.tenant_id, a.kek.locator) for a in world.connector.accesses} == {
        ("acme", OTHER_KEK.locator),
        ("other", THIRD_KEK.locator),
    }
    assert world.connector.accesses[-1].revision == 2


def test_exclusive_from_is_when_the_last_backup_is_gone(world: World) -> None:
    configure(world)
    assert parse_instant(status(world).exclusive_from) == pytest.approx(world.clock.wall_time + 35 * 86400, abs=1)


def test_a_key_in_a_custom_store_has_no_grace(world: World) -> None:
    world.connector.report = Report((Check("key_store", Result.WARN, "an external key store"),), custom_key_store=True)
    configure(world)
    world.encrypt()
    assert status(world).bounds["kms_silent"] == 60
    refuse(world, OTHER_KEK, error=Silence)
    world.clock.advance(61)
    with pytest.raises(KeyUnreachable):
        world.encrypt()


def test_the_export_holds_every_row_and_no_plain_key(world: World) -> None:
    configure(world)
    world.encrypt()
    export = world.app.keystead._parts.key_exports.export("acme")
    assert len(export.items) == 3
    assert export.branch_key_ids == record(world).branch_keys
    assert {item["kms-arn"]["S"] for item in export.items} == {OTHER_KEK.locator}
    assert {item["hierarchy-version"]["N"] for item in export.items} == {"1"}


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("2027-01-31", "2027-01-31T00:00:00.000000Z"),
        ("2027-01-31T08:00:00Z", "2027-01-31T08:00:00.000000Z"),
        ("2027-01-31T08:00:00+02:00", "2027-01-31T06:00:00.000000Z"),
        ("2027-01-31T08:00", "2027-01-31T08:00:00.000000Z"),
    ],
)
def test_activation_dates(text: str, stored: str) -> None:
    assert activation_time(text) == stored
    assert parse_instant(stored) > 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2027-W05",
        "20270131",
        "2027-01-31T08",
        "2027-13-01",
        "1999-01-01",
        "9999-01-01",
        "2027-01-31T25:00",
    ],
)
def test_no_activation_dates(text: str) -> None:
    with pytest.raises(InvalidRequest):
        activation_time(text)
