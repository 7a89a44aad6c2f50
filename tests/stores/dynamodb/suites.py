"""The ports' contracts over DynamoDB tables. Subclass in a module whose ``deployment`` fixture says where they are."""

from __future__ import annotations

import pytest

from core.errors import StoreCorrupt
from tests.conformance.audit_log import AuditLogContract
from tests.conformance.key_store import KeyStoreContract
from tests.conformance.tenant_store import TenantStoreContract
from tests.samples import next_entry
from tests.stores.dynamodb.deployments import Deployment


class KeyStoreSuite(KeyStoreContract):
    @pytest.fixture(autouse=True)
    def _set_up(self, deployment: Deployment) -> None:
        self.deployment, self.store = deployment, deployment.keys

    def plant(self, branch_key_id: str, item_type: str, attributes: str, enc: bytes | None) -> None:
        self.deployment.plant_branch_key_item(branch_key_id, item_type, attributes, enc)

    def remove(self, branch_key_id: str, item_type: str) -> None:
        self.deployment.remove_branch_key_item(branch_key_id, item_type)


class TenantStoreSuite(TenantStoreContract):
    @pytest.fixture(autouse=True)
    def _set_up(self, deployment: Deployment) -> None:
        self.deployment, self.store = deployment, deployment.tenants

    def plant(self, tenant_id: str, name: str, revision: int, text: str) -> None:
        self.deployment.plant_document(tenant_id, name, revision, text)


class AuditLogSuite(AuditLogContract):
    @pytest.fixture(autouse=True)
    def _set_up(self, deployment: Deployment) -> None:
        self.deployment, self.log = deployment, deployment.audit

    def plant(self, chain: str, sequence: int, text: str) -> None:
        self.deployment.plant_entry(chain, sequence, text)

    def plant_head(self, chain: str, text: str) -> None:
        self.plant(chain, 0, text)

    def test_an_entry_planted_ahead_of_the_head_is_not_overwritten(self) -> None:
        chain, _ = self.written(1)
        self.plant(chain, 2, "{}")
        with pytest.raises(StoreCorrupt):
            self.log.append(next_entry(self.log.head(chain), chain))
        with pytest.raises(StoreCorrupt):
            self.log.read(chain)
        assert self.log.head(chain).sequence == 1
