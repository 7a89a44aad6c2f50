"""Creating, listing and reading tenants; status of a key."""

from __future__ import annotations

import pytest

from core.domain.key_policy import KeyPolicy
from core.domain.states import State
from core.errors import Conflict, InvalidRequest, NotFound, StoreUnavailable
from tests.service.world import World, caller


def test_creating_twice_finds_the_first(world: World) -> None:
    first, created = world.app.tenants.create("new", "New Ltd")
    again, created_again = world.app.tenants.create("new", "Another name")
    assert (created, created_again) == (True, False)
    assert again == first
    assert again.display_name == "New Ltd"


@pytest.mark.parametrize("tenant_id", ["", "-a", "A", "a" * 64, "a_b", "a\n", "_system", "ä", "a/b"])
def test_ill_formed_ids_are_refused(world: World, tenant_id: str) -> None:
    with pytest.raises(InvalidRequest):
        world.app.tenants.create(tenant_id)


@pytest.mark.parametrize("name", ["x" * 201, "line\nbreak", "\x1b[31mred"])
def test_ill_formed_names_are_refused(world: World, name: str) -> None:
    with pytest.raises(InvalidRequest):
        world.app.tenants.create("new", name)


def test_an_id_is_never_used_again(world: World) -> None:
    world.change(deleted=True)
    for act in (lambda: world.app.tenants.create("acme"), lambda: world.app.tenants.read("acme")):
        with pytest.raises(Conflict):
            act()
    assert world.app.tenants.page() == []


def test_pages(world: World) -> None:
    for number in range(5):
        world.tenant(f"t{number}")
    assert [record.tenant_id for record in world.app.tenants.page(limit=2)] == ["acme", "t0"]
    assert [record.tenant_id for record in world.app.tenants.page(after="t3")] == ["t4"]
    world.change("t1", deleted=True)
    assert [record.tenant_id for record in world.app.tenants.page(limit=3)] == ["acme", "t0", "t2"]
    for limit in (0, 1001):
        with pytest.raises(InvalidRequest):
            world.app.tenants.page(limit=limit)


def test_raising_the_floor_never_lowers_it_and_never_raises(world: World) -> None:
    primary = world.app.tenants.read("acme").branch_key_id
    world.app.tenants.raise_floor("acme", primary, 5)
    world.app.tenants.raise_floor("acme", primary, 3)
    assert world.app.tenants.read("acme").sequence_floor == 5
    world.app.tenants.raise_floor("nobody", primary, 3)
    world.app.tenants.raise_floor("acme", "another branch key", 9)
    assert world.app.tenants.read("acme").sequence_floor == 5
    world.tenants.silent = True
    world.app.tenants.raise_floor("acme", primary, 9)


def test_status_tells_state_key_versions_bounds_and_what_is_due(world: World) -> None:
    world.app.rotation.rotate("acme")
    status = world.app.keystead.key_status(caller(), "acme")
    assert (status.state, status.platform_key, status.provider) == (State.PLATFORM, True, "local")
    assert (status.active_sequence, status.versions) == (2, 2)
    assert status.bounds == {"kms_answers": 60, "kms_silent": 900, "kill_switch": 10}
    assert status.warnings == ()
    world.clock.advance(91 * 86400)
    assert world.app.keystead.key_status(caller(), "acme").warnings == ("The branch key's rotation is overdue.",)


def test_status_is_shown_in_every_state(world: World) -> None:
    world.walk_to(State.SUSPENDED)
    world.clock.advance(10)
    status = world.app.keystead.key_status(caller(), "acme")
    assert (status.state, status.remedy) == (State.SUSPENDED, "Resume the key when the reason is gone.")


def test_status_of_nobody_and_of_a_silent_store(world: World) -> None:
    with pytest.raises(NotFound):
        world.app.keystead.key_status(caller("nobody"), "nobody")
    assert world.app.keystead.health().ok
    world.tenants.silent = True
    with pytest.raises(StoreUnavailable):
        world.app.keystead.key_status(caller(), "acme")
    health = world.app.keystead.health()
    assert (health.ok, health.checks["tenant_store"]) == (False, "store_unavailable")


def test_new_tenants_start_with_the_configured_knobs() -> None:
    world = World(policy=KeyPolicy(lease=7, outage_grace=70))
    assert world.tenant().policy == KeyPolicy(lease=7, outage_grace=70)
    for bad in (KeyPolicy(lease=-1), KeyPolicy(outage_grace=86401), KeyPolicy(rotation_days=0)):
        with pytest.raises(InvalidRequest):
            World(policy=bad)
