"""The Azure stores keep every port's contract over Azurite, which checks signatures, sizes and conditions."""

from __future__ import annotations

import pytest

from core.errors import StoreUnavailable
from core.stores.azure_tables import AzureTables, tables_client
from tests.azurite.server import AZURITE, Azurite
from tests.stores.azure_tables.deployments import Deployment, fresh_tables
from tests.stores.azure_tables.limits import ODD, LimitsSuite
from tests.stores.azure_tables.lost_answers import LostAnswersSuite
from tests.stores.azure_tables.suites import AuditLogSuite, KeyStoreSuite, TenantStoreSuite

pytestmark = AZURITE


@pytest.fixture(scope="module")
def client(azurite: Azurite) -> object:
    return tables_client(azurite.endpoint, azurite.credential)


@pytest.fixture(scope="class")
def deployment(client: object) -> Deployment:
    return Deployment(client, fresh_tables(client))


@pytest.fixture(autouse=True)
def _fewer_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Races cost the square of the number of writers here; the double runs them all."""
    for suite in ("key_store", "tenant_store", "audit_log"):
        monkeypatch.setattr(f"tests.conformance.{suite}.WRITERS", 4)


class TestKeyStore(KeyStoreSuite):
    pass


class TestTenantStore(TenantStoreSuite):
    pass


class TestAuditLog(AuditLogSuite):
    pass


class TestLimits(LimitsSuite):
    versions = 510
    odd = (*ODD[:8], *ODD[-3:])
    tenants = 40


class TestLostAnswers:
    """Those that depend on what Azurite says to a write that comes twice, or late; the double runs them all."""

    outcome = LostAnswersSuite.outcome
    test_ours_was_made = LostAnswersSuite.test_ours_was_made
    test_another_was_made_instead = LostAnswersSuite.test_another_was_made_instead
    test_a_branch_key_changes_just_before = LostAnswersSuite.test_a_branch_key_changes_just_before
    test_writes_that_do_not_concern_one_another_are_both_made = (
        LostAnswersSuite.test_writes_that_do_not_concern_one_another_are_both_made
    )


class TestRefusals:
    """What an operator has to mend, as Azurite says it."""

    def test_another_account_key(self, azurite: Azurite, deployment: Deployment) -> None:
        credential = azurite.credential
        credential.update(credential.named_key.name, "U0VDUkVU")
        with pytest.raises(StoreUnavailable, match="AuthorizationFailure") as raised:
            Deployment(tables_client(azurite.endpoint, credential), deployment.tables).keys.read_fence("bk")
        assert raised.value.hint

    def test_tables_that_were_never_made(self, client: object) -> None:
        missing = Deployment(client, AzureTables("missing1", "missing2", "missing3"))
        for use in (
            lambda: missing.keys.read_fence("bk"),
            lambda: missing.tenants.write("acme", "note", {}, expected_revision=0),
            lambda: missing.audit.read("acme"),
        ):
            with pytest.raises(StoreUnavailable, match="TableNotFound") as raised:
                use()
            assert raised.value.hint
            assert "create the tables" in raised.value.hint
