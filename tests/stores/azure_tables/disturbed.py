"""A client of Azure Tables whose writes go wrong as a test says, and a clock that does not wait."""

from __future__ import annotations

from typing import Any

from azure.core.exceptions import ServiceResponseTimeoutError

from tests.stores.dynamodb.disturbed import Step

WRITES = ("submit_transaction", "update_entity")


class Disturbed:
    """A client whose first writes follow a script; whatever else, and later ones, just happen.

    Args:
        client: The client.
        steps: What becomes of the first write, the second, ...

    Attributes:
        calls: How many writes were sent.
    """

    def __init__(self, client: Any, *steps: Step) -> None:
        self.calls = 0
        self._client, self._steps = client, steps

    def get_table_client(self, name: str) -> DisturbedTable:
        return DisturbedTable(self, self._client.get_table_client(name))

    def next_step(self) -> Step:
        self.calls += 1
        return self._steps[self.calls - 1] if self.calls <= len(self._steps) else lambda call: call()


class DisturbedTable:
    """One table of it."""

    def __init__(self, client: Disturbed, table: Any) -> None:
        self._client, self._table = client, table

    def __getattr__(self, name: str) -> Any:
        made = getattr(self._table, name)
        if name not in WRITES:
            return made
        return lambda *arguments, **options: self._client.next_step()(lambda: made(*arguments, **options))


def timed_out() -> Exception:
    """What the SDK raises where no answer came."""
    error: Exception = ServiceResponseTimeoutError("SECRET")
    return error


class CountingClock:
    """One more second each time it is read."""

    def __init__(self) -> None:
        self.seconds = -1.0

    def wall(self) -> float:
        raise AssertionError("an operation reads the boot clock only")

    def boot(self) -> float:
        self.seconds += 1
        return self.seconds
