"""A KEK whose provider names its versions: new ones are taken up, old ones serve until nothing names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from core.domain.branch_keys import ACTIVE, StoredRow
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
from tests.service.world import ENTRA_TENANT, OTHER_KEK, VAULT_KEK, World

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
    assert any("must stay enabled" in warning for warning in shown.warnings)
    assert world.process().encryption.decrypt("acme", message, {}) == b"0"
    check(world)
    assert keks(world) == {newest}
    assert not [warning for warning in status(world).warnings if "must stay enabled" in warning]


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


def test_an_old_version_that_had_served_is_purged_when_it_refuses(world: World) -> None:
    message = world.encrypt(b"0")
    configure(world)
    old = world.kms.versions[0]
    world.kms.new_version()
    world.app.rotation.rotate("acme")
    new_message = world.encrypt(b"1")
    world.decrypt(message)
    disable(world, old)
    world.clock.advance(61)
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


@pytest.mark.parametrize("error", [Silence, None], ids=["silence", "unknown denial"])
def test_an_old_version_that_does_not_answer_is_not_left_behind(
    world: World, error: Callable[[str], KeysteadError] | None
) -> None:
    configure(world)
    old = world.kms.versions[0]
    world.kms.new_version()
    disable(world, old, error=lambda: error("no answer") if error else Denial("no", cause="unknown"))
    with pytest.raises(KeyUnreachable if error else KeyRevoked):
        check(world)
    assert keks(world) == {old}
    world.kms.trouble = lambda operation, context: None
    check(world)
    assert keks(world) == {world.kms.versions[-1]}


@pytest.mark.parametrize(
    ("cause", "error"),
    [
        ("not_yet_valid", KeyWriteBlocked),
        ("expired", KeyWriteBlocked),
        ("wrap_not_permitted", KeyWriteBlocked),
        ("disabled", KeyRevoked),
    ],
)
def test_a_newest_version_that_does_not_wrap_is_not_taken_up(
    world: World, cause: str, error: type[KeysteadError]
) -> None:
    configure(world)
    message = world.encrypt(b"0")
    old, newest = world.kms.versions[0], world.kms.new_version()
    world.kms.unfit[newest] = cause
    facts = check(world)
    assert (facts["unfit"], facts["kek_version"], facts["rewrapped"]) == (cause, "", 0)
    assert keks(world) == {old}
    unwraps = world.kms.branch_unwraps()
    with pytest.raises(error):
        world.app.rotation.rotate("acme")
    assert world.decrypt(message) == b"0"
    assert world.app.tenants.read("acme").state is State.ACTIVE
    # What only stops new wraps leaves the cached keys alone.
    assert world.kms.branch_unwraps() - unwraps == (error is not KeyWriteBlocked)
    del world.kms.unfit[newest]
    check(world)
    assert keks(world) == {newest}


@pytest.mark.parametrize("cause", ["not_yet_valid", "disabled"])
def test_a_key_that_does_not_wrap_is_not_put_to_use(world: World, cause: str) -> None:
    world.encrypt()
    world.kms.unfit[world.kms.versions[0]] = cause
    with pytest.raises(KeyRevoked if cause == "disabled" else KeyWriteBlocked):
        configure(world)
    record = world.app.tenants.read("acme")
    assert (record.state, record.moving_from, record.configuration_revision) == (State.PLATFORM, None, 1)


def test_a_replica_that_lags_does_not_take_rows_back_to_an_older_version(world: World) -> None:
    world.encrypt()
    configure(world)
    newest = world.kms.new_version()
    check(world)
    world.kms.stale = 1
    facts = check(world)
    assert (facts["rewrapped"], facts["rotated"], facts["kek_version"]) == (0, False, newest.locator)
    assert keks(world) == {newest}


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
