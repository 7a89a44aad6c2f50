"""A canary's envelope: made once, authenticated, and never the reason for an excuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from core.domain.tenants import SYSTEM
from core.errors import ProviderSignal, StoreUnavailable
from core.service.revocation.guard import GuardFinding
from tests.service.revocation.sites import (
    AT_A_VAULT,
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
from tests.service.world import OTHER_KEK


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.parametrize("cause", ["policy", "identity", "network", "unknown", "disabled"])
def test_a_canary_that_never_served_excuses_nobody(site: Site, cause: str) -> None:
    guard = site.guard(ONE)
    site.kms.signals = {ONE.kek: refused(cause)}
    assert guard.ask(tenant(), OTHER_KEK) is UNKNOWN
    assert ONE_UNUSABLE in site.alarms()
    site.kms.signals = {}
    assert guard.ask(tenant(), OTHER_KEK) is PASSED
    site.kms.signals = {ONE.kek: refused("policy")}
    assert guard.ask(tenant(), OTHER_KEK) is OURS


def test_our_own_credentials_are_ours_to_mend_whether_or_not_a_canary_served(site: Site) -> None:
    site.kms.signals = {ONE.kek: own_fault()}
    assert site.guard(ONE).ask(tenant(), OTHER_KEK) is OURS


def test_the_envelope_is_made_once_and_read_by_every_process(site: Site) -> None:
    assert site.guard(ONE).ask(tenant(), OTHER_KEK) is PASSED
    assert site.kms.told() == [("wrap", ONE.kek), ("unwrap", ONE.kek)]
    stored = site.envelope()
    assert site.guard(ONE).ask(tenant(), OTHER_KEK) is PASSED
    assert site.kms.told() == [("unwrap", ONE.kek)]
    assert site.envelope() == stored
    assert site.kms.unwraps[-1] == {
        "branch-key-id": "keystead:canary",
        "type": "keystead:canary",
        "version": "keystead:canary",
        "create-time": "",
        "hierarchy-version": "1",
        "kms-arn": ONE.kek,
        "tenant_id": SYSTEM,
        "tablename": "rows",
    }


def test_two_processes_that_make_it_at_once_keep_one(site: Site) -> None:
    first, second = site.guard(ONE), site.guard(ONE)
    findings: list[GuardFinding] = []

    def race(name: str) -> None:
        if name.startswith("canary:"):
            findings.append(second.ask(tenant(), OTHER_KEK))
        else:
            site.store.before_write = race

    site.store.before_write = race
    findings.append(first.ask(tenant(), OTHER_KEK))
    assert findings == [PASSED, PASSED]
    assert site.envelope().revision == 1
    assert site.guard(ONE).ask(tenant(), OTHER_KEK) is PASSED


def test_a_store_that_does_not_take_the_envelope_changes_nothing(site: Site) -> None:
    guard = site.guard(ONE)
    site.kms.signals = {ONE.kek: no_answer()}
    assert guard.ask(tenant(), OTHER_KEK) is UNKNOWN  # has loaded the key of MACs
    site.kms.signals = {}

    def silence(name: str) -> None:
        raise StoreUnavailable("the store does not answer")

    site.store.before_write = silence
    assert guard.ask(tenant(), OTHER_KEK) is PASSED
    assert site.store.read(SYSTEM, f"canary:{ONE.digest}") is None


def never_unwraps(body: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {**body, "wrapped": "AAAA" * 20}


TAMPERINGS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]] = {
    "another ciphertext": never_unwraps,
    "another canary's": lambda body, other: other,
    "another key": lambda body, other: {**body, "kek": TWO.kek},
    "no MAC": lambda body, other: {name: value for name, value in body.items() if name != "mac"},
    "a MAC that is no text": lambda body, other: {**body, "mac": 7},
    "a key that is no text": lambda body, other: {**body, "kek": ["local:canary-one"]},
    "no base64": lambda body, other: {**body, "wrapped": "%"},
    "nothing": lambda body, other: {},
}


@pytest.mark.parametrize("tampering", TAMPERINGS.values(), ids=TAMPERINGS)
def test_a_tampered_envelope_alarms_excuses_nobody_and_is_replaced_once_the_canary_serves(
    site: Site, tampering: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]
) -> None:
    site.served(ONE, TWO)
    guard = site.guard(ONE)
    site.overwrite(tampering(site.envelope().body, site.envelope(TWO).body))
    for signal in ({ONE.kek: refused("policy")}, {}):
        site.kms.signals = dict(signal)
        assert guard.ask(tenant(), OTHER_KEK) is UNKNOWN
        names = [name for name, _, _ in site.alarms()]
        assert names.count("store_corrupt") == names.count("canary_unusable") == 1
        site.clock.advance(61)
    assert guard.ask(tenant(), OTHER_KEK) is PASSED
    assert site.alarms() == []
    site.kms.signals = {ONE.kek: refused("policy")}
    assert guard.ask(tenant(), OTHER_KEK) is OURS


def test_a_canary_that_another_may_vouch_for_is_not_needed(site: Site) -> None:
    guard = site.served(ONE, TWO)
    site.overwrite({})
    assert guard.ask(tenant(), OTHER_KEK) is PASSED
    assert ("canary_unusable", SYSTEM, ONE.kek) in site.alarms()


def test_a_genuine_envelope_that_does_not_unwrap_is_replaced(site: Site) -> None:
    guard = site.served(ONE)
    site.kms.keys[ONE.kek] = bytes(32)
    assert guard.ask(tenant(), OTHER_KEK) is UNKNOWN
    assert site.alarms() == [ONE_UNUSABLE]
    assert guard.ask(tenant(), OTHER_KEK) is PASSED


def test_a_kms_that_does_not_give_back_what_it_wrapped_vouches_for_nobody(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.served(TWO)  # has made the key of MACs
    guard = site.guard(ONE)
    wrap = site.kms.wrap
    monkeypatch.setattr(site.kms, "wrap", lambda kek, key, context: wrap(kek, bytes(32), context))
    assert guard.ask(tenant(), OTHER_KEK) is UNKNOWN
    assert site.alarms() == [ONE_UNUSABLE]
    assert site.store.read(SYSTEM, f"canary:{ONE.digest}") is None


def test_the_envelope_names_a_version(site: Site) -> None:
    site.served(VERSIONED)
    assert site.envelope(VERSIONED).body["kek"] == site.kms.versions[0].locator


@pytest.mark.parametrize("cause", ["disabled", "not_found"])
def test_a_version_that_was_put_away_is_followed_by_the_newest(site: Site, cause: str) -> None:
    guard = site.served(VERSIONED)
    old, new = site.kms.versions[0], site.kms.new_version()
    site.kms.signals = {old.locator: refused(cause)}
    assert guard.ask(tenant(kek=AT_A_VAULT), AT_A_VAULT) is PASSED
    assert site.envelope(VERSIONED).body["kek"] == new.locator
    assert site.kms.told()[0] == ("unwrap", old.locator)
    assert guard.ask(tenant(kek=AT_A_VAULT), AT_A_VAULT) is PASSED
    assert site.kms.told() == [("unwrap", new.locator)]
    assert site.alarms() == []


@pytest.mark.parametrize(
    ("signal", "finding"),
    [
        (refused("disabled"), UNKNOWN),
        (refused("not_found"), UNKNOWN),
        (refused("policy"), OURS),
        (no_answer(), UNKNOWN),
        (own_fault(), OURS),
    ],
)
def test_then_the_newest_version_decides(site: Site, signal: ProviderSignal, finding: GuardFinding) -> None:
    guard = site.served(VERSIONED)
    old, new = site.kms.versions[0], site.kms.new_version()
    site.kms.signals = {old.locator: refused("disabled"), new.locator: signal}
    assert guard.ask(tenant(kek=AT_A_VAULT), AT_A_VAULT) is finding
    assert site.envelope(VERSIONED).body["kek"] == old.locator


def test_a_version_refused_by_a_policy_is_not_asked_around(site: Site) -> None:
    guard = site.served(VERSIONED)
    old = site.kms.versions[0]
    site.kms.new_version()
    site.kms.signals = {old.locator: refused("policy")}
    assert guard.ask(tenant(kek=AT_A_VAULT), AT_A_VAULT) is OURS
