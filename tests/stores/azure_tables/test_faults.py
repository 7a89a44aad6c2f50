"""Whatever the SDK raises, callers hear one of our errors, decided by status or code, and nothing of what was sent."""

from __future__ import annotations

from http.client import BadStatusLine
from typing import Any

import azure.core.exceptions
import pytest
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.data.tables import RequestTooLargeError, TableErrorCode, TableTransactionError
from azure.identity import AuthenticationRequiredError, CredentialUnavailableError

from core.errors import Conflict, InternalError, StoreUnavailable
from core.stores.azure_tables.faults import BUSY, CONDITION, OPERATOR, OURS, UNSETTLED, fault_of, sdk_errors
from tests.stores.azure_tables.double import refused

GROUPS = (CONDITION, BUSY, UNSETTLED, OURS, frozenset(OPERATOR))
UNAVAILABLE, INTERNAL, CONFLICT = StoreUnavailable, InternalError, Conflict
OTHERS = (TableTransactionError, RequestTooLargeError, CredentialUnavailableError, AuthenticationRequiredError)


def test_every_code_that_the_sdk_knows_is_known() -> None:
    named = {code.value for code in TableErrorCode}
    assert len(named) > 60
    assert named <= frozenset().union(*GROUPS)


def test_no_code_is_in_two_groups() -> None:
    assert sum(len(group) for group in GROUPS) == len(frozenset().union(*GROUPS))


def test_every_error_of_the_sdk_is_one_of_ours() -> None:
    there = [*vars(azure.core.exceptions).values(), *OTHERS]
    classes: set[Any] = {found for found in there if isinstance(found, type) and issubclass(found, AzureError)}
    assert len(classes) > 20
    for found in classes:
        error = found.__new__(found)
        assert isinstance(error, sdk_errors())
        fault = fault_of(error)
        if found is RequestTooLargeError:
            assert type(fault.error) is InternalError
            continue
        assert type(fault.error) is StoreUnavailable, found
        assert found.__name__ in fault.error.detail
        ours = issubclass(found, ClientAuthenticationError)
        assert (fault.retry, fault.error.hint is not None) == (not ours, ours)


@pytest.mark.parametrize("kind", [azure.core.exceptions.HttpResponseError, TableTransactionError])
@pytest.mark.parametrize(
    ("code", "status", "error", "retry", "may_have_written"),
    [
        ("UpdateConditionNotSatisfied", 412, CONFLICT, False, False),
        ("ConditionNotMet", 412, CONFLICT, False, False),
        ("Unheard", 412, CONFLICT, False, False),
        ("EntityAlreadyExists", 409, CONFLICT, False, False),
        ("ResourceNotFound", 404, CONFLICT, False, False),
        ("TooManyRequests", 429, UNAVAILABLE, True, False),
        ("", 429, UNAVAILABLE, True, False),
        ("ServerBusy", 503, UNAVAILABLE, True, True),
        ("InternalError", 500, UNAVAILABLE, True, True),
        ("OperationTimedOut", 500, UNAVAILABLE, True, True),
        ("", 408, UNAVAILABLE, True, True),
        ("RetryWith", 449, UNAVAILABLE, True, True),
        ("", 502, UNAVAILABLE, True, True),
        ("Unheard", 504, UNAVAILABLE, True, True),
        ("Unheard", 400, UNAVAILABLE, False, True),
        ("Unheard", 404, UNAVAILABLE, False, True),
        ("Unheard", 409, UNAVAILABLE, False, True),
        ("", 302, UNAVAILABLE, False, True),
        ("TableNotFound", 404, UNAVAILABLE, False, False),
        ("TableBeingDeleted", 409, UNAVAILABLE, False, False),
        ("AuthenticationFailed", 403, UNAVAILABLE, False, False),
        ("InvalidAuthenticationInfo", 401, UNAVAILABLE, False, False),
        ("AuthorizationPermissionMismatch", 403, UNAVAILABLE, False, False),
        ("AccountIsDisabled", 403, UNAVAILABLE, False, False),
        ("Unheard", 403, UNAVAILABLE, False, False),
        ("", 401, UNAVAILABLE, False, False),
        ("InvalidInput", 400, INTERNAL, False, False),
        ("EntityTooLarge", 400, INTERNAL, False, False),
        ("NotImplemented", 501, INTERNAL, False, False),
        ("", 413, INTERNAL, False, False),
    ],
)
def test_answers(
    kind: Any, code: str, status: int, error: type[Exception], retry: bool, may_have_written: bool
) -> None:
    fault = fault_of(refused(status, code, kind))
    assert type(fault.error) is error
    assert (fault.retry, fault.may_have_written) == (retry, may_have_written)
    if error is not CONFLICT:
        assert (code or f"status {status}") in fault.error.detail
    assert "SECRET" not in fault.error.detail
    assert (fault.error.hint is not None) is (code in OPERATOR or status in (401, 403))


@pytest.mark.parametrize("code", ["SECRET <html>", "x" * 61, "a-b", "", None, 7])
def test_a_code_that_is_none_is_not_passed_on(code: Any) -> None:
    error = refused(500, "x")
    vars(error)["error_code"] = code
    assert fault_of(error).error.detail.endswith("(status 500)")


@pytest.mark.parametrize(
    ("error", "retry", "may_have_written"),
    [
        (azure.core.exceptions.ServiceRequestTimeoutError("SECRET"), True, False),
        (azure.core.exceptions.ServiceRequestError("SECRET"), True, True),
        (azure.core.exceptions.ServiceResponseError("SECRET"), True, True),
        (azure.core.exceptions.ServiceResponseTimeoutError("SECRET"), True, True),
        (azure.core.exceptions.IncompleteReadError("SECRET"), True, True),
        (azure.core.exceptions.DecodeError("SECRET"), True, True),
        (refused(200, "SECRET"), True, True),
        (ClientAuthenticationError("SECRET"), False, False),
        (CredentialUnavailableError("SECRET"), False, False),
        (BadStatusLine("SECRET"), True, True),
        (ConnectionResetError("SECRET"), True, True),
        (UnicodeDecodeError("utf-8", b"SECRET", 0, 1, "SECRET"), True, True),
        (KeyError("SECRET"), True, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_no_answer(error: Exception, retry: bool, may_have_written: bool) -> None:
    assert isinstance(error, sdk_errors())
    fault = fault_of(error)
    assert type(fault.error) is StoreUnavailable
    assert (fault.retry, fault.may_have_written) == (retry, may_have_written)
    assert "SECRET" not in fault.error.detail
