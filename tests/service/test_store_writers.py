"""Someone who can write the stores but not use the platform's key: refused, with an alarm (DESIGN 4)."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from core.bootstrap import Config, build
from core.domain.tenants import MAC_FIELD, RECORD, SYSTEM
from core.errors import AccessDenied, StoreCorrupt
from core.providers.local_kms import LocalKms
from core.service.access import Op
from core.service.audit import CHECKPOINT_EVERY, CHECKPOINTS
from core.service.row_macs import DOCUMENT
from core.stores.memory import MemoryTenantStore
from tests.service.world import OPERATOR, OTHER_KEK, World, caller


def overwrite(world: World, tenant_id: str, name: str, body: dict[str, Any]) -> None:
    """Write a document past the service, and past the rules that its stores keep."""
    found = MemoryTenantStore.read(world.tenants, tenant_id, name)
    revision = found.revision if found else 0
    world.tenants._documents[tenant_id, name] = revision + 1, json.dumps(body)


def stored(world: World, tenant_id: str, name: str) -> dict[str, Any]:
    found = MemoryTenantStore.read(world.tenants, tenant_id, name)
    assert found is not None
    return dict(found.body)


@pytest.mark.parametrize(
    "change",
    [
        {"kek": OTHER_KEK.locator, "configuration_revision": 2},
        {"moving_from": OTHER_KEK.locator},
        {"branch_key_id": "00000000-0000-4000-8000-000000000000", "sequence_floor": 0},
        {"sequence_floor": 99},
        {"policy": {"lease": 3600, "outage_grace": 86400, "rotation_days": 365}},
        {"state": "suspended"},
        {"display_name": "Somebody else"},
        {"deleted": True},
        {MAC_FIELD: "0" * 64},
        {MAC_FIELD: None},
    ],
    ids=lambda change: ",".join(change),
)
def test_an_edited_tenant_record_is_refused(world: World, change: dict[str, Any]) -> None:
    message = world.encrypt()
    overwrite(world, "acme", RECORD, {**stored(world, "acme", RECORD), **change})
    for app in (world.app, world.process()):
        world.clock.advance(60)
        with pytest.raises(StoreCorrupt):
            app.encryption.encrypt("acme", b"x", {})
        with pytest.raises(StoreCorrupt):
            app.encryption.decrypt("acme", message, {})
        with pytest.raises(StoreCorrupt):
            app.rotation.rotate("acme")
        with pytest.raises(StoreCorrupt):
            app.tenants.create("acme")
    assert "keystead.alarm.store_corrupt" in world.events.types()
    assert world.kms.wraps == 3  # the row MAC key and the two rows of the first version: nothing was made since


def test_another_tenants_record_is_refused(world: World) -> None:
    world.tenant("other")
    theirs = stored(world, "other", RECORD)
    del world.tenants._documents["acme", RECORD]
    world.tenants._documents["acme", RECORD] = world.tenants._documents["other", RECORD]
    assert theirs
    with pytest.raises(StoreCorrupt):
        world.process().encryption.encrypt("acme", b"x", {})
    assert world.events.events[0][2]["about"] == "tenant record"


def test_the_row_mac_key_is_never_made_anew_beside_tenants(world: World) -> None:
    del world.tenants._documents[SYSTEM, DOCUMENT]
    with pytest.raises(StoreCorrupt):
        world.process().tenants.create("new")


@pytest.mark.parametrize("change", [{"kek": OTHER_KEK.locator}, {"wrapped": "AAAA"}, {"wrapped": 1}, {"kek": None}])
def test_a_replaced_row_mac_key_is_refused(world: World, change: dict[str, Any]) -> None:
    if change == {"kek": OTHER_KEK.locator}:  # the attacker's own key, wrapped by the attacker's own KEK
        wrapped = world.kms.wrap(
            OTHER_KEK, bytes(32), {"keystead-purpose": "row-mac-key", "tablename": "keystead-branch-keys"}
        )
        change = {**change, "wrapped": b64encode(wrapped.ciphertext).decode()}
    overwrite(world, SYSTEM, DOCUMENT, {**stored(world, SYSTEM, DOCUMENT), **change})
    with pytest.raises(StoreCorrupt):
        world.process().encryption.encrypt("acme", b"x", {})


def test_the_gate_alarms_of_what_nobody_alarmed_of_before(world: World) -> None:
    overwrite(world, SYSTEM, DOCUMENT, {})
    app = world.process()
    with pytest.raises(StoreCorrupt):
        app.keystead.encrypt(caller(), "acme", b"x", {})
    assert world.events.types() == ["keystead.alarm.store_corrupt"]
    assert world.events.events[0][2]["about"] == Op.ENCRYPT.name


CHECKPOINT_DOCUMENTS: list[dict[str, Any]] = [
    {},
    {"checkpoints": []},
    {"checkpoints": "junk"},
    {"checkpoints": ["junk"]},
    {"checkpoints": [1]},
    {"sequence": 10**9, "checkpoints": ["a.b.c"]},
]


@pytest.mark.parametrize("body", CHECKPOINT_DOCUMENTS)
def test_broken_checkpoints_break_nothing_else(world: World, body: dict[str, Any]) -> None:
    """Neither an act nor a refusal fails for them, and verifying says so."""
    for _ in range(CHECKPOINT_EVERY - 1):
        world.app.audit.record("acme", "filler", "test", "ok")
        world.app.audit.record(SYSTEM, "filler", "test", "ok")
    overwrite(world, "acme", CHECKPOINTS, body)
    overwrite(world, SYSTEM, CHECKPOINTS, body)
    assert world.app.keystead.rotate(caller(), "acme").sequence == 2
    with pytest.raises(AccessDenied):
        world.app.keystead.rotate(OPERATOR, "acme")
    verdict = world.app.audit.verify("acme")
    if body.get("checkpoints") != []:
        assert not verdict.ok
        with pytest.raises(StoreCorrupt):
            world.app.keystead.audit_checkpoints(caller(), "acme")


def test_a_lost_platform_key_is_told_not_replaced(tmp_path: Path) -> None:
    app = build(Config(data_dir=tmp_path / "data"))
    app.tenants.create("acme")
    app.close()
    (key_file,) = (tmp_path / "data" / "keks").glob("platform*")
    key_file.rename(tmp_path / "elsewhere")
    with pytest.raises(StoreCorrupt) as caught:
        build(Config(data_dir=tmp_path / "data"))
    assert "keks" in (caught.value.hint or "")
    assert not key_file.exists()
    (tmp_path / "elsewhere").rename(key_file)
    app = build(Config(data_dir=tmp_path / "data"))
    assert app.encryption.encrypt("acme", b"x", {})
    app.close()
    assert [kek.enabled for kek in LocalKms(tmp_path / "data" / "keks").describe()] == [True]


def test_a_count_of_refusals_is_written_at_the_next_operation_of_anybody(world: World) -> None:
    for _ in range(10):
        with pytest.raises(AccessDenied):
            world.app.keystead.rotate(caller("other"), "acme")
    world.clock.advance(60)
    world.app.keystead.list_tenants(OPERATOR)
    assert [entry.details["count"] for entry in world.audit_log.read("other")] == [1, 9]
