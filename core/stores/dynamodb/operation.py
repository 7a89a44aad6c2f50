"""One operation of a store on DynamoDB: its requests, tried again for as long as the operation has time.

**Writes.** Each is one transaction, conditional on what was read. Where DynamoDB's answer is lost, nobody knows whether
it was made, so the same request is sent again under the same token, which DynamoDB remembers for ten minutes: it then
answers as it did the first time. Where a condition fails all the same, what is stored tells: every write leaves its
own id in an item, so a write of ours is told from another writer's with the same content. Where even that tells
nothing, because others have written since, the caller hears that it may have been written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import SystemRandom
from time import sleep
from typing import Any, TypeVar
from uuid import uuid4

from core.errors import Conflict, InternalError, KeysteadError, StoreUnavailable
from core.ports import Clock
from core.stores.dynamodb.faults import fault_of, sdk_errors

T = TypeVar("T")
NativeItem = Mapping[str, Mapping[str, Any]]
"""An item in DynamoDB's own form: attribute name -> {type: value}."""
Action = Mapping[str, Mapping[str, Any]]
"""One action of a transaction: {"Put" or "ConditionCheck": what}."""

BUDGET = 3.0
"""Seconds within which an operation begins its last attempt."""
WRITE_ID = "write_id"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.8
_MAX_ITEM = 400 * 1024
_MAX_BATCH = 100
_MAX_PAGE = 1000


class Operation:
    """The requests of one operation.

    Args:
        client: A boto3 DynamoDB client.
        clock: Tells how long it has been trying.

    Attributes:
        write_id: Id of the write this operation makes, if it makes one.
    """

    def __init__(self, client: Any, clock: Clock) -> None:
        self.write_id = str(uuid4())
        self._client = client
        self._clock = clock
        self._end = clock.boot() + BUDGET
        self._longest = _FIRST_PAUSE

    def get(self, table: str, key: NativeItem) -> NativeItem | None:
        """One item.

        Raises:
            StoreUnavailable: DynamoDB did not answer; so in every method here.
        """
        return self._read("get_item", _item, TableName=table, Key=key, ConsistentRead=True)

    def get_together(self, table: str, keys: Sequence[NativeItem]) -> Sequence[NativeItem | None]:
        """Items as they were at one moment, in the order of their keys; at most 100, 4 MB in all."""

        def take(answer: Mapping[str, Any]) -> Sequence[NativeItem | None]:
            return [_item(answer["Responses"][number]) for number in range(len(keys))]

        actions = [{"Get": {"TableName": table, "Key": key}} for key in keys]
        return self._read("transact_get_items", take, TransactItems=actions)

    def get_many(self, table: str, keys: Sequence[NativeItem]) -> Sequence[NativeItem]:
        """Those of many items that there are, in no order, each as it was at some moment of this call."""
        found: list[NativeItem] = []
        for start in range(0, len(keys), _MAX_BATCH):
            left = keys[start : start + _MAX_BATCH]
            while left:
                items, after = self._batch(table, left)
                if len(after) == len(left) and not self._pause():
                    raise StoreUnavailable("DynamoDB does not serve the store (unprocessed keys)")
                found += items
                left = after
        return found

    def query(self, table: str, condition: str, *, limit: int | None = None, **more: Any) -> Iterator[NativeItem]:
        """Items of a partition in the order of their sort keys.

        Args:
            table: The table.
            condition: The key condition.
            limit: Most items to give; None gives all.
            more: What else the request has: names and values for the condition.
        """
        request = {"TableName": table, "KeyConditionExpression": condition, "ConsistentRead": True, **more}
        while limit is None or limit > 0:
            if limit is not None:
                request["Limit"] = min(limit, _MAX_PAGE)
            page, last = self._read(
                "query", lambda answer: ([*map(_mapping, answer["Items"])], answer.get("LastEvaluatedKey")), **request
            )
            yield from page
            if not last:
                return
            limit = None if limit is None else limit - len(page)
            request["ExclusiveStartKey"] = last

    def write(self, actions: Sequence[Action], landed: Callable[[], bool | None]) -> None:
        """Make the write, all actions or none.

        Args:
            actions: What it consists of; at least one item put carries ``write_id``.
            landed: Looks up whether it was made: True, False (and never will be), or None where that cannot be told.

        Raises:
            Conflict: A condition does not hold, and the write was not made.
            StoreUnavailable: DynamoDB did not answer; it may have written.
            InternalError: DynamoDB takes no such items.
        """
        for action in actions:
            _check_size(action.get("Put", {}).get("Item", {}))
        unsettled = False
        while True:
            try:
                _own(self._client.transact_write_items(TransactItems=actions, ClientRequestToken=self.write_id))
            except sdk_errors() as error:
                fault = fault_of(error)
            else:
                return
            unsettled |= fault.may_have_written
            if not (fault.retry and self._pause()):
                break
        # Raised here and below, so that no error of the SDK, which may quote what was sent, travels along.
        if not unsettled:
            raise fault.error
        answer = self._looked_up(landed) if isinstance(fault.error, Conflict) else None
        if answer is None:
            raise StoreUnavailable(f"{fault.error.detail}; it may have written", hint=fault.error.hint)
        if not answer:
            raise fault.error

    def _looked_up(self, landed: Callable[[], bool | None]) -> bool | None:
        try:
            return landed()
        except KeysteadError:
            return None

    def _batch(self, table: str, keys: Sequence[NativeItem]) -> tuple[Sequence[NativeItem], Sequence[NativeItem]]:
        def take(answer: Mapping[str, Any]) -> tuple[Sequence[NativeItem], Sequence[NativeItem]]:
            left = answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
            return [*map(_mapping, answer["Responses"].get(table, []))], left

        return self._read("batch_get_item", take, RequestItems={table: {"Keys": keys, "ConsistentRead": True}})

    def _read(self, method: str, take: Callable[[Mapping[str, Any]], T], **request: Any) -> T:
        while True:
            try:
                return take(_own(getattr(self._client, method)(**request)))
            except sdk_errors() as error:
                fault = fault_of(error)
            if not (fault.retry and self._pause()):
                break
        raise fault.error

    def _pause(self) -> bool:
        """Wait before another attempt; False, at once, where there is no time for one."""
        pause = SystemRandom().uniform(0, self._longest)
        if self._clock.boot() + pause >= self._end:
            return False
        sleep(pause)
        self._longest = min(2 * self._longest, _LONGEST_PAUSE)
        return True


def _own(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    # To botocore a proxy's page that comes with a 200 is an answer that says nothing: "done", or "no such item".
    if not answer["ResponseMetadata"]["RequestId"]:
        raise ValueError("every answer of DynamoDB names its request")
    return answer


def _item(answer: Mapping[str, Any]) -> NativeItem | None:
    return _mapping(answer["Item"]) if "Item" in answer else None


def _mapping(item: Any) -> NativeItem:
    if not isinstance(item, Mapping):
        raise TypeError("an item is a mapping")
    return item


def _check_size(item: NativeItem) -> None:
    # As DynamoDB counts: names and texts as UTF-8, bytes as they are, numbers as no more than their digits and one.
    size = sum(
        len(name.encode()) + (len(content) if isinstance(content, bytes) else len(content.encode()) + (kind == "N"))
        for name, value in item.items()
        for kind, content in value.items()
    )
    if size > _MAX_ITEM:
        raise InternalError("an item to be stored is larger than DynamoDB holds (400 KB)")
