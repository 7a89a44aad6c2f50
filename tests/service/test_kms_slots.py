"""A tenant's calls to its KMS: so many at a time, and none of another tenant's waits for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier, Event, Semaphore
from typing import Any

import pytest

from core.domain.kek import KeyAccess
from core.domain.timing import Instant
from core.errors import Denial, OwnFault, Silence, Unasked
from core.service.alarms import Alarms
from core.service.kms_budget import RESERVE, KmsBudget
from core.service.kms_slots import SLOTS, KmsSlots
from core.service.providers import FAIR, Providers
from tests.service.world import OTHER_KEK, PLATFORM, FakeClock, RecordedEvents, ScriptedConnector, ScriptedKms


def test_so_many_at_a_time_each_tenant() -> None:
    slots = KmsSlots(2)
    with ExitStack() as stack:
        for tenant_id in ("acme", "acme", "beta"):
            stack.enter_context(slots.hold(tenant_id, 0))
        with pytest.raises(Unasked, match="too many calls"), slots.hold("acme", 0):
            pass
        with slots.hold("beta", 0):
            assert len(slots) == 2
    assert len(slots) == 0


def test_whoever_waits_gets_the_one_that_is_given_back() -> None:
    slots = KmsSlots(1)
    waiting, served = Event(), Event()

    def wait() -> None:
        waiting.set()
        with slots.hold("acme", 60):
            served.set()

    with ThreadPoolExecutor(1) as pool:
        with slots.hold("acme", 0):
            future = pool.submit(wait)
            assert waiting.wait(60)
            assert not served.is_set()
        future.result(60)
    assert served.is_set()
    assert len(slots) == 0


@pytest.mark.parametrize("error", [Silence("no answer"), KeyboardInterrupt()])
def test_a_slot_comes_back_however_the_call_ends(error: BaseException) -> None:
    slots = KmsSlots(1)
    for _ in range(3):
        with pytest.raises(type(error)), slots.hold("acme", 0):
            raise error
    assert len(slots) == 0


def test_nothing_is_kept_of_tenants_that_come_and_go() -> None:
    slots = KmsSlots(2)
    most = []

    def call(number: int) -> None:
        with slots.hold(f"t{number % 100}", 60):
            most.append(len(slots))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(call, range(2000)))
    assert (len(most), len(slots)) == (2000, 0)
    assert max(most) <= 16


class Deployment:
    """Providers over a KMS that can hang."""

    def __init__(self) -> None:
        self.clock, self.kms = FakeClock(), ScriptedKms()
        self.budget = KmsBudget(self.clock.boot)
        now = Instant(self.clock.wall(), self.clock.boot())
        alarms = Alarms(RecordedEvents(), lambda: now)
        self.providers = Providers(self.kms, PLATFORM, {"local": ScriptedConnector(self.kms)}, alarms, self.budget)
        self.wrapped = self.kms.wrap(OTHER_KEK, bytes(32), {})
        self.platform_wrapped = self.kms.wrap(PLATFORM, bytes(32), {})
        self.entered, self.let_go = Semaphore(0), Event()

    def unwrap(self, tenant_id: str = "acme") -> object:
        access = KeyAccess(tenant_id, 1, OTHER_KEK)
        return self.providers.connect(access).unwrap(self.wrapped, {})

    def hang(self, operation: str, context: Mapping[str, str]) -> None:
        self.entered.release()
        assert self.let_go.wait(60)


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


def hanging(deployment: Deployment, pool: ThreadPoolExecutor) -> list[Future[Any]]:
    deployment.kms.trouble = deployment.hang
    futures = [pool.submit(deployment.unwrap) for _ in range(SLOTS)]
    for _ in range(SLOTS):
        assert deployment.entered.acquire(timeout=60)
    return futures


def test_a_tenant_whose_kms_hangs_holds_up_no_call_of_another(deployment: Deployment) -> None:
    with ThreadPoolExecutor(SLOTS) as pool:
        futures = hanging(deployment, pool)
        try:
            provider = deployment.providers.connect(KeyAccess("acme", 2, OTHER_KEK))
            calls: list[Callable[[], object]] = [
                deployment.unwrap,
                lambda: provider.wrap(OTHER_KEK, bytes(32), {}),
                lambda: provider.describe(OTHER_KEK),
            ]
            for call in calls:
                with deployment.budget.within(RESERVE + 0.01), pytest.raises(Unasked, match="too many calls"):
                    call()
            assert not deployment.entered.acquire(blocking=False)
            deployment.kms.trouble = lambda operation, context: None
            assert deployment.unwrap("beta")
        finally:
            deployment.let_go.set()
        assert all(future.result(60) for future in futures)
    assert deployment.unwrap()
    assert len(deployment.providers._slots) == 0


def test_a_call_that_waits_gets_the_slot_of_one_that_ends(deployment: Deployment) -> None:
    with ThreadPoolExecutor(2 * SLOTS) as pool:
        futures = hanging(deployment, pool)
        futures += [pool.submit(deployment.unwrap) for _ in range(SLOTS)]
        deployment.let_go.set()
        assert all(future.result(60) for future in futures)


def test_the_platforms_key_is_for_all_at_once(deployment: Deployment) -> None:
    together = Barrier(4 * SLOTS)

    def meet(operation: str, context: Mapping[str, str]) -> None:
        together.wait(60)

    deployment.kms.trouble = meet
    with ThreadPoolExecutor(4 * SLOTS) as pool:
        calls = [
            pool.submit(deployment.providers.platform.unwrap, deployment.platform_wrapped, {}) for _ in range(4 * SLOTS)
        ]
        assert all(call.result(60) for call in calls)


def test_no_time_left_asks_nobody_and_takes_no_slot(deployment: Deployment) -> None:
    deployment.kms.trouble = deployment.hang
    with deployment.budget.within(RESERVE), pytest.raises(Unasked, match="no time left"):
        deployment.unwrap()
    with deployment.budget.within(0), pytest.raises(Unasked, match="no time left"):
        deployment.providers.platform.unwrap(deployment.platform_wrapped, {})
    assert not deployment.entered.acquire(blocking=False)
    assert len(deployment.providers._slots) == 0


@pytest.mark.parametrize(
    ("seconds", "raised", "heard"),
    [
        (FAIR + 0.01, Silence("no answer"), Silence),
        (FAIR - 0.01, Silence("no answer"), Unasked),
        (FAIR - 0.01, OwnFault("our credentials"), OwnFault),
        (FAIR - 0.01, Denial("no", cause="disabled"), Denial),
    ],
)
def test_silence_in_too_short_a_time_tells_nothing_of_the_kms(
    deployment: Deployment, seconds: float, raised: Exception, heard: type[Exception]
) -> None:
    def trouble(operation: str, context: Mapping[str, str]) -> None:
        raise raised

    deployment.kms.trouble = trouble
    with deployment.budget.within(RESERVE + seconds), pytest.raises(heard) as caught:
        deployment.unwrap()
    assert type(caught.value) is heard
