"""`event_log`: the contract of events over a logger, their level and their time."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from core.providers.event_log import LOGGER, EventLog
from tests.conformance.events import EventsContract


class FixedClock:
    """A clock that stands still, and may break."""

    def __init__(self, wall: float = 1_769_860_800.25) -> None:
        self.now = wall

    def wall(self) -> float:
        return self.now

    def boot(self) -> float:
        return 5.0


class Collector(logging.Handler):
    """Keeps records, or fails as a handler must not."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.broken = False

    def emit(self, record: logging.LogRecord) -> None:
        if self.broken:
            raise OSError("no log today")
        self.records.append(record)


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector, logger = Collector(), logging.getLogger(LOGGER)
    before = logger.level
    logger.addHandler(collector)
    logger.setLevel(logging.INFO)
    yield collector
    logger.setLevel(before)
    logger.removeHandler(collector)


class TestContract(EventsContract):
    @pytest.fixture(autouse=True)
    def _set_up(self, collector: Collector) -> None:
        self.collector, self.events = collector, EventLog(FixedClock())

    def published(self) -> Sequence[dict[str, Any]]:
        return [json.loads(record.getMessage()) for record in self.collector.records]

    def break_transport(self) -> None:
        self.collector.broken = True


@pytest.mark.parametrize(
    ("event_type", "level"),
    [
        ("keystead.alarm.store_corrupt", logging.ERROR),
        ("keystead.alarm.vendor_fault", logging.ERROR),
        ("keystead.state.changed", logging.INFO),
        ("keystead.alarmed", logging.INFO),
    ],
)
def test_alarms_are_errors(collector: Collector, event_type: str, level: int) -> None:
    EventLog(FixedClock()).emit(event_type, "acme", {})
    [record] = collector.records
    assert (record.name, record.levelno) == (LOGGER, level)


def test_time_and_source_are_those_given(collector: Collector) -> None:
    EventLog(FixedClock(), "/keystead/eu-1").emit("keystead.state.changed", "_system", {})
    event = json.loads(collector.records[0].getMessage())
    assert event["time"] == "2026-01-31T12:00:00.250000Z"
    assert event["source"] == "/keystead/eu-1"


@pytest.mark.parametrize("wall", [float("nan"), float("inf"), -1e30])
def test_a_clock_that_is_broken_stops_nothing(collector: Collector, wall: float) -> None:
    EventLog(FixedClock(wall)).emit("keystead.alarm.store_corrupt", "acme", {})
    assert len(collector.records) <= 1


def test_values_that_are_not_json_are_told_by_type_only(collector: Collector) -> None:
    EventLog(FixedClock()).emit("keystead.state.changed", "acme", {"key": b"secret", "n": 1})
    assert json.loads(collector.records[0].getMessage())["data"] == {"key": "bytes", "n": 1}


def test_an_event_is_one_line(collector: Collector) -> None:
    EventLog(FixedClock()).emit("keystead.state.changed", "acme\nforged", {"text": "a\nb\r\u2028c %s %d"})
    assert len(collector.records[0].getMessage().splitlines()) == 1
