"""Problem documents come back as the error they were."""

import json
from collections.abc import Iterator

import httpx
import pytest

from core import errors
from core.client.problems import BY_CODE, MAX_CHECKS, MAX_TEXT, ServiceUnreachable, UnexpectedAnswer, to_error
from core.errors import KeysteadError, ProviderSignal
from functions.problems import problem_response


def leaves(cls: type[KeysteadError]) -> Iterator[type[KeysteadError]]:
    """Classes of core.errors that nothing in core.errors derives from."""
    children = [c for c in cls.__subclasses__() if c.__module__ == errors.__name__]
    if not children:
        yield cls
    for child in children:
        yield from leaves(child)


OF_THE_WIRE: list[type[KeysteadError]] = [
    errors.Conflict,
    *(cls for cls in leaves(KeysteadError) if not issubclass(cls, ProviderSignal)),
]
"""A conflict is told by itself too, and has a kind of its own besides."""
STATUS = {"caller": 400, "tenant": 424, "operator": 503}


def test_every_error_of_the_tree_has_its_class_here() -> None:
    assert set(BY_CODE.values()) == set(OF_THE_WIRE)
    assert len({cls.code for cls in OF_THE_WIRE}) == len(OF_THE_WIRE)


def answer(status: int, headers: dict[str, str] | None = None, **members: object) -> KeysteadError:
    fields = httpx.Headers({"content-type": "application/problem+json", **(headers or {})})
    return to_error(status, fields, json.dumps(members).encode())


@pytest.mark.parametrize("cls", OF_THE_WIRE, ids=lambda cls: cls.__name__)
def test_a_code_gives_its_class_with_all_that_was_said(cls: type[KeysteadError]) -> None:
    error = answer(
        STATUS[cls.remedy],
        {"retry-after": "7"},
        code=cls.code,
        title="T",
        detail="What happened.",
        hint="What to do.",
        request_id="req-1",
    )
    assert type(error) is cls
    assert error.detail == "What happened."
    assert error.__notes__ == ["the service's request id req-1"]
    if cls is not errors.MethodNotAllowed:
        assert (error.hint, error.retry_after) == ("What to do.", 7)


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (400, errors.RequestError),
        (401, errors.Unauthenticated),
        (403, errors.AccessDenied),
        (404, errors.NotFound),
        (418, errors.RequestError),
        (424, errors.KeyWithheld),
        (429, errors.TooManyRequests),
        (500, errors.ServiceFault),
        (502, errors.Unavailable),
        (503, errors.Unavailable),
        (599, errors.ServiceFault),
    ],
)
def test_an_unknown_code_or_a_web_page_gives_the_nearest_class(status: int, cls: type[KeysteadError]) -> None:
    assert type(answer(status, code="of_a_later_version", detail="x")) is cls
    page = to_error(status, httpx.Headers({"content-type": "text/html"}), b"<html>secret internals</html>")
    assert type(page) is cls
    assert "secret" not in str(page)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"null", b'{"code": 7, "detail": ["x"]}'])
def test_a_broken_document_is_no_problem(body: bytes) -> None:
    error = to_error(503, httpx.Headers({"content-type": "application/problem+json"}), body)
    assert type(error) is errors.Unavailable
    assert error.detail == "the service answered HTTP 503"


CHECK = {"name": "tenant_bound", "result": "fail", "observed": "it is not", "remedy": "Bind it."}


def test_a_failed_check_comes_back_with_its_checks() -> None:
    error = answer(422, code="key_check_failed", detail="x", checks=[CHECK, {**CHECK, "result": "pass", "remedy": ""}])
    assert isinstance(error, errors.KeyCheckFailed)
    assert error.checks == (CHECK, {**CHECK, "result": "pass", "remedy": ""})


@pytest.mark.parametrize(
    ("checks", "believed"),
    [
        (None, ()),
        ("x", ()),
        ({}, ()),
        ([7, None, []], ()),
        ([{"name": "a"}, {"result": "fail"}, {"name": "", "result": "fail"}], ()),
        (
            [{"name": "a", "result": "warn", "observed": 7}],
            ({"name": "a", "result": "warn", "observed": "", "remedy": ""},),
        ),
        ([{**CHECK, "later": "x"}], (CHECK,)),
        ([{**CHECK, "observed": "a\x1b[2Jb"}], ({**CHECK, "observed": "a [2Jb"},)),
        ([CHECK] * 1000, (CHECK,) * MAX_CHECKS),
    ],
)
def test_of_checks_only_what_can_be_one_is_believed(checks: object, believed: object) -> None:
    error = answer(422, code="key_check_failed", checks=checks)
    assert isinstance(error, errors.KeyCheckFailed)
    assert error.checks == believed


def test_the_service_s_own_problem_comes_back_whole() -> None:
    made = errors.KeyCheckFailed("it did not pass", hint="mend it", checks=(CHECK,))
    response = problem_response(made, "request-1")
    back = to_error(response.status, httpx.Headers(dict(response.headers)), response.body)
    assert isinstance(back, errors.KeyCheckFailed)
    assert (back.detail, back.hint, back.checks) == (made.detail, made.hint, made.checks)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    assert isinstance(answer(status, {"location": "https://elsewhere.test/"}), UnexpectedAnswer)


@pytest.mark.parametrize("value", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1.5", "", "1" * 10, "²"])
def test_a_retry_after_that_is_no_number_of_seconds_is_ignored(value: str) -> None:
    headers = {"content-type": "application/problem+json", "retry-after": value}
    assert to_error(503, headers, b'{"code": "store_unavailable"}').retry_after is None


def test_text_that_would_move_a_terminal_is_flattened_and_bounded() -> None:
    error = answer(400, code="invalid_request", detail="a\x1b[2Jb\nc" + "x" * 1000)
    assert error.detail.startswith("a [2Jb c")
    assert len(error.detail) == MAX_TEXT


def test_the_two_errors_of_this_side_say_what_they_are() -> None:
    assert ServiceUnreachable("x", sent=True).retryable
    assert not UnexpectedAnswer("x").retryable
    assert {ServiceUnreachable.code, UnexpectedAnswer.code}.isdisjoint(BY_CODE)
