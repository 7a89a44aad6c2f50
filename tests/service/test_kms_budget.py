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
from core.service.kms_budget import SECONDS, KmsBudget
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


def test_a_batch_shares_one_budget(world: World) -> None:
    """What each unwrap of a request is told it may take."""
    messages = []
    for _ in range(4):
        messages.append(world.encrypt())
        world.app.rotation.rotate("acme")
    app = world.process()
    budget = app.keystead._parts.gate._budget
    told: list[float] = []

    def silent(operation: str, context: object) -> None:
        told.append(budget.remaining())
        world.clock.advance(1)
        raise Silence("no answer")

    world.app.records.read("acme")  # the row MAC key is unwrapped already
    app.records.read("acme")
    world.kms.trouble = silent
    who = caller("acme", Permission.DATA_DECRYPT)
    results = app.keystead.decrypt_many(who, "acme", [DecryptItem(message, {}) for message in messages])
    assert [type(result) for result in results] == [KeyUnreachable] * 4
    assert told == pytest.approx([2.5, 1.5, 0.5])  # the last one is not even asked
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
