"""One operation of a store on Azure Tables: its requests, tried again for as long as the operation has time.

**Reads** are queries that name a partition, and rows in it: where there is nothing they answer "nothing", so a 404 is
never taken for that. They come in no order: Cosmos DB for Table has none.

**Writes.** Each is one entity group transaction, conditional on the ETags of what was read. Where the answer is lost,
nobody knows whether it was made, so the same request is sent again. If it was made, or anybody wrote in between, a
condition fails; then what is stored tells: every write leaves its own id in what it writes, beside those of the writes
before it. Where even that tells nothing, because too many have written since, the caller hears that it may have been
written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import SystemRandom
from time import sleep
from typing import Any, TypeVar
from uuid import uuid4

from core.errors import Conflict, InternalError, KeysteadError, StoreUnavailable
from core.ports import Clock
from core.stores.azure_tables.entities import Entity, check_size, etag_of
from core.stores.azure_tables.faults import NO_TABLES, fault_of, sdk_errors

T = TypeVar("T")

BUDGET = 3.0
"""Seconds within which an operation begins its last attempt."""
MAX_ROWS = 10
"""Rows named in one query; Storage takes 15 comparisons."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.8
_MAX_ACTIONS = 100
_MAX_REQUEST = 2_000_000
"""Cosmos DB for Table takes 2 MB, Storage 4. No write of the stores has more than five actions, so none is ever cut."""
_PART = 3_000
"""Bytes that stand around an entity in a transaction, its keys included."""


@dataclass(frozen=True, slots=True)
class Put:
    """One action of a write.

    Attributes:
        entity: What is to stand there.
        replaces: What stands there now, as it was read; None where nothing does.
    """

    entity: Entity = field(repr=False)
    replaces: Entity | None = field(repr=False)

    def condition(self) -> dict[str, Any]:
        """What the SDK is told besides the entity."""
        from azure.core import MatchConditions
        from azure.data.tables import UpdateMode

        if self.replaces is None:
            return {}
        etag = etag_of(self.replaces)
        return {"mode": UpdateMode.REPLACE, "etag": etag, "match_condition": MatchConditions.IfNotModified}


class Operation:
    """The requests of one operation.

    Args:
        clock: Tells how long it has been trying.

    Attributes:
        write_id: Id of the write this operation makes, if it makes one.
    """

    def __init__(self, clock: Clock) -> None:
        self.write_id = str(uuid4())
        self._clock = clock
        self._end = clock.boot() + BUDGET
        self._longest = _FIRST_PAUSE

    def rows(self, table: Any, partition: str, keys: Sequence[str]) -> dict[str, Entity]:
        """Those of some entities of a partition that there are, by RowKey.

        Args:
            table: The SDK's client of the table.
            partition: PartitionKey.
            keys: RowKeys.

        Raises:
            StoreUnavailable: Azure did not answer; so in every method here.
        """
        found: dict[str, Entity] = {}
        for start in range(0, len(keys), MAX_ROWS):
            wanted = keys[start : start + MAX_ROWS]
            condition = " or ".join(f"RowKey eq '{key}'" for key in wanted)
            for entity in self.query(table, partition, f"({condition})", keys=frozenset(wanted)):
                found[entity["RowKey"]] = entity
        return found

    def query(
        self, table: Any, partition: str, rows: str = "", *, keys: frozenset[str] | None = None, keys_only: bool = False
    ) -> Iterator[Entity]:
        """Entities of a partition, in no order, one request a page.

        Args:
            table: The SDK's client of the table.
            partition: PartitionKey.
            rows: A condition on their RowKeys; "" gives all.
            keys: RowKeys that fit the condition, where those are known; any other is no answer.
            keys_only: Whether to give nothing but their keys.
        """
        condition = f"PartitionKey eq '{partition}'" + (f" and {rows}" if rows else "")
        select = ["PartitionKey", "RowKey"] if keys_only else None
        token: object = None
        while True:

            def page(token: object = token) -> tuple[list[Entity], object]:
                pages = table.query_entities(condition, select=select).by_page(token)
                entities = list(next(pages))
                for entity in entities:
                    _check_answer(entity, partition, keys, keys_only=keys_only)
                return entities, pages.continuation_token

            found, token = self._read(page)
            yield from found
            if not token:
                return

    def write(self, table: Any, puts: Sequence[Put], landed: Callable[[], bool | None]) -> bool:
        """Make the write, all actions or none.

        Args:
            table: The SDK's client of the table.
            puts: Its actions, all in one partition.
            landed: Looks up whether it was made: True, False (and never will be), or None where that cannot be told.

        Returns:
            Whether it was made. If not, something no longer was as it was read.

        Raises:
            StoreUnavailable: Azure did not answer; it may have written.
            InternalError: Azure takes no such entities.
        """
        _check_request(puts)
        unsettled = False
        while True:
            try:
                _send(table, puts)
            except sdk_errors() as error:
                fault = fault_of(error)
            else:
                return True
            unsettled |= fault.may_have_written
            if not (fault.retry and self._pause()):
                break
        # Raised here and below, so that no error of the SDK, which may quote what was sent, travels along.
        conflict = isinstance(fault.error, Conflict)
        if not unsettled:
            if conflict:
                return False
            raise fault.error
        answer = self._looked_up(landed) if conflict else None
        if answer is None:
            raise StoreUnavailable(f"{fault.error.detail}; it may have written", hint=fault.error.hint)
        return answer

    def start_over(self) -> None:
        """Go on, where others' writes have made it necessary to read again; at once, as they are done.

        Raises:
            StoreUnavailable: There is no time for that.
        """
        if self._clock.boot() >= self._end:
            raise StoreUnavailable("too many write the same at once")

    def _looked_up(self, landed: Callable[[], bool | None]) -> bool | None:
        try:
            return landed()
        except KeysteadError:
            return None

    def _read(self, read: Callable[[], T]) -> T:
        while True:
            try:
                return read()
            except sdk_errors() as error:
                fault = fault_of(error)
            if not (fault.retry and self._pause()):
                break
        if isinstance(fault.error, Conflict):
            # A read has no condition: of a table that there is not, Cosmos DB tells no more than "not found".
            raise StoreUnavailable("Azure Tables does not serve the store (a read was refused)", hint=NO_TABLES)
        raise fault.error

    def _pause(self) -> bool:
        """Wait before another attempt; False, at once, where there is no time for one."""
        pause = SystemRandom().uniform(0, self._longest)
        if self._clock.boot() + pause >= self._end:
            return False
        sleep(pause)
        self._longest = min(2 * self._longest, _LONGEST_PAUSE)
        return True


def _send(table: Any, puts: Sequence[Put]) -> None:
    conditions = [put.condition() for put in puts]
    if len(puts) == 1 and conditions[0]:
        # What a transaction of one would do, at a third of its cost.
        answers = [table.update_entity(puts[0].entity, **conditions[0])]
    else:
        answers = table.submit_transaction(
            [
                ("update" if condition else "create", put.entity, condition)
                for put, condition in zip(puts, conditions, strict=True)
            ]
        )
    # To the SDK an answer in which something is missing means success, too.
    if len(answers) != len(puts) or not all(answer.get("etag") for answer in answers):
        raise ValueError("the service names the ETag of every entity it has written")


def _check_answer(entity: Entity, partition: str, keys: frozenset[str] | None, *, keys_only: bool) -> None:
    row = entity["RowKey"]
    if entity["PartitionKey"] != partition or not isinstance(row, str) or (keys is not None and row not in keys):
        raise ValueError("the service gives entities that were asked for, and no others")
    if not keys_only and not getattr(entity, "metadata", {}).get("etag"):
        raise ValueError("the service names the ETag of every entity it gives")


def _check_request(puts: Sequence[Put]) -> None:
    size = sum(check_size(put.entity) + _PART for put in puts)
    if not 1 <= len(puts) <= _MAX_ACTIONS or size > _MAX_REQUEST:
        raise InternalError("a write is larger than Azure Tables takes at once (100 entities, 2 MB)")
