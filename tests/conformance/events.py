"""What every Events must do. Subclass; set ``events`` in an autouse fixture; say how to see and how to break it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from core.ports import Events

STRINGS = ("specversion", "id", "source", "type", "subject", "time", "datacontenttype")
NOT_JSON: dict[str, dict[str, Any]] = {
    "object": {"x": object()},
    "bytes": {"x": b"secret"},
    "nan": {"x": float("nan")},
    "set": {"x": {1}},
    "tuple key": {(1, 2): "x"},  # type: ignore[dict-item]
    "lone surrogate": {"x": "\udc80"},
}


def cyclic() -> dict[str, Any]:
    """Data that contains itself."""
    data: dict[str, Any] = {}
    data["self"] = data
    return data


class EventsContract:
    """The suite.

    Attributes:
        events: Under test.
    """

    events: Events

    def published(self) -> Sequence[dict[str, Any]]:
        """The events published so far, as decoded JSON."""
        raise NotImplementedError

    def break_transport(self) -> None:
        """Have publishing fail from now on."""
        raise NotImplementedError

    def test_an_event_is_a_cloud_event(self) -> None:
        data = {"from": "active", "to": "hold", "n": 1, "list": [None, True], "name": "Ąćmę"}
        self.events.emit("keystead.state.changed", "acme", data)
        [event] = self.published()
        assert event["specversion"] == "1.0"
        assert (event["type"], event["subject"], event["data"]) == ("keystead.state.changed", "acme", data)
        assert event["datacontenttype"] == "application/json"
        assert all(isinstance(event[name], str) and event[name] for name in STRINGS)
        assert set(event) == {*STRINGS, "data"}
        time = datetime.fromisoformat(event["time"])
        assert time.tzinfo is not None

    def test_ids_are_unique_within_the_source(self) -> None:
        for _ in range(20):
            self.events.emit("keystead.state.changed", "acme", {})
        found = self.published()
        assert len(found) == 20
        assert len({(event["source"], event["id"]) for event in found}) == 20

    @pytest.mark.parametrize("data", NOT_JSON.values(), ids=NOT_JSON)
    def test_data_that_is_not_json_does_not_lose_the_event(self, data: dict[str, Any]) -> None:
        self.events.emit("keystead.alarm.store_corrupt", "acme", data)
        [event] = self.published()
        assert (event["type"], event["subject"]) == ("keystead.alarm.store_corrupt", "acme")
        assert "secret" not in str(event)

    def test_data_that_contains_itself_does_not_lose_the_event(self) -> None:
        self.events.emit("keystead.alarm.store_corrupt", "acme", cyclic())
        [event] = self.published()
        assert event["type"] == "keystead.alarm.store_corrupt"

    def test_it_never_raises(self) -> None:
        self.break_transport()
        self.events.emit("keystead.alarm.store_corrupt", "acme", {"x": 1})
        self.events.emit("keystead.alarm.store_corrupt", "acme", cyclic())
