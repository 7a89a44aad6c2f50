"""The DynamoDB stores keep every port's contract, in this process: over moto, whose calls are made to take turns."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws

from core.stores.dynamodb import dynamodb_client
from tests.stores.dynamodb.deployments import Deployment, OneAtATime, fresh_tables
from tests.stores.dynamodb.lost_answers import LostAnswersSuite
from tests.stores.dynamodb.suites import AuditLogSuite, KeyStoreSuite, TenantStoreSuite


@pytest.fixture(scope="module")
def client() -> Iterator[OneAtATime]:
    with mock_aws():
        yield OneAtATime(dynamodb_client("eu-central-1", access_key_id="test", secret_access_key="test"))


@pytest.fixture
def deployment(client: OneAtATime) -> Iterator[Deployment]:
    """Tables as small as can be: moto copies all there are for each transaction."""
    tables = fresh_tables(client)
    yield Deployment(client, tables)
    for name in (tables.branch_keys, tables.tenants, tables.audit):
        client.delete_table(TableName=name)


class TestKeyStore(KeyStoreSuite):
    pass


class TestTenantStore(TenantStoreSuite):
    pass


class TestAuditLog(AuditLogSuite):
    pass


class TestLostAnswers(LostAnswersSuite):
    remembers_tokens = False
