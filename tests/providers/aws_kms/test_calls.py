"""Budgets, abandoned threads and retries."""

from __future__ import annotations

import socket
from collections.abc import Callable
from threading import Event
from threading import enumerate as threads

import pytest

from core.domain.kek import Kek
from core.errors import KeysteadError, Silence
from core.providers.aws_kms.calls import ATTEMPTS, Answer, Budget, Calls, Request
from core.providers.aws_kms.failures import Failure, Kind, silent
from core.providers.aws_kms.lines import Line
from functions.emulators.kms import Fault
from tests.conformance.key_provider import KEY
from tests.providers.aws_kms.stage import CONTEXT, Stage
from tests.service.world import FakeClock

ASKED = Request("Decrypt", {"KeyId": "k"}, lambda answer: answer["good"] is True)
GOOD: Answer = {"good": True}
AGAIN, FINAL = silent("Decrypt", "busy", again=True), silent("Decrypt", "timed out")
DENIED = Failure(Kind.DENIAL, "Decrypt", "no", "policy")


def unlimited() -> Budget:
    return Budget(FakeClock(), 60, lambda: 60)


@pytest.mark.parametrize(
    ("answers", "result", "asked"),
    [
        ([GOOD], GOOD, 1),
        ([AGAIN, GOOD], GOOD, 2),
        ([AGAIN, AGAIN, GOOD], GOOD, 3),
        ([AGAIN, AGAIN, AGAIN, GOOD], AGAIN, ATTEMPTS),
        ([FINAL, GOOD], FINAL, 1),
        ([DENIED, GOOD], DENIED, 1),
        ([AGAIN, DENIED, GOOD], DENIED, 2),
        ([{"good": False}, {}, GOOD], GOOD, 3),
    ],
)
def test_attempts(answers: list[Answer | Failure], result: Answer | Failure, asked: int) -> None:
    left, pauses = list(answers), list[float]()
    assert Calls(pause=pauses.append).make(ASKED, lambda _: left.pop(0), unlimited()) == result
    assert len(answers) - len(left) == asked
    assert len(pauses) == asked - 1
    assert all(shortest <= pause <= longest for pause, (shortest, longest) in zip(pauses, BOUNDS, strict=False))


BOUNDS = ((0.05, 0.2), (0.1, 0.4))


def test_no_attempt_is_made_once_the_budget_is_spent() -> None:
    clock, asked = FakeClock(), list[int]()

    def call(_: Line) -> Failure:
        asked.append(1)
        clock.advance(1)
        return AGAIN

    assert Calls(pause=clock.advance).make(ASKED, call, Budget(clock, 1.5, lambda: 60)) == AGAIN
    assert len(asked) == 2
    found = Calls().make(ASKED, call, Budget(clock, 2.5, lambda: 0.0))
    assert isinstance(found, Failure)
    assert (found.kind, len(asked)) == (Kind.SILENCE, 2)


def test_what_a_request_has_left_bounds_its_operation_as_a_whole() -> None:
    """It is not counted down while the operation is under way, so it is asked once."""
    clock = FakeClock()
    budget = Budget(clock, 2.5, lambda: 0.6)
    for spent, left in ((0.0, 0.6), (0.5, 0.1), (0.1, 0.0), (0.1, -0.1)):
        clock.advance(spent)
        assert budget.left() == pytest.approx(left)


def test_a_slow_role_leaves_less_to_the_key(stage: Stage) -> None:
    arn = stage.role_key()
    stage.role([arn])
    provider = stage.kms.connect(stage.role_access(arn))
    wrapped = provider.wrap(Kek(arn), KEY, CONTEXT)
    stage.time_left = 0.6
    stage.emulator.add_fault(Fault("AssumeRole", latency=0.4))
    stage.emulator.add_fault(Fault("Decrypt", latency=0.4))
    with pytest.raises(Silence, match="Decrypt: time was up"):
        provider.unwrap(wrapped, CONTEXT)


def test_one_endpoint_that_hangs_is_not_held_against_another() -> None:
    calls, release = Calls(abandoned=1), Event()

    def hang(_: Line) -> Answer:
        release.wait()
        return GOOD

    for endpoint, seen in (("kms.a", "time was up"), ("kms.a", "too many calls before it are still waiting")):
        found = calls.make(ASKED, hang, Budget(FakeClock(), 0.01, lambda: 60), endpoint)
        assert isinstance(found, Failure)
        assert found.seen == seen
    assert calls.make(ASKED, lambda _: GOOD, unlimited(), "kms.b") == GOOD
    assert calls.make(ASKED, lambda _: GOOD, unlimited(), "sts.a") == GOOD
    release.set()


def test_a_line_is_cut_when_nobody_waits_any_longer() -> None:
    ours, theirs = socket.socketpair()

    def read(line: Line) -> Answer:
        line.hold(ours)
        return {"good": ours.recv(1) == b""}

    with ours, theirs:
        found = Calls().make(ASKED, read, Budget(FakeClock(), 0.01, lambda: 60))
        assert isinstance(found, Failure)
        assert theirs.recv(1) == b""
        late = Line()
        late.cut()
        assert late.is_cut
        with pytest.raises(ConnectionAbortedError):
            late.hold(ours)


def test_calls_that_do_not_end_are_left_behind_up_to_a_limit() -> None:
    calls, release = Calls(abandoned=2), Event()

    def hang(_: Line) -> Answer:
        release.wait()
        return GOOD

    def seen(call: Callable[[Line], Answer]) -> str:
        found = calls.make(ASKED, call, Budget(FakeClock(), 0.01, lambda: 60))
        return found.seen if isinstance(found, Failure) else "good"

    assert [seen(hang) for _ in range(3)] == [
        "time was up",
        "time was up",
        "too many calls before it are still waiting",
    ]
    release.set()
    for thread in [thread for thread in threads() if thread.name == "aws-Decrypt"]:
        thread.join()
    assert calls.make(ASKED, lambda _: GOOD, unlimited()) == GOOD


@pytest.mark.parametrize("operation", ["Decrypt", "Encrypt", "DescribeKey", "AssumeRole"])
def test_a_hang_ends_with_the_budget(stage: Stage, operation: str) -> None:
    arn = stage.role_key()
    stage.role([arn])
    provider = stage.kms.connect(stage.role_access(arn))
    wrapped = provider.wrap(Kek(arn), KEY, CONTEXT)
    stage.time_left = 0.3
    stage.emulator.add_fault(Fault(operation, hang=True))
    uses: dict[str, Callable[[], object]] = {
        "Decrypt": lambda: provider.unwrap(wrapped, CONTEXT),
        "Encrypt": lambda: provider.wrap(Kek(arn), KEY, CONTEXT),
        "DescribeKey": lambda: provider.describe(Kek(arn)),
        "AssumeRole": lambda: provider.unwrap(wrapped, CONTEXT),
    }
    with pytest.raises(KeysteadError) as raised:
        uses[operation]()
    assert type(raised.value) is Silence
    stage.emulator.clear_faults()
    stage.time_left = 2.5
    assert provider.unwrap(wrapped, CONTEXT).key == KEY


def test_without_time_nothing_is_sent(stage: Stage) -> None:
    arn = stage.key()
    provider = stage.kms.connect(stage.access(arn))
    wrapped = provider.wrap(Kek(arn), KEY, CONTEXT)
    stage.emulator.clear_calls()
    for stage.time_left in (0.0, -3.0):
        for use in (lambda: provider.unwrap(wrapped, CONTEXT), lambda: provider.describe(Kek(arn))):
            with pytest.raises(Silence):
                use()
    assert stage.made() == []


def test_a_hanging_describe_does_not_hide_the_denial(stage: Stage) -> None:
    arn = stage.key()
    provider = stage.kms.connect(stage.access(arn))
    wrapped = provider.wrap(Kek(arn), KEY, CONTEXT)
    stage.emulator.disable_key(arn)
    stage.time_left = 0.5
    stage.emulator.add_fault(Fault("DescribeKey", hang=True))
    with pytest.raises(KeysteadError) as raised:
        provider.unwrap(wrapped, CONTEXT)
    assert (type(raised.value).__name__, getattr(raised.value, "cause", "")) == ("Denial", "disabled")


def test_throttling_that_passes_is_not_heard_of(stage: Stage) -> None:
    arn = stage.key()
    provider = stage.kms.connect(stage.access(arn))
    wrapped = provider.wrap(Kek(arn), KEY, CONTEXT)
    stage.emulator.add_fault(Fault("Decrypt", code="ThrottlingException", times=ATTEMPTS - 1))
    assert provider.unwrap(wrapped, CONTEXT).key == KEY
    assert stage.attempts()["Decrypt"] == ATTEMPTS
