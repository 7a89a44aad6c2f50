"""The DynamoDB stores keep every port's contract over the wire: over ministack, whose transactions are real ones."""

from __future__ import annotations

import pytest

from core.stores.dynamodb import dynamodb_client
from tests.aws.ministack import MINISTACK, REGION, ROOT_CREDENTIALS, Ministack
from tests.stores.dynamodb.deployments import Deployment, fresh_tables
from tests.stores.dynamodb.lost_answers import LostAnswersSuite
from tests.stores.dynamodb.suites import AuditLogSuite, KeyStoreSuite, TenantStoreSuite

pytestmark = MINISTACK


@pytest.fixture(scope="class")
def deployment(ministack: Ministack) -> Deployment:
    key_id, secret = ROOT_CREDENTIALS
    client = dynamodb_client(REGION, endpoint_url=ministack.url, access_key_id=key_id, secret_access_key=secret)
    return Deployment(client, fresh_tables(client))


class TestKeyStore(KeyStoreSuite):
    pass


class TestTenantStore(TenantStoreSuite):
    pass


class TestAuditLog(AuditLogSuite):
    pass


class TestLostAnswers(LostAnswersSuite):
    remembers_tokens = True
