"""Tokens: when they are used again, how old they are, whose they are, and that nobody else ever has them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from core.errors import Denial, KeysteadError, Silence
from core.providers._session_cache import SessionCache
from core.providers.azure_key_vault.calls import Calls
from core.providers.azure_key_vault.clients import ClientFactory
from core.providers.azure_key_vault.sessions import YOUNG_SECONDS, Entry, SessionKey, TenantSession
from core.providers.azure_key_vault.tokens import Tokens
from tests.conformance.key_provider import KEY
from tests.providers.azure_key_vault.stage import (
    CLIENT_ID,
    CONTEXT,
    DIRECTORY,
    HOME,
    Stage,
)


def tokens(stage: Stage) -> int:
    return stage.made().count("token")


@pytest.mark.parametrize(
    ("lease", "ages", "asked"),
    [
        (0, (0, 0, 0, 0), 4),
        (60, (0, 30, 29.5, 1), 2),
        (60, (0, 60, 60), 3),
        (3600, (0, 300, 299.5, 1), 2),
        (3600, (0, 600, 600, 600), 4),
        (86_400, (0, 599.5, 1, 1), 2),
    ],
)
def test_a_token_is_used_again_for_as_long_as_the_lease_and_600_seconds(
    stage: Stage, lease: float, ages: tuple[float, ...], asked: int
) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=lease))
    for ahead in ages:
        stage.clock.ahead += ahead
        provider.describe(kek)
    assert tokens(stage) == asked


@pytest.mark.parametrize("clock", ["wall_ahead", "boot_ahead"])
def test_the_age_is_counted_by_the_clock_that_says_more(stage: Stage, clock: str) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=60))
    provider.describe(kek)
    setattr(stage.clock, clock, 60.0)
    provider.describe(kek)
    assert tokens(stage) == 2


def test_a_new_token_is_a_new_credential_and_a_new_client(stage: Stage) -> None:
    kek = stage.key()
    access = stage.access(kek, lease=3600)
    provider = stage.kms.connect(access)
    provider.describe(kek)
    session = stage.kms._sessions.get(SessionKey.of(access))
    before = session._session
    stage.clock.ahead += 600
    provider.describe(kek)
    after = session._session
    assert before is not None
    assert after is not None
    for found in ("_token", "_client", "_wire"):
        assert getattr(before.client, found) is not getattr(after.client, found)
    assert before.client._token._token != after.client._token._token


def test_proved_ago_is_the_age_of_the_token(stage: Stage) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=60))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    for ahead in (20, 30):
        stage.clock.ahead += ahead
        assert 0 < provider.unwrap(wrapped, CONTEXT).proved_ago - (stage.clock.ahead) < 5
    stage.clock.ahead += 10
    assert provider.unwrap(wrapped, CONTEXT).proved_ago == 0
    assert stage.kms.connect(stage.access(kek)).unwrap(wrapped, CONTEXT).proved_ago == 0


def test_the_age_is_counted_from_when_the_token_was_asked_for(stage: Stage) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=60))
    stage.fault("token", latency=0.4)
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    assert provider.unwrap(wrapped, CONTEXT).proved_ago >= 0.4


def test_a_withdrawn_consent_bites_when_the_token_is_given_up(stage: Stage) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=60))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    stage.emulator.withdraw_consent(CLIENT_ID, DIRECTORY)
    assert provider.unwrap(wrapped, CONTEXT).key == KEY
    stage.clock.ahead += 60
    for _ in range(2):
        with pytest.raises(Denial) as raised:
            provider.unwrap(wrapped, CONTEXT)
        assert raised.value.cause == "identity"
    stage.emulator.consent(CLIENT_ID, DIRECTORY)
    assert provider.unwrap(wrapped, CONTEXT).key == KEY


def test_after_a_denial_the_next_use_asks_for_a_token_unless_there_is_a_young_one(stage: Stage) -> None:
    """So a second denial is soon known to be one of the access as it is now, and a disabled key costs few tokens."""
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=60))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    stage.emulator.set_enabled(kek.locator, False)
    for ahead, asked in ((0, 1), (0, 1), (YOUNG_SECONDS, 1), (0, 2), (0, 2), (YOUNG_SECONDS, 2), (0, 3)):
        stage.clock.ahead += ahead
        with pytest.raises(Denial):
            provider.unwrap(wrapped, CONTEXT)
        assert tokens(stage) == asked


def test_a_withdrawn_consent_shows_after_a_denial(stage: Stage) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=60))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    stage.emulator.set_enabled(kek.locator, False)
    stage.emulator.withdraw_consent(CLIENT_ID, DIRECTORY)
    stage.clock.ahead += YOUNG_SECONDS
    for cause in ("disabled", "identity"):
        with pytest.raises(Denial) as raised:
            provider.unwrap(wrapped, CONTEXT)
        assert raised.value.cause == cause


@pytest.mark.parametrize(("times", "asked"), [(1, 1), (2, 2)])
def test_a_token_that_is_not_taken_is_replaced_once(stage: Stage, times: int, asked: int) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=60))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    stage.clock.ahead += YOUNG_SECONDS
    stage.fault("unwrapkey", challenge=True, times=times)
    found = provider.unwrap(wrapped, CONTEXT)
    assert found.key == KEY
    assert (found.proved_ago >= YOUNG_SECONDS) == (asked == 1)
    assert tokens(stage) == asked


@pytest.mark.parametrize("lease", [0, 60])
def test_tokens_that_are_never_taken(stage: Stage, lease: float) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=lease))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    stage.fault("unwrapkey", challenge=True)
    costs = [(0, 0), (0, 0), (YOUNG_SECONDS, 1), (0, 0), (0, 0), (YOUNG_SECONDS, 1)]
    for ahead, cost in costs if lease else [(0, 1), (YOUNG_SECONDS, 1)]:
        stage.clock.ahead += ahead
        before = tokens(stage)
        with pytest.raises(KeysteadError) as raised:
            provider.unwrap(wrapped, CONTEXT)
        assert type(raised.value) is Silence
        assert "just issued" in raised.value.detail
        assert tokens(stage) - before == cost
    stage.emulator.clear_faults()
    assert provider.unwrap(wrapped, CONTEXT).key == KEY


def test_many_threads_whose_token_is_not_taken_share_the_next_one(stage: Stage) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=60))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    stage.clock.ahead += YOUNG_SECONDS
    together = Barrier(16)
    # Of the token that all hold: a vault's 401 without a challenge, which the SDK does not answer by itself.
    stage.fault("unwrapkey", status=401, code="Unauthorized", times=16, latency=0.2)
    stage.fault("token", latency=0.2)
    stage.time_left = 20

    def work(_: int) -> float:
        together.wait(10)
        found = provider.unwrap(wrapped, CONTEXT)
        assert found.key == KEY
        return found.proved_ago

    with ThreadPoolExecutor(16) as pool:
        ages = list(pool.map(work, range(16)))
    assert tokens(stage) == 2
    assert ages.count(0) == 1
    assert all(age < YOUNG_SECONDS for age in ages)


def test_without_a_lease_nobody_elses_next_token_will_do(stage: Stage) -> None:
    kek = stage.key()
    access = stage.access(kek, lease=600)
    stage.kms.connect(access).describe(kek)
    session = stage.kms._sessions.get(SessionKey.of(access))
    held = session._session
    assert held is not None
    stage.clock.ahead += YOUNG_SECONDS
    for lease, asked in ((0, 2), (0, 3), (600, 3)):
        found = session.renew(held, stage.kms._operation(), lease)
        assert isinstance(found, Entry)
        assert found.session is session._session
        assert tokens(stage) == asked
        assert (found.age > 0) == (lease > 0)


def test_an_older_session_does_not_replace_the_one_refused(stage: Stage) -> None:
    kek = stage.key()
    access = stage.access(kek, lease=600)
    stage.kms.connect(access).describe(kek)
    session = stage.kms._sessions.get(SessionKey.of(access))
    older = session._session
    assert older is not None
    stage.clock.ahead += 20
    refused = session._begin(stage.kms._operation())
    assert isinstance(refused, Entry)
    session._session = older
    stage.clock.ahead += YOUNG_SECONDS
    found = session.renew(refused.session, stage.kms._operation(), 600)
    assert isinstance(found, Entry)
    assert found.session not in (older, refused.session)
    assert found.age == 0


def test_a_401_in_mid_life_does_not_swap_answers(stage: Stage) -> None:
    """azure-keyvault-keys up to 4.11.2 sent the first request again, and gave its plaintext for another's."""
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=600))
    keys = [bytes([number]) * 32 for number in range(4)]
    wrapped = [provider.wrap(kek, key, CONTEXT) for key in keys]
    fresh = stage.connector().connect(stage.access(kek, lease=600))
    assert fresh.unwrap(wrapped[0], CONTEXT).key == keys[0]  # found the challenge with a body in hand
    for number, times in ((1, 1), (2, 2), (3, 1)):
        stage.clock.ahead += YOUNG_SECONDS
        stage.fault("unwrapkey", challenge=True, times=times)
        assert fresh.unwrap(wrapped[number], CONTEXT).key == keys[number]
        stage.emulator.clear_faults()
    stage.fault("*", challenge=True, times=1)
    assert fresh.describe(kek).kek == kek


def test_many_threads_share_one_token(stage: Stage) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=60))
    stage.fault("token", latency=0.2)
    with ThreadPoolExecutor(8) as pool:
        assert [found.kek for found in pool.map(lambda _: provider.describe(kek), range(8))] == [kek] * 8
    assert tokens(stage) == 1


def test_without_a_lease_nobody_elses_token_will_do(stage: Stage) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek))
    with ThreadPoolExecutor(4) as pool:
        assert [found.kek for found in pool.map(lambda _: provider.describe(kek), range(4))] == [kek] * 4
    assert tokens(stage) == 4


def test_the_cache_forgets_the_least_recently_used(stage: Stage) -> None:
    keks = [stage.key(f"k{number}") for number in range(3)]
    kms = stage.connector(limit=2)

    def use(number: int) -> int:
        kms.connect(stage.access(keks[number], lease=600)).describe(keks[number])
        return tokens(stage)

    assert [use(number) for number in (0, 1, 0, 2, 0, 1)] == [1, 2, 2, 3, 3, 4]


def test_the_cache_closes_what_it_forgets(stage: Stage) -> None:
    closed: list[str] = []

    class Session(TenantSession):
        def __init__(self, key: SessionKey) -> None:
            factory, calls = ClientFactory(stage.settings, stage.clock), Calls()
            super().__init__(key, factory, Tokens(factory, calls, HOME, stage.clock), calls, stage.clock)
            self._name = key.key_name

        def close(self) -> None:
            closed.append(self._name)

    cache = SessionCache(2, Session)
    keys = [SessionKey("acme", 1, DIRECTORY, "v.vault.azure.net", name) for name in "abc"]
    for key in keys:
        assert cache.get(key) is cache.get(key)
    assert closed == ["a"]
    cache.clear()
    assert sorted(closed) == ["a", "b", "c"]


def test_close_forgets_everything(stage: Stage) -> None:
    kek = stage.key()
    for asked in (1, 2):
        stage.kms.connect(stage.access(kek, lease=600)).describe(kek)
        assert tokens(stage) == asked
        stage.kms.close()
