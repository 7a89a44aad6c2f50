"""What the services can hold: bodies in many pieces, ids of any kind, partitions of many pages."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from core.domain.audit import EMPTY_HEAD
from core.domain.branch_keys import ACTIVE, VERSION_PREFIX
from core.domain.tenants import RECORD
from core.errors import InternalError
from core.stores._documents import dump
from core.stores._items import row_items
from core.stores.azure_tables.entities import pieces
from core.stores.azure_tables.names import key_of
from tests.samples import new_id, new_version, next_entry, stored, tenant_record
from tests.stores.azure_tables.deployments import Deployment
from tests.stores.azure_tables.disturbed import Disturbed

ODD = [
    "a/b\\c#d?e",
    "".join(map(chr, (*range(1, 0x20), *range(0x7F, 0xA0)))),
    "\0",
    "'\"'' or PartitionKey ne '",
    " ",
    "  spaces  ",
    "a",
    "A",
    "%41%2F+&=",
    "=41",
    ".",
    "..",
    "$batch",
    "(PartitionKey='x',RowKey='y')",
    "\u00e9",
    unicodedata.normalize("NFD", "\u00e9"),
    "\uffff\U0001f600\U0010ffff",
    "\u0130\u0131\u00df",
    "x" * 200,
    "x" * 201,
    "x" * 202,
    "/" * 5000,
]
"""Ids that are no two alike."""


class LimitsSuite:
    """The suite; ``deployment`` is a fixture of the module.

    Attributes:
        versions: More than a page holds half of.
        odd: Ids that are no two alike.
        tenants: How many are listed.
    """

    versions: int
    odd: Sequence[str] = ODD
    tenants = 130

    def test_odd_ids_are_stored_and_found_apart(self, deployment: Deployment) -> None:
        prefix = str(uuid4())
        names = [prefix + name for name in self.odd]
        for number, name in enumerate(names):
            deployment.tenants.write(name, "note", {"n": number}, expected_revision=0)
            deployment.tenants.write("one", name, {"n": number}, expected_revision=0)
            deployment.keys.create(*new_version(name, 1, enc=b"%d" % (number + 1)), 1)
            deployment.audit.append(next_entry(EMPTY_HEAD, name, {"n": number}))
        for number, name in enumerate(names):
            for document in (deployment.tenants.read(name, "note"), deployment.tenants.read("one", name)):
                assert document
                assert document.body == {"n": number}
            assert [entry.details for entry in deployment.audit.read(name)] == [{"n": number}]
            row = deployment.keys.read(name, ACTIVE)
            assert row
            assert (row.row.branch_key_id, row.row.enc) == (name, b"%d" % (number + 1))
            assert [version.row.branch_key_id for version in deployment.keys.list_versions(name)] == [name]

    def test_bodies_as_large_as_can_be(self, deployment: Deployment) -> None:
        tenant_id, chain, branch_key_id = new_id(), new_id(), str(uuid4())
        body = {"x": "0123456789" * 49_000, "\u00e9": "\u00e9" * 100}
        for revision in range(2):
            written = deployment.tenants.write(tenant_id, "note", body, expected_revision=revision)
            assert deployment.tenants.read(tenant_id, "note") == written
        entry = next_entry(EMPTY_HEAD, chain, body)
        deployment.audit.append(entry)
        assert list(deployment.audit.read(chain)) == [entry]
        large = [bytes(range(256)) * (count // 256) for count in (720_000, 700_000)]
        version, active = new_version(branch_key_id, 1, enc=large[0])
        deployment.keys.create(version, active, 1)
        assert deployment.keys.read(branch_key_id, ACTIVE) == active
        following = new_version(branch_key_id, 2, enc=large[1])
        deployment.keys.rotate(*following, expected_active_enc=large[0], fence=1)
        assert deployment.keys.read(branch_key_id, ACTIVE) == following[1]
        assert list(deployment.keys.list_versions(branch_key_id)) == [version, following[0]]

    def test_a_body_that_shrinks_leaves_no_pieces(self, deployment: Deployment) -> None:
        tenant_id = new_id()
        deployment.tenants.write(tenant_id, "note", {"x": "y" * 100_000}, expected_revision=0)
        written = deployment.tenants.write(tenant_id, "note", {"x": "y"}, expected_revision=1)
        assert deployment.tenants.read(tenant_id, "note") == written

    def test_what_is_too_large_is_not_sent(self, deployment: Deployment) -> None:
        client = Disturbed(deployment.client)
        at = Deployment(client, deployment.tables)
        branch_key_id = str(uuid4())
        uses: list[Any] = [
            lambda: at.tenants.write(new_id(), "note", {"x": "y" * 500_000}, expected_revision=0),
            lambda: at.audit.append(next_entry(EMPTY_HEAD, new_id(), {"x": "y" * 500_000})),
            lambda: at.keys.create(*new_version(branch_key_id, 1, enc=bytes(751_000)), 1),
            lambda: at.keys.create(*new_version(branch_key_id, 1, enc=bytes(748_000)), 1),
        ]
        for use in uses:
            with pytest.raises(InternalError):
                use()
        assert client.calls == 0

    def test_more_versions_than_a_page_holds(self, deployment: Deployment) -> None:
        branch_key_id = str(uuid4())
        version, active = new_version(branch_key_id, 1)
        deployment.keys.create(version, active, 1)
        wanted, entities = [version], []
        for sequence in range(2, self.versions + 1):
            row = replace(version.row, type=f"{VERSION_PREFIX}{uuid4()}", enc=b"%d" % sequence)
            wanted.append(stored(row, sequence))
            for item in row_items(wanted[-1]):
                found: dict[str, object] = {"writes": str(sequence), **pieces("attributes", item.attributes)}
                found |= {} if item.enc is None else pieces("enc", item.enc)
                entities.append({"PartitionKey": branch_key_id, "RowKey": key_of(item.type), **found})
        table = deployment.client.get_table_client(deployment.tables.branch_keys)
        for start in range(0, len(entities), 100):
            table.submit_transaction([("create", entity, {}) for entity in entities[start : start + 100]])
        assert list(deployment.keys.list_versions(branch_key_id)) == wanted

    def test_a_listing_of_many_tenants(self, deployment: Deployment) -> None:
        prefix = f"z{uuid4().hex}-"
        names = sorted(f"{prefix}{number * number}" for number in range(self.tenants))
        for name in names:
            body = tenant_record(name).to_body()
            deployment.plant_document(name, RECORD, 1, dump(body))
        most = self.tenants - 5
        assert [found.tenant_id for found in deployment.tenants.list_tenants(after=prefix, limit=most)] == names[:most]
        assert [found.tenant_id for found in deployment.tenants.list_tenants(after=names[19])] == names[20:120]
