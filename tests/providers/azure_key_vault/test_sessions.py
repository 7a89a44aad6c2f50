"""Tokens: when they are used again, how old they are, whose they are, and that nobody else ever has them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from core.domain.kek import Kek, KeyAccess
from core.errors import Denial, KeysteadError, Silence
from core.providers.azure_key_vault.calls import Calls
from core.providers.azure_key_vault.clients import ClientFactory
from core.providers.azure_key_vault.sessions import SessionCache, SessionKey, TenantSession
from tests.conformance.key_provider import KEY
from tests.providers.azure_key_vault.stage import (
    CLIENT_ID,
    CONTEXT,
    DIRECTORY,
    EXTERNAL_ID,
    OTHER_DIRECTORY,
    OTHER_TENANT,
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


def test_after_a_denial_the_next_use_asks_for_a_token(stage: Stage) -> None:
    """So a second denial is known to be one of the access as it is now."""
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=60))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    stage.emulator.set_enabled(kek.locator, False)
    for asked in (1, 2, 3):
        with pytest.raises(Denial):
            provider.unwrap(wrapped, CONTEXT)
        assert tokens(stage) == asked


@pytest.mark.parametrize(("times", "asked"), [(1, 1), (2, 2)])
def test_a_token_that_is_not_taken_is_replaced_once(stage: Stage, times: int, asked: int) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=60))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    stage.fault("unwrapkey", challenge=True, times=times)
    assert provider.unwrap(wrapped, CONTEXT).key == KEY
    assert tokens(stage) == asked


def test_tokens_that_are_never_taken(stage: Stage) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=60))
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    stage.fault("unwrapkey", challenge=True)
    for asked in (2, 4):
        with pytest.raises(KeysteadError) as raised:
            provider.unwrap(wrapped, CONTEXT)
        assert type(raised.value) is Silence
        assert tokens(stage) == asked
    stage.emulator.clear_faults()
    assert provider.unwrap(wrapped, CONTEXT).key == KEY


def test_a_401_in_mid_life_does_not_swap_answers(stage: Stage) -> None:
    """azure-keyvault-keys up to 4.11.2 sent the first request again, and gave its plaintext for another's."""
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=600))
    keys = [bytes([number]) * 32 for number in range(4)]
    wrapped = [provider.wrap(kek, key, CONTEXT) for key in keys]
    fresh = stage.connector().connect(stage.access(kek, lease=600))
    assert fresh.unwrap(wrapped[0], CONTEXT).key == keys[0]  # found the challenge with a body in hand
    for number, times in ((1, 1), (2, 2), (3, 1)):
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


class TestIsolation:
    """What belongs to whom."""

    def accesses(self, stage: Stage, kek: Kek, other: Kek) -> dict[str, KeyAccess]:
        access = stage.access(kek, lease=600)
        return {
            "one": access,
            "another tenant with the same vault and key": replace(access, tenant_id=OTHER_TENANT),
            "another revision": replace(access, revision=2),
            "another key": replace(access, kek=other.key),
        }

    def test_nothing_is_shared(self, stage: Stage) -> None:
        accesses = self.accesses(stage, stage.key(), stage.key("other"))
        sessions = []
        for asked, access in enumerate(accesses.values(), 1):
            stage.kms.connect(access).describe(access.kek)
            assert tokens(stage) == asked
            sessions.append(stage.kms._sessions.get(SessionKey.of(access)))
        clients = [session._session.client for session in sessions if session._session]
        assert len(clients) == len(accesses)
        finds: list[Callable[[Any], object]] = [
            lambda client: client,
            lambda client: client._client,
            lambda client: client._token,
            lambda client: client._token._token,
            lambda client: client._wire._session,
            lambda client: client._wire._session.cookies,
            lambda client: client._client._client._config.authentication_policy,
        ]
        for find in finds:
            assert len({id(find(client)) for client in clients}) == len(accesses)

    def test_the_same_access_is_the_same_session(self, stage: Stage) -> None:
        kek = stage.key()
        new = Kek(stage.emulator.rotate_key(kek.locator))
        for access in (stage.access(kek, lease=60), replace(stage.access(kek, lease=60), kek=new)):
            stage.kms.connect(access).describe(new)
        assert tokens(stage) == 1

    def test_a_key_begins_with_whose_it_is(self, stage: Stage) -> None:
        key = SessionKey.of(stage.access(stage.key()))
        assert key._fields[:2] == ("tenant_id", "revision")
        assert key[:3] == ("acme", 1, DIRECTORY)

    def test_a_vault_of_another_directory(self, stage: Stage) -> None:
        """One application is let into many vaults: a tenant who names another's comes through its own directory."""
        vault = stage.new_vault(OTHER_DIRECTORY)
        kek = stage.key(vault=vault)
        theirs = stage.access(kek, entra_tenant=OTHER_DIRECTORY, lease=600)
        wrapped = stage.kms.connect(replace(theirs, tenant_id=OTHER_TENANT)).wrap(kek, KEY, CONTEXT)
        stage.emulator.clear_calls()
        provider = stage.kms.connect(stage.access(kek, lease=600))
        uses: list[Callable[[], object]] = [
            partial(provider.unwrap, wrapped, CONTEXT),
            partial(provider.wrap, kek, KEY, CONTEXT),
            partial(provider.describe, kek.key),
        ]
        for use in uses:
            with pytest.raises(Denial) as raised:
                use()
            assert raised.value.cause == "identity"
            assert raised.value.request_id
        assert {call.operation for call in stage.emulator.calls} == {"discovery", "token", "challenge"}
        assert {call.tenant for call in stage.emulator.calls if call.operation == "token"} == {DIRECTORY}

    def test_answers_of_two_tenants_are_not_mixed(self, stage: Stage) -> None:
        """Both at once, over vaults of their own, with 401s in between."""
        others = stage.new_vault(OTHER_DIRECTORY)
        keks = {"acme": (stage.key(), DIRECTORY), "globex": (stage.key(vault=others), OTHER_DIRECTORY)}
        stage.fault("unwrapkey", challenge=True, times=5, after=3)

        def work(number: int) -> bool:
            tenant = ("acme", "globex")[number % 2]
            kek, directory = keks[tenant]
            access = KeyAccess(tenant, 1, kek.key, external_id=EXTERNAL_ID, entra_tenant=directory, lease=600)
            provider, key = stage.kms.connect(access), bytes([number]) * 32
            context = {**CONTEXT, "tenant_id": tenant}
            return provider.unwrap(provider.wrap(kek, key, context), context).key == key

        stage.time_left = 20
        with ThreadPoolExecutor(6) as pool:
            assert all(pool.map(work, range(24)))
        tenants = {(call.host, call.tenant) for call in stage.emulator.calls if call.operation == "unwrapkey"}
        assert len(tenants) == 2


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
            super().__init__(key, ClientFactory(stage.settings, stage.clock), Calls(), stage.clock)
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
