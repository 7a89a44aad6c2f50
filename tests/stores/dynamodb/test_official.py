"""The branch key table is an AWS branch key store: the official client works on it as it is, beside us."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from aws_cryptographic_material_providers.keystore.models import (
    GetActiveBranchKeyInput,
    GetBranchKeyVersionInput,
    VersionKeyInput,
)

from core.bootstrap import Application, Config, Leaves, assemble
from core.domain.branch_keys import ACTIVE, VERSION_PREFIX
from core.domain.context import message_context
from core.domain.kek import Kek
from core.errors import StoreCorrupt
from core.providers.system_clock import SystemClock
from core.stores._items import stored_row
from core.stores.dynamodb import DynamoKeyStore
from core.stores.dynamodb.native import from_native
from tests.interop.exchange import Quiet
from tests.interop.moto_kms import MotoKms
from tests.interop.official import Cloud, Official, cloud
from tests.stores.dynamodb.deployments import Deployment, fresh_tables

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dynamodb-official")]
LOGICAL_NAME = "keystead-branch-keys"
TENANT = "acme"
PLAINTEXT, CONTEXT = b"an invoice", {"dataset": "invoices"}


@dataclass(frozen=True)
class Shared:
    """Our service and the official client on one table.

    Attributes:
        app: Our service.
        official: The official client, which is told the table's name and nothing else of ours.
        keys: Our key store.
        items: Reads the items of a branch key as they are stored.
    """

    app: Application
    official: Official
    keys: DynamoKeyStore
    account: Cloud
    table: str

    @property
    def branch_key_id(self) -> str:
        return self.app.tenants.read(TENANT).branch_key_id

    def items(self, branch_key_id: str) -> dict[str, dict[str, Any]]:
        found = self.account.dynamodb.query(
            TableName=self.table,
            KeyConditionExpression="#id = :id",
            ExpressionAttributeNames={"#id": "branch-key-id"},
            ExpressionAttributeValues={":id": {"S": branch_key_id}},
        )["Items"]
        return {item["type"]["S"]: item for item in found}


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    with cloud() as account:
        deployment = Deployment(account.dynamodb, fresh_tables(account.dynamodb))
        kms_arn, quiet = account.new_key(), Quiet()
        leaves = Leaves(
            clock=SystemClock(),
            key_store=deployment.keys,
            tenant_store=deployment.tenants,
            audit_log=deployment.audit,
            signer=quiet,
            events=quiet,
            platform=MotoKms(account.kms),
            platform_kek=Kek(kms_arn),
        )
        app = assemble(Config(store="memory", table_name=LOGICAL_NAME), leaves)
        app.tenants.create(TENANT)
        app.rotation.rotate(TENANT)
        table = deployment.tables.branch_keys
        yield Shared(app, Official(account, table, LOGICAL_NAME, kms_arn), deployment.keys, account, table)
        assert quiet.emitted == []


def test_rows_are_hv_1_records_bit_for_bit(shared: Shared) -> None:
    common = {"branch-key-id", "type", "enc", "kms-arn", "create-time", "hierarchy-version", "tenant_id"}
    rows = [(name, item) for name, item in shared.items(shared.branch_key_id).items() if name.startswith("branch:")]
    assert len(rows) == 3
    for name, item in rows:
        assert set(item) == (common | {"version"} if name == ACTIVE else common)
        assert item["hierarchy-version"] == {"N": "1"}
        assert {attribute for attribute, value in item.items() if "S" not in value} == {"enc", "hierarchy-version"}
        assert set(item["enc"]) == {"B"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", item["create-time"]["S"])


def test_what_lies_beside_the_rows(shared: Shared) -> None:
    items = shared.items(shared.branch_key_id)
    rows = {name for name in items if name.startswith("branch:")}
    assert set(items) == rows | {f"keystead:mac:{name}" for name in rows} | {"keystead:fence"}
    for name in rows:
        mac = items[f"keystead:mac:{name}"]
        kinds = {attribute: next(iter(value)) for attribute, value in mac.items()}
        assert kinds == {
            "branch-key-id": "S",
            "type": "S",
            "revision": "N",
            "sequence": "N",
            "tag": "B",
            "write_id": "S",
        }
        assert len(mac["tag"]["B"]) == 32
    assert items["keystead:fence"]["revision"] == {"N": "1"}


def test_the_official_key_store_reads_our_rows(shared: Shared) -> None:
    ours = shared.app.branch_keys.active(shared.app.gate.enter(TENANT, "write"))
    store, key_id = shared.official.key_store, shared.branch_key_id
    active = store.get_active_branch_key(GetActiveBranchKeyInput(branch_key_identifier=key_id)).branch_key_materials
    assert (active.branch_key, active.branch_key_version) == (ours.key, ours.version_id)
    for stored in shared.keys.list_versions(key_id):
        version_id = stored.row.version_id
        found = store.get_branch_key_version(
            GetBranchKeyVersionInput(branch_key_identifier=key_id, branch_key_version=version_id)
        ).branch_key_materials
        assert found.branch_key_version == version_id
        assert len(found.branch_key) == 32


def test_messages_go_both_ways(shared: Shared) -> None:
    keyring = shared.official.hierarchical(shared.branch_key_id)
    ours = shared.app.encryption.encrypt(TENANT, PLAINTEXT, CONTEXT)
    assert shared.official.decrypt(keyring, ours) == (PLAINTEXT, message_context(TENANT, CONTEXT))
    theirs = shared.official.encrypt(keyring, PLAINTEXT, message_context(TENANT, CONTEXT))
    assert shared.app.encryption.decrypt(TENANT, theirs, CONTEXT) == PLAINTEXT


def test_a_row_of_the_official_key_store_has_the_form_of_ours_but_no_tenant(shared: Shared) -> None:
    """It is no row of a tenant's, so it is refused; with the attribute that is missing it would be read."""
    branch_key_id = shared.official.create_branch_key()
    items = {name: item for name, item in shared.items(branch_key_id).items() if name.startswith("branch:")}
    assert {name if name == ACTIVE else VERSION_PREFIX for name in items} == {ACTIVE, VERSION_PREFIX}
    for name, item in items.items():
        with pytest.raises(StoreCorrupt):
            shared.keys.read(branch_key_id, name)
        row = stored_row(branch_key_id, from_native({**item, "tenant_id": {"S": TENANT}}), None).row
        assert row.attributes().keys() == item.keys() - {"enc"} | {"tenant_id"}
        assert row.enc == item["enc"]["B"]
        for attribute, value in row.attributes().items():
            if attribute != "tenant_id":
                assert value in item[attribute].values()


def test_a_version_that_the_official_key_store_made_is_seen_as_planted(shared: Shared) -> None:
    """Whoever leaves goes on with the official tools; we would not serve what they wrote: it has no MAC of ours."""
    shared.app.tenants.create("leaver")
    key_id = shared.app.tenants.read("leaver").branch_key_id
    before = shared.keys.read(key_id, ACTIVE)
    shared.official.key_store.version_key(VersionKeyInput(branch_key_identifier=key_id))
    after = shared.keys.read(key_id, ACTIVE)
    assert before is not None
    assert after is not None
    assert after.row.tenant_id == "leaver"
    assert after.row.version != before.row.version
    assert after.mac == before.mac, "the MAC beside it is still that of the row before"
    assert [stored.mac is None for stored in shared.keys.list_versions(key_id)] == [True, False]
