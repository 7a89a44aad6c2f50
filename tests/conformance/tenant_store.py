"""What every TenantStore must do. Subclass; set ``store`` in an autouse fixture; say how to plant a document."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.domain.key_policy import KeyPolicy
from core.domain.states import TRANSITIONS, State
from core.domain.tenants import RECORD, SYSTEM, TenantRecord
from core.errors import Conflict, InternalError, StoreCorrupt
from core.ports import Document, TenantStore
from tests.conformance.racing import outcomes, race
from tests.samples import new_id, path_to, tenant_record

WRITERS = 8

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


class TenantStoreContract:
    """The suite.

    Attributes:
        store: Under test. It may hold other tenants.
    """

    store: TenantStore

    def plant(self, tenant_id: str, name: str, revision: int, text: str) -> None:
        """Put a document's text into the store behind its back, in place of what stands there."""
        raise NotImplementedError

    def refuses(
        self, error: type[Exception], tenant_id: str, name: str, body: Mapping[str, Any], expected_revision: int
    ) -> None:
        """A write that must fail, and must leave no trace."""
        before = self.store.read(tenant_id, name)
        with pytest.raises(error) as raised:
            self.store.write(tenant_id, name, body, expected_revision=expected_revision)
        assert type(raised.value) is error
        assert self.store.read(tenant_id, name) == before

    # Documents

    def test_nothing_is_there_before_it_is_written(self) -> None:
        assert self.store.read(new_id(), RECORD) is None
        assert self.store.read(SYSTEM, new_id()) is None

    def test_write_then_read(self) -> None:
        tenant_id = new_id()
        first = self.store.write(tenant_id, "note", {"a": 1}, expected_revision=0)
        assert first == Document(tenant_id, "note", 1, {"a": 1})
        assert self.store.read(tenant_id, "note") == first
        second = self.store.write(tenant_id, "note", {"b": [2, None]}, expected_revision=1)
        assert second == Document(tenant_id, "note", 2, {"b": [2, None]})
        assert self.store.read(tenant_id, "note") == second
        assert self.store.read(tenant_id, RECORD) is None

    def test_another_revision_is_a_conflict(self) -> None:
        tenant_id = new_id()
        for expected in (1, 2, -1):
            self.refuses(Conflict, tenant_id, "note", {}, expected)
        self.store.write(tenant_id, "note", {"n": 1}, expected_revision=0)
        self.store.write(tenant_id, "note", {"n": 2}, expected_revision=1)
        for expected in (0, 1, 3, 2**70, -2):
            self.refuses(Conflict, tenant_id, "note", {"n": 3}, expected)

    def test_what_was_handed_in_or_out_is_not_what_is_stored(self) -> None:
        tenant_id = new_id()
        body: dict[str, Any] = {"list": [1], "inner": {"x": 1}}
        written = self.store.write(tenant_id, "note", body, expected_revision=0)
        read = self.store.read(tenant_id, "note")
        assert read is not None
        for held in (body, written.body, read.body):
            held["list"].append(2)
            held["inner"]["y"] = 2
        again = self.store.read(tenant_id, "note")
        assert again is not None
        assert again.body == {"list": [1], "inner": {"x": 1}}

    def test_what_is_written_is_told_as_it_will_be_read(self) -> None:
        tenant_id = new_id()
        written = self.store.write(tenant_id, "note", {"pair": (1, 2), "n": 60.0}, expected_revision=0)
        assert written.body == {"pair": [1, 2], "n": 60.0}
        assert self.store.read(tenant_id, "note") == written

    @pytest.mark.parametrize(
        "body",
        [{"x": object()}, {"x": float("nan")}, {"x": b"bytes"}, {(1, 2): 3}],
        ids=["object", "nan", "bytes", "tuple key"],
    )
    def test_what_is_not_json_is_not_written(self, body: dict[Any, Any]) -> None:
        self.refuses(InternalError, new_id(), "note", body, 0)

    def test_an_id_that_is_not_unicode(self) -> None:
        for use in (
            lambda: self.store.read("\udc80", "x"),
            lambda: self.store.read("x", "\udc80"),
            lambda: self.store.write("\udc80", "x", {}, expected_revision=0),
            lambda: self.store.list_tenants(after="\udc80"),
        ):
            with pytest.raises(InternalError):
                use()

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(name=st.text(max_size=30), body=st.dictionaries(st.text(max_size=20), JSON_VALUES, max_size=6))
    def test_any_json_comes_back_as_it_was(self, name: str, body: dict[str, Any]) -> None:
        tenant_id, name = new_id(), f"note {name}"
        written = self.store.write(tenant_id, name, body, expected_revision=0)
        assert written == self.store.read(tenant_id, name) == Document(tenant_id, name, 1, body)

    @pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", "[" * 50_000])
    def test_a_planted_document_that_is_no_object_is_corrupt(self, text: str) -> None:
        tenant_id = new_id()
        self.plant(tenant_id, "note", 1, text)
        with pytest.raises(StoreCorrupt):
            self.store.read(tenant_id, "note")

    @pytest.mark.parametrize("revision", [0, -1])
    def test_a_planted_document_without_a_revision_is_corrupt(self, revision: int) -> None:
        tenant_id = new_id()
        self.plant(tenant_id, "note", revision, "{}")
        with pytest.raises(StoreCorrupt):
            self.store.read(tenant_id, "note")

    # Tenant records

    @pytest.mark.parametrize("old", State)
    def test_every_transition_of_the_table_and_no_other(self, old: State) -> None:
        for new in State:
            tenant_id = new_id()
            before = tenant_record(tenant_id)
            revision = self.store.write(tenant_id, RECORD, before.to_body(), expected_revision=0).revision
            for state in path_to(old):
                before = replace(before, state=state)
                revision = self.store.write(tenant_id, RECORD, before.to_body(), expected_revision=revision).revision
            after = replace(before, state=new, cause="test")
            if new is old or new in TRANSITIONS[old]:
                written = self.store.write(tenant_id, RECORD, after.to_body(), expected_revision=revision)
                assert TenantRecord.from_body(written.body) == after
                found = self.store.read(tenant_id, RECORD)
                assert found is not None
                assert (found.revision, found.body["state"]) == (revision + 1, new)
            else:
                self.refuses(Conflict, tenant_id, RECORD, after.to_body(), revision)

    @pytest.mark.parametrize("state", [state for state in State if state is not State.PLATFORM])
    def test_a_tenant_starts_in_platform(self, state: State) -> None:
        tenant_id = new_id()
        body = tenant_record(tenant_id, state=state).to_body()
        with pytest.raises(Conflict):
            self.store.write(tenant_id, RECORD, body, expected_revision=0)
        assert self.store.read(tenant_id, RECORD) is None

    @pytest.mark.parametrize(
        "change",
        [
            lambda tenant: replace(tenant, tenant_id="another"),
            lambda tenant: replace(tenant, created="2027-01-31T12:00:00.000000Z"),
            lambda tenant: replace(tenant, configuration_revision=2),
            lambda tenant: replace(tenant, sequence_floor=6),
            lambda tenant: replace(tenant, external_id="another"),
            lambda tenant: replace(tenant, external_id=""),
            lambda tenant: replace(tenant, branch_key_id=str(uuid4())),
        ],
        ids=[
            *("identity", "creation", "configuration revision back", "sequence floor back"),
            *("external id", "no external id", "a branch key dropped"),
        ],
    )
    def test_a_record_keeps_what_must_not_change(self, change: Callable[[TenantRecord], TenantRecord]) -> None:
        tenant_id = new_id()
        tenant = tenant_record(tenant_id, configuration_revision=3, sequence_floor=7, external_id="made once")
        self.store.write(tenant_id, RECORD, tenant.to_body(), expected_revision=0)
        self.refuses(Conflict, tenant_id, RECORD, change(tenant).to_body(), 1)

    def test_a_record_changes_what_may_change(self) -> None:
        tenant_id = new_id()
        tenant = tenant_record(tenant_id, configuration_revision=3, sequence_floor=7)
        self.store.write(tenant_id, RECORD, tenant.to_body(), expected_revision=0)
        changed = replace(
            tenant,
            display_name="Ąćmę",
            kek="local:customer-acme",
            moving_from="local:platform",
            configuration_revision=4,
            branch_key_id=str(uuid4()),
            former_branch_keys=(tenant.branch_key_id,),
            sequence_floor=1,
            policy=KeyPolicy(lease=0, outage_grace=1.5, rotation_days=7),
        )
        written = self.store.write(tenant_id, RECORD, changed.to_body(), expected_revision=1)
        assert TenantRecord.from_body(written.body) == changed

    def test_a_spent_id_stays_spent(self) -> None:
        tenant_id = new_id()
        tenant = tenant_record(tenant_id)
        self.store.write(tenant_id, RECORD, tenant.to_body(), expected_revision=0)
        self.store.write(tenant_id, RECORD, replace(tenant, deleted=True).to_body(), expected_revision=1)
        self.refuses(Conflict, tenant_id, RECORD, tenant.to_body(), 2)
        self.refuses(Conflict, tenant_id, RECORD, tenant.to_body(), 0)

    def test_a_record_is_not_replaced_by_something_else(self) -> None:
        tenant_id = new_id()
        self.store.write(tenant_id, RECORD, tenant_record(tenant_id).to_body(), expected_revision=0)
        self.refuses(StoreCorrupt, tenant_id, RECORD, {"state": "active"}, 1)
        self.plant(tenant_id, RECORD, 1, json.dumps({"not": "a record"}))
        self.refuses(StoreCorrupt, tenant_id, RECORD, tenant_record(tenant_id).to_body(), 1)

    def test_the_rules_are_for_records_only(self) -> None:
        tenant_id = new_id()
        self.store.write(
            tenant_id, "note", tenant_record(tenant_id, state=State.REVOKED).to_body(), expected_revision=0
        )
        self.store.write(tenant_id, "note", {"state": "anything"}, expected_revision=1)

    # Listing

    def test_listing_gives_records_in_order_page_by_page(self) -> None:
        prefix = f"{new_id()}-"
        names = ["9", "10", "a", "b", "a-b", "ab"]
        for name in names:
            tenant = tenant_record(prefix + name)
            self.store.write(tenant.tenant_id, RECORD, tenant.to_body(), expected_revision=0)
            self.store.write(tenant.tenant_id, "note", {}, expected_revision=0)
        self.store.write(f"{prefix}c", "note", {}, expected_revision=0)
        self.store.write(SYSTEM, f"lease {prefix}", {}, expected_revision=0)
        expected = sorted(prefix + name for name in names)
        after, found = prefix, []
        while page := [d for d in self.store.list_tenants(after=after, limit=4) if d.tenant_id.startswith(prefix)]:
            assert len(page) <= 4
            assert all(document == self.store.read(document.tenant_id, RECORD) for document in page)
            found += [document.tenant_id for document in page]
            after = found[-1]
        assert found == expected

    def test_listing_leaves_the_system_out(self) -> None:
        self.store.write(SYSTEM, RECORD, tenant_record(SYSTEM).to_body(), expected_revision=0)
        assert SYSTEM not in [document.tenant_id for document in self.store.list_tenants(limit=2**70)]

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_of_nothing_gives_nothing(self, limit: int) -> None:
        tenant_id = new_id()
        self.store.write(tenant_id, RECORD, tenant_record(tenant_id).to_body(), expected_revision=0)
        assert list(self.store.list_tenants(limit=limit)) == []

    # Races

    def test_of_many_creations_one_wins(self) -> None:
        tenant_id = new_id()
        results = race(
            [
                partial(
                    self.store.write,
                    tenant_id,
                    RECORD,
                    tenant_record(tenant_id, cause=str(n)).to_body(),
                    expected_revision=0,
                )
                for n in range(WRITERS)
            ]
        )
        assert outcomes(results) == {"ok": 1, "Conflict": WRITERS - 1}
        [winner] = [result for result in results if isinstance(result, Document)]
        assert self.store.read(tenant_id, RECORD) == winner

    def test_no_update_is_lost(self) -> None:
        tenant_id, rounds = new_id(), 10
        self.store.write(tenant_id, "counter", {"n": 0}, expected_revision=0)

        def count() -> None:
            done = 0
            while done < rounds:
                found = self.store.read(tenant_id, "counter")
                assert found is not None
                try:
                    self.store.write(tenant_id, "counter", {"n": found.body["n"] + 1}, expected_revision=found.revision)
                    done += 1
                except Conflict:
                    continue

        assert outcomes(race([count] * WRITERS)) == {"ok": WRITERS}
        expected = Document(tenant_id, "counter", rounds * WRITERS + 1, {"n": rounds * WRITERS})
        assert self.store.read(tenant_id, "counter") == expected
