"""The tables of AWS under a tenant with a key of its own: the official client reads them as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import boto3
import pytest
from aws_encryption_sdk.identifiers import AlgorithmSuite

from core.domain.branch_keys import ACTIVE
from core.domain.states import State
from core.errors import KeyRevoked
from core.providers.system_clock import SystemClock
from core.stores.dynamodb import (
    DynamoAuditLog,
    DynamoDatabase,
    DynamoKeyStore,
    DynamoTables,
    DynamoTenantStore,
    create_tables,
)
from functions.emulators.kms import CUSTOMER_ACCOUNT, DEFAULT_REGION
from tests.byok.deployment import Deployment, deployed
from tests.interop.official import Cloud, Official, cloud

OFFICER = ("tenants-own", "tenants-own-secret", f"arn:aws:iam::{CUSTOMER_ACCOUNT}:user/officer")
TABLES = DynamoTables("branch-keys", "tenants", "audit")
LOGICAL_NAME = "keystead-branch-keys"
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


def read_officially(deployment: Deployment, account: Cloud, arn: str, messages: dict[bytes, bytes]) -> None:
    """Read every message with nothing but table, KMS key and logical name (and the branch key's id, from a message)."""
    kms = boto3.client(
        "kms",
        region_name=DEFAULT_REGION,
        endpoint_url=deployment.endpoint,
        aws_access_key_id=OFFICER[0],
        aws_secret_access_key=OFFICER[1],
    )
    official = Official(replace(account, kms=kms), TABLES.branch_keys, LOGICAL_NAME, arn)
    record = deployment.app.tenants.read("acme")
    keyring = official.hierarchical(record.branch_key_id)
    for text, message in messages.items():
        plaintext, _ = official.client.decrypt(source=message, keyring=keyring)
        assert plaintext == text
    active = deployment.keys.read(record.branch_key_id, ACTIVE)
    assert active is not None
    message, _ = official.client.encrypt(
        source=b"written by them",
        keyring=keyring,
        algorithm=AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
        encryption_context={"tenant_id": "acme"},
    )
    assert deployment.app.encryption.decrypt("acme", message, {}, foreign=True) == b"written by them"
