"""An emulator saved and loaded is the same to its clients; a file that is none is refused."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.keyvault.keys._shared import http_challenge_cache

from functions.emulators.azure_control import azure_control
from functions.emulators.azure_wire import serve
from functions.emulators.azure_world import AzureEmulator
from tests.emulators.azure.worlds import (
    CLIENT,
    HOME,
    IDENTITY,
    OTHER_TENANT,
    TENANT,
    Sdk,
    World,
    rsa_keys,
    unpadded,
    use,
)

PLAIN = b"k" * 80


def full(world: World) -> list[str]:
    """Something of everything; the keys that wrap."""
    emulator = world.emulator
    emulator.add_application(CLIENT, HOME, "the application's secret", managed_identity=IDENTITY, secret_expires=2e9)
    emulator.disable_application(CLIENT, OTHER_TENANT)
    emulator.set_conditional_access(CLIENT, OTHER_TENANT)
    emulator.add_managed_identity(OTHER_TENANT, HOME)
    hsm = world.make_vault("a-hsm", hsm=True, purge_protection=False, soft_delete_days=7)
    kids = [world.key(tags={"a": "b"}, nbf=5), world.key(exp=2_000_000_000, key_ops=("wrapKey", "unwrapKey"))]
    kids.append(emulator.create_key(hsm, "oct", "oct-HSM"))
    emulator.create_key(hsm, "ec", "EC-HSM", 384)
    emulator.delete_key(world.key("gone"))
    emulator.set_network(world.make_vault("shut", access="policy"), "private")
    emulator.delete_vault(world.make_vault("lost"))
    return kids


def told(emulator: AzureEmulator) -> Any:
    return json.loads(azure_control(emulator, "world", None)[1])


def test_what_is_saved_is_loaded(world: World, tmp_path: Path) -> None:
    kids, file = full(world), tmp_path / "azure.json"
    wrapped = {}
    http_challenge_cache.clear()
    with serve(world.emulator) as server:
        sdk = Sdk(server)
        for kid in kids:
            algorithm = "A256KW" if "hsm" in kid else "RSA-OAEP-256"
            client = sdk.keys(kid.partition("/keys/")[0])
            wrapped[kid] = algorithm, unpadded(use(client, kid, "wrapkey", PLAIN, algorithm)["value"])
        token = sdk.credential().get_token("https://vault.azure.net/.default").token
        sdk.close()
    world.emulator.save(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["azure.json"]
    loaded = AzureEmulator.load(file, lambda: world.time, rsa_keys())
    assert told(loaded) == told(world.emulator)
    assert loaded.authority == world.emulator.authority
    assert loaded.directory == world.emulator.directory
    assert loaded.entra.identity_header == world.emulator.entra.identity_header
    assert loaded.calls == []
    http_challenge_cache.clear()
    with serve(loaded) as server:
        sdk = Sdk(server)
        for kid, (algorithm, value) in wrapped.items():
            client = sdk.keys(kid.partition("/keys/")[0])
            assert unpadded(use(client, kid, "unwrapkey", value, algorithm)["value"]) == PLAIN
        url = f"{world.vault}/keys/kek?api-version=7.6"
        assert sdk.raw("GET", url, headers={"Authorization": f"Bearer {token}"}).status_code == 200
        sdk.close()
    loaded.recover_key(f"{world.vault}/keys/gone")
    loaded.rotate_key(kids[0])
    again = tmp_path / "again.json"
    loaded.save(again)
    assert told(AzureEmulator.load(again, lambda: world.time)) == told(loaded)


def test_a_file_is_replaced_whole(world: World, tmp_path: Path) -> None:
    file = tmp_path / "azure.json"
    file.write_text("old")
    file.chmod(0o644)
    (tmp_path / "azure.json.part").write_text("left behind")
    world.emulator.save(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert told(AzureEmulator.load(file, lambda: world.time)) == told(world.emulator)
    with pytest.raises(OSError, match="No such file"):
        world.emulator.save(tmp_path / "none" / "azure.json")


def _without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda document: document.pop(name)


@pytest.mark.parametrize(
    "damage",
    [
        *(_without(name) for name in ("format", "authority", "signer", "applications", "vaults", "tenants")),
        lambda document: document.update(format="keystead-kms-emulator-1"),
        lambda document: document["signer"].update(private="?"),
        lambda document: document["signer"].update(kty="oct-HSM"),
        lambda document: document["authority"].update(more="x"),
        lambda document: document["applications"][0].update(client_id="me"),
        lambda document: document["vaults"][0].update(unknown=1),
        lambda document: document["vaults"][0]["keys"]["kek"]["versions"][0].pop("material"),
        lambda document: document["vaults"][0]["keys"]["kek"]["versions"][0]["material"].update(private="AAAA"),
        lambda document: document.update(consents=5),
    ],
)
def test_files_that_are_none(world: World, tmp_path: Path, damage: Callable[[dict[str, Any]], object]) -> None:
    world.key()
    file = tmp_path / "azure.json"
    world.emulator.save(file)
    document = json.loads(file.read_text())
    damage(document)
    file.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="no data file of the emulator"):
        AzureEmulator.load(file, lambda: world.time)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b"\xff"])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "azure.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="no data file of the emulator"):
        AzureEmulator.load(file, lambda: 0)
    with pytest.raises(OSError, match="No such file"):
        AzureEmulator.load(tmp_path / "none", lambda: 0)


def test_a_file_that_is_too_large(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "azure.json"
    world.emulator.save(file)
    monkeypatch.setattr("functions.emulators.azure_persistence.MAX_FILE", file.stat().st_size - 1)
    with pytest.raises(ValueError, match="too large"):
        AzureEmulator.load(file, lambda: world.time)


def test_ids_stay_what_they_were(world: World, tmp_path: Path) -> None:
    kid = world.key()
    file = tmp_path / "azure.json"
    world.emulator.save(file)
    loaded = AzureEmulator.load(file, lambda: world.time, rsa_keys())
    assert loaded.vaults.key(kid, world.time)[2] == kid.rpartition("/")[2]
    assert (CLIENT, TENANT) in loaded.directory.consents
