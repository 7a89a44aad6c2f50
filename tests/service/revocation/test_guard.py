"""The vendor-fault guard: whose fault a refusal is, by canaries alone."""

from __future__ import annotations

import pytest

from core.domain.canaries import Canary
from core.domain.kek import Kek
from core.domain.tenants import SYSTEM
from core.errors import ProviderSignal, StoreCorrupt, StoreUnavailable
from core.service.revocation.guard import GuardFinding
from tests.service.revocation.sites import (
    AT_A_VAULT,
    LOCAL,
    NO_CANARY,
    ONE,
    ONE_UNUSABLE,
    OURS,
    PASSED,
    TWO,
    UNKNOWN,
    VERSIONED,
    Site,
    no_answer,
    own_fault,
    refused,
    tenant,
)
from tests.service.world import OTHER_KEK, PLATFORM, THIRD_KEK

VENDOR_FAULT = ("vendor_fault", SYSTEM, "local")
ONE_REFUSED = ("canary_refused", SYSTEM, ONE.kek)
UNKNOWN_ANSWER = ("unknown_kms_answer", SYSTEM, "Code")
OWN_ACCESS = ("own_access", SYSTEM, "local")


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.parametrize(
    ("one", "two", "finding", "alarms"),
    [
        (None, None, PASSED, []),
        (refused("policy"), refused("identity"), OURS, [VENDOR_FAULT]),
        (refused("policy"), None, PASSED, [ONE_REFUSED]),
        (None, refused("policy"), PASSED, []),
        (refused("identity"), no_answer(), OURS, [VENDOR_FAULT]),
        (refused("network"), no_answer(), OURS, [VENDOR_FAULT]),
        (refused("unknown"), no_answer(), OURS, [UNKNOWN_ANSWER, VENDOR_FAULT]),
        (own_fault(), no_answer(), OURS, [OWN_ACCESS, VENDOR_FAULT]),
        (no_answer(), no_answer(), UNKNOWN, []),
        (no_answer(), None, PASSED, []),
        *(
            (refused(cause), no_answer(), UNKNOWN, [ONE_UNUSABLE])
            for cause in ("disabled", "deleted", "pending_deletion", "not_found", "expired", "wrap_not_permitted")
        ),
        (refused("disabled"), refused("policy"), OURS, [ONE_UNUSABLE, VENDOR_FAULT]),
        (refused("disabled"), None, PASSED, [ONE_UNUSABLE]),
    ],
)
def test_what_canaries_say(
    site: Site,
    one: ProviderSignal | None,
    two: ProviderSignal | None,
    finding: GuardFinding,
    alarms: list[tuple[str, str, str]],
) -> None:
    guard = site.served(ONE, TWO)
    site.kms.signals = {canary.kek: signal for canary, signal in ((ONE, one), (TWO, two)) if signal is not None}
    assert guard.ask(tenant(), OTHER_KEK) is finding
    assert sorted(site.alarms()) == sorted(alarms)
    assert {operation for operation, _ in site.kms.told()} == {"unwrap"}
    assert guard.condition() == ({"local": "2027-01-15T08:00:00.000000Z"} if finding is OURS else {})


def test_a_canary_is_asked_by_unwrapping_with_fresh_credentials_at_every_call(site: Site) -> None:
    guard = site.served(ONE)
    site.connector.accesses.clear()
    for _ in range(3):
        assert guard.ask(tenant(), OTHER_KEK) is PASSED
    assert site.kms.told() == [("unwrap", ONE.kek)] * 3
    assert site.connector.accesses == [ONE.access] * 3
    assert ONE.access.lease == 0


@pytest.mark.parametrize("canaries", [(), (VERSIONED,)])
def test_without_a_canary_of_its_pattern_nobody_is_asked(site: Site, canaries: tuple[Canary, ...]) -> None:
    guard = site.served(*canaries)
    assert guard.ask(tenant(), OTHER_KEK) is NO_CANARY
    assert guard.ask_lately(tenant(), OTHER_KEK) is NO_CANARY
    assert site.kms.told() == []


def test_a_pattern_is_judged_by_its_own_canaries(site: Site) -> None:
    guard = site.served(ONE, VERSIONED)
    site.kms.signals = {ONE.kek: refused("policy")}
    assert guard.ask(tenant(kek=AT_A_VAULT), AT_A_VAULT) is PASSED
    assert guard.ask(tenant(), OTHER_KEK) is OURS
    assert guard.condition().keys() == {"local"}


def test_the_platforms_own_key_refuses_by_our_own_fault_only(site: Site) -> None:
    guard = site.served(ONE)
    assert guard.ask(tenant(kek=PLATFORM), PLATFORM) is OURS
    assert guard.ask_lately(tenant(kek=PLATFORM), PLATFORM) is OURS
    assert guard.condition() == {}


def test_a_key_that_is_not_the_tenants_is_not_judged(site: Site) -> None:
    guard = site.served(ONE)
    for ask in (guard.ask, guard.ask_lately, guard.noticed):
        with pytest.raises(StoreCorrupt):
            ask(tenant(), THIRD_KEK)


def test_a_silent_store_tells_nothing(site: Site) -> None:
    guard = site.served(ONE)
    site.kms.signals = {ONE.kek: refused("policy")}
    site.store.silent = True
    assert guard.ask(tenant(), OTHER_KEK) is UNKNOWN
    assert site.alarms() == []
    with pytest.raises(StoreUnavailable):
        guard.condition()


@pytest.mark.parametrize("signal", [refused("policy"), no_answer(), own_fault()])
def test_without_the_platforms_key_nothing_is_told(site: Site, signal: ProviderSignal) -> None:
    site.served(ONE)
    site.kms.signals = {PLATFORM.locator: signal, ONE.kek: refused("policy")}
    guards = [site.guard(canary) for canary in (ONE, TWO)]  # one that has an envelope, and one that has none
    assert [guard.ask(tenant(), OTHER_KEK) for guard in guards] == [UNKNOWN, UNKNOWN]
    site.kms.signals = {}
    assert [guard.ask(tenant(), OTHER_KEK) for guard in guards] == [PASSED, PASSED]


def test_a_canary_in_a_cloud_that_is_not_configured_is_alarmed(site: Site) -> None:
    arn = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    guard = site.guard(Canary(arn))
    assert guard.ask(tenant(kek=Kek(arn)), Kek(arn)) is UNKNOWN
    assert site.alarms() == [("canary_unusable", SYSTEM, arn)]


def test_three_tenants_denied_within_a_minute_are_many(site: Site) -> None:
    guard = site.served(ONE)
    for name in ("acme", "acme", "bolt", "acme", "bolt"):
        guard.noticed(tenant(name), OTHER_KEK)
    assert site.alarms() == []
    guard.noticed(tenant("core"), OTHER_KEK)
    assert site.events.events == [("keystead.alarm.many_denials", SYSTEM, {"about": "local", "tenants": 3})]


def test_tenants_denied_one_after_another_are_not(site: Site) -> None:
    guard = site.served(ONE)
    for number in range(10):
        guard.noticed(tenant(f"t-{number}"), OTHER_KEK)
        site.clock.advance(31)
    assert site.alarms() == []


def test_who_is_denied_again_and_again_keeps_nobody_else_in_mind(site: Site) -> None:
    guard = site.served(ONE)
    for name, seconds in (("acme", 10), ("bolt", 40), ("acme", 25), ("core", 0)):
        guard.noticed(tenant(name), OTHER_KEK)
        site.clock.advance(seconds)
    assert site.alarms() == []


def test_nor_are_tenants_of_different_patterns(site: Site) -> None:
    guard = site.served(ONE)
    guard.noticed(tenant("acme"), OTHER_KEK)
    guard.noticed(tenant("bolt"), OTHER_KEK)
    guard.noticed(tenant("core", AT_A_VAULT), AT_A_VAULT)
    assert site.alarms() == []


def test_who_is_denied_is_remembered_within_bounds(site: Site) -> None:
    guard = site.served(ONE)
    for number in range(1100):
        guard.noticed(tenant(f"t-{number}"), OTHER_KEK)
    assert len(guard._denied[LOCAL]) == 1000


def test_however_many_are_denied_canaries_alone_decide(site: Site) -> None:
    guard = site.served(ONE)
    for number in range(50):
        guard.noticed(tenant(f"t-{number}"), OTHER_KEK)
    assert guard.ask(tenant(), OTHER_KEK) is PASSED
