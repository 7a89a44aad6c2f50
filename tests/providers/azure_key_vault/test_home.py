"""A directory that does not know our application: its tenant let us go, or our own directory lost the application."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from core.domain.kek import WrappedKey
from core.errors import Denial, KeysteadError, OwnFault, Silence
from core.providers.azure_key_vault.calls import ATTEMPTS
from core.providers.azure_key_vault.tokens import GRANTED_SECONDS, REFUSED_SECONDS, SILENT_SECONDS
from tests.conformance.key_provider import KEY
from tests.providers.azure_key_vault.stage import (
    CLIENT_ID,
    CONTEXT,
    DIRECTORY,
    HOME,
    OTHER_DIRECTORY,
    OTHER_TENANT,
    Stage,
)


class Uses:
    """Wraps and unwraps of tenants with keys that worked before."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.kek = stage.key()
        self.access = stage.access(self.kek)
        other = stage.key(vault=stage.new_vault(OTHER_DIRECTORY))
        accesses = {
            DIRECTORY: self.access,
            OTHER_DIRECTORY: stage.access(other, tenant_id=OTHER_TENANT, entra_tenant=OTHER_DIRECTORY),
        }
        self.all: list[Callable[[], object]] = []
        for access, kek in ((accesses[DIRECTORY], self.kek), (accesses[OTHER_DIRECTORY], other)):
            provider = stage.kms.connect(access)
            wrapped = provider.wrap(kek, KEY, CONTEXT)
            self.all += [self._wrap(provider.wrap, kek), self._unwrap(provider.unwrap, wrapped)]
        stage.emulator.clear_calls()

    def _wrap(self, wrap: Callable[..., object], kek: object) -> Callable[[], object]:
        return lambda: wrap(kek, KEY, CONTEXT)

    def _unwrap(self, unwrap: Callable[..., object], wrapped: WrappedKey) -> Callable[[], object]:
        return lambda: unwrap(wrapped, CONTEXT)

    def raised(self, use: Callable[[], object]) -> KeysteadError:
        with pytest.raises(KeysteadError) as raised:
            use()
        assert raised.value.__context__ is None
        return raised.value

    def asked_at_home(self) -> int:
        return len([call for call in self.stage.emulator.calls if (call.operation, call.tenant) == ("token", HOME)])


@pytest.fixture
def uses(stage: Stage) -> Uses:
    return Uses(stage)


def test_the_application_is_disabled_at_home(stage: Stage, uses: Uses) -> None:
    stage.emulator.disable_application(CLIENT_ID, HOME)
    for use in uses.all:
        found = uses.raised(use)
        assert type(found) is OwnFault
        assert "our own directory" in found.detail
        assert "AADSTS7000112" in found.detail
    assert uses.asked_at_home() == 1
    stage.emulator.enable_application(CLIENT_ID, HOME)
    for use in uses.all:
        use()
    assert uses.asked_at_home() == 1


@pytest.mark.parametrize("number", [700016, 7000229, 7000112])
def test_the_application_is_gone_everywhere(stage: Stage, uses: Uses, number: int) -> None:
    stage.fault("token", aadsts=number)
    assert [type(uses.raised(use)) for use in uses.all] == [OwnFault] * 4


def test_a_bare_refusal_everywhere(stage: Stage, uses: Uses) -> None:
    body = b'{"error": "unauthorized_client", "trace_id": "1-2-3"}'
    stage.fault("token", body=body, status=400, content_type="application/json")
    assert [type(uses.raised(use)) for use in uses.all] == [OwnFault] * 4
    stage.emulator.clear_faults()
    stage.clock.ahead += REFUSED_SECONDS
    stage.fault("token", tenant=DIRECTORY, body=body, status=400, content_type="application/json")
    found = uses.raised(uses.all[0])
    assert isinstance(found, Denial)
    assert found.cause == "identity"


@pytest.mark.parametrize("how", ["withdraw_consent", "disable_application"])
def test_a_tenant_lets_us_go(stage: Stage, uses: Uses, how: str) -> None:
    getattr(stage.emulator, how)(CLIENT_ID, DIRECTORY)
    for use in uses.all[:2]:
        found = uses.raised(use)
        assert isinstance(found, Denial)
        assert found.cause == "identity"
        assert found.kms_code.startswith("AADSTS70")
        assert found.request_id
    for use in uses.all[2:]:
        use()
    assert uses.asked_at_home() == 1


@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"aadsts": 90033}, {"reset": True}, {"body": b"<html>", "status": 200}], ids=str
)
def test_home_is_silent(stage: Stage, uses: Uses, fault: dict[str, object]) -> None:
    stage.emulator.withdraw_consent(CLIENT_ID, DIRECTORY)
    stage.fault("token", tenant=HOME, **fault)
    asked = []
    for use in uses.all[:2]:
        assert type(uses.raised(use)) is Silence
        asked.append(uses.asked_at_home())
    assert asked == [ATTEMPTS] * 2
    stage.emulator.clear_faults()
    stage.clock.ahead += SILENT_SECONDS
    assert type(uses.raised(uses.all[0])) is Denial


def test_home_hangs(stage: Stage, uses: Uses) -> None:
    """Whoever has no time left has learned nothing, which is not kept."""
    stage.emulator.withdraw_consent(CLIENT_ID, DIRECTORY)
    stage.fault("token", tenant=HOME, hang=True)
    stage.time_left = 0.5
    assert type(uses.raised(uses.all[0])) is Silence
    stage.emulator.clear_faults()
    stage.time_left = 2.5
    assert type(uses.raised(uses.all[0])) is Denial


@pytest.mark.parametrize("number", [53003, 530032, 500011, 90002])
def test_what_only_a_tenant_can_do_asks_nobody_else(stage: Stage, uses: Uses, number: int) -> None:
    stage.fault("token", tenant=DIRECTORY, aadsts=number)
    assert type(uses.raised(uses.all[0])) is Denial
    assert uses.asked_at_home() == 0


def test_trouble_of_our_own_asks_nobody_else(stage: Stage, uses: Uses) -> None:
    stage.fault("token", aadsts=7000215)
    assert type(uses.raised(uses.all[0])) is OwnFault
    assert uses.asked_at_home() == 0


def test_what_home_said_is_kept_for_a_while(stage: Stage, uses: Uses) -> None:
    stage.emulator.withdraw_consent(CLIENT_ID, DIRECTORY)
    for ahead, kind, asked in (
        (0, Denial, 1),
        (GRANTED_SECONDS - 1, Denial, 1),
        (1, OwnFault, 2),
        (REFUSED_SECONDS - 1, OwnFault, 2),
    ):
        stage.clock.ahead += ahead
        if kind is OwnFault:
            stage.emulator.disable_application(CLIENT_ID, HOME)
        assert type(uses.raised(uses.all[0])) is kind
        assert uses.asked_at_home() == asked
    stage.emulator.enable_application(CLIENT_ID, HOME)
    assert type(uses.raised(uses.all[0])) is OwnFault
    stage.clock.ahead += 1
    assert type(uses.raised(uses.all[0])) is Denial


@pytest.mark.parametrize("at_home", [False, True])
def test_many_tenants_ask_home_once(stage: Stage, uses: Uses, at_home: bool) -> None:
    stage.emulator.withdraw_consent(CLIENT_ID, DIRECTORY)
    if at_home:
        stage.emulator.disable_application(CLIENT_ID, HOME)
    stage.fault("token", tenant=HOME, latency=0.3)
    stage.time_left = 20
    together = Barrier(16)

    def work(number: int) -> type[KeysteadError]:
        provider = stage.kms.connect(replace(uses.access, tenant_id=f"tenant-{number}"))
        together.wait(10)
        return type(uses.raised(lambda: provider.describe(uses.kek)))

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(work, range(16))) == {OwnFault if at_home else Denial}
    assert uses.asked_at_home() == 1
