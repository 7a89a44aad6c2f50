"""Writes whose answer is lost: success is told exactly where ours was made, whoever wrote before, between and after."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError
from botocore.parsers import ResponseParserError

from core.errors import Conflict, StoreUnavailable
from tests.stores.dynamodb.deployments import Deployment
from tests.stores.dynamodb.disturbed import (
    Disturbed,
    Step,
    comes_after,
    fails,
    loses_the_answer,
    loses_the_request,
    refused,
    timed_out,
)
from tests.stores.dynamodb.writes import MEANWHILE, NEVER_BURIED, TOLD_APART, WRITES, Act, Write, keys_case, move_fence

LOST = [
    timed_out(),
    ConnectionClosedError(endpoint_url="https://dynamodb.test"),
    ResponseParserError("SECRET"),
    UnicodeDecodeError("utf-8", b"SECRET", 0, 1, "SECRET"),
    json.JSONDecodeError("SECRET", "SECRET", 0),
    refused("InternalServerError", 500),
    refused("ServiceUnavailable", 503),
    refused("", 502),
]

each_write = pytest.mark.parametrize("prepare", WRITES, ids=lambda prepare: prepare.__name__)


class LostAnswersSuite:
    """The suite; ``deployment`` is a fixture of the module.

    Attributes:
        remembers_tokens: Whether the emulator answers a repeated request token as DynamoDB does.
    """

    remembers_tokens: bool

    def outcome(self, deployment: Deployment, act: Act, *steps: Step) -> tuple[Any, Disturbed]:
        """What becomes of an act whose writes go wrong: its error, or None."""
        client = Disturbed(deployment.client, *steps)
        try:
            act(Deployment(client, deployment.tables))
        except (Conflict, StoreUnavailable) as error:
            told = [error.detail, error.hint or "", repr(error), repr(error.__cause__), repr(error.__context__)]
            assert "SECRET" not in "".join(told)
            return error, client
        return None, client

    @each_write
    def test_ours_was_made(self, deployment: Deployment, prepare: Callable[[Deployment], Write]) -> None:
        write = prepare(deployment)
        before = write.stored(deployment)
        error, client = self.outcome(deployment, write.make, loses_the_answer(timed_out()))
        assert error is None
        assert client.calls == 2
        assert write.stored(deployment) != before
        with pytest.raises(Conflict):
            write.same(deployment)

    @pytest.mark.parametrize("lost", LOST, ids=lambda lost: type(lost).__name__ + str(getattr(lost, "response", "")))
    def test_however_the_answer_is_lost(self, deployment: Deployment, lost: Exception) -> None:
        write = move_fence(deployment)
        error, client = self.outcome(deployment, write.make, loses_the_answer(lost), loses_the_answer(lost))
        assert error is None
        # Where the second repetition is refused, looking it up ends the matter.
        assert client.calls == (3 if self.remembers_tokens else 2)

    @each_write
    def test_ours_was_not_made_at_first(self, deployment: Deployment, prepare: Callable[[Deployment], Write]) -> None:
        write = prepare(deployment)
        error, client = self.outcome(deployment, write.make, loses_the_request(timed_out()))
        assert error is None
        assert client.calls == 2
        with pytest.raises(Conflict):
            write.same(deployment)

    @each_write
    def test_another_was_made_instead(self, deployment: Deployment, prepare: Callable[[Deployment], Write]) -> None:
        write = prepare(deployment)
        lost = loses_the_request(timed_out(), lambda: write.other(deployment))
        error, _ = self.outcome(deployment, write.make, lost)
        assert type(error) is Conflict
        after = write.stored(deployment)
        assert type(self.outcome(deployment, write.make)[0]) is Conflict
        assert write.stored(deployment) == after

    @each_write
    @pytest.mark.parametrize("what", ["same", "other"])
    def test_another_is_made_just_before(
        self, deployment: Deployment, prepare: Callable[[Deployment], Write], what: str
    ) -> None:
        """What was read no longer holds when the write arrives: the conditions alone refuse it."""
        write = prepare(deployment)
        another = write.same if what == "same" else write.other
        seen: list[object] = []

        def meanwhile() -> None:
            another(deployment)
            seen.append(write.stored(deployment))

        error, client = self.outcome(deployment, write.make, comes_after(meanwhile))
        assert type(error) is Conflict
        assert client.calls == 1
        assert [write.stored(deployment)] == seen

    @pytest.mark.parametrize(("write", "meanwhile"), MEANWHILE)
    def test_a_branch_key_changes_just_before(self, deployment: Deployment, write: str, meanwhile: str) -> None:
        make, change = keys_case(write, meanwhile)(deployment)
        error, _ = self.outcome(deployment, make, comes_after(lambda: change(deployment)))
        assert type(error) is Conflict

    @each_write
    def test_another_with_the_same_content_was_made_instead(
        self, deployment: Deployment, prepare: Callable[[Deployment], Write]
    ) -> None:
        write = prepare(deployment)
        lost = loses_the_request(timed_out(), lambda: write.same(deployment))
        error, _ = self.outcome(deployment, write.make, lost)
        if prepare in TOLD_APART:
            assert type(error) is Conflict
        else:
            assert type(error) is StoreUnavailable
            assert "it may have written" in error.detail

    @each_write
    def test_ours_was_made_and_others_have_written_since(
        self, deployment: Deployment, prepare: Callable[[Deployment], Write]
    ) -> None:
        write = prepare(deployment)
        lost = loses_the_answer(timed_out(), lambda: write.after(deployment))
        error, _ = self.outcome(deployment, write.make, lost)
        if self.remembers_tokens or prepare in NEVER_BURIED:
            assert error is None
        else:
            assert type(error) is StoreUnavailable
            assert "it may have written" in error.detail

    @each_write
    @pytest.mark.parametrize("made", [True, False], ids=["made", "not made"])
    def test_no_answer_comes_at_all(
        self, deployment: Deployment, prepare: Callable[[Deployment], Write], made: bool
    ) -> None:
        write = prepare(deployment)
        before = write.stored(deployment)
        first = (loses_the_answer if made else loses_the_request)(timed_out())
        error, client = self.outcome(deployment, write.make, first, fails(refused("AccessDeniedException")))
        assert type(error) is StoreUnavailable
        assert "it may have written" in error.detail
        assert client.calls == 2
        assert (write.stored(deployment) != before) is made

    @each_write
    def test_a_refusal_for_now_is_tried_again(
        self, deployment: Deployment, prepare: Callable[[Deployment], Write]
    ) -> None:
        write = prepare(deployment)
        steps = [
            fails(refused("TransactionCanceledException", 400, ("None", "TransactionConflict"))),
            fails(refused("ThrottlingException")),
        ]
        error, client = self.outcome(deployment, write.make, *steps)
        assert error is None
        assert client.calls == 3
