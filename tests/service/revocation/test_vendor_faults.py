"""The service's own condition, and the retest that ends it."""

from __future__ import annotations

from typing import Any

import pytest

from core.domain.tenants import SYSTEM
from core.domain.timing import Instant
from core.errors import StoreCorrupt, StoreUnavailable
from core.ports import Document
from tests.service.revocation.sites import (
    AT_A_VAULT,
    LOCAL,
    ONE,
    OURS,
    PASSED,
    TWO,
    UNKNOWN,
    VAULTS,
    VERSIONED,
    Site,
    no_answer,
    refused,
    tenant,
)
from tests.service.world import OTHER_KEK


@pytest.fixture
def site() -> Site:
    return Site()


def soon(site: Site) -> Instant:
    return Instant(site.clock.wall_time, site.clock.boot_time).plus(60)


def test_the_condition_is_known_to_every_process_and_ends_with_a_retest_of_any(site: Site) -> None:
    guard, other = site.served(ONE), site.guard(ONE)
    site.kms.signals = {ONE.kek: refused("policy")}
    guard.ask(tenant(), OTHER_KEK)
    began = {"local": "2027-01-15T08:00:00.000000Z"}
    site.clock.advance(30)
    assert other.ask(tenant(), OTHER_KEK) is OURS
    assert guard.condition() == other.condition() == site.guard().condition() == began
    site.kms.signals = {}
    third = site.guard(ONE)
    assert third.retest(soon(site)) == {LOCAL: PASSED}
    assert guard.condition() == other.condition() == third.condition() == {}


def test_it_ends_with_the_next_look_that_passes_in_the_process_that_met_it(site: Site) -> None:
    guard = site.served(ONE)
    site.kms.signals = {ONE.kek: refused("policy")}
    guard.ask(tenant(), OTHER_KEK)
    site.kms.signals = {}
    guard.ask(tenant(), OTHER_KEK)
    assert guard.condition() == {}


def test_a_look_that_passes_does_not_read_it(site: Site) -> None:
    guard = site.served(ONE)
    site.reads()
    guard.ask(tenant(), OTHER_KEK)
    assert site.reads() == [f"canary:{ONE.digest}"]


def test_a_condition_that_is_no_document_stops_no_look(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    guard, read = site.served(ONE), site.store.read

    def spoiled(tenant_id: str, name: str) -> Document | None:
        if name == "vendor-fault":
            raise StoreCorrupt("no document")
        return read(tenant_id, name)

    monkeypatch.setattr(site.store, "read", spoiled)
    site.kms.signals = {ONE.kek: refused("policy")}
    assert guard.ask(tenant(), OTHER_KEK) is OURS
    assert guard.retest(soon(site)) == {LOCAL: OURS}
    with pytest.raises(StoreCorrupt):
        guard.condition()


def test_silence_does_not_end_it(site: Site) -> None:
    guard = site.served(ONE)
    site.kms.signals = {ONE.kek: refused("policy")}
    guard.ask(tenant(), OTHER_KEK)
    site.kms.signals = {ONE.kek: no_answer()}
    assert guard.retest(soon(site)) == {LOCAL: UNKNOWN}
    assert guard.condition().keys() == {"local"}


def test_a_pattern_that_has_no_canary_any_longer_is_forgotten(site: Site) -> None:
    guard = site.served(ONE, VERSIONED)
    site.kms.signals = {ONE.kek: refused("policy"), VERSIONED.kek: refused("policy")}
    assert guard.retest(soon(site)) == {LOCAL: OURS, VAULTS: OURS}
    assert guard.condition().keys() == {"local", "azure_key_vault public"}
    site.guard(VERSIONED).retest(soon(site))
    assert guard.condition().keys() == {"azure_key_vault public"}


def test_two_processes_note_their_faults_beside_each_other(site: Site) -> None:
    one, versioned = site.served(ONE), site.served(VERSIONED)
    site.kms.signals = {ONE.kek: refused("policy"), VERSIONED.kek: refused("policy")}

    def race(name: str) -> None:
        assert versioned.ask(tenant(kek=AT_A_VAULT), AT_A_VAULT) is OURS

    site.store.before_write = race
    assert one.ask(tenant(), OTHER_KEK) is OURS
    assert one.condition().keys() == {"local", "azure_key_vault public"}


def test_a_condition_the_store_does_not_take_is_noted_by_the_next_look(site: Site) -> None:
    guard = site.served(ONE)
    site.kms.signals = {ONE.kek: refused("policy")}

    def silence(name: str) -> None:
        raise StoreUnavailable("the store does not answer")

    site.store.before_write = silence
    assert guard.ask(tenant(), OTHER_KEK) is OURS
    assert guard.condition() == {}
    assert guard.ask(tenant(), OTHER_KEK) is OURS
    assert guard.condition().keys() == {"local"}


@pytest.mark.parametrize("body", [{}, {"patterns": None}, {"patterns": ["local"]}, {"patterns": {"local": 7}}])
def test_a_condition_that_no_service_wrote_is_none(site: Site, body: dict[str, Any]) -> None:
    guard = site.served(ONE)
    site.store.write(SYSTEM, "vendor-fault", body, expected_revision=0)
    assert guard.condition() == {}
    site.kms.signals = {ONE.kek: refused("policy")}
    guard.ask(tenant(), OTHER_KEK)
    assert guard.condition().keys() == {"local"}


def test_a_retest_asks_every_canary_once_and_tells_which_are_refused(site: Site) -> None:
    guard = site.served(ONE, TWO, VERSIONED)
    site.kms.signals = {TWO.kek: refused("policy")}
    assert guard.retest(soon(site)) == {LOCAL: PASSED, VAULTS: PASSED}
    version = site.kms.versions[0].locator
    assert site.kms.told() == [("unwrap", ONE.kek), ("unwrap", TWO.kek), ("unwrap", version)]
    assert site.alarms() == [("canary_refused", SYSTEM, TWO.kek)]


def test_a_retest_makes_the_envelopes(site: Site) -> None:
    guard = site.guard(ONE, TWO)
    assert guard.retest(soon(site)) == {LOCAL: PASSED}
    assert site.envelope(ONE).body != site.envelope(TWO).body


def test_a_retest_begins_nothing_after_its_deadline(site: Site) -> None:
    guard = site.served(ONE, VERSIONED)
    site.kms.before = lambda: site.clock.advance(40)
    deadline = Instant(site.clock.wall_time, site.clock.boot_time).plus(30)
    assert guard.retest(deadline) == {LOCAL: PASSED}
    assert guard.retest(deadline) == {}
