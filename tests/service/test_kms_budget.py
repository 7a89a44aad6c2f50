"""The KMS time of a request: counted per thread, for operations on data only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from core.domain.branch_keys import CREATE_TIME_FORMAT
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.errors import KeyUnreachable, Silence
from core.service.access import Permission
from core.service.kms_budget import RESERVE, SECONDS, KmsBudget
from core.service.results import DecryptItem
from tests.service.world import OTHER_KEK, FakeClock, World, caller


def spend(budget: KmsBudget, clock: FakeClock, seconds: float) -> None:
    with budget.spending():
        clock.advance(seconds)


def test_outside_of_a_request_every_call_has_it_all() -> None:
    clock = FakeClock()
    budget = KmsBudget(clock.boot)
    spend(budget, clock, 60)
    assert budget.remaining() == SECONDS


def test_a_request_uses_it_up_and_the_next_one_has_its_own() -> None:
    clock = FakeClock()
    budget = KmsBudget(clock.boot)
    budget.begin()
    spend(budget, clock, 1)
    assert budget.remaining() == pytest.approx(SECONDS - 1)
    with budget.spending():
        clock.advance(1)
        assert budget.remaining() == pytest.approx(SECONDS - 2)  # while it is spent
        spend(budget, clock, 9)  # one inside another counts once
    assert budget.remaining() == 0
    budget.begin()
    assert budget.remaining() == SECONDS
    spend(budget, clock, 10)
    budget.end()
    assert budget.remaining() == SECONDS


def test_what_fails_counts_too() -> None:
    clock = FakeClock()
    budget = KmsBudget(clock.boot)
    budget.begin()
    with suppress(Silence), budget.spending():
        clock.advance(2)
        raise Silence("no answer")
    assert budget.remaining() == pytest.approx(SECONDS - 2)


def test_threads_count_for_themselves() -> None:
    clock = FakeClock()
    budget = KmsBudget(clock.boot)
    budget.begin()
    spend(budget, clock, 60)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(budget.remaining).result() == SECONDS
    assert budget.remaining() == 0


@pytest.mark.parametrize(
    ("seconds_left", "remaining"),
    [(60, SECONDS), (SECONDS + RESERVE, SECONDS), (2, 1.7), (1, 0.7), (RESERVE, 0), (0.1, 0), (0, 0), (-5, 0)],
)
def test_a_host_that_ends_sooner_bounds_it(seconds_left: float, remaining: float) -> None:
    budget = KmsBudget(FakeClock().boot)
    with budget.within(seconds_left):
        assert budget.remaining() == pytest.approx(remaining)
        budget.begin()
        assert budget.remaining() == pytest.approx(remaining)
        budget.end()
        assert budget.remaining() == pytest.approx(remaining)
    assert budget.remaining() == SECONDS


def test_a_hosts_time_runs_whatever_it_is_spent_on() -> None:
    clock = FakeClock()
    budget = KmsBudget(clock.boot)
    with budget.within(4):
        budget.begin()
        spend(budget, clock, 1)
        assert budget.remaining() == pytest.approx(1.5)
        clock.advance(1)  # not on a KMS
        assert budget.remaining() == pytest.approx(1.5)
        with budget.spending():
            clock.advance(1)
            assert budget.remaining() == pytest.approx(0.5)
        clock.advance(0.5)
        assert budget.remaining() == pytest.approx(0.2)
        budget.begin()  # another request in the same time gets no more
        assert budget.remaining() == pytest.approx(0.2)
        clock.advance(1)
        assert budget.remaining() == 0
    assert budget.remaining() == SECONDS


def test_of_two_bounds_the_earlier_counts() -> None:
    clock = FakeClock()
    budget = KmsBudget(clock.boot)
    with budget.within(2):
        with budget.within(60):
            assert budget.remaining() == pytest.approx(1.7)
        with suppress(Silence), budget.within(1):
            assert budget.remaining() == pytest.approx(0.7)
            raise Silence("no answer")
        assert budget.remaining() == pytest.approx(1.7)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(budget.remaining).result() == SECONDS


def test_what_is_kept_is_kept_of_a_hosts_time_too() -> None:
    budget = KmsBudget(FakeClock().boot)
    with budget.within(1):
        budget.begin()
        with budget.keeping(0.5):
            assert budget.remaining() == pytest.approx(0.2)
            with budget.keeping(0.5):
                assert budget.remaining() == 0
            assert budget.remaining() == pytest.approx(0.2)
        assert budget.remaining() == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("answers", "given", "results"),
    [
        (True, [2.5, 1.5, 0.5], [bytes, bytes, bytes, KeyUnreachable]),  # the last one is not even asked
        (False, [2.5], [KeyUnreachable] * 4),  # once silent, it is not asked again
    ],
)
def test_a_batch_shares_one_budget(world: World, answers: bool, given: list[float], results: list[type]) -> None:
    """What each unwrap of a request is told it may take, of a KMS that takes a second each."""
    messages = []
    for _ in range(4):
        messages.append(world.encrypt())
        world.app.rotation.rotate("acme")
    app = world.process()
    budget = app.keystead._parts.gate._budget
    told: list[float] = []

    def slow(operation: str, context: object) -> None:
        told.append(budget.remaining())
        world.clock.advance(1)
        if not answers:
            raise Silence("no answer")

    world.app.records.read("acme")  # the row MAC key is unwrapped already
    app.records.read("acme")
    world.kms.trouble = slow
    who = caller("acme", Permission.DATA_DECRYPT)
    found = app.keystead.decrypt_many(who, "acme", [DecryptItem(message, {}) for message in messages])
    assert [next(kind for kind in (bytes, KeyUnreachable) if isinstance(result, kind)) for result in found] == results
    assert told == pytest.approx(given)
    assert budget.remaining() == SECONDS


def test_without_time_left_what_is_cached_serves_on_within_the_grace(world: World) -> None:
    messages = [world.encrypt()]
    world.app.rotation.rotate("acme")
    messages.append(world.encrypt())
    for message in messages:
        world.decrypt(message)
    world.clock.advance(61)

    def slow_silence(operation: str, context: object) -> None:
        world.clock.advance(3)
        raise Silence("no answer")

    world.kms.trouble = slow_silence
    who = caller("acme", Permission.DATA_DECRYPT)
    results = world.app.keystead.decrypt_many(who, "acme", [DecryptItem(message, {}) for message in messages])
    assert results == [b"secret", b"secret"]


class Hang:
    """A KMS that does not answer: each call takes all the time that it is given, as providers do, and then ends."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.given: list[float] = []

    def __call__(self, operation: str, context: object) -> None:
        self.given.append(self.world.app.keystead._parts.budget.remaining())
        self.world.clock.advance(self.given[-1])
        raise Silence("no answer")


def test_a_kms_that_hangs_is_given_up_within_the_hosts_time(world: World) -> None:
    cold = [world.encrypt()]
    world.app.rotation.rotate("acme")
    cold.append(world.encrypt())
    world.app.rotation.rotate("acme")
    warm = world.encrypt()
    world.app = world.process()
    world.decrypt(warm)
    world.kms.trouble = hang = Hang(world)
    began, keystead = world.clock.boot(), world.app.keystead
    who = caller("acme", Permission.DATA_DECRYPT)
    with keystead.time_left(1):
        items = [DecryptItem(message, {}) for message in [*cold, warm]]
        results = keystead.decrypt_many(who, "acme", items)
    assert [type(result) for result in results] == [KeyUnreachable, KeyUnreachable, bytes]
    assert hang.given == pytest.approx([1 - RESERVE])
    assert world.clock.boot() - began < 1


def test_a_lease_that_ends_is_lived_on_within_the_hosts_time(world: World) -> None:
    message = world.encrypt()
    world.decrypt(message)
    world.clock.advance(61)
    world.kms.trouble = hang = Hang(world)
    who, keystead = caller("acme", Permission.DATA_DECRYPT), world.app.keystead
    with keystead.time_left(1):
        assert keystead.decrypt(who, "acme", message, {}) == b"secret"
    assert hang.given == pytest.approx([1 - RESERVE])


def test_activation_on_a_data_call_keeps_to_the_budget(world: World) -> None:
    for _ in range(5):
        world.encrypt()
        world.app.rotation.rotate("acme")
    activation = datetime.fromtimestamp(world.clock.wall_time + 5, UTC).strftime(CREATE_TIME_FORMAT)
    world.app.key_configuration.configure("acme", KeyTarget(OTHER_KEK.locator, activation=activation), {})
    world.clock.advance(6)
    spent: list[float] = []

    def slow(operation: str, context: object) -> None:
        spent.append(1)
        world.clock.advance(1)

    world.kms.trouble = slow
    who = caller("acme", Permission.DATA_ENCRYPT)
    assert world.app.keystead.encrypt(who, "acme", b"x", {})
    assert sum(spent) <= SECONDS + 1
    world.kms.trouble = lambda operation, context: None
    world.app.key_configuration.check("acme", {})
    assert world.app.tenants.read("acme").state is State.ACTIVE
