"""What every AuditLog must do. Subclass; set ``log`` in an autouse fixture; say how to plant an entry."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.domain.audit import EMPTY_HEAD, AuditEntry, AuditHead
from core.errors import Conflict, InternalError, StoreCorrupt
from core.ports import AuditLog
from tests.conformance.racing import outcomes, race
from tests.conformance.tenant_store import JSON_VALUES
from tests.samples import next_entry

WRITERS = 8


class AuditLogContract:
    """The suite.

    Attributes:
        log: Under test. It may hold other chains.
    """

    log: AuditLog

    def plant(self, chain: str, sequence: int, text: str) -> None:
        """Put an entry's text into the log behind its back, in place of what stands there."""
        raise NotImplementedError

    def plant_head(self, chain: str, text: str) -> None:
        """Put a head's text into the log behind its back, in place of what stands there."""
        raise NotImplementedError

    def written(self, count: int) -> tuple[str, list[AuditEntry]]:
        """A new chain of some entries."""
        chain, entries = f"t{uuid4()}", []
        for _ in range(count):
            entry = next_entry(self.log.head(chain), chain)
            self.log.append(entry)
            entries.append(entry)
        return chain, entries

    def refuses(self, error: type[Exception], entry: AuditEntry) -> None:
        """An append that must fail, and must leave no trace."""
        before = self.log.head(entry.chain), list(self.log.read(entry.chain))
        with pytest.raises(error) as raised:
            self.log.append(entry)
        assert type(raised.value) is error
        assert (self.log.head(entry.chain), list(self.log.read(entry.chain))) == before

    def test_a_chain_that_does_not_exist_is_empty(self) -> None:
        chain = f"t{uuid4()}"
        assert self.log.head(chain) == EMPTY_HEAD
        assert list(self.log.read(chain)) == []

    def test_append_then_read(self) -> None:
        chain, entries = self.written(5)
        assert list(self.log.read(chain)) == entries
        assert self.log.head(chain) == AuditHead(5, entries[-1].hash)
        assert all(entry.hash == entry.computed_hash() for entry in self.log.read(chain))

    def test_chains_do_not_touch_one_another(self) -> None:
        one, entries = self.written(2)
        self.written(3)
        assert list(self.log.read(one)) == entries

    def test_only_what_continues_the_chain_is_appended(self) -> None:
        chain, entries = self.written(3)
        good = next_entry(self.log.head(chain), chain)
        for wrong in (
            entries[-1],
            replace(good, sequence=5),
            replace(good, sequence=3),
            replace(good, sequence=0),
            replace(good, previous=entries[0].hash),
            replace(good, previous=""),
        ):
            self.refuses(Conflict, replace(wrong, hash=wrong.computed_hash()))
        self.log.append(good)
        self.refuses(Conflict, good)

    def test_the_first_entry_follows_nothing(self) -> None:
        chain = f"t{uuid4()}"
        good = next_entry(EMPTY_HEAD, chain)
        for wrong in (replace(good, sequence=2), replace(good, sequence=0), replace(good, previous="0" * 63 + "1")):
            self.refuses(Conflict, wrong)

    def test_reading_page_by_page(self) -> None:
        chain, entries = self.written(7)
        assert list(self.log.read(chain, limit=3)) == entries[:3]
        assert list(self.log.read(chain, after=3, limit=3)) == entries[3:6]
        assert list(self.log.read(chain, after=6, limit=3)) == entries[6:]
        assert list(self.log.read(chain, after=7)) == []
        assert list(self.log.read(chain, after=2**70, limit=2**70)) == []
        assert list(self.log.read(chain, after=-5, limit=2**70)) == entries
        for limit in (0, -1):
            assert list(self.log.read(chain, limit=limit)) == []

    def test_what_was_handed_in_or_out_is_not_what_is_stored(self) -> None:
        chain = f"t{uuid4()}"
        details: dict[str, Any] = {"list": [1]}
        entry = next_entry(EMPTY_HEAD, chain, details)
        self.log.append(entry)
        details["list"].append(2)
        for _ in range(2):
            [found] = self.log.read(chain)
            assert found.details == {"list": [1]}
            assert found.hash == found.computed_hash()
            found.details["list"].append(3)

    def test_what_is_not_json_is_not_appended(self) -> None:
        entry = next_entry(EMPTY_HEAD, f"t{uuid4()}")
        for value in (object(), float("nan"), b"bytes"):
            self.refuses(InternalError, replace(entry, details={"x": value}))

    def test_a_chain_that_is_not_unicode(self) -> None:
        for use in (
            lambda: self.log.head("\udc80"),
            lambda: self.log.read("\udc80"),
            lambda: self.log.append(next_entry(EMPTY_HEAD, "\udc80")),
        ):
            with pytest.raises(InternalError):
                use()

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(
        texts=st.tuples(*[st.text(max_size=30)] * 4),
        details=st.dictionaries(st.text(max_size=20), JSON_VALUES, max_size=5),
    )
    def test_any_entry_comes_back_as_it_was(self, texts: tuple[str, ...], details: dict[str, Any]) -> None:
        chain = f"t{uuid4()}"
        time, action, subject, outcome = texts
        entry = replace(
            next_entry(EMPTY_HEAD, chain, details), time=time, action=action, subject=subject, outcome=outcome
        )
        entry = replace(entry, hash=entry.computed_hash())
        self.log.append(entry)
        assert list(self.log.read(chain)) == [entry]
        assert self.log.read(chain)[0].computed_hash() == entry.hash

    # What was planted

    def test_an_edited_entry_is_given_as_it_stands(self) -> None:
        """`verify` is to find it, so the log must not mend or hide it."""
        chain, entries = self.written(3)
        edited = replace(entries[1], subject="somebody else")
        self.plant(chain, 2, json.dumps({**edited.body(), "hash": edited.hash}))
        assert list(self.log.read(chain)) == [entries[0], edited, entries[2]]

    @pytest.mark.parametrize(
        "change",
        [
            {"chain": "other"},
            {"sequence": 7},
            {"sequence": "2"},
            {"time": 1},
            {"details": []},
            {"hash": None},
            {"x": 1},
        ],
        ids=str,
    )
    def test_a_planted_entry_of_another_form_is_corrupt(self, change: dict[str, object]) -> None:
        chain, entries = self.written(2)
        self.plant(chain, 2, json.dumps({**entries[1].body(), "hash": entries[1].hash, **change}))
        with pytest.raises(StoreCorrupt):
            self.log.read(chain)
        assert list(self.log.read(chain, limit=1)) == entries[:1]

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"sequence": 1}', '{"sequence": 0, "hash": ""}'])
    def test_what_is_no_entry_or_head_is_corrupt(self, text: str) -> None:
        chain, _ = self.written(1)
        self.plant(chain, 1, text)
        with pytest.raises(StoreCorrupt):
            self.log.read(chain)
        self.plant_head(chain, text)
        with pytest.raises(StoreCorrupt):
            self.log.head(chain)
        with pytest.raises(StoreCorrupt):
            self.log.append(next_entry(EMPTY_HEAD, chain))

    # Races

    def test_of_many_entries_for_one_place_one_wins(self) -> None:
        chain, entries = self.written(1)
        for _ in range(4):
            candidates = [next_entry(self.log.head(chain), chain, {"writer": n}) for n in range(WRITERS)]
            results = race([partial(self.log.append, entry) for entry in candidates])
            assert outcomes(results) == {"ok": 1, "Conflict": WRITERS - 1}
            entries.append(candidates[results.index(None)])
            assert list(self.log.read(chain)) == entries

    def test_writers_that_try_again_make_one_unbroken_chain(self) -> None:
        chain, each = f"t{uuid4()}", 8

        def write(writer: int) -> None:
            done = 0
            while done < each:
                try:
                    self.log.append(next_entry(self.log.head(chain), chain, {"writer": writer}))
                    done += 1
                except Conflict:
                    continue

        assert outcomes(race([partial(write, n) for n in range(WRITERS)])) == {"ok": WRITERS}
        head = EMPTY_HEAD
        for entry in self.log.read(chain, limit=1000):
            assert (entry.sequence, entry.previous) == (head.sequence + 1, head.hash)
            assert entry.hash == entry.computed_hash()
            head = AuditHead(entry.sequence, entry.hash)
        assert head == self.log.head(chain)
        assert head.sequence == WRITERS * each
