"""The failure tables: every row that is known of both services, by status, code and OAuth error."""

from __future__ import annotations

import pytest

from core.errors import Denial
from core.providers.azure_key_vault.failures import TOKEN, UNWRAP, WRAP, Failure, of_entra, of_error, of_vault, own
from core.providers.azure_key_vault.meanings import APPLICATION_GONE, ENTRA_ERRORS, ENTRA_NUMBERS, KEY_VAULT, Kind
from core.providers.azure_key_vault.operations import GET
from tests.providers.azure_key_vault.failure_rows import (
    CLIENT_GONE,
    ENTRA_ROWS,
    ERRORS,
    HEADERS,
    NO_ANSWER,
    NUMBERS,
    OURS,
    REQUEST_ID,
    UNLISTED,
    UNLISTED_NUMBER,
    VAULT_ROWS,
    Outcome,
    denied,
    entra_body,
    vault_body,
)


def outcome(failure: Failure) -> Outcome:
    signal = failure.signal()
    return type(signal), getattr(signal, "cause", "")


def test_every_line_of_the_tables_is_named_here() -> None:
    assert {row[-1] for row in VAULT_ROWS.values()} == set(KEY_VAULT)
    assert set(NUMBERS) == set(ENTRA_NUMBERS)
    assert set(ERRORS) - {"something_new"} == set(ENTRA_ERRORS)
    assert set(CLIENT_GONE) == APPLICATION_GONE
    assert UNLISTED_NUMBER not in ENTRA_NUMBERS


@pytest.mark.parametrize("row", [*(row[:6] for row in VAULT_ROWS.values()), *UNLISTED.values()], ids=str)
def test_vault_rows(row: tuple[int, str, str, str, Outcome, Outcome]) -> None:
    status, code, inner, message, unwrapped, wrapped = row
    for operation, expected in ((UNWRAP, unwrapped), (WRAP, wrapped)):
        found = of_vault(operation, status, HEADERS, vault_body(code, inner, message))
        assert outcome(found) == expected
        if expected[0] is Denial:
            assert found.request_id == REQUEST_ID
            assert found.code
        assert "as ordered" not in found.seen
        assert not message or message not in found.signal().detail


@pytest.mark.parametrize("row", ENTRA_ROWS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_entra_rows(row: tuple[str, int, Outcome]) -> None:
    error, number, expected = row
    for status in (400, 401, 403):
        found = of_entra(status, HEADERS, entra_body(error, *([number] if number else [])))
        assert outcome(found) == expected
        assert found.code == (f"AADSTS{number}" if number else error)
        assert "as ordered" not in found.signal().detail
    for status in (408, 429, 500, 502, 503, 504):
        assert outcome(of_entra(status, HEADERS, entra_body(error, number))) == NO_ANSWER


@pytest.mark.parametrize(
    ("numbers", "expected", "code"),
    [
        ((7000215, 7000229), OURS, "AADSTS7000215"),
        ((UNLISTED_NUMBER, 7000229), denied("identity"), "AADSTS7000229"),
        ((UNLISTED_NUMBER, 7000215), OURS, "AADSTS7000215"),
        ((UNLISTED_NUMBER, 90033), NO_ANSWER, "AADSTS90033"),
        ((UNLISTED_NUMBER, UNLISTED_NUMBER + 1), OURS, f"AADSTS{UNLISTED_NUMBER}"),
    ],
)
def test_the_first_number_that_is_listed_decides(numbers: tuple[int, ...], expected: Outcome, code: str) -> None:
    for error in ("unauthorized_client", "invalid_client"):
        found = of_entra(400, HEADERS, entra_body(error, *numbers))
        assert (outcome(found), found.code) == (expected, code)


def test_what_says_that_the_application_is_gone() -> None:
    """Our own directory is asked too then: if it says the same, the fault is ours, and no tenant's."""
    gone = {
        (error, number)
        for error, number, _ in ENTRA_ROWS
        if of_entra(400, HEADERS, entra_body(error, *([number] if number else []))).application_gone
    }
    assert gone == {("unauthorized_client", 0), *((error, number) for error in ERRORS for number in CLIENT_GONE)}
    assert not of_entra(503, HEADERS, entra_body("unauthorized_client", 700016)).application_gone
    assert not of_vault(UNWRAP, 403, HEADERS, vault_body("Forbidden", "KeyDisabled")).application_gone


def test_what_lasts_is_not_asked_again_at_once() -> None:
    """What a key's state causes must not show in how often it is asked for."""
    again = {name: of_vault(GET, row[0], HEADERS, vault_body(row[1], row[2])).again for name, row in VAULT_ROWS.items()}
    passing = {"throttled", "throttled, by an inner code", "time-out", "misdirected", "too early", "given up"}
    assert {name for name, is_again in again.items() if is_again} == passing


NOT_GENUINE: dict[str, tuple[dict[str, str], object]] = {
    "no request id": ({}, vault_body("Forbidden", "KeyDisabled")),
    "a request id that is none": ({"x-ms-request-id": "<script>"}, vault_body("Forbidden", "KeyDisabled")),
    "no JSON": (HEADERS, None),
    "a list": (HEADERS, [vault_body("Forbidden")]),
    "no error": (HEADERS, {"message": "no"}),
    "error is a text": (HEADERS, {"error": "Forbidden"}),
    "no code": (HEADERS, {"error": {"message": "no"}}),
    "a code that is a number": (HEADERS, {"error": {"code": 403}}),
    "a code that is a sentence": (HEADERS, {"error": {"code": "You may not pass."}}),
    "a code without end": (HEADERS, {"error": {"code": "A" * 1000}}),
}


@pytest.mark.parametrize("name", NOT_GENUINE)
@pytest.mark.parametrize("status", [200, 204, 301, 302, 400, 401, 403, 404, 407, 410, 451])
def test_what_is_not_the_vaults_own_answer_is_silence(name: str, status: int) -> None:
    headers, body = NOT_GENUINE[name]
    found = of_vault(UNWRAP, status, headers, body)
    assert (found.kind, found.code, found.request_id) == (Kind.SILENCE, "", "")
    assert str(status) in found.seen


def test_a_managed_hsms_challenge_has_no_body() -> None:
    found = of_vault(UNWRAP, 401, {**HEADERS, "www-authenticate": "Bearer ..."}, None)
    assert (found.kind, found.request_id) == (Kind.CREDENTIALS, REQUEST_ID)
    assert of_vault(UNWRAP, 401, {"www-authenticate": "Basic realm=proxy"}, None).kind is Kind.SILENCE


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, {"error": "unauthorized_client"}),
        (HEADERS, None),
        (HEADERS, {"error": {"code": "unauthorized_client"}}),
        (HEADERS, {"error": "Unauthorized Client!"}),
        (HEADERS, "unauthorized_client"),
    ],
    ids=["no id", "no JSON", "another service's", "a sentence", "a text"],
)
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 407])
def test_what_is_not_entras_own_answer_is_silence(headers: dict[str, str], body: object, status: int) -> None:
    assert outcome(of_entra(status, headers, body)) == NO_ANSWER


def test_numbers_that_are_none_are_not_looked_at() -> None:
    body = {**entra_body("unauthorized_client"), "error_codes": ["7000215", True, -1, 1e9, None, [7000215]]}
    found = of_entra(400, HEADERS, body)
    assert (outcome(found), found.code) == (denied("identity"), "unauthorized_client")


def test_exceptions() -> None:
    from azure.core import exceptions as sdk

    for error, again in (
        (sdk.ServiceRequestError("SECRET"), True),
        (sdk.ServiceResponseError("SECRET"), True),
        (sdk.ServiceResponseTimeoutError("SECRET"), False),
        (sdk.DecodeError("SECRET"), True),
        (UnicodeDecodeError("utf-8", b"SECRET", 0, 1, "SECRET"), True),
    ):
        found = of_error(error, UNWRAP)
        assert (found.kind, found.again, "SECRET" in found.seen) == (Kind.SILENCE, again, False)
    assert outcome(own(TOKEN, "no key")) == OURS
    assert outcome(Failure(Kind.CREDENTIALS, UNWRAP, "token not taken")) == NO_ANSWER
    assert outcome(Failure(Kind.DATA, GET, "bad")) == NO_ANSWER
