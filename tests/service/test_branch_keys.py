"""Branch key rows: what is refused, how often the KMS and the store are asked, and rotation."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from struct import pack

import pytest

from core.domain.branch_keys import ACTIVE, VERSION_PREFIX, RowMac, StoredRow
from core.domain.context import serialise
from core.domain.encrypted_data_key import PROVIDER_ID, EncryptedDataKey, wrap_data_key
from core.domain.kek import UnwrappedKey
from core.domain.key_policy import KeyPolicy
from core.domain.message import DataKey
from core.domain.message import encrypt as encrypt_message
from core.domain.message_header import parse_header
from core.errors import Conflict, InternalError, MessageInvalid, StoreCorrupt
from tests.service.world import OTHER_KEK, PLATFORM, World

THREADS = 64
Tamper = Callable[[World, StoredRow], StoredRow | None]


def forged_under(world: World, stored: StoredRow, kek_locator: str) -> StoredRow:
    """A row that unwraps properly under some KEK, made by someone without the MAC key."""
    kek = PLATFORM if kek_locator == PLATFORM.locator else OTHER_KEK
    row = replace(stored.row, kek=kek)
    wrapped = world.kms.wrap(kek, bytes(32), row.kms_context("keystead-branch-keys"))
    return replace(stored, row=replace(row, enc=wrapped.ciphertext))


def tag(stored: StoredRow) -> bytes:
    """A stored row's tag."""
    assert stored.mac is not None
    return stored.mac.tag


TAMPERINGS: dict[str, Tamper] = {
    "mac missing": lambda world, stored: replace(stored, mac=None),
    "mac wrong": lambda world, stored: replace(stored, mac=RowMac(1, 1, bytes(32))),
    "sequence raised": lambda world, stored: replace(stored, mac=RowMac(1, 2, tag(stored))),
    "revision raised": lambda world, stored: replace(stored, mac=RowMac(2, 1, tag(stored))),
    "planted under the platform key": lambda world, stored: forged_under(world, stored, PLATFORM.locator),
    "planted under a foreign key": lambda world, stored: forged_under(world, stored, OTHER_KEK.locator),
    "another tenant's id": lambda world, stored: replace(stored, row=replace(stored.row, tenant_id="other")),
    "enc damaged": lambda world, stored: replace(
        stored, row=replace(stored.row, enc=stored.row.enc[:-1] + bytes([stored.row.enc[-1] ^ 1]))
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
@pytest.mark.parametrize("direction", ["encrypt", "decrypt"])
def test_a_tampered_row_is_refused_with_an_alarm(world: World, name: str, direction: str) -> None:
    message = world.encrypt()
    world.app = world.process()
    world.keys.tamper = lambda row_type, stored: stored and TAMPERINGS[name](world, stored)
    with pytest.raises(StoreCorrupt):
        _ = world.encrypt() if direction == "encrypt" else world.decrypt(message)
    assert world.events.types() == ["keystead.alarm.store_corrupt"]
    world.keys.tamper = lambda row_type, stored: stored
    assert world.decrypt(world.encrypt()) == b"secret"


def test_another_tenants_good_row_is_refused(world: World) -> None:
    message = world.encrypt()
    other = world.tenant("other")
    world.app = world.process()
    theirs = world.keys.read(other.branch_key_id, ACTIVE)
    world.keys.tamper = lambda row_type, stored: theirs
    with pytest.raises(StoreCorrupt):
        world.encrypt()
    with pytest.raises(StoreCorrupt):
        world.decrypt(message)
    assert world.events.types()


def test_a_rolled_back_active_row_is_refused(world: World) -> None:
    record = world.tenant()
    old = world.keys.read(record.branch_key_id, ACTIVE)
    world.app.rotation.rotate("acme")
    world.keys.tamper = lambda row_type, stored: old if row_type == ACTIVE else stored
    for app in (world.app, world.process()):
        with pytest.raises(StoreCorrupt):
            app.encryption.encrypt("acme", b"x", {})
        with pytest.raises(StoreCorrupt):
            app.rotation.rotate("acme")
    assert set(world.events.types()) == {"keystead.alarm.store_corrupt"}


def test_a_row_with_a_good_mac_under_a_kek_outside_the_set_is_refused(world: World) -> None:
    """As after a move: the row of before is authentic, and names a key that no longer counts."""
    message = world.encrypt()
    world.change(kek=OTHER_KEK.locator, configuration_revision=2)
    for app in (world.app, world.process()):
        world.clock.advance(10)
        with pytest.raises(StoreCorrupt):
            app.encryption.decrypt("acme", message, {})
    assert "keystead.alarm.store_corrupt" in world.events.types()
    world.change(moving_from=PLATFORM.locator)
    world.clock.advance(10)
    assert world.decrypt(message) == b"secret"


def test_a_missing_active_row_is_ours_not_a_reason_to_make_another(world: World) -> None:
    world.encrypt()
    world.app = world.process()
    world.keys.tamper = lambda row_type, stored: None
    with pytest.raises(StoreCorrupt):
        world.encrypt()
    assert world.events.types() == ["keystead.alarm.store_corrupt"]


def test_a_tenant_whose_creation_was_cut_short_heals_at_first_use(world: World) -> None:
    def die(_operation: str, _context: object) -> None:
        raise KeyboardInterrupt

    world.kms.trouble = die
    with pytest.raises(KeyboardInterrupt):
        world.tenant("late")
    world.kms.trouble = lambda operation, context: None
    message = world.app.encryption.encrypt("late", b"x", {})
    assert world.process().encryption.decrypt("late", message, {}) == b"x"
    assert world.app.tenants.read("late").sequence_floor == 1


def in_threads(count: int, act: Callable[[], object]) -> list[object]:
    """Run an act in many threads that start together."""
    barrier = threading.Barrier(count)

    def start() -> object:
        barrier.wait()
        return act()

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(start) for _ in range(count)]]


@pytest.mark.parametrize("direction", ["encrypt", "decrypt"])
def test_many_threads_on_a_cold_cache_make_one_unwrap(world: World, direction: str) -> None:
    message = world.encrypt()
    world.app = world.process()
    world.app.tenants.create("warm-the-mac-key")
    asked = world.kms.branch_unwraps()
    use: Callable[[], object] = world.encrypt if direction == "encrypt" else lambda: world.decrypt(message)
    in_threads(THREADS, use)
    assert world.kms.branch_unwraps() == asked + 1


def test_many_threads_on_an_expired_lease_make_one_unwrap(world: World) -> None:
    message = world.encrypt()
    world.decrypt(message)
    world.clock.advance(61)
    asked = world.kms.branch_unwraps()
    assert set(in_threads(THREADS, lambda: world.decrypt(message))) == {b"secret"}
    assert world.kms.branch_unwraps() == asked + 1


def test_an_unknown_version_is_looked_up_once_in_a_while(world: World) -> None:
    header = parse_header(world.encrypt())
    edk = header.edks[0]
    unknown = bytes(16)
    other = EncryptedDataKey(PROVIDER_ID, edk.provider_info, edk.ciphertext[:28] + unknown + edk.ciphertext[44:])
    message = world.encrypt().replace(edk.ciphertext, other.ciphertext)

    def look_ups() -> int:
        with pytest.raises(MessageInvalid):
            world.decrypt(message)
        return sum(row_type.startswith(VERSION_PREFIX + "00000000") for row_type in world.keys.reads)

    assert [look_ups(), look_ups()] == [1, 1]
    world.clock.advance(5.1)
    assert [look_ups(), look_ups()] == [2, 2]


def test_messages_of_other_branch_keys_ask_nobody(world: World) -> None:
    world.tenant("other")
    theirs = world.app.encryption.encrypt("other", b"x", {})
    asked, reads = world.kms.branch_unwraps(), len(world.keys.reads)
    header = parse_header(theirs)
    forged = theirs.replace(serialise(header.context), serialise({"tenant_id": "acme1"}))
    for message in (theirs, forged, theirs.replace(b"\x00\x05other", b"\x00\x05acme1")):
        with pytest.raises(MessageInvalid):
            world.decrypt(message)
    assert (world.kms.branch_unwraps(), len(world.keys.reads)) == (asked, reads)


def test_rotation_keeps_old_messages_readable_and_moves_new_ones(world: World) -> None:
    old = world.encrypt(b"old")
    rotation = world.app.rotation.rotate("acme")
    assert rotation.sequence == 2
    new = world.encrypt(b"new")
    versions = [parse_header(message).edks[0].version_id for message in (old, new)]
    assert versions[0] != versions[1] == rotation.version
    for app in (world.app, world.process()):
        assert [app.encryption.decrypt("acme", message, {}) for message in (old, new)] == [b"old", b"new"]
    assert world.app.tenants.read("acme").sequence_floor == 2


def test_another_process_takes_up_a_rotation_within_its_lease(world: World) -> None:
    other = world.process()
    other.encryption.encrypt("acme", b"x", {})
    rotation = world.app.rotation.rotate("acme")
    world.clock.advance(61)
    message = other.encryption.encrypt("acme", b"x", {})
    assert parse_header(message).edks[0].version_id == rotation.version


def test_racing_rotations_leave_one_chain_of_versions(world: World) -> None:
    record = world.tenant()
    apps = [world.process() for _ in range(8)]
    messages = [world.encrypt()]
    results: list[int] = []

    def rotate() -> None:
        app = apps.pop()
        try:
            results.append(app.rotation.rotate("acme").sequence)
        except Conflict:
            results.append(0)
        messages.append(app.encryption.encrypt("acme", b"secret", {}))

    in_threads(8, rotate)
    done = sorted(sequence for sequence in results if sequence)
    assert done == list(range(2, len(done) + 2))
    assert len(world.keys.list_versions(record.branch_key_id)) == len(done) + 1
    assert all(world.process().encryption.decrypt("acme", message, {}) == b"secret" for message in messages)


def test_a_rotation_under_a_moved_fence_is_refused(world: World) -> None:
    record = world.tenant()
    world.keys.move_fence(record.branch_key_id, expected=1, new=2)
    with pytest.raises(Conflict):
        world.app.rotation.rotate("acme")
    assert len(world.keys.list_versions(record.branch_key_id)) == 1


def test_what_the_kms_gives_back_is_compared_before_it_is_stored(world: World) -> None:
    real = world.kms.unwrap
    world.kms.unwrap = lambda wrapped, context: replace(real(wrapped, context), key=bytes(32))  # type: ignore[method-assign]
    with pytest.raises(Exception, match="does not give back"):
        world.app.rotation.rotate("acme")
    world.kms.unwrap = real  # type: ignore[method-assign]
    assert world.decrypt(world.encrypt()) == b"secret"


def test_a_kms_that_wraps_under_another_key_is_not_believed(world: World) -> None:
    real = world.kms.wrap
    world.kms.wrap = lambda kek, key, context: real(OTHER_KEK, key, context)  # type: ignore[method-assign]
    with pytest.raises(InternalError):
        world.app.rotation.rotate("acme")
    assert len(world.keys.list_versions(world.app.tenants.read("acme").branch_key_id)) == 1


def test_a_kms_that_does_not_take_back_what_it_wrapped_is_not_believed(world: World) -> None:
    real = world.kms.wrap
    world.kms.wrap = lambda kek, key, context: real(kek, key, {})  # type: ignore[method-assign]
    with pytest.raises(InternalError):
        world.app.rotation.rotate("acme")


def test_a_key_of_a_wrong_length_is_refused(world: World) -> None:
    message = world.encrypt()
    world.app = world.process()
    world.app.tenants.read("acme")
    real = world.kms.unwrap
    world.kms.unwrap = lambda wrapped, context: UnwrappedKey(real(wrapped, context).key[:16])  # type: ignore[method-assign]
    with pytest.raises(StoreCorrupt):
        world.decrypt(message)


def test_a_row_older_than_one_this_process_saw_is_refused_before_the_record_is_read_anew() -> None:
    world = World(policy=KeyPolicy(lease=1))
    record = world.tenant()
    old = world.keys.read(record.branch_key_id, ACTIVE)
    world.encrypt()
    world.process().rotation.rotate("acme")
    world.clock.advance(2)
    world.encrypt()
    world.keys.tamper = lambda row_type, stored: old if row_type == ACTIVE else stored
    world.clock.advance(2)
    with pytest.raises(StoreCorrupt):
        world.encrypt()


def test_a_new_tenants_record_names_its_first_version(world: World) -> None:
    assert world.app.tenants.read("acme").sequence_floor == 1


def test_of_several_data_keys_in_a_foreign_message_the_one_that_opens_counts(world: World) -> None:
    view = world.app.gate.enter("acme", "write")
    branch_key = world.app.branch_keys.active(view)
    context, plain = serialise({"tenant_id": "acme"}), bytes(range(32))
    good = wrap_data_key(branch_key.key, branch_key.branch_key_id, branch_key.version_id, plain, context)
    damaged = replace(good, ciphertext=good.ciphertext[:-1] + bytes([good.ciphertext[-1] ^ 1]))
    unknown = replace(good, ciphertext=good.ciphertext[:28] + bytes(16) + good.ciphertext[44:])
    edks = b"".join(edk.serialise() for edk in (damaged, unknown, good))
    section = pack(">H", len(context)) + context + pack(">H", 3) + edks + pack(">BI", 2, 4096)
    message = encrypt_message(DataKey(plain, section, 4096), b"theirs")
    assert world.app.encryption.decrypt("acme", message, {}, foreign=True) == b"theirs"
    with pytest.raises(MessageInvalid):
        world.decrypt(message)


def test_keys_never_show() -> None:
    world = World()
    world.tenant()
    world.decrypt(world.encrypt())
    service, branch_keys = world.app.encryption, world.app.branch_keys._held._keys.values()
    data_keys = [*service._encrypting.values(), *service._decrypting.values()]
    assert branch_keys
    assert data_keys
    secrets = [key.key for key in branch_keys] + [entry.key.prepared[96:] for entry in data_keys]
    shown = [repr(thing) for thing in (*branch_keys, *data_keys, *(entry.key for entry in data_keys), service)]
    for secret in secrets:
        assert len(secret) == 32
        assert not any(secret.hex() in text or repr(secret)[2:-1] in text for text in shown)
