"""AWS, Azure and the platform: a tenant goes from any to any, nothing is lost, and no message is ever rewritten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations

import pytest

from core.domain.branch_keys import ACTIVE
from core.domain.states import State
from core.errors import KeyRevoked, KeyUnreachable
from core.providers.system_clock import SystemClock
from core.stores.dynamodb import DynamoAuditLog, DynamoDatabase, DynamoKeyStore, DynamoTenantStore, create_tables
from functions.emulators.azure_faults import AzureFault
from tests.byok.clouds import TwoClouds, two_clouds
from tests.byok.officially import OFFICER, TABLES, read_officially
from tests.interop.official import Cloud, cloud


@pytest.fixture
def clouds() -> Iterator[TwoClouds]:
    with two_clouds() as made:
        made.tenant("acme")
        yield made


def to_aws(clouds: TwoClouds) -> str:
    arn = clouds.new_key("acme")
    clouds.configure("acme", arn, reversible=clouds.record("acme").state is State.PLATFORM)
    return arn


def to_azure(clouds: TwoClouds) -> str:
    number = len(clouds.names)
    clouds.names.append(f"kek-{number}")
    key = clouds.new_vault_key("acme", name=f"kek-{number}")
    clouds.into_vault("acme", key, reversible=clouds.record("acme").state is State.PLATFORM)
    return key


def to_platform(clouds: TwoClouds) -> str:
    if clouds.record("acme").state is not State.PLATFORM:
        clouds.app.key_configuration.revert("acme", {})
    return "local:platform"


GOES: dict[str, Callable[[TwoClouds], str]] = {"AWS": to_aws, "Azure": to_azure, "platform": to_platform}


@pytest.mark.parametrize("way", [*permutations(GOES)], ids=" ".join)
def test_any_way_between_them_loses_nothing(clouds: TwoClouds, way: tuple[str, ...]) -> None:
    messages: dict[bytes, bytes] = {}

    def write(text: bytes) -> None:
        messages[text] = clouds.app.encryption.encrypt("acme", text, {})

    write(b"at first")
    for place in (*way, way[0]):
        locator = GOES[place](clouds)
        record = clouds.record("acme")
        assert (record.kek, record.moving_from) == (locator, None)
        active = clouds.keys.read(record.branch_key_id, ACTIVE)
        assert active is not None
        rows = [active, *clouds.keys.list_versions(record.branch_key_id)]
        assert {stored.row.kek.key.locator for stored in rows} == {locator}
        write(f"at {place} in revision {record.configuration_revision}".encode())
        fresh = clouds.process()
        assert {fresh.encryption.decrypt("acme", message, {}): message for message in messages.values()} == messages


def test_after_a_move_the_former_cloud_is_not_needed_and_the_new_one_is(clouds: TwoClouds) -> None:
    arn = to_aws(clouds)
    message = clouds.app.encryption.encrypt("acme", b"secret", {})
    key = to_azure(clouds)
    clouds.emulator.disable_key(arn)
    assert clouds.process().encryption.decrypt("acme", message, {}) == b"secret"
    clouds.azure.set_enabled(key, False)
    with pytest.raises(KeyRevoked):
        clouds.process().encryption.decrypt("acme", message, {})
    clouds.azure.set_enabled(key, True)
    assert clouds.process().encryption.decrypt("acme", message, {}) == b"secret"


def test_a_move_cut_short_by_an_outage_of_either_cloud_is_finished_by_a_check(clouds: TwoClouds) -> None:
    to_aws(clouds)
    message = clouds.app.encryption.encrypt("acme", b"secret", {})
    key = clouds.new_vault_key("acme")
    clouds.into_vault("acme", key)
    arn = clouds.new_key("acme")
    clouds.azure.add_fault(AzureFault(operation="unwrapkey", status=503))
    with pytest.raises(KeyUnreachable):
        clouds.configure("acme", arn)
    record = clouds.record("acme")
    assert (record.kek, record.moving_from) == (arn, key)
    clouds.azure.clear_faults()
    clouds.check("acme")
    assert clouds.record("acme").moving_from is None
    assert clouds.process().encryption.decrypt("acme", message, {}) == b"secret"


@pytest.mark.slow
class TestOfficialClient:
    @pytest.fixture
    def account(self) -> Iterator[Cloud]:
        with cloud() as made:
            create_tables(made.dynamodb, TABLES)
            yield made

    def test_a_tenant_moved_from_azure_is_read_by_the_official_client(self, account: Cloud) -> None:
        database = DynamoDatabase(account.dynamodb, TABLES, SystemClock())
        stores = {
            "keys": DynamoKeyStore(database),
            "tenants": DynamoTenantStore(database),
            "audit_log": DynamoAuditLog(database),
        }
        with two_clouds(**stores) as clouds:
            clouds.emulator.add_principal(*OFFICER)
            clouds.tenant("acme")
            messages: dict[bytes, bytes] = {}

            def write(text: bytes) -> None:
                messages[text] = clouds.app.encryption.encrypt("acme", text, {})

            write(b"under the platform's key")
            key = to_azure(clouds)
            write(b"in the vault")
            clouds.azure.rotate_key(key)
            clouds.check("acme")
            write(b"in the vault, rotated")
            arn = to_aws(clouds)
            write(b"in AWS")
            clouds.azure.delete_key(key)
            read_officially(clouds, account, arn, messages)
            to_azure(clouds)
            again = to_aws(clouds)
            write(b"there and back")
            read_officially(clouds, account, again, messages)
            fresh = clouds.process()
            assert {fresh.encryption.decrypt("acme", message, {}): message for message in messages.values()} == messages
