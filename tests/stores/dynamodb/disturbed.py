"""A DynamoDB client whose calls go wrong as a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

Step = Callable[[Callable[[], Any]], Any]
"""Takes the call as it would be made; returns or raises what the caller is to get."""

TRANSACT = "transact_write_items"


class Disturbed:
    """A client whose first calls of one method follow a script; all others, and later ones, just happen.

    Args:
        client: The client.
        steps: What becomes of the first call, the second, ...
        method: The method.

    Attributes:
        calls: How often the method was called.
    """

    def __init__(self, client: Any, *steps: Step, method: str = TRANSACT) -> None:
        self.calls = 0
        self._client, self._steps, self._method = client, steps, method

    def __getattr__(self, name: str) -> Any:
        if name != self._method:
            return getattr(self._client, name)

        def call(**request: Any) -> Any:
            made = getattr(self._client, name)
            self.calls += 1
            if self.calls > len(self._steps):
                return made(**request)
            return self._steps[self.calls - 1](lambda: made(**request))

        return call


def timed_out() -> Exception:
    """What botocore raises where no answer came."""
    error: Exception = ReadTimeoutError(endpoint_url="https://dynamodb.test")
    return error


def refused(code: str, status: int = 400, reasons: tuple[str, ...] = ()) -> Exception:
    """What botocore raises for an error that DynamoDB answers with; its texts must not reach anybody."""
    response: dict[str, Any] = {
        "Error": {"Code": code, "Message": "SECRET"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    if reasons:
        response["CancellationReasons"] = [{"Code": reason, "Message": "SECRET"} for reason in reasons]
    error: Exception = ClientError(response, "TransactWriteItems")
    return error


def fails(error: Exception) -> Step:
    """The call never reaches DynamoDB."""

    def step(call: Callable[[], Any]) -> Any:
        raise error

    return step


def loses_the_answer(error: Exception, then: Callable[[], Any] = lambda: None) -> Step:
    """The call is made, its answer is lost, and then something else happens."""

    def step(call: Callable[[], Any]) -> Any:
        call()
        then()
        raise error

    return step


def loses_the_request(error: Exception, then: Callable[[], Any] = lambda: None) -> Step:
    """The call is not made, its caller cannot know, and then something else happens."""

    def step(call: Callable[[], Any]) -> Any:
        then()
        raise error

    return step


def comes_after(act: Callable[[], Any]) -> Step:
    """Something else happens between what the caller read before and its call."""

    def step(call: Callable[[], Any]) -> Any:
        act()
        return call()

    return step
