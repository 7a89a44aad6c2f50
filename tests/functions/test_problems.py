"""Every error has its one place in HTTP."""

from __future__ import annotations

import inspect
import json

import pytest

from core import errors
from core.errors import Denial, KeysteadError, MethodNotAllowed, ProviderSignal, RequestError, Silence
from functions.problems import STATUS, problem, problem_response, status_of

TREE = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, KeysteadError)]


def make(cls: type[KeysteadError]) -> KeysteadError:
    return Denial("secret-detail", cause="disabled") if cls is Denial else cls("secret-detail")


def test_the_table_is_the_tree() -> None:
    assert set(STATUS) == set(TREE)


def test_the_table_is_what_the_tree_draws() -> None:
    """`core/errors.py` draws statuses and codes at its top; so does DESIGN 6."""
    drawn = {}
    for line in (errors.__doc__ or "").splitlines():
        words = line.replace("|", " ").replace("+--", " ").split()
        if len(words) >= 3 and words[1].isdigit():
            drawn[words[0]] = (int(words[1]), words[2].rstrip(";"))
    assert len(drawn) == 22
    assert drawn == {name: (STATUS[getattr(errors, name)], getattr(errors, name).code) for name in drawn}


@pytest.mark.parametrize("cls", TREE)
def test_members(cls: type[KeysteadError]) -> None:
    document = problem(make(cls), "request-1")
    assert document["type"] == f"urn:keystead:problem:{document['code']}"
    assert document["status"] == STATUS[cls]
    assert document["request_id"] == "request-1"
    assert document["remedy"] in ("caller", "tenant", "operator")
    assert document["title"]
    assert isinstance(document["retryable"], bool)
    if issubclass(cls, ProviderSignal):
        assert document["code"] == "internal"
        assert "secret-detail" not in json.dumps(document)
    assert (document["remedy"] == "caller") == (issubclass(cls, RequestError) and cls is not errors.ApprovalNeeded)


@pytest.mark.parametrize("cls", TREE)
def test_headers(cls: type[KeysteadError]) -> None:
    response = problem_response(make(cls), "request-1")
    headers = response.headers
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-request-id"] == "request-1"
    assert ("retry-after" in headers) == (response.status in (429, 503))
    assert ("www-authenticate" in headers) == (response.status == 401)
    assert ("allow" in headers) == (response.status == 405)


def test_a_second_person_is_no_conflict_to_try_again() -> None:
    document = problem(errors.ApprovalNeeded("kept for another person"), "r")
    told = {name: document[name] for name in ("status", "code", "retryable", "remedy")}
    assert told == {"status": 409, "code": "approval_needed", "retryable": False, "remedy": "tenant"}
    assert problem(errors.Conflict("x"))["retryable"] is True


def test_facts_of_the_error_win() -> None:
    response = problem_response(errors.KeyUnreachable("no answer", hint="wait", retry_after=17), "r")
    assert response.headers["retry-after"] == "17"
    assert json.loads(response.body)["hint"] == "wait"
    allow = problem_response(MethodNotAllowed("no", allowed=("GET", "HEAD")), "r").headers["allow"]
    assert allow == "GET, HEAD"
    assert problem_response(errors.Unauthenticated("x"), "r").headers["www-authenticate"].startswith("Bearer")


def test_a_failed_check_tells_the_whole_examination() -> None:
    checks = ({"name": "tenant_bound", "result": "fail", "observed": "it is not", "remedy": "Bind it."},)
    document = problem(errors.KeyCheckFailed("the key did not pass", checks=checks), "r")
    assert (document["status"], document["code"], document["remedy"]) == (422, "key_check_failed", "tenant")
    assert document["checks"] == [dict(checks[0])]
    assert "checks" not in problem(errors.KeyCheckFailed("none were made"))
    assert "checks" not in problem(errors.Conflict("x"))


def test_an_unlisted_subclass_is_what_its_parent_is() -> None:
    class Special(errors.KeyRevoked):
        pass

    assert status_of(Special("x")) == 424
    assert status_of(Silence("x")) == 500


def test_items_of_a_batch_carry_no_request_id() -> None:
    assert "request_id" not in problem(errors.NotFound("x"))
