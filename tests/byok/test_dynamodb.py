"""The tables of AWS under a tenant with a key of its own: the official client reads them as they are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.domain.states import State
from core.errors import KeyRevoked
from core.providers.system_clock import SystemClock
from core.stores.dynamodb import (
    DynamoAuditLog,
    DynamoDatabase,
    DynamoKeyStore,
    DynamoTenantStore,
    create_tables,
)
from tests.byok.deployment import Deployment, deployed
from tests.byok.officially import OFFICER, TABLES, read_officially
from tests.interop.official import Cloud, cloud

pytestmark = pytest.mark.slow


@pytest.fixture
def account() -> Iterator[Cloud]:
    with cloud() as made:
        create_tables(made.dynamodb, TABLES)
        yield made


@pytest.fixture
def deployment(account: Cloud) -> Iterator[Deployment]:
    database = DynamoDatabase(account.dynamodb, TABLES, SystemClock())
    with deployed(
        keys=DynamoKeyStore(database), tenants=DynamoTenantStore(database), audit_log=DynamoAuditLog(database)
    ) as made:
        made.emulator.add_principal(*OFFICER)
        yield made


def test_a_tenants_whole_life(deployment: Deployment, account: Cloud) -> None:
    app = deployment.app
    deployment.tenant("acme")
    messages = {b"under the platform's key": app.encryption.encrypt("acme", b"under the platform's key", {})}

    def write(text: bytes) -> None:
        messages[text] = app.encryption.encrypt("acme", text, {})

    first, second = deployment.new_key("acme"), deployment.new_key("acme")
    deployment.configure("acme", first)
    write(b"under its own")
    app.rotation.rotate("acme")
    write(b"rotated")
    read_officially(deployment, account, first, messages)
    deployment.configure("acme", second)
    write(b"replaced")
    deployment.emulator.disable_key(first)
    read_officially(deployment, account, second, messages)
    fresh = deployment.process()
    assert {fresh.encryption.decrypt("acme", message, {}): message for message in messages.values()} == messages
    assert fresh.tenants.read("acme").state is State.ACTIVE
    deployment.emulator.disable_key(second)
    with pytest.raises(KeyRevoked):
        deployment.process().encryption.decrypt("acme", messages[b"replaced"], {})
