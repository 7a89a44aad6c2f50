"""What every KeyStore must do. Subclass; set ``store`` in an autouse fixture; say how to plant and remove items."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.domain.branch_keys import ACTIVE, VERSION_PREFIX, BranchKeyRow, RowMac, StoredRow
from core.domain.kek import Kek
from core.errors import Conflict, InternalError, StoreCorrupt
from core.ports import KeyStore
from tests.conformance.racing import outcomes, race
from tests.samples import new_version, rewrapped, stored

MAC_OF = "keystead:mac:"
FENCE = "keystead:fence"
WRITERS = 8


class KeyStoreContract:
    """The suite.

    Attributes:
        store: Under test. It may hold other branch keys.
    """

    store: KeyStore

    def plant(self, branch_key_id: str, item_type: str, attributes: str, enc: bytes | None) -> None:
        """Put an item into the store behind its back, in place of what stands there."""
        raise NotImplementedError

    def remove(self, branch_key_id: str, item_type: str) -> None:
        """Take an item out of the store behind its back."""
        raise NotImplementedError

    def created(self) -> tuple[str, StoredRow, StoredRow]:
        """A new branch key with its first version; the fence is 1."""
        branch_key_id = str(uuid4())
        version, active = new_version(branch_key_id, 1)
        self.store.create(version, active, 1)
        return branch_key_id, version, active

    def content(self, branch_key_id: str) -> tuple[object, ...]:
        """Everything the store tells of a branch key."""
        return (
            self.store.read(branch_key_id, ACTIVE),
            list(self.store.list_versions(branch_key_id)),
            self.store.read_fence(branch_key_id),
        )

    def refuses(self, error: type[Exception], branch_key_id: str, write: Callable[[], None]) -> None:
        """A write that must fail, and must leave no trace."""
        before = self.content(branch_key_id)
        with pytest.raises(error) as raised:
            write()
        assert type(raised.value) is error
        assert self.content(branch_key_id) == before

    # Reading what was written

    def test_nothing_is_there_before_it_is_created(self) -> None:
        assert self.content(str(uuid4())) == (None, [], None)

    def test_create_then_read(self) -> None:
        branch_key_id, version, active = self.created()
        assert self.store.read(branch_key_id, ACTIVE) == active
        assert self.store.read(branch_key_id, version.row.type) == version
        assert self.store.list_versions(branch_key_id) == [version]
        assert self.store.read_fence(branch_key_id) == 1
        assert self.store.read(branch_key_id, f"{VERSION_PREFIX}{uuid4()}") is None

    def test_branch_keys_do_not_see_one_another(self) -> None:
        one, version, _ = self.created()
        other, _, _ = self.created()
        assert self.store.read(other, version.row.type) is None
        self.store.move_fence(one, expected=1, new=2)
        assert self.store.read_fence(other) == 1

    def test_rotate_then_read(self) -> None:
        branch_key_id, first, active = self.created()
        second, new_active = new_version(branch_key_id, 2)
        self.store.rotate(second, new_active, expected_active_enc=active.row.enc, fence=1)
        assert self.store.read(branch_key_id, ACTIVE) == new_active
        assert self.store.read(branch_key_id, first.row.type) == first
        assert self.store.list_versions(branch_key_id) == [first, second]

    def test_versions_come_in_order_of_sequence_then_type(self) -> None:
        branch_key_id, _, active = self.created()
        for sequence in range(2, 13):
            version, active_after = new_version(branch_key_id, sequence)
            self.store.rotate(version, active_after, expected_active_enc=active.row.enc, fence=1)
            active = active_after
        twin, _ = new_version(branch_key_id, 12)
        _, active_after = new_version(branch_key_id, 12)
        active_after = stored(replace(active_after.row, version=twin.row.type), 12)
        self.store.rotate(twin, active_after, expected_active_enc=active.row.enc, fence=1)
        found = [(row.mac.sequence, row.row.type) for row in self.store.list_versions(branch_key_id) if row.mac]
        assert found == sorted(found)
        assert [sequence for sequence, _ in found] == [*range(1, 13), 12]

    def test_replace_wrapping_then_read(self) -> None:
        branch_key_id, version, active = self.created()
        for old in (version, active):
            new = rewrapped(old)
            self.store.replace_wrapping(new, expected_enc=old.row.enc, fence=1)
            assert self.store.read(branch_key_id, old.row.type) == new
        assert len(self.store.list_versions(branch_key_id)) == 1

    def test_a_large_row(self) -> None:
        branch_key_id = str(uuid4())
        version, active = new_version(branch_key_id, 1, enc=bytes(range(256)) * 256)
        self.store.create(version, active, 1)
        assert self.store.read(branch_key_id, ACTIVE) == active

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(
        texts=st.tuples(*[st.text(max_size=40)] * 4),
        enc=st.binary(min_size=1, max_size=300),
        tag=st.binary(min_size=32, max_size=32),
        numbers=st.tuples(*[st.integers(min_value=1, max_value=2**63 - 1)] * 3),
        version=st.uuids(),
    )
    def test_any_text_and_bytes_come_back_as_they_were(
        self, texts: tuple[str, ...], enc: bytes, tag: bytes, numbers: tuple[int, ...], version: object
    ) -> None:
        prefix, kek, create_time, tenant_id = texts
        revision, sequence, fence = numbers
        branch_key_id, version_type = f"{prefix}{uuid4()}", f"{VERSION_PREFIX}{version}"
        row = BranchKeyRow(branch_key_id, version_type, None, Kek(kek), create_time, tenant_id, enc)
        mac = RowMac(revision, sequence, tag)
        version_row = StoredRow(row, mac)
        active = StoredRow(replace(row, type=ACTIVE, version=version_type, enc=enc[::-1]), mac)
        self.store.create(version_row, active, fence)
        assert self.content(branch_key_id) == (active, [version_row], fence)
        assert self.store.read(branch_key_id, version_type) == version_row

    # Refusals leave everything as it was

    def test_create_refuses_what_exists(self) -> None:
        branch_key_id, version, active = self.created()
        self.refuses(Conflict, branch_key_id, lambda: self.store.create(version, active, 1))
        self.refuses(Conflict, branch_key_id, lambda: self.store.create(*new_version(branch_key_id, 1), 1))

    @pytest.mark.parametrize("left", [FENCE, ACTIVE])
    def test_create_refuses_what_exists_in_part(self, left: str) -> None:
        branch_key_id, version, _ = self.created()
        whole = [version.row.type, MAC_OF + version.row.type, ACTIVE, MAC_OF + ACTIVE, FENCE]
        for item_type in whole:
            if item_type != left:
                self.remove(branch_key_id, item_type)
        self.refuses(Conflict, branch_key_id, lambda: self.store.create(*new_version(branch_key_id, 1), 1))

    def test_rotate_refuses_another_fence(self) -> None:
        branch_key_id, _, active = self.created()
        new = new_version(branch_key_id, 2)
        for fence in (0, 2):
            self.refuses(
                Conflict,
                branch_key_id,
                partial(self.store.rotate, *new, expected_active_enc=active.row.enc, fence=fence),
            )
        self.store.move_fence(branch_key_id, expected=1, new=2)
        self.refuses(
            Conflict,
            branch_key_id,
            lambda: self.store.rotate(*new, expected_active_enc=active.row.enc, fence=1),
        )
        self.store.rotate(*new, expected_active_enc=active.row.enc, fence=2)

    def test_rotate_refuses_another_active_row(self) -> None:
        branch_key_id, version, active = self.created()
        new = new_version(branch_key_id, 2)
        for enc in (b"", active.row.enc[:-1], active.row.enc + b"\0", version.row.enc):
            self.refuses(
                Conflict,
                branch_key_id,
                partial(self.store.rotate, *new, expected_active_enc=enc, fence=1),
            )
        self.store.rotate(*new, expected_active_enc=active.row.enc, fence=1)
        later = new_version(branch_key_id, 3)
        self.refuses(
            Conflict,
            branch_key_id,
            lambda: self.store.rotate(*later, expected_active_enc=active.row.enc, fence=1),
        )

    def test_rotate_never_replaces_a_version(self) -> None:
        branch_key_id, first, active = self.created()
        again = stored(replace(first.row, enc=b"other"), 2)
        new_active = stored(replace(active.row, enc=b"new"), 2)
        self.refuses(
            Conflict,
            branch_key_id,
            lambda: self.store.rotate(again, new_active, expected_active_enc=active.row.enc, fence=1),
        )

    def test_rotate_refuses_a_branch_key_that_does_not_exist(self) -> None:
        branch_key_id = str(uuid4())
        new = new_version(branch_key_id, 1)
        self.refuses(Conflict, branch_key_id, lambda: self.store.rotate(*new, expected_active_enc=b"", fence=1))

    def test_replace_wrapping_refuses_another_fence_enc_or_version(self) -> None:
        branch_key_id, version, active = self.created()
        other_version = f"{VERSION_PREFIX}{uuid4()}"
        cases = [
            (rewrapped(active), active.row.enc, 2),
            (rewrapped(active), version.row.enc, 1),
            (rewrapped(active), b"", 1),
            (rewrapped(stored(replace(active.row, version=other_version), 1)), active.row.enc, 1),
            (rewrapped(stored(replace(active.row, tenant_id="evil"), 1)), active.row.enc, 1),
            (rewrapped(stored(replace(version.row, tenant_id="evil"), 1)), version.row.enc, 1),
            (rewrapped(stored(replace(version.row, type=other_version), 1)), version.row.enc, 1),
        ]
        for row, enc, fence in cases:
            self.refuses(
                Conflict,
                branch_key_id,
                partial(self.store.replace_wrapping, row, expected_enc=enc, fence=fence),
            )

    def test_the_fence_only_rises(self) -> None:
        branch_key_id, _, _ = self.created()
        self.store.move_fence(branch_key_id, expected=1, new=5)
        assert self.store.read_fence(branch_key_id) == 5
        for expected, new in ((1, 6), (4, 6), (6, 7), (5, 5), (5, 4)):
            self.refuses(
                Conflict,
                branch_key_id,
                partial(self.store.move_fence, branch_key_id, expected=expected, new=new),
            )
        missing = str(uuid4())
        self.refuses(Conflict, missing, lambda: self.store.move_fence(missing, expected=1, new=2))

    def test_rows_that_do_not_belong_together_are_not_written(self) -> None:
        branch_key_id, _, active = self.created()
        version, new_active = new_version(branch_key_id, 2)
        stranger, _ = new_version(branch_key_id, 2)
        broken = [
            (version, stored(replace(new_active.row, version=stranger.row.type), 2)),
            (version, stored(replace(new_active.row, tenant_id="other"), 2)),
            (version, stored(replace(new_active.row, branch_key_id=str(uuid4())), 2)),
            (version, version),
            (new_active, new_active),
            (replace(version, mac=None), new_active),
            (version, replace(new_active, mac=None)),
            (version, stored(replace(new_active.row, enc=b""), 2)),
            (version, replace(new_active, mac=RowMac(1, 2, b"short"))),
            (version, replace(new_active, mac=RowMac(1, 0, bytes(32)))),
        ]
        for pair in broken:
            self.refuses(
                InternalError,
                branch_key_id,
                partial(self.store.rotate, *pair, expected_active_enc=active.row.enc, fence=1),
            )
            fresh = pair[0].row.branch_key_id
            self.refuses(InternalError, fresh, partial(self.store.create, *pair, 1))
        self.refuses(InternalError, branch_key_id, lambda: self.store.create(version, new_active, 0))

    def test_an_id_that_is_not_unicode(self) -> None:
        for use in (
            lambda: self.store.read("\udc80", ACTIVE),
            lambda: self.store.read("x", "\udc80"),
            lambda: self.store.list_versions("\udc80"),
            lambda: self.store.read_fence("\udc80"),
            lambda: self.store.move_fence("\udc80", expected=1, new=2),
        ):
            with pytest.raises(InternalError):
                use()

    # What was planted

    @pytest.mark.parametrize(
        "change",
        [
            {"type": "branch:version:00000000-0000-4000-8000-000000000000"},
            {"branch-key-id": "another"},
            {"version": None},
            {"version": "branch:version:not-a-uuid"},
            {"version": "00000000-0000-4000-8000-000000000000"},
            {"kms-arn": 7},
            {"create-time": None},
            {"tenant_id": ["acme"]},
            {"tenant_id": "\ud800"},
            {"hierarchy-version": "1"},
            {"hierarchy-version": 2},
            {"hierarchy-version": True},
            {"extra": "attribute"},
        ],
        ids=ascii,
    )
    def test_a_planted_row_of_another_form_is_corrupt(self, change: dict[str, object]) -> None:
        branch_key_id, _, active = self.created()
        good = {**active.row.attributes(), "hierarchy-version": 1}
        self.plant(branch_key_id, ACTIVE, json.dumps(good), active.row.enc)
        assert self.store.read(branch_key_id, ACTIVE) == active
        self.plant(branch_key_id, ACTIVE, json.dumps({**good, **change}), active.row.enc)
        with pytest.raises(StoreCorrupt):
            self.store.read(branch_key_id, ACTIVE)

    @pytest.mark.parametrize("name", ["branch-key-id", "type", "kms-arn", "create-time", "tenant_id", "version"])
    def test_a_planted_row_that_lacks_an_attribute_is_corrupt(self, name: str) -> None:
        branch_key_id, _, active = self.created()
        attributes = {**active.row.attributes(), "hierarchy-version": 1}
        del attributes[name]
        self.plant(branch_key_id, ACTIVE, json.dumps(attributes), active.row.enc)
        with pytest.raises(StoreCorrupt):
            self.store.read(branch_key_id, ACTIVE)

    @pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", '"x"', "[" * 50_000])
    def test_a_planted_item_that_is_no_object_is_corrupt(self, text: str) -> None:
        branch_key_id, version, active = self.created()
        for row in (version, active):
            self.plant(branch_key_id, row.row.type, text, row.row.enc)
            with pytest.raises(StoreCorrupt):
                self.store.read(branch_key_id, row.row.type)
        with pytest.raises(StoreCorrupt):
            self.store.list_versions(branch_key_id)
        self.plant(branch_key_id, FENCE, text, None)
        with pytest.raises(StoreCorrupt):
            self.store.read_fence(branch_key_id)
        new = new_version(branch_key_id, 2)
        with pytest.raises(StoreCorrupt):
            self.store.rotate(*new, expected_active_enc=active.row.enc, fence=1)

    @pytest.mark.parametrize("enc", [None, b""])
    def test_a_row_without_a_wrapped_key_is_corrupt(self, enc: bytes | None) -> None:
        branch_key_id, _, active = self.created()
        self.plant(branch_key_id, ACTIVE, json.dumps({**active.row.attributes(), "hierarchy-version": 1}), enc)
        with pytest.raises(StoreCorrupt):
            self.store.read(branch_key_id, ACTIVE)

    def test_the_other_items_are_no_rows(self) -> None:
        branch_key_id, version, _ = self.created()
        for item_type in (FENCE, MAC_OF + ACTIVE, MAC_OF + version.row.type):
            with pytest.raises(StoreCorrupt):
                self.store.read(branch_key_id, item_type)

    def test_a_version_under_a_name_that_is_no_uuid_is_corrupt(self) -> None:
        branch_key_id, version, _ = self.created()
        planted = f"{VERSION_PREFIX}x"
        attributes = {**version.row.attributes(), "hierarchy-version": 1, "type": planted}
        self.plant(branch_key_id, planted, json.dumps(attributes), version.row.enc)
        for use in (
            lambda: self.store.read(branch_key_id, planted),
            lambda: self.store.list_versions(branch_key_id),
        ):
            with pytest.raises(StoreCorrupt):
                use()

    def test_a_missing_mac_is_told_as_none(self) -> None:
        branch_key_id, version, active = self.created()
        self.remove(branch_key_id, MAC_OF + ACTIVE)
        assert self.store.read(branch_key_id, ACTIVE) == replace(active, mac=None)
        assert self.store.read(branch_key_id, version.row.type) == version
        self.remove(branch_key_id, MAC_OF + version.row.type)
        assert self.store.list_versions(branch_key_id) == [replace(version, mac=None)]

    @pytest.mark.parametrize(
        "change",
        [
            {"tag": "00"},
            {"tag": "zz" * 32},
            {"tag": None},
            {"revision": "1"},
            {"revision": 0},
            {"revision": True},
            {"sequence": 1.0},
            {"sequence": 0},
            {"sequence": None},
            {"sequence": 2**63},
            {"revision": 2**70},
            {"more": 1},
        ],
        ids=ascii,
    )
    def test_a_planted_mac_of_another_form_is_corrupt(self, change: dict[str, object]) -> None:
        branch_key_id, _, active = self.created()
        good = {"revision": 1, "sequence": 1, "tag": "00" * 32}
        self.plant(branch_key_id, MAC_OF + ACTIVE, json.dumps(good), None)
        assert self.store.read(branch_key_id, ACTIVE) == replace(active, mac=RowMac(1, 1, bytes(32)))
        self.plant(branch_key_id, MAC_OF + ACTIVE, json.dumps({**good, **change}), None)
        with pytest.raises(StoreCorrupt):
            self.store.read(branch_key_id, ACTIVE)

    @pytest.mark.parametrize("attributes", ["{}", '{"revision": "1"}', '{"revision": 0}', '{"revision": 1, "x": 1}'])
    def test_a_planted_fence_of_another_form_is_corrupt(self, attributes: str) -> None:
        branch_key_id, _, _ = self.created()
        self.plant(branch_key_id, FENCE, attributes, None)
        with pytest.raises(StoreCorrupt):
            self.store.read_fence(branch_key_id)
        with pytest.raises(StoreCorrupt):
            self.store.move_fence(branch_key_id, expected=1, new=2)

    # Races

    def test_of_many_creations_one_wins(self) -> None:
        branch_key_id = str(uuid4())
        pairs = [new_version(branch_key_id, 1) for _ in range(WRITERS)]
        results = race([partial(self.store.create, *pair, 1) for pair in pairs])
        assert outcomes(results) == {"ok": 1, "Conflict": WRITERS - 1}
        version, active = pairs[results.index(None)]
        assert self.content(branch_key_id) == (active, [version], 1)

    def test_of_many_rotations_one_wins(self) -> None:
        branch_key_id, first, active = self.created()
        versions = [first]
        for sequence in range(2, 6):
            pairs = [new_version(branch_key_id, sequence) for _ in range(WRITERS)]
            results = race(
                [partial(self.store.rotate, *pair, expected_active_enc=active.row.enc, fence=1) for pair in pairs]
            )
            assert outcomes(results) == {"ok": 1, "Conflict": WRITERS - 1}
            version, active = pairs[results.index(None)]
            versions.append(version)
            assert self.content(branch_key_id) == (active, versions, 1)

    def test_a_fence_and_a_rotation_that_race_leave_one_order(self) -> None:
        for _ in range(10):
            branch_key_id, first, active = self.created()
            version, new_active = new_version(branch_key_id, 2)
            rotated, moved = race(
                [
                    partial(self.store.rotate, version, new_active, expected_active_enc=active.row.enc, fence=1),
                    partial(self.store.move_fence, branch_key_id, expected=1, new=2),
                ]
            )
            assert moved is None
            assert rotated is None or type(rotated) is Conflict
            expected = (new_active, [first, version], 2) if rotated is None else (active, [first], 2)
            assert self.content(branch_key_id) == expected

    def test_a_reader_never_sees_half_a_rotation(self) -> None:
        branch_key_id, _, active = self.created()
        seen: list[bool] = []

        def read() -> None:
            for _ in range(60):
                found = self.store.read(branch_key_id, ACTIVE)
                assert found is not None
                assert found.row.version is not None
                version = self.store.read(branch_key_id, found.row.version)
                seen.append(
                    found.mac == stored(found.row, found.mac.sequence if found.mac else 0).mac and bool(version)
                )

        def write() -> None:
            enc = active.row.enc
            for sequence in range(2, 22):
                version, new_active = new_version(branch_key_id, sequence)
                self.store.rotate(version, new_active, expected_active_enc=enc, fence=1)
                enc = new_active.row.enc

        assert outcomes(race([read, write, read])) == {"ok": 3}
        assert all(seen)
        assert len(seen) == 120
