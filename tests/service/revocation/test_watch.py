"""The watch: whom this process looks at soon, and when."""

from __future__ import annotations

import pytest

from core.service.revocation import watch as module
from core.service.revocation.watch import Watch
from core.service.timekeeper import Timekeeper
from tests.service.world import FakeClock


class Setting:
    """A watch and its clock."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.watch = Watch(Timekeeper(self.clock, lambda reason: None).now)

    def due(self) -> list[str]:
        """Whom to look at now; nobody's KMS is known to be silent."""
        urgent, patient = self.watch.due()
        assert patient == []
        return urgent

    def due_after(self, seconds: float) -> list[str]:
        self.clock.advance(seconds)
        return self.due()


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_nobody_is_watched_at_first(setting: Setting) -> None:
    assert setting.due_after(1e6) == []


def test_who_is_added_is_due_at_once_and_stays_due(setting: Setting) -> None:
    setting.watch.add("bolt")
    setting.watch.add("acme")
    assert setting.due() == ["acme", "bolt"]
    assert setting.due_after(1e6) == ["acme", "bolt"]


def test_to_add_brings_a_look_forward_and_never_puts_it_off(setting: Setting) -> None:
    setting.watch.add("acme", 10)
    setting.watch.add("acme", 20)
    assert setting.due_after(9.5) == []
    assert setting.due_after(0.5) == ["acme"]
    setting.watch.later("acme", 10)
    setting.watch.add("acme", 3)
    assert setting.due_after(2.5) == []
    assert setting.due_after(0.5) == ["acme"]


def test_later_puts_a_look_off(setting: Setting) -> None:
    setting.watch.add("acme")
    setting.watch.later("acme", 5)
    assert setting.due_after(4.5) == []
    assert setting.due_after(0.5) == ["acme"]
    setting.watch.later("bolt", 1)
    assert setting.due_after(1) == ["acme", "bolt"]


def test_those_whose_kms_is_silent_are_looked_at_apart(setting: Setting) -> None:
    setting.watch.later("bolt", 1, patient=True)
    setting.watch.later("core", 1)
    setting.watch.later("acme", 1, patient=True)
    assert setting.watch.due() == ([], [])
    setting.clock.advance(1)
    assert setting.watch.due() == (["core"], ["acme", "bolt"])
    setting.watch.add("acme")
    setting.watch.notice("bolt")
    assert setting.watch.due() == (["core"], ["acme", "bolt"]), "it is still known to be silent"
    setting.watch.later("acme", 0)
    assert setting.watch.due() == (["acme", "core"], ["bolt"])
    setting.watch.forget("bolt")
    setting.watch.add("bolt")
    assert setting.watch.due() == (["acme", "bolt", "core"], [])


def test_to_notice_leaves_a_planned_look_alone(setting: Setting) -> None:
    setting.watch.notice("bolt")
    setting.watch.later("acme", 5)
    setting.watch.notice("acme")
    assert setting.due() == ["bolt"]
    assert setting.due_after(5) == ["acme", "bolt"]


def test_who_is_forgotten_is_not_looked_at_until_added_again(setting: Setting) -> None:
    setting.watch.add("acme")
    setting.watch.add("bolt")
    setting.watch.forget("acme")
    setting.watch.forget("nobody")
    assert setting.due_after(1e6) == ["bolt"]
    setting.watch.notice("acme")
    assert setting.due() == ["acme", "bolt"]


def test_a_wall_clock_that_steps_disturbs_nothing(setting: Setting) -> None:
    setting.watch.add("acme", 10)
    setting.clock.wall_time -= 1e6
    assert setting.due_after(10) == ["acme"]
    setting.watch.later("acme", 10)
    setting.clock.wall_time += 1e6
    assert setting.due() == []


def test_memory_is_bounded_and_who_is_known_is_still_served(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    for name in ("a", "b", "c"):
        setting.watch.add(name)
        setting.watch.notice(name)
        setting.watch.later(name, 1)
    assert setting.due_after(1) == ["a", "b"]
    setting.watch.later("a", 5)
    setting.watch.add("b", -1)
    assert setting.due_after(4) == ["b"]
    setting.watch.forget("b")
    setting.watch.add("c")
    assert setting.due_after(1) == ["a", "c"]
