"""What belongs to whom: no token, client or connection of one access ever serves another."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from core.domain.kek import Kek, KeyAccess
from core.errors import Denial, Silence
from core.providers.azure_key_vault.sessions import SessionKey
from tests.conformance.key_provider import KEY
from tests.providers.azure_key_vault.stage import (
    CONTEXT,
    DIRECTORY,
    EXTERNAL_ID,
    OTHER_DIRECTORY,
    OTHER_TENANT,
    Stage,
)


def tokens(stage: Stage) -> int:
    return stage.made().count("token")


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
        assert {call.operation for call in stage.emulator.calls} == {"token", "challenge"}
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
            wrapped = provider.wrap(kek, key, context)
            for _ in range(5):
                with suppress(Silence):  # two in a row are not answered with a third token
                    return provider.unwrap(wrapped, context).key == key
            return False

        stage.time_left = 20
        with ThreadPoolExecutor(6) as pool:
            assert all(pool.map(work, range(24)))
        tenants = {(call.host, call.tenant) for call in stage.emulator.calls if call.operation == "unwrapkey"}
        assert len(tenants) == 2
