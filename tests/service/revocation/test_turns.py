"""Turns: a key is asked by one process at a time, at a pace, and no document can stop that for long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from core.errors import Conflict, KeysteadError, StoreCorrupt, StoreUnavailable
from core.service.revocation.turns import DOCUMENT, INTERVALS, LONGEST, STEADY, Turn, Turns
from core.service.timekeeper import MAX_SKEW, Timekeeper
from core.stores.memory import MemoryTenantStore
from tests.service.injection import Injector
from tests.service.world import FakeClock

START = 1_800_000_000.0


class Setting:
    """A store in memory, whose calls are counted and can fail, and processes over it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryTenantStore()
        self.injector = Injector()
        self.turns = self.process()

    def process(self, clock: FakeClock | None = None) -> Turns:
        """Another process, perhaps with a clock of its own."""
        now = Timekeeper(clock or self.clock, lambda reason: None).now
        return Turns(self.injector.wrap(self.store, "read", "write"), now)

    def put(self, body: dict[str, Any]) -> None:
        document = self.store.read("acme", DOCUMENT)
        self.store.write("acme", DOCUMENT, body, expected_revision=document.revision if document else 0)

    def body(self) -> Any:
        document = self.store.read("acme", DOCUMENT)
        return None if document is None else document.body

    def ahead(self) -> float:
        """Seconds until the turn that is stored."""
        return self.turns.read("acme").due - self.clock.wall_time

    def trouble(self, call: int, error: KeysteadError) -> None:
        """Have a call to the store fail."""

        def fail(name: str) -> None:
            raise error

        self.injector.arm(call, "before", fail)


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_where_there_is_no_document_it_is_everybodys_turn(setting: Setting) -> None:
    assert setting.turns.read("acme") == Turn() == Turn(0, 0, 0, 0, 0, (), 0)
    assert setting.body() is None
    assert setting.turns.due(Turn(), trouble=True)
    assert setting.turns.due(Turn(), trouble=False)
    assert setting.turns.take("acme", trouble=False) == Turn()
    assert setting.body() == {**asdict(Turn()), "due": START + 1, "attempts": 1, "warnings": []}


def test_each_turn_taken_puts_off_the_next_further_up_to_a_pace_that_stays(setting: Setting) -> None:
    pauses = []
    for number in range(8):
        taken = setting.turns.take("acme", trouble=True)
        assert taken is not None
        assert taken.attempts == number
        pauses.append(setting.ahead())
        setting.clock.advance(setting.ahead())
    assert pauses == [*INTERVALS, 20.0, 20.0, 20.0]
    assert INTERVALS == (1.0, 2.0, 5.0, 10.0, 20.0)


def test_nobody_takes_a_turn_that_is_not_due_unless_forced(setting: Setting) -> None:
    other = setting.process()
    first = setting.turns.take("acme", trouble=True)
    assert first is not None
    for _ in range(3):
        assert other.take("acme", trouble=True) is None
        assert setting.turns.take("acme", trouble=True) is None
    setting.clock.advance(0.999)
    assert other.take("acme", trouble=True) is None
    forced = other.take("acme", trouble=True, forced=True)
    assert forced == Turn(START + 1, 1)
    assert setting.turns.read("acme").attempts == 2
    setting.clock.advance(2.0)
    assert other.take("acme", trouble=True) is not None


def test_tenants_have_turns_of_their_own(setting: Setting) -> None:
    assert setting.turns.take("acme", trouble=True) is not None
    assert setting.turns.take("bolt", trouble=True) is not None
    assert setting.turns.take("acme", trouble=True) is None


@pytest.mark.parametrize(
    ("ahead", "calm", "troubled"),
    [
        (-1e9, True, True),
        (-0.1, True, True),
        (0, True, True),
        (0.1, False, False),
        (INTERVALS[-1] + MAX_SKEW, False, False),
        (INTERVALS[-1] + MAX_SKEW + 0.1, False, True),
        (900, False, True),
        (LONGEST, False, True),
        (LONGEST + 0.1, True, True),
        (1e9, True, True),
    ],
)
def test_what_a_wrong_clock_wrote_does_not_block(setting: Setting, ahead: float, calm: bool, troubled: bool) -> None:
    turn = Turn(due=START + ahead, attempts=2)
    assert setting.turns.due(turn, trouble=False) is calm
    assert setting.turns.due(turn, trouble=True) is troubled
    for trouble, due in ((False, calm), (True, troubled)):
        setting.put(asdict(turn))
        assert setting.turns.take("acme", trouble=trouble) == (turn if due else None)
        if due:
            assert setting.turns.read("acme") == Turn(due=START + 5, attempts=3)


def test_a_process_with_a_clock_far_ahead_holds_up_no_other(setting: Setting) -> None:
    fast = FakeClock()
    fast.advance(86400)
    assert setting.process(fast).take("acme", trouble=True) is not None
    assert setting.turns.take("acme", trouble=True) is not None
    # And its own look finds the document of the others due.
    assert setting.process(fast).take("acme", trouble=True) is not None


GARBAGE: list[dict[str, Any]] = [
    {"due": "soon"},
    {"due": None},
    {"due": True},
    {"due": []},
    {"attempts": "1"},
    {"attempts": True},
    {"attempts": 1.0},
    {"attempts": -1},
    {"attempts": 10**400},
    {"flaps": -1},
    {"flaps": "x"},
    {"flaps": 0.5},
    {"due": -1},
    {"due": 10**400},
    {"due": 1e300},
    {"described": -0.1},
    {"checked": 1e12},
    {"began": 10**400},
    {"began": {}},
    {"checked": "x"},
    {"described": None},
    {"warnings": None},
    {"warnings": 1},
    {"warnings": [1]},
    {"warnings": [None, "x"]},
    {"x": 1},
    {"due": START + 20, "attempts": 1, "more": 1},
]


@pytest.mark.parametrize("body", GARBAGE, ids=str)
def test_a_document_that_makes_no_sense_counts_as_none(setting: Setting, body: dict[str, Any]) -> None:
    setting.put({**body, "due": body.get("due", START + 20)})
    assert setting.turns.read("acme") == Turn()
    assert setting.turns.take("acme", trouble=True) == Turn()
    assert setting.turns.read("acme") == Turn(due=START + 1, attempts=1)


@pytest.mark.parametrize("body", [{}, {"due": START + 20}, {"due": START + 20, "attempts": 3, "warnings": ["soon"]}])
def test_fields_that_are_missing_are_as_none_had_been_written(setting: Setting, body: dict[str, Any]) -> None:
    setting.put(body)
    expected = Turn(body.get("due", 0), body.get("attempts", 0), warnings=tuple(body.get("warnings", ())))
    assert setting.turns.read("acme") == expected


def test_a_turn_comes_back_as_it_was_written(setting: Setting) -> None:
    turn = Turn(START + 2.5, 3, START, START - 1, START - 2, ("one", "two"), 4)
    setting.put(asdict(turn))
    assert setting.turns.read("acme") == turn
    assert Turn.from_body(asdict(turn)) == turn


def test_of_two_processes_that_look_at_once_one_takes_the_turn(setting: Setting) -> None:
    other, others = setting.process(), []

    def meanwhile(name: str) -> None:
        setting.injector.armed = False
        others.append(other.take("acme", trouble=True))

    setting.injector.arm(1, "before", meanwhile)  # read, then the write
    assert setting.turns.take("acme", trouble=True) is None
    assert others == [Turn()]
    assert setting.turns.read("acme") == Turn(due=START + 1, attempts=1)


def test_who_is_forced_asks_even_if_another_takes_the_turn_meanwhile(setting: Setting) -> None:
    other = setting.process()

    def meanwhile(name: str) -> None:
        setting.injector.armed = False
        other.take("acme", trouble=True)

    setting.injector.arm(1, "before", meanwhile)
    assert setting.turns.take("acme", trouble=True, forced=True) == Turn()
    assert setting.turns.read("acme") == Turn(due=START + 1, attempts=1)


def test_of_many_threads_one_takes_the_turn(setting: Setting) -> None:
    processes = [setting.process() for _ in range(8)]
    for _ in range(20):
        barrier = threading.Barrier(len(processes))
        taken: list[Turn | None] = []

        def run(turns: Turns, barrier: threading.Barrier, taken: list[Turn | None]) -> None:
            barrier.wait()
            taken.append(turns.take("acme", trouble=True))

        threads = [threading.Thread(target=run, args=(turns, barrier, taken)) for turns in processes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(turn is not None for turn in taken) == 1
        setting.clock.advance(25)


@pytest.mark.parametrize("error", [StoreUnavailable("silent"), StoreCorrupt("no document")])
@pytest.mark.parametrize("call", [0, 1])
@pytest.mark.parametrize("forced", [False, True])
def test_a_store_in_trouble_gives_no_turn(setting: Setting, error: KeysteadError, call: int, forced: bool) -> None:
    setting.trouble(call, error)
    with pytest.raises(type(error)):
        setting.turns.take("acme", trouble=True, forced=forced)
    setting.injector.armed = False
    assert setting.body() is None
    if call == 0:
        setting.trouble(0, error)
        with pytest.raises(type(error)):
            setting.turns.read("acme")


@pytest.mark.parametrize("error", [StoreUnavailable("silent"), StoreCorrupt("no document"), Conflict("first")])
@pytest.mark.parametrize("call", [0, 1])
def test_a_store_in_trouble_stops_no_begin_nor_note(setting: Setting, error: KeysteadError, call: int) -> None:
    acts: list[Callable[[], None]] = [
        lambda: setting.turns.begin("acme"),
        lambda: setting.turns.note("acme", attempts=7),
    ]
    for act in acts:
        setting.trouble(call, error)
        act()
        assert len(setting.injector.points) == call + 1
        setting.injector.armed = False
        assert setting.body() is None
    setting.turns.note("acme", attempts=7)
    assert setting.turns.read("acme") == Turn(attempts=7)


def test_trouble_that_begins_is_looked_at_quickly(setting: Setting) -> None:
    known = Turn(START + 800, 4, START - 1000, START - 5, START - 6, ("soon",))
    setting.put(asdict(known))
    setting.turns.begin("acme")
    assert setting.turns.read("acme") == replace(known, due=START + 1, attempts=0, began=START)
    assert setting.turns.take("acme", trouble=True) is None
    setting.clock.advance(1)
    assert setting.turns.take("acme", trouble=True) is not None


@pytest.mark.parametrize(
    ("since", "kept"), [(0, True), (STEADY - 0.1, True), (STEADY, False), (1e6, False), (-1, False)]
)
def test_a_kms_that_falls_silent_again_soon_is_asked_at_the_pace_it_had(
    setting: Setting, since: float, kept: bool
) -> None:
    setting.put(asdict(Turn(due=START + 800, attempts=3, began=START - since)))
    setting.turns.begin("acme", steady=True)
    found = setting.turns.read("acme")
    assert (found.attempts, found.due, found.began) == ((3, START + 10, START) if kept else (0, START + 1, START))
    setting.turns.begin("acme")
    assert replace(setting.turns.read("acme"), flaps=0) == Turn(due=START + 1, attempts=0, began=START)


@pytest.mark.parametrize("steady", [False, True])
def test_trouble_that_begins_again_soon_is_counted(setting: Setting, steady: bool) -> None:
    flaps = []
    for pause in (0.0, 599.9, 1.0, 600.0, 10.0, 1e6):
        setting.clock.advance(pause)
        setting.turns.begin("acme", steady=steady)
        flaps.append(setting.turns.read("acme").flaps)
    assert flaps == [0, 1, 2, 0, 1, 0]
    setting.clock.wall_time -= 1  # by a clock that is behind, it begins before it began
    setting.process().begin("acme")
    assert setting.turns.read("acme").flaps == 0


def test_the_pace_that_is_kept_has_an_end(setting: Setting) -> None:
    setting.put(asdict(Turn(attempts=40, began=START)))
    setting.turns.begin("acme", steady=True)
    assert setting.ahead() == INTERVALS[-1]


def test_a_note_changes_what_it_names_and_nothing_else(setting: Setting) -> None:
    known = Turn(START + 1, 2, START, START - 1, START - 2, ("one",))
    setting.put(asdict(known))
    setting.turns.note("acme", checked=START, warnings=("two", "three"))
    assert setting.turns.read("acme") == replace(known, checked=START, warnings=("two", "three"))
