"""The ports' contracts over Azure's tables. Subclass in a module whose ``deployment`` fixture says where they are."""

from __future__ import annotations

import pytest

from core.errors import StoreCorrupt
from tests.conformance.audit_log import AuditLogContract
from tests.conformance.key_store import KeyStoreContract
from tests.conformance.tenant_store import TenantStoreContract
from tests.samples import next_entry
from tests.stores.azure_tables.deployments import Deployment


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
        self.deployment.plant_entry(chain, f"{sequence:020d}", text)

    def plant_head(self, chain: str, text: str) -> None:
        self.deployment.plant_entry(chain, "head", text)

    @pytest.mark.parametrize("ahead", [1, 500])
    def test_an_entry_planted_ahead_of_the_head_is_found_and_not_overwritten(self, ahead: int) -> None:
        chain, entries = self.written(1)
        self.plant(chain, 1 + ahead, "{}")
        if ahead == 1:
            with pytest.raises(StoreCorrupt):
                self.log.append(next_entry(self.log.head(chain), chain))
        with pytest.raises(StoreCorrupt):
            self.log.read(chain)
        assert list(self.log.read(chain, limit=1)) == entries
        assert self.log.head(chain).sequence == 1
