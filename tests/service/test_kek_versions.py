"""A KEK whose provider names its versions: new ones are taken up, old ones serve until nothing names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from core.domain.branch_keys import ACTIVE, CREATE_TIME_FORMAT, StoredRow
from core.domain.kek import Kek, KekDescription, WrappedKey
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.errors import (
    Conflict,
    Denial,
    InternalError,
    KeyCheckFailed,
    KeyNetworkBlocked,
    KeyRevoked,
    KeysteadError,
    KeyUnreachable,
    KeyWriteBlocked,
    Silence,
    StoreCorrupt,
)
from core.service.results import KeyStatus
from tests.service.world import ENTRA_TENANT, OTHER_KEK, THIRD_KEK, VAULT_KEK, World, caller

VAULT = KeyTarget(VAULT_KEK.locator, entra_tenant=ENTRA_TENANT)


def configure(world: World, target: KeyTarget = VAULT, tenant_id: str = "acme") -> dict[str, Any]:
    facts: dict[str, Any] = {}
    world.app.key_configuration.configure(tenant_id, target, facts)
    return facts


def check(world: World) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    world.app.key_configuration.check("acme", facts)
    return facts


def status(world: World) -> KeyStatus:
    return world.app.keystead._parts.status.status("acme")


def rows(world: World) -> list[StoredRow]:
    branch_key_id = world.app.tenants.read("acme").branch_key_id
    active = world.keys.read(branch_key_id, ACTIVE)
    assert active is not None
    return [active, *world.keys.list_versions(branch_key_id)]


def keks(world: World) -> set[Kek]:
    return {stored.row.kek for stored in rows(world)}


def disable(world: World, *versions: Kek, error: Callable[[], KeysteadError] | None = None) -> None:
    """Have versions refuse whatever is asked of them."""

    def trouble(operation: str, context: Any) -> None:
        if Kek(context.get("kms-arn", "")) in versions and operation != "describe":
            raise error() if error else Denial("no", cause="disabled", kms_code="KeyDisabled")

    world.kms.trouble = trouble


@pytest.fixture
def world() -> World:
    world = World()
    world.tenant()
    return world


def test_every_row_and_the_probe_name_a_version_and_the_record_names_the_key(world: World) -> None:
    message = world.encrypt(b"before")
    configure(world)
    (version,) = world.kms.versions
    record = world.app.tenants.read("acme")
    assert (record.kek, record.binding.entra_tenant) == (VAULT_KEK.locator, ENTRA_TENANT)
    assert keks(world) == {version}
    assert {stored.row.attributes()["kms-arn"] for stored in rows(world)} == {version.locator}
    assert world.app.key_configuration._probes.read("acme", record.probe_digest).kek == version
    assert (status(world).kek, status(world).kek_version) == (VAULT_KEK.locator, version.locator)
    assert {access.kek for access in world.connector.accesses} == {VAULT_KEK}
    assert {access.entra_tenant for access in world.connector.accesses} == {ENTRA_TENANT}
    assert world.decrypt(message) == b"before"


def test_a_new_version_is_taken_up_by_one_check(world: World) -> None:
    messages = [world.encrypt(b"0")]
    configure(world)
    messages.append(world.encrypt(b"1"))
    newest = world.kms.new_version()
    assert newest not in keks(world)
    facts = check(world)
    assert (facts["kek_version"], facts["rotated"], facts["rewrapped"]) == (newest.locator, True, 2)
    assert keks(world) == {newest}
    assert status(world).kek_versions == (newest.locator,)
    disable(world, *world.kms.versions[:-1])  # nothing names it any more
    fresh = world.process()
    assert [fresh.encryption.decrypt("acme", message, {}) for message in messages] == [b"0", b"1"]
    again = check(world)
    assert (again["rewrapped"], again["rotated"]) == (0, False)


def test_new_wraps_use_the_newest_version_before_any_check_and_the_old_one_is_still_named(world: World) -> None:
    message = world.encrypt(b"0")
    configure(world)
    old, newest = world.kms.versions[0], world.kms.new_version()
    world.app.rotation.rotate("acme")
    assert keks(world) == {old, newest}
    shown = status(world)
    assert (shown.kek_version, shown.kek_versions) == (newest.locator, (newest.locator, old.locator))
    assert any("must be enabled" in warning for warning in shown.warnings)
    assert world.process().encryption.decrypt("acme", message, {}) == b"0"
    check(world)
    assert keks(world) == {newest}
    assert not [warning for warning in status(world).warnings if "must be enabled" in warning]


def test_the_exclusive_date_of_the_move_stays_when_a_version_is_taken_up(world: World) -> None:
    configure(world)
    before = world.app.tenants.read("acme")
    world.clock.advance(86400)
    world.kms.new_version()
    check(world)
    after = world.app.tenants.read("acme")
    assert after.exclusive_from == before.exclusive_from != ""
    assert (after.since, after.configuration_revision) == (before.since, before.configuration_revision)
    assert after.probe_digest != before.probe_digest


def test_an_old_version_disabled_too_early_takes_only_its_own_messages_with_it(world: World) -> None:
    old_message = world.encrypt(b"0")
    configure(world)
    old, newest = world.kms.versions[0], world.kms.new_version()
    world.app.rotation.rotate("acme")
    new_message = world.encrypt(b"1")
    disable(world, old)
    app = world.process()
    assert app.encryption.decrypt("acme", new_message, {}) == b"1"
    unwraps = world.kms.branch_unwraps()
    with pytest.raises(KeyRevoked):
        app.encryption.decrypt("acme", old_message, {})
    assert app.encryption.decrypt("acme", new_message, {}) == b"1"
    assert world.kms.branch_unwraps() == unwraps + 1  # what refused; what serves was not purged
    facts = check(world)
    assert (facts["left_behind"], facts["waiting"], facts["branch_key_begun"]) == (2, 0, False)
    assert keks(world) == {old, newest}
    world.kms.trouble = lambda operation, context: None
    assert check(world)["rewrapped"] == 2
    assert keks(world) == {newest}
    assert world.process().encryption.decrypt("acme", old_message, {}) == b"0"


@pytest.mark.parametrize("lapsed", [False, True])
def test_an_old_version_that_had_served_is_purged_when_it_refuses(world: World, lapsed: bool) -> None:
    message = world.encrypt(b"0")
    configure(world)
    old = world.kms.versions[0]
    world.kms.new_version()
    world.app.rotation.rotate("acme")
    new_message = world.encrypt(b"1")
    world.decrypt(message)
    disable(world, old)
    world.clock.advance(61)
    if lapsed:
        world.app.gate.lapse("acme")
    world.decrypt(new_message)
    unwraps = world.kms.branch_unwraps()
    with pytest.raises(KeyRevoked):
        world.decrypt(message)
    # Whether the rest of the tenant's keys went with it is told by the next use.
    world.decrypt(new_message)
    assert world.kms.branch_unwraps() == unwraps + 2


@pytest.mark.parametrize("cause", ["policy", "identity", "not_found", "network", "unknown"])
def test_any_other_denial_of_an_old_version_purges_everything(world: World, cause: str) -> None:
    message = world.encrypt(b"0")
    configure(world)
    old = world.kms.versions[0]
    world.kms.new_version()
    world.app.rotation.rotate("acme")
    app = world.process()
    new_message = app.encryption.encrypt("acme", b"1", {})
    disable(world, old, error=lambda: Denial("no", cause=cause, kms_code="X"))
    unwraps = world.kms.branch_unwraps()
    with pytest.raises(KeyNetworkBlocked if cause == "network" else KeyRevoked):
        app.encryption.decrypt("acme", message, {})
    app.encryption.decrypt("acme", new_message, {})
    assert world.kms.branch_unwraps() == unwraps + 2


@pytest.mark.parametrize(
    ("signal", "error"),
    [
        (Silence("no answer"), KeyUnreachable),
        (Denial("no", cause="unknown"), KeyRevoked),
        (Denial("no", cause="policy"), KeyRevoked),
        (Denial("no", cause="identity"), KeyRevoked),
        (Denial("no", cause="network"), KeyNetworkBlocked),
    ],
    ids=lambda value: getattr(value, "cause", getattr(value, "code", "")),
)
def test_an_old_version_that_refuses_for_the_whole_key_is_not_left_behind(
    world: World, signal: KeysteadError, error: type[KeysteadError]
) -> None:
    message = world.encrypt(b"0")
    configure(world)
    old = world.kms.versions[0]
    world.kms.new_version()
    disable(world, old, error=lambda: signal)
    with pytest.raises(error):
        check(world)
    assert keks(world) == {old}
    record = world.app.tenants.read("acme")
    assert (record.former_branch_keys, record.lost_keks) == ((), ())
    world.kms.trouble = lambda operation, context: None
    check(world)
    assert keks(world) == {world.kms.versions[-1]}
    world.app.checks.check("acme", forced=True)
    assert world.process().encryption.decrypt("acme", message, {}) == b"0"


def test_a_version_left_behind_purges_once_and_not_at_every_check(world: World) -> None:
    message = world.encrypt(b"0")
    configure(world)
    old = world.kms.versions[0]
    world.decrypt(message)
    world.kms.new_version()
    world.app.rotation.rotate("acme")
    new_message = world.encrypt(b"1")
    world.decrypt(message)
    disable(world, old)
    for purges in (1, 0, 0):
        assert check(world)["left_behind"] == 2
        unwraps = world.kms.branch_unwraps()
        world.decrypt(new_message)
        assert world.kms.branch_unwraps() - unwraps == purges
    shown = world.app.keystead.check_key(caller("acme"), "acme")
    told = [warning for warning in shown.warnings if "not readable now" in warning]
    assert len(told) == 1
    assert told[0].startswith("2 rows")
    assert old.version in told[0]


CANNOT_WRAP = pytest.mark.parametrize(
    ("cause", "error"),
    [
        ("not_yet_valid", KeyWriteBlocked),
        ("expired", KeyWriteBlocked),
        ("wrap_not_permitted", KeyWriteBlocked),
        ("disabled", KeyRevoked),
    ],
)


@CANNOT_WRAP
def test_a_newest_version_that_does_not_wrap_is_not_taken_up(
    world: World, cause: str, error: type[KeysteadError]
) -> None:
    configure(world)
    message = world.encrypt(b"0")
    old, newest = world.kms.versions[0], world.kms.new_version()
    world.kms.unfit[newest] = cause
    facts = check(world)
    assert (facts["unfit"], facts["kek_version"], facts["rewrapped"]) == (cause, old.locator, 0)
    unwraps = world.kms.branch_unwraps()
    assert world.decrypt(message) == b"0"
    assert world.kms.branch_unwraps() == unwraps  # nothing was purged
    world.app.rotation.rotate("acme")  # the one before serves on, for new branch keys too
    assert keks(world) == {old}
    assert world.app.tenants.read("acme").state is State.ACTIVE
    shown = world.app.keystead.check_key(caller("acme"), "acme")
    assert any(f"not taken up: {cause}" in warning for warning in shown.warnings)
    del world.kms.unfit[newest]
    check(world)
    assert keks(world) == {newest}


@CANNOT_WRAP
@pytest.mark.parametrize("act", ["check", "rotate"])
def test_the_version_in_use_that_does_not_wrap_is_said_by_check_and_rotate(
    world: World, cause: str, error: type[KeysteadError], act: str
) -> None:
    configure(world)
    message = world.encrypt(b"0")
    world.kms.unfit[world.kms.versions[0]] = cause
    unwraps = world.kms.branch_unwraps()
    with pytest.raises(error) as raised:
        check(world) if act == "check" else world.app.rotation.rotate("acme")
    assert cause in str(raised.value.hint)
    assert world.decrypt(message) == b"0"
    # What only stops new wraps leaves the cached keys alone. A refusal has the key checked, and held.
    assert world.kms.branch_unwraps() - unwraps == 3 * (error is KeyRevoked)
    world.kms.new_version()
    check(world)
    assert keks(world) == {world.kms.versions[-1]}


@CANNOT_WRAP
def test_rows_under_a_lost_key_are_fetched_under_the_version_in_use_if_the_newest_does_not_wrap(
    world: World, cause: str, error: type[KeysteadError]
) -> None:
    message = world.encrypt(b"0")
    configure(world, KeyTarget(OTHER_KEK.locator))
    disable(world, OTHER_KEK)
    configure(world)
    assert world.app.tenants.read("acme").lost_keks
    world.kms.trouble = lambda operation, context: None
    in_use, newest = world.kms.versions[0], world.kms.new_version()
    world.kms.unfit[newest] = cause
    facts = check(world)
    assert (facts["unfit"], facts["rewrapped"], facts["waiting"]) == (cause, 3, 0)
    assert world.app.tenants.read("acme").lost_keks == ()
    disable(world, OTHER_KEK)
    assert world.process().encryption.decrypt("acme", message, {}) == b"0"
    assert keks(world) == {in_use}


@pytest.mark.parametrize("cause", ["not_yet_valid", "disabled"])
def test_a_key_that_does_not_wrap_is_not_put_to_use(world: World, cause: str) -> None:
    world.encrypt()
    world.kms.unfit[world.kms.versions[0]] = cause
    with pytest.raises(KeyRevoked if cause == "disabled" else KeyWriteBlocked):
        configure(world)
    record = world.app.tenants.read("acme")
    assert (record.state, record.moving_from, record.configuration_revision) == (State.PLATFORM, None, 1)


@pytest.mark.parametrize("act", ["check", "rotate"])
def test_a_replica_that_lags_does_not_take_rows_back_to_an_older_version(world: World, act: str) -> None:
    world.encrypt()
    configure(world)
    old, newest = world.kms.versions[0], world.kms.new_version()
    check(world)
    disable(world, old)
    world.kms.stale = 1
    if act == "check":
        facts = check(world)
        assert (facts["rewrapped"], facts["rotated"], facts["kek_version"]) == (0, False, newest.locator)
    else:
        world.app.rotation.rotate("acme")
    assert keks(world) == {newest}
    record = world.app.tenants.read("acme")
    assert world.app.key_configuration._probes.read("acme", record.probe_digest).kek == newest


@pytest.mark.parametrize("lagging", [False, True])
@pytest.mark.parametrize("method", ["rewrap", "renew_active", "settled", "still_lost"])
def test_a_check_that_is_overtaken_by_another_never_goes_back(world: World, method: str, lagging: bool) -> None:
    """It was told of the version before, and another process takes a newer one up at any moment after that."""
    message = world.encrypt(b"0")
    configure(world)
    other = world.process()
    rewrapper = other.key_configuration._mover._rewrapper
    inner = getattr(rewrapper, method)
    newest: list[Kek] = []

    def overtaken(*args: Any) -> Any:
        if not newest:
            newest.append(world.kms.new_version())
            check(world)
            world.kms.stale = int(lagging)
        return inner(*args)

    setattr(rewrapper, method, overtaken)
    facts: dict[str, Any] = {}
    other.key_configuration.check("acme", facts)
    assert keks(world) == {*newest}
    assert (facts["rewrapped"], facts["rotated"]) == (0, False)
    disable(world, world.kms.versions[0])
    assert world.process().encryption.decrypt("acme", message, {}) == b"0"


def test_a_pick_up_cut_short_is_not_taken_back_by_a_lagging_replica(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = world.encrypt(b"0")
    configure(world)
    newest = world.kms.new_version()
    with monkeypatch.context() as patch:
        patch.setattr(world.app.key_configuration._mover._rewrapper, "renew_active", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            check(world)
    assert keks(world) == {*world.kms.versions}
    world.kms.stale = 1
    world.process().key_configuration.check("acme", {})
    assert keks(world) == {newest}
    disable(world, world.kms.versions[0])
    assert world.process().encryption.decrypt("acme", message, {}) == b"0"


def test_rows_under_a_newer_version_that_stops_wrapping_stay_where_they_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = world.encrypt(b"0")
    configure(world)
    old, newest = world.kms.versions[0], world.kms.new_version()
    with monkeypatch.context() as patch:
        patch.setattr(world.app.key_configuration._mover._rewrapper, "renew_active", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            check(world)
    world.kms.unfit[newest] = "expired"
    facts = check(world)
    assert (facts["unfit"], facts["kek_version"], facts["rewrapped"]) == ("expired", old.locator, 0)
    assert keks(world) == {old, newest}
    assert world.process().encryption.decrypt("acme", message, {}) == b"0"


def test_a_rotation_under_the_old_version_in_the_middle_of_a_pick_up_is_taken_along(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(world)
    old, newest = world.kms.versions[0], world.kms.new_version()
    record = world.app.tenants.read("acme")
    other, rewrapper = world.process(), world.app.key_configuration._mover._rewrapper
    inner, done = rewrapper.renew_active, list[bool]()

    def renew_active(*args: Any) -> bool:
        if not done:
            done.append(True)
            active = world.keys.read(record.branch_key_id, ACTIVE)
            assert active is not None
            other.rotation._writer.rotate(record, active, old)  # decided before there was a newer one
        return inner(*args)

    monkeypatch.setattr(rewrapper, "renew_active", renew_active)
    check(world)
    assert done
    assert keks(world) == {newest}


def test_what_is_said_is_why_the_version_in_use_does_not_serve(world: World) -> None:
    configure(world)
    world.kms.unfit[world.kms.versions[0]] = "disabled"
    world.kms.unfit[world.kms.new_version()] = "not_yet_valid"
    with pytest.raises(KeyRevoked, match="refused") as raised:
        check(world)
    assert world.kms.versions[0].version in str(raised.value.hint)


@pytest.mark.parametrize(
    ("times", "goes"), [((1.0, 2.0), True), ((1.0, 1.0), True), ((2.0, 1.0), False)], ids=["older", "tie", "younger"]
)
def test_times_decide_and_on_a_tie_the_kms(
    world: World, times: tuple[float, float], goes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(world)
    used, told = world.kms.versions[0], world.kms.new_version()
    inner = world.kms.describe
    made = dict(zip((used, told), times, strict=True))
    monkeypatch.setattr(world.kms, "describe", lambda kek: replace(found := inner(kek), made=made[found.kek]))
    check(world)
    assert keks(world) == {told if goes else used}


@pytest.mark.parametrize("signal", [Silence("no"), Denial("no", cause="identity"), Denial("no", cause="unknown")])
def test_a_version_in_use_that_cannot_be_described_stops_the_check(world: World, signal: KeysteadError) -> None:
    configure(world)
    old = world.kms.versions[0]
    world.kms.new_version()

    def trouble(operation: str, context: Any) -> None:
        if operation == "describe" and context["kms-arn"] == old.locator:
            raise signal

    world.kms.trouble = trouble
    with pytest.raises(KeyUnreachable if isinstance(signal, Silence) else KeyRevoked):
        check(world)
    assert keks(world) == {old}


def test_a_probe_that_is_gone_is_made_anew_and_the_operator_hears_of_it(world: World) -> None:
    configure(world)
    record = world.app.tenants.read("acme")
    del world.tenants._documents["acme", f"probe:{record.probe_digest}"]
    check(world)
    after = world.app.tenants.read("acme")
    assert after.probe_digest != record.probe_digest
    assert world.app.key_configuration._probes.read("acme", after.probe_digest).kek == world.kms.versions[-1]
    alarms = [data for kind, _, data in world.events.events if kind == "keystead.alarm.store_corrupt"]
    assert [alarm["about"] for alarm in alarms] == ["probe"]
    check(world)
    assert world.app.tenants.read("acme").probe_digest == after.probe_digest


def test_a_version_that_is_gone_does_not_hinder_the_newest(world: World) -> None:
    """A key purged and made anew under the same name: its versions of before are not found."""
    message = world.encrypt(b"0")
    configure(world)
    old, newest = world.kms.versions[0], world.kms.new_version()

    def trouble(operation: str, context: Any) -> None:
        if context.get("kms-arn") == old.locator:
            raise Denial("no", cause="not_found", kms_code="KeyNotFound")

    world.kms.trouble = trouble
    facts = check(world)
    assert (facts["left_behind"], facts["rotated"]) == (2, True)
    assert world.decrypt(world.encrypt(b"new")) == b"new"
    with pytest.raises(KeyRevoked):
        world.process().encryption.decrypt("acme", message, {})
    assert newest in keks(world)


@pytest.mark.parametrize("error", [Denial("no", cause="identity"), Silence("no")], ids=["denial", "silence"])
def test_a_check_of_a_key_that_cannot_be_described_says_so(world: World, error: KeysteadError) -> None:
    configure(world)
    world.encrypt()

    def trouble(operation: str, context: Any) -> None:
        if operation == "describe":
            raise error

    world.kms.trouble = trouble
    with pytest.raises(KeyRevoked if isinstance(error, Denial) else KeyUnreachable):
        check(world)


def test_a_firewall_does_not_make_a_move_give_the_former_key_up(world: World) -> None:
    message = world.encrypt(b"0")
    configure(world)
    disable(world, *world.kms.versions, error=lambda: Denial("no", cause="network", kms_code="ForbiddenByFirewall"))
    with pytest.raises(KeyNetworkBlocked):
        configure(world, KeyTarget(OTHER_KEK.locator))
    record = world.app.tenants.read("acme")
    assert (record.moving_from, record.former_branch_keys, record.lost_keks) == (VAULT_KEK.locator, (), ())
    world.kms.trouble = lambda operation, context: None
    check(world)
    assert keks(world) == {OTHER_KEK}
    assert world.process().encryption.decrypt("acme", message, {}) == b"0"


def test_a_vault_key_given_up_waits_as_one_key_whatever_its_versions(world: World) -> None:
    messages = [world.encrypt(b"0")]
    configure(world)
    first, second = world.kms.versions[0], world.kms.new_version()
    world.app.rotation.rotate("acme")
    messages.append(world.encrypt(b"1"))
    disable(world, first)
    facts = configure(world, KeyTarget(OTHER_KEK.locator))
    assert (facts["branch_key_begun"], facts["waiting"], facts["rewrapped"]) == (True, 2, 2)
    record = world.app.tenants.read("acme")
    assert [lost.locator for lost in record.lost_keks] == [VAULT_KEK.locator]
    assert record.lost_keks[0].binding.entra_tenant == ENTRA_TENANT
    fresh = world.process()
    assert fresh.encryption.decrypt("acme", messages[1], {}) == b"1"  # its version did not refuse
    with pytest.raises(KeyRevoked):
        fresh.encryption.decrypt("acme", messages[0], {})
    assert status(world).unreadable_versions == 2
    disable(world, second)
    check(world)
    assert world.app.tenants.read("acme").lost_keks == ()
    fresh = world.process()
    assert [fresh.encryption.decrypt("acme", message, {}) for message in messages] == [b"0", b"1"]


def test_withdrawn_consent_is_final_enough_to_give_a_former_key_up(world: World) -> None:
    message = world.encrypt(b"0")
    configure(world)
    disable(world, *world.kms.versions, error=lambda: Denial("no", cause="identity"))
    facts = configure(world, KeyTarget(OTHER_KEK.locator))
    assert (facts["branch_key_begun"], facts["waiting"]) == (True, 3)
    world.kms.trouble = lambda operation, context: None
    check(world)
    assert world.process().encryption.decrypt("acme", message, {}) == b"0"


def test_a_version_that_is_silent_is_not_given_up_with_one_that_refuses(world: World) -> None:
    messages = [world.encrypt(b"0")]
    configure(world)
    first, second = world.kms.versions[0], world.kms.new_version()
    world.app.rotation.rotate("acme")
    messages.append(world.encrypt(b"1"))

    def trouble(operation: str, context: Any) -> None:
        if operation == "unwrap" and context.get("kms-arn") == first.locator:
            raise Denial("no", cause="disabled")
        if operation == "unwrap" and context.get("kms-arn") == second.locator:
            raise Silence("no answer")

    world.kms.trouble = trouble
    with pytest.raises(KeyUnreachable):
        configure(world, KeyTarget(OTHER_KEK.locator))
    assert world.app.tenants.read("acme").moving_from == VAULT_KEK.locator
    disable(world, first)
    check(world)
    assert world.app.tenants.read("acme").moving_from is None
    disable(world, first, second)
    assert world.process().encryption.decrypt("acme", messages[1], {}) == b"1"
    world.kms.trouble = lambda operation, context: None
    check(world)
    assert world.process().encryption.decrypt("acme", messages[0], {}) == b"0"


def test_an_old_version_gone_for_good_does_not_close_the_way_back(world: World) -> None:
    messages = [world.encrypt(b"0")]
    configure(world, replace(VAULT, reversible=True))
    old = world.kms.versions[0]
    world.kms.new_version()
    world.app.rotation.rotate("acme")
    messages.append(world.encrypt(b"1"))
    disable(world, old)
    check(world)
    world.app.key_configuration.revert("acme", {})
    record = world.app.tenants.read("acme")
    assert (record.state, record.moving_from) == (State.PLATFORM, None)
    assert [lost.locator for lost in record.lost_keks] == [VAULT_KEK.locator]
    fresh = world.process()
    assert fresh.encryption.decrypt("acme", messages[1], {}) == b"1"
    with pytest.raises(KeyRevoked):
        fresh.encryption.decrypt("acme", messages[0], {})
    world.kms.trouble = lambda operation, context: None
    check(world)
    assert world.process().encryption.decrypt("acme", messages[0], {}) == b"0"


def test_a_key_that_refuses_itself_closes_it_still(world: World) -> None:
    world.encrypt(b"0")
    configure(world, replace(VAULT, reversible=True))
    disable(world, *world.kms.versions)
    with pytest.raises(KeyRevoked):
        world.app.key_configuration.revert("acme", {})
    assert world.app.tenants.read("acme").former_branch_keys == ()


def test_a_return_to_a_lost_key_that_refuses_again_can_be_taken_back(world: World) -> None:
    message = world.encrypt(b"0")
    first, second = KeyTarget(OTHER_KEK.locator), KeyTarget(THIRD_KEK.locator)
    configure(world, first)
    disable(world, OTHER_KEK)
    configure(world, second)
    world.encrypt(b"1")
    world.app.rotation.rotate("acme")
    world.kms.trouble = lambda operation, context: None
    unwraps = iter(range(100))

    def silent(operation: str, context: Any) -> None:
        if operation == "unwrap" and context.get("kms-arn") == THIRD_KEK.locator and next(unwraps) >= 1:
            raise Silence("no answer")

    world.kms.trouble = silent
    with pytest.raises(KeyUnreachable):
        configure(world, first)
    disable(world, OTHER_KEK)
    configure(world, second)
    record = world.app.tenants.read("acme")
    assert (record.kek, record.moving_from) == (THIRD_KEK.locator, None)
    assert [lost.locator for lost in record.lost_keks] == [OTHER_KEK.locator]
    assert world.decrypt(world.encrypt(b"2")) == b"2"
    world.kms.trouble = lambda operation, context: None
    check(world)
    assert world.process().encryption.decrypt("acme", message, {}) == b"0"


class TestActivation:
    def schedule(self, world: World) -> None:
        at = datetime.fromtimestamp(world.clock.wall_time + 10, UTC).strftime(CREATE_TIME_FORMAT)
        configure(world, replace(VAULT, activation=at))

    def test_a_version_made_before_the_date_is_the_one_that_comes_into_force(self, world: World) -> None:
        message = world.encrypt(b"0")
        self.schedule(world)
        old, newest = world.kms.versions[0], world.kms.new_version()
        disable(world, old)
        world.clock.advance(11)
        assert world.decrypt(message) == b"0"
        record = world.app.tenants.read("acme")
        assert (record.state, keks(world)) == (State.ACTIVE, {newest})
        assert world.app.key_configuration._probes.read("acme", record.probe_digest).kek == newest

    def test_a_version_that_stopped_wrapping_since_leaves_the_platforms_key_in_force(self, world: World) -> None:
        message = world.encrypt(b"0")
        self.schedule(world)
        world.kms.unfit[world.kms.versions[0]] = "expired"  # it unwraps still
        world.clock.advance(11)
        assert world.decrypt(message) == b"0"
        record = world.app.tenants.read("acme")
        assert (record.state, record.moving_from) == (State.SCHEDULED, None)

    @pytest.mark.parametrize("cause", ["expired", "disabled"])
    def test_a_newest_version_that_does_not_wrap_leaves_the_platforms_key_in_force(
        self, world: World, cause: str
    ) -> None:
        message = world.encrypt(b"0")
        self.schedule(world)
        world.kms.unfit[world.kms.new_version()] = cause
        world.clock.advance(11)
        assert world.decrypt(message) == b"0"
        record = world.app.tenants.read("acme")
        assert (record.state, record.moving_from) == (State.SCHEDULED, None)
        world.app.rotation.rotate("acme")
        assert {kek.provider for kek in keks(world)} == {"local"}


def test_a_denial_of_the_active_row_stops_what_older_versions_serve(world: World) -> None:
    message = world.encrypt(b"0")
    configure(world)
    world.kms.new_version()
    world.app.rotation.rotate("acme")
    app = world.process()
    app.encryption.decrypt("acme", message, {})
    disable(world, world.kms.versions[-1])
    with pytest.raises(KeyRevoked):
        app.encryption.encrypt("acme", b"x", {})
    with pytest.raises(KeyRevoked):
        app.encryption.decrypt("acme", message, {})


def test_a_key_is_one_tenants_whatever_its_version(world: World) -> None:
    world.app.tenants.create("globex")
    configure(world)
    world.kms.new_version()
    with pytest.raises(KeyCheckFailed) as raised:
        configure(world, tenant_id="globex")
    assert [check["name"] for check in raised.value.checks if check["result"] == "fail"] == ["exclusive"]


def test_another_entra_tenant_for_the_same_key_is_a_change(world: World) -> None:
    configure(world)
    before = world.app.tenants.read("acme")
    other = "72f988bf-0000-4000-8000-0000000000ff"
    configure(world, replace(VAULT, entra_tenant=other))
    after = world.app.tenants.read("acme")
    assert after.binding.entra_tenant == other
    assert after.configuration_revision == before.configuration_revision + 1
    assert after.probe_digest != before.probe_digest


@pytest.mark.parametrize(
    "locator",
    [
        f"https://acme-kv.vault.azure.net/keys/other/{1:032x}",
        f"https://other-kv.vault.azure.net/keys/kek/{1:032x}",
        "https://acme-kv.vault.azure.net/keys/kekx",
    ],
)
def test_a_row_that_names_another_key_is_refused(world: World, locator: str) -> None:
    message = world.encrypt()
    configure(world)
    world.keys.tamper = lambda row_type, stored: stored and replace(stored, row=replace(stored.row, kek=Kek(locator)))
    with pytest.raises(StoreCorrupt):
        world.process().encryption.decrypt("acme", message, {})
    assert not [context for context in world.kms.unwraps if context.get("kms-arn") == locator]


@pytest.mark.parametrize("told", [VAULT_KEK, Kek(f"https://acme-kv.vault.azure.net/keys/other/{1:032x}"), OTHER_KEK])
def test_a_provider_that_names_no_version_of_the_key_is_not_believed(
    world: World, told: Kek, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.kms, "describe", lambda kek: KekDescription(told, True, "enabled", 1.0))
    with pytest.raises(InternalError):
        configure(world)
    assert world.app.tenants.read("acme").moving_from is None


def test_a_version_that_gives_back_another_key_is_never_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.encrypt()
    wrap = world.kms.wrap
    monkeypatch.setattr(world.kms, "wrap", lambda kek, key, context: wrap(kek, bytes(32), context))
    with pytest.raises(InternalError):
        configure(world)
    monkeypatch.setattr(world.kms, "wrap", lambda kek, key, context: WrappedKey(VAULT_KEK, b"x" * 60))
    with pytest.raises(InternalError):
        configure(world)
    assert {kek.provider for kek in keks(world)} == {"local"}


def test_a_rotation_to_a_new_version_is_not_a_way_around_a_change_under_way(world: World) -> None:
    configure(world)
    disable(world, *world.kms.versions, error=lambda: Silence("no"))
    with pytest.raises(KeyUnreachable):
        configure(world, KeyTarget(OTHER_KEK.locator))
    world.kms.new_version()
    with pytest.raises(Conflict):
        world.app.rotation.rotate("acme")


@pytest.mark.parametrize("renewed", [True, False], ids=["the probe follows", "the probe could not follow"])
def test_a_withdrawal_is_confirmed_after_a_rotation_took_up_a_version(
    world: World, renewed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe under an older version, which still serves, says nothing of the one that new data hangs on."""
    configure(world)
    old, newest = world.kms.versions[0], world.kms.new_version()
    if not renewed:
        monkeypatch.setattr(world.app.rotation._mover, "keep_probe", lambda *_: None)
    world.app.rotation.rotate("acme")
    probe = world.app.key_configuration._probes.read("acme", world.app.tenants.read("acme").probe_digest)
    assert probe.kek == (newest if renewed else old)
    disable(world, newest)
    assert world.app.checks.check("acme", forced=True) is State.HOLD
    world.clock.advance(2)
    assert world.app.checks.check("acme", forced=True) is State.REVOKED
    assert "keystead.alarm.probe_contradicts" not in world.events.types()
    disable(world)
    assert world.app.checks.check("acme", forced=True) is State.ACTIVE


def test_a_rotation_is_done_whether_or_not_the_probe_can_follow(world: World) -> None:
    configure(world)
    newest = world.kms.new_version()
    seen: list[str] = []

    def trouble(operation: str, context: Any) -> None:
        if operation == "wrap" and context.get("type") != "branch:ACTIVE" and seen:
            raise Silence("no answer")
        if operation == "wrap" and context.get("type") == "branch:ACTIVE":
            seen.append(operation)

    world.kms.trouble = trouble
    world.app.rotation.rotate("acme")
    assert seen
    assert newest in keks(world)
    assert world.app.key_configuration._probes.read("acme", world.app.tenants.read("acme").probe_digest).kek != newest
