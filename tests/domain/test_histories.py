"""What is recalled of a key from its audit chain: whatever order, and whoever died between two entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.audit import AuditEntry
from core.domain.histories import History, merged, recall
from core.domain.states import State
from tests.domain.strategies import usual

Line = tuple[str, str, Mapping[str, Any]]
"""Action, outcome and details of an entry."""
ONE, TWO = "local:one", "local:two"
FORMS = ("change first", "order first", "change alone", "order alone")


def at(number: int) -> str:
    return f"2027-01-31T12:{number // 60:02}:{number % 60:02}.000000Z"


def chain(*lines: Line) -> list[AuditEntry]:
    """Entries of which the first is of second 1, and so on."""
    return [
        AuditEntry("acme", number, at(number), action, "alice", outcome, details)
        for number, (action, outcome, details) in enumerate(lines, 1)
    ]


def change(before: State | str, after: State | str, change_id: str = "", **details: Any) -> Line:
    return "key.state", "ok", {"id": change_id or f"{before}-{after}", "before": before, "after": after, **details}


def done(action: str, **details: Any) -> Line:
    return action, "ok", details


def failed(action: str, **details: Any) -> Line:
    return action, "store_unavailable", details


SUSPEND, RESUME = done("key.suspend"), done("key.resume")
ON, OFF = change("active", "suspended"), change("suspended", "active")


def key_of(history: History) -> History:
    """What a chain tells of the key and the switch."""
    return replace(history, left=())


def told(on: bool, form: str, number: int) -> list[Line]:
    """How a chain tells that the kill switch was turned on or off."""
    order = SUSPEND if on else RESUME
    turned = change(*(("active", "suspended") if on else ("suspended", "active")), f"change-{number}")
    return {
        "change first": [turned, order],
        "order first": [order, turned],
        "change alone": [turned],
        "order alone": [order],
    }[form]


@pytest.mark.parametrize("forms", [forms for acts in (1, 2, 3) for forms in product(FORMS, repeat=acts)], ids=str)
def test_the_last_act_counts_however_it_is_told(forms: Sequence[str]) -> None:
    lines: list[Line] = [change("platform", "active")]
    on, switched = False, ""
    for number, form in enumerate(forms):
        turned = number % 2 == 0
        lines += (added := told(turned, form, number))
        # That it was turned off, only the change of state tells: the order may be told after the next suspension.
        effective = [line for line in added if turned or line[0] == "key.state"]
        if effective:
            on, switched = turned, at(lines.index(effective[-1]) + 1)
        if turned and form != "change alone":
            switched = at(len(lines) - added[::-1].index(SUSPEND))
        if turned and form == "order first":
            switched = at(len(lines))
        lines.append(done("key.check", state="suspended"))
    assert key_of(recall(chain(*lines))) == History(suspended=on, switched=switched)


STATES = [state for state in State if state is not State.SUSPENDED]
NOTHING: dict[str, list[Line]] = {
    "no entries": [],
    "other acts": [done("tenant.create"), done("key.check", state="suspended"), done("access.denied")],
    "an order that failed": [failed("key.suspend"), failed("key.resume")],
    "other changes": [change(before, after) for before in STATES for after in STATES],
    "a change of nothing that it knows": [change(7, None), change("", ""), ("key.state", "ok", {})],  # type: ignore[arg-type]
    "a change that stays": [change("suspended", "suspended")],
    "a failed rotation": [failed("key.rotate", sequence=4)],
    "a rotation without its number": [done("key.rotate"), done("key.rotate", sequence="4")],
    "one that is no number": [done("key.rotate", sequence=True), done("key.rotate", sequence=4.0)],
    "another act's number": [done("key.check", sequence=4)],
    "no new key": [done("key.configure", kek=ONE), done("key.check", moving_to=None), done("key.check", moving_to="")],
    "a new key that is no text": [done("key.configure", moving_to=7), done("key.configure", moving_to=[ONE])],
    "a restore": [done("store.restored", kek=ONE)],
}


@pytest.mark.parametrize("case", NOTHING)
def test_what_tells_of_nothing(case: str) -> None:
    assert key_of(recall(chain(*NOTHING[case]))) == History()


NUMBERS = count()


def off() -> Line:
    """The kill switch was turned off, once more."""
    return change("suspended", "active", f"off-{next(NUMBERS)}")


CASES: dict[str, tuple[list[Line], History]] = {
    "turned on": ([ON], History(True, at(1))),
    "turned on twice": ([ON, SUSPEND, SUSPEND], History(True, at(3))),
    "ordered off where nothing left it": ([SUSPEND, RESUME], History(True, at(1))),
    "a resume that is told after the next suspension": ([ON, off(), SUSPEND, RESUME], History(True, at(3))),
    "an order that fails afterwards": ([ON, SUSPEND, failed("key.resume")], History(True, at(2))),
    "a change that was told, of an order that then failed": ([ON, failed("key.suspend")], History(True, at(1))),
    "trouble from before, told late": (
        [SUSPEND, change("active", "hold"), change("hold", "suspended")],
        History(True, at(3)),
    ),
    "trouble from before, told late and alone": ([SUSPEND, change("active", "hold")], History(True, at(1))),
    "trouble from before, told again by another process": (
        [change("active", "hold", "a"), change("hold", "suspended", "b"), change("active", "hold", "a")],
        History(True, at(2)),
    ),
    "turned off long ago, and told so again": (
        [
            *(ON, change("suspended", "active", "off"), change("active", "suspended", "on"), SUSPEND),
            change("suspended", "active", "off"),
        ],
        History(True, at(4)),
    ),
    "turned on long ago, and told so again": ([ON, OFF, RESUME, ON], History(False, at(2))),
    "changes without a name are all told once": (
        [("key.state", "ok", {"before": b, "after": a}) for b, a in (("active", "suspended"), ("suspended", "active"))],
        History(False, at(2)),
    ),
    "the highest rotation": (
        [done("key.rotate", sequence=number) for number in (2, 5, 3)] + [done("key.check", sequence=9)],
        History(sequence=5),
    ),
    "rotations of a branch key that was left behind": (
        [
            done("key.rotate", sequence=5),
            done("key.configure", moving_to=TWO, branch_key_begun=True),
            done("key.rotate", sequence=2),
        ],
        History(kek=TWO, moved=at(2), sequence=2),
    ),
    "a branch key that was not begun": (
        [done("key.rotate", sequence=5), done("key.check", branch_key_begun=False)],
        History(sequence=5),
    ),
    "a change of key": ([done("key.configure", moving_to=ONE)], History(kek=ONE, moved=at(1))),
    "one that was begun and stopped": ([failed("key.configure", moving_to=ONE)], History(kek=ONE, moved=at(1))),
    "the last of several": (
        [done("key.configure", moving_to=ONE), done("key.activate", moving_to=TWO), done("key.check", moving_to="")],
        History(kek=TWO, moved=at(2)),
    ),
    "there and back": (
        [done("key.configure", moving_to=TWO), done("key.revert", moving_to=ONE)],
        History(kek=ONE, moved=at(2)),
    ),
    "suspended after a restore": (
        [done("key.configure", moving_to=TWO), ON, done("store.restored", kek=ONE)],
        History(True, at(2), TWO, at(1)),
    ),
    "resumed after a restore": (
        [done("key.configure", moving_to=TWO), ON, done("store.restored", kek=ONE), OFF, off()],
        History(False, at(5), ONE, at(4)),
    ),
    "resumed after a restore that failed": (
        [done("key.configure", moving_to=TWO), ON, failed("store.restored", kek=ONE), off()],
        History(False, at(4), TWO, at(1)),
    ),
    "resumed before a restore": (
        [done("key.configure", moving_to=TWO), ON, off(), done("store.restored", kek=ONE)],
        History(False, at(3), TWO, at(1)),
    ),
    "resumed after a restore, then another key": (
        [done("store.restored", kek=ONE), off(), done("key.configure", moving_to=TWO)],
        History(False, at(2), TWO, at(3)),
    ),
    "another key after a restore, then resumed": (
        [done("store.restored", kek=ONE), done("key.configure", moving_to=TWO), ON, off()],
        History(False, at(4), TWO, at(2)),
    ),
    "resumed again later": (
        [done("store.restored", kek=ONE), off(), done("key.configure", moving_to=TWO), off()],
        History(False, at(4), TWO, at(3)),
    ),
    "suspended after a restore, once more": (
        [done("key.configure", moving_to=TWO), done("store.restored", kek=ONE), SUSPEND],
        History(True, at(3), TWO, at(1)),
    ),
    "restored and resumed without a word of the key": (
        [done("key.configure", moving_to=TWO), done("store.restored"), off()],
        History(False, at(3), TWO, at(1)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_recalled(case: str) -> None:
    lines, expected = CASES[case]
    assert key_of(recall(chain(*lines))) == expected


def test_it_reads_its_entries_once() -> None:
    assert recall(iter(chain(ON, SUSPEND))) == History(True, at(2))


EARLY, LATE = at(1), at(2)
MERGES = [
    (History(), History(), History()),
    (History(), History(True, EARLY), History(True, EARLY)),
    (History(False, LATE), History(True, EARLY), History(False, LATE)),
    (History(True, LATE), History(False, EARLY), History(True, LATE)),
    (History(kek=ONE, moved=EARLY), History(), History(kek=ONE, moved=EARLY)),
    (History(kek=ONE, moved=EARLY), History(kek=TWO, moved=LATE), History(kek=TWO, moved=LATE)),
    (History(sequence=3), History(sequence=7), History(sequence=7)),
    # Of each thing what was last, not of all what one of them says.
    (History(False, LATE, ONE, EARLY, 9), History(True, EARLY, TWO, LATE, 4), History(False, LATE, TWO, LATE, 9)),
]


@pytest.mark.parametrize(("one", "other", "expected"), MERGES)
def test_merged(one: History, other: History, expected: History) -> None:
    assert merged(one, other) == expected
    assert merged(other, one) == expected


def test_at_one_instant_the_chain_in_the_store_counts() -> None:
    assert merged(History(False, EARLY, ONE, EARLY), History(True, EARLY, TWO, EARLY)) == History(
        False, EARLY, ONE, EARLY
    )


STATE_NAMES = st.sampled_from([state.value for state in State])
LINES = st.one_of(
    st.sampled_from([SUSPEND, RESUME, failed("key.suspend"), failed("key.resume"), done("tenant.update")]),
    st.builds(change, STATE_NAMES, STATE_NAMES, st.sampled_from(["a", "b", "c", "d", "e", "f"])),
    st.builds(lambda number: done("key.rotate", sequence=number), st.integers(1, 9)),
    st.builds(lambda kek: done("key.configure", moving_to=kek), st.sampled_from([ONE, TWO])),
    st.builds(lambda kek: done("store.restored", kek=kek), st.sampled_from([ONE, TWO])),
)


@usual
@given(st.lists(LINES, max_size=12), st.integers(0, 12))
def test_a_chain_that_lost_its_end_and_its_copy_are_the_copy(lines: list[Line], cut: int) -> None:
    whole = chain(*lines)
    assert merged(recall(whole[:cut]), recall(whole)) == recall(whole)


@usual
@given(st.lists(LINES, max_size=10))
def test_told_twice_is_told_once(lines: list[Line]) -> None:
    """Whatever a process that went on telling after a pause says again of changes, nothing is another for it."""
    numbers = count()
    named: list[Line] = [
        (action, outcome, {**details, "id": f"change-{next(numbers)}"}) for action, outcome, details in lines
    ]
    again = [line for line in named if line[0] == "key.state"]
    assert key_of(recall(chain(*named, *again))) == key_of(recall(chain(*named)))
    assert recall(chain(*named, *again)).left[: len(recall(chain(*named)).left)] == recall(chain(*named)).left


@usual
@given(st.lists(LINES, max_size=10), st.sampled_from([ON, SUSPEND]))
def test_whatever_was_before_it_is_on_when_it_was_just_turned_on(lines: list[Line], last: Line) -> None:
    fresh = (last[0], last[1], {**last[2], "id": "new"})
    found = recall(chain(*lines, fresh))
    assert key_of(found) == key_of(replace(recall(chain(*lines)), suspended=True, switched=at(len(lines) + 1)))


def test_until_when_a_key_stayed_revoked() -> None:
    left = [change("revoked", "active", "a", at=at(5)), change("revoked", "suspended", "b"), change("hold", "revoked")]
    found = recall(chain(*left, done("tenant.update")))
    assert found.left == (at(2), at(5))
    assert found.revoked_until(at(1)) == at(2), "of a change that does not say when it was, when it was told counts"
    assert found.revoked_until(at(3)) == at(5)
    assert found.revoked_until(at(6)) == at(6), "an entry of something else proves nothing"
    assert History().revoked_until(at(1)) == at(1)
    both = merged(found, recall(chain(change("revoked", "active", "c", at=at(7)))))
    assert both.left == (at(2), at(5), at(7))


@pytest.mark.parametrize(("signal", "moved"), [("move", TWO), ("revert", TWO), ("denied", ""), ("granted", "")])
def test_a_change_of_key_is_known_by_its_change_of_state(signal: str, moved: str) -> None:
    """Whoever began it may have died before the order was told."""
    found = recall(chain(change("platform", "active", "a", signal=signal, kek=TWO)))
    assert (found.kek, found.moved) == (moved, at(1) if moved else "")
    vault = "https://acme-kv.vault.azure.net/keys/kek"
    found = recall(chain(change("platform", "active", "a", signal=signal, kek=f"{vault}/{1:032x}")))
    assert found.kek == (vault if moved else "")
