"""Writes whose answer is lost: success is told exactly where ours was made, whoever wrote before, between and after."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.client import BadStatusLine
from typing import Any
from uuid import uuid4

import pytest
from azure.core.exceptions import DecodeError, IncompleteReadError, ServiceRequestError, ServiceResponseError

from core.domain.branch_keys import ACTIVE
from core.errors import Conflict, StoreUnavailable
from core.stores.azure_tables.entities import KEPT
from tests.samples import new_version, rewrapped
from tests.stores.azure_tables.deployments import Deployment
from tests.stores.azure_tables.disturbed import Disturbed, timed_out
from tests.stores.azure_tables.double import refused
from tests.stores.dynamodb import writes as shared
from tests.stores.dynamodb.disturbed import Step, comes_after, fails, loses_the_answer, loses_the_request

LOST: list[Exception] = [
    timed_out(),
    ServiceRequestError("SECRET"),
    ServiceResponseError("SECRET"),
    IncompleteReadError("SECRET"),
    DecodeError("SECRET"),
    BadStatusLine("SECRET"),
    ConnectionResetError("SECRET"),
    UnicodeDecodeError("utf-8", b"SECRET", 0, 1, "SECRET"),
    json.JSONDecodeError("SECRET", "SECRET", 0),
    refused(500, "InternalError"),
    refused(500, "OperationTimedOut"),
    refused(503, "ServerBusy"),
    refused(408, ""),
    refused(502, ""),
]
WRITES: list[Callable[[Any], Any]] = [*shared.WRITES]
"""Every write of the stores; what they say of a deployment is true of any."""

each_write = pytest.mark.parametrize("prepare", WRITES, ids=lambda prepare: prepare.__name__)


class LostAnswersSuite:
    """The suite; ``deployment`` is a fixture of the module."""

    def outcome(self, deployment: Deployment, act: Any, *steps: Step) -> tuple[Any, Disturbed]:
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
    def test_ours_was_made(self, deployment: Deployment, prepare: Callable[[Any], Any]) -> None:
        write = prepare(deployment)
        before = write.stored(deployment)
        error, client = self.outcome(deployment, write.make, loses_the_answer(timed_out()))
        assert error is None
        assert client.calls == 2
        assert write.stored(deployment) != before
        with pytest.raises(Conflict):
            write.same(deployment)

    @pytest.mark.parametrize("lost", LOST, ids=lambda lost: type(lost).__name__ + str(vars(lost).get("error_code", "")))
    def test_however_the_answer_is_lost(self, deployment: Deployment, lost: Exception) -> None:
        write: Any = shared.move_fence(deployment)  # type: ignore[arg-type] # another deployment, see WRITES
        error, client = self.outcome(deployment, write.make, loses_the_answer(lost))
        assert error is None
        assert client.calls == 2

    @each_write
    def test_ours_was_not_made_at_first(self, deployment: Deployment, prepare: Callable[[Any], Any]) -> None:
        write = prepare(deployment)
        error, client = self.outcome(deployment, write.make, loses_the_request(timed_out()))
        assert error is None
        assert client.calls == 2
        with pytest.raises(Conflict):
            write.same(deployment)

    @each_write
    @pytest.mark.parametrize("what", ["same", "other"])
    def test_another_was_made_instead(self, deployment: Deployment, prepare: Callable[[Any], Any], what: str) -> None:
        write = prepare(deployment)
        another = write.same if what == "same" else write.other
        lost = loses_the_request(timed_out(), lambda: another(deployment))
        error, _ = self.outcome(deployment, write.make, lost)
        assert type(error) is Conflict
        after = write.stored(deployment)
        assert type(self.outcome(deployment, write.make)[0]) is Conflict
        assert write.stored(deployment) == after

    @each_write
    @pytest.mark.parametrize("what", ["same", "other"])
    def test_another_is_made_just_before(
        self, deployment: Deployment, prepare: Callable[[Any], Any], what: str
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

    @pytest.mark.parametrize(("write", "meanwhile"), shared.MEANWHILE)
    @pytest.mark.parametrize("lost", [False, True], ids=["refused", "lost"])
    def test_a_branch_key_changes_just_before(
        self, deployment: Deployment, write: str, meanwhile: str, lost: bool
    ) -> None:
        """Above all: a raised fence lets no row of the configuration before it through."""
        make, change = shared.keys_case(write, meanwhile)(deployment)  # type: ignore[arg-type] # see WRITES
        act: Callable[[Any], object] = change
        step = loses_the_request(timed_out(), lambda: act(deployment)) if lost else comes_after(lambda: act(deployment))
        error, _ = self.outcome(deployment, make, step)
        assert type(error) is Conflict

    @pytest.mark.parametrize("lost", [False, True], ids=["refused", "lost"])
    def test_writes_that_do_not_concern_one_another_are_both_made(self, deployment: Deployment, lost: bool) -> None:
        branch_key_id = str(uuid4())
        version, active = new_version(branch_key_id, 1)
        deployment.keys.create(version, active, 1)
        second, rewrapped_first = new_version(branch_key_id, 2), rewrapped(version)

        def rewrap() -> None:
            deployment.keys.replace_wrapping(rewrapped_first, expected_enc=version.row.enc, fence=1)

        def rotate(at: Deployment) -> None:
            at.keys.rotate(*second, expected_active_enc=active.row.enc, fence=1)

        step = loses_the_request(timed_out(), rewrap) if lost else comes_after(rewrap)
        error, client = self.outcome(deployment, rotate, step)
        assert error is None
        assert client.calls == 2 + lost
        assert list(deployment.keys.list_versions(branch_key_id)) == [rewrapped_first, second[0]]
        assert deployment.keys.read(branch_key_id, ACTIVE) == second[1]

    @each_write
    def test_ours_was_made_and_others_have_written_since(
        self, deployment: Deployment, prepare: Callable[[Any], Any]
    ) -> None:
        write = prepare(deployment)
        lost = loses_the_answer(timed_out(), lambda: write.after(deployment))
        error, _ = self.outcome(deployment, write.make, lost)
        assert error is None

    @pytest.mark.parametrize(("others", "told"), [(KEPT - 1, True), (KEPT, False)])
    @pytest.mark.parametrize("made", [True, False], ids=["made", "not made"])
    def test_so_many_have_written_since_that_nothing_tells(
        self, deployment: Deployment, others: int, told: bool, made: bool
    ) -> None:
        branch_key_id = str(uuid4())
        deployment.keys.create(*new_version(branch_key_id, 1), 1)

        def since() -> None:
            first = 10 if made else 1
            for number in range(others):
                deployment.keys.move_fence(branch_key_id, expected=first + number, new=first + number + 1)

        step = (loses_the_answer if made else loses_the_request)(timed_out(), since)
        error, _ = self.outcome(deployment, lambda at: at.keys.move_fence(branch_key_id, expected=1, new=10), step)
        if told:
            assert type(error) is (type(None) if made else Conflict)
        else:
            assert type(error) is StoreUnavailable
            assert "it may have written" in error.detail

    @each_write
    @pytest.mark.parametrize("made", [True, False], ids=["made", "not made"])
    def test_no_answer_comes_at_all(self, deployment: Deployment, prepare: Callable[[Any], Any], made: bool) -> None:
        write = prepare(deployment)
        before = write.stored(deployment)
        first = (loses_the_answer if made else loses_the_request)(timed_out())
        error, client = self.outcome(deployment, write.make, first, fails(refused(403, "AuthorizationFailure")))
        assert type(error) is StoreUnavailable
        assert "it may have written" in error.detail
        assert client.calls == 2
        assert (write.stored(deployment) != before) is made

    @each_write
    def test_a_refusal_for_now_is_tried_again(self, deployment: Deployment, prepare: Callable[[Any], Any]) -> None:
        write = prepare(deployment)
        error, client = self.outcome(deployment, write.make, *[fails(refused(429, "TooManyRequests"))] * 2)
        assert error is None
        assert client.calls == 3

    @each_write
    def test_a_refusal_for_good_was_no_write(self, deployment: Deployment, prepare: Callable[[Any], Any]) -> None:
        write = prepare(deployment)
        before = write.stored(deployment)
        error, client = self.outcome(deployment, write.make, fails(refused(403, "AuthorizationFailure")))
        assert type(error) is StoreUnavailable
        assert "may have written" not in error.detail
        assert client.calls == 1
        assert write.stored(deployment) == before
