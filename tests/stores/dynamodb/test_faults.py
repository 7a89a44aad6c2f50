"""Whatever the SDK raises, callers hear one of our errors, decided by code or class, and nothing of what was sent."""

from __future__ import annotations

from typing import Any

import botocore.exceptions
import botocore.session
import pytest
from botocore.exceptions import BotoCoreError, ParamValidationError
from botocore.parsers import ResponseParserError

from core.errors import Conflict, InternalError, StoreUnavailable
from core.stores.dynamodb.faults import BUSY, CANCELLED, OPERATOR, OURS, UNSETTLED, fault_of, sdk_errors
from tests.stores.dynamodb.disturbed import refused

OPERATIONS = (
    "GetItem",
    "BatchGetItem",
    "Query",
    "TransactGetItems",
    "TransactWriteItems",
    "CreateTable",
    "DescribeTable",
)
GROUPS = (BUSY, UNSETTLED, OURS, frozenset(OPERATOR), frozenset({CANCELLED}))
REASONS = (
    "None",
    "ConditionalCheckFailed",
    "ItemCollectionSizeLimitExceeded",
    "TransactionConflict",
    "ProvisionedThroughputExceeded",
    "ThrottlingError",
    "ValidationError",
)
"""As the API reference of TransactWriteItems lists them."""
UNAVAILABLE, INTERNAL, CONFLICT = StoreUnavailable, InternalError, Conflict


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_error_that_the_service_model_names_is_known(operation: str) -> None:
    model = botocore.session.get_session().get_service_model("dynamodb").operation_model(operation)
    named = {shape.name for shape in model.error_shapes}
    assert named
    assert named <= frozenset().union(*GROUPS)


def test_no_code_is_in_two_groups() -> None:
    assert sum(len(group) for group in GROUPS) == len(frozenset().union(*GROUPS))


def test_every_error_of_botocore_is_one_of_ours() -> None:
    there = vars(botocore.exceptions).values()
    classes: set[Any] = {found for found in there if isinstance(found, type) and issubclass(found, BotoCoreError)}
    assert len(classes) > 50
    for found in classes:
        fault = fault_of(found.__new__(found))
        expected = InternalError if issubclass(found, ParamValidationError) else StoreUnavailable
        assert type(fault.error) is expected, found
        assert found.__name__ in fault.error.detail


@pytest.mark.parametrize(
    ("code", "status", "error", "retry", "may_have_written"),
    [
        ("ThrottlingException", 400, UNAVAILABLE, True, False),
        ("ProvisionedThroughputExceededException", 400, UNAVAILABLE, True, False),
        ("RequestLimitExceeded", 400, UNAVAILABLE, True, False),
        ("TransactionConflictException", 400, UNAVAILABLE, True, False),
        ("ThrottlingException", 500, UNAVAILABLE, True, False),
        ("TransactionInProgressException", 400, UNAVAILABLE, True, True),
        ("InternalServerError", 500, UNAVAILABLE, True, True),
        ("ServiceUnavailable", 503, UNAVAILABLE, True, True),
        ("Unheard", 502, UNAVAILABLE, True, True),
        ("", 503, UNAVAILABLE, True, True),
        ("Unheard", 400, UNAVAILABLE, False, True),
        ("", 200, UNAVAILABLE, False, True),
        ("AccessDeniedException", 400, UNAVAILABLE, False, False),
        ("ResourceNotFoundException", 400, UNAVAILABLE, False, False),
        ("UnrecognizedClientException", 400, UNAVAILABLE, False, False),
        ("ExpiredTokenException", 400, UNAVAILABLE, False, False),
        ("ValidationException", 400, INTERNAL, False, False),
        ("IdempotentParameterMismatchException", 400, INTERNAL, False, False),
        ("SerializationException", 400, INTERNAL, False, False),
    ],
)
def test_answers(code: str, status: int, error: type[Exception], retry: bool, may_have_written: bool) -> None:
    fault = fault_of(refused(code, status))
    assert type(fault.error) is error
    assert (fault.retry, fault.may_have_written) == (retry, may_have_written)
    assert code in fault.error.detail
    assert "SECRET" not in fault.error.detail
    assert (fault.error.hint is not None) is (code in OPERATOR)


@pytest.mark.parametrize(
    ("reasons", "error", "retry"),
    [
        (("ConditionalCheckFailed", "None"), CONFLICT, False),
        (("ConditionalCheckFailed", "TransactionConflict"), CONFLICT, False),
        (("None", "TransactionConflict"), UNAVAILABLE, True),
        (("ThrottlingError", "ProvisionedThroughputExceeded"), UNAVAILABLE, True),
        (("ValidationError", "ConditionalCheckFailed"), INTERNAL, False),
        (("ItemCollectionSizeLimitExceeded",), INTERNAL, False),
        (("AccessDenied", "ConditionalCheckFailed"), UNAVAILABLE, False),
        (("Unheard", "None"), UNAVAILABLE, False),
        ((), UNAVAILABLE, True),
    ],
    ids=str,
)
def test_cancelled_transactions_wrote_nothing(reasons: tuple[str, ...], error: type[Exception], retry: bool) -> None:
    fault = fault_of(refused(CANCELLED, 400, reasons))
    assert type(fault.error) is error
    assert (fault.retry, fault.may_have_written) == (retry, False)
    assert "SECRET" not in fault.error.detail


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_that_is_documented_is_known(reason: str) -> None:
    assert "Unheard" not in BUSY | OURS
    assert reason in {"None", "ConditionalCheckFailed"} | BUSY | OURS


@pytest.mark.parametrize(
    ("error", "retry", "may_have_written"),
    [
        (botocore.exceptions.ConnectTimeoutError(endpoint_url="x"), True, False),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="x"), True, False),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="x"), True, True),
        (botocore.exceptions.ConnectionClosedError(endpoint_url="x"), True, True),
        (botocore.exceptions.HTTPClientError(error="x"), True, True),
        (botocore.exceptions.NoCredentialsError(), False, False),
        (botocore.exceptions.CredentialRetrievalError(provider="x", error_msg="SECRET"), False, False),
        (ResponseParserError("SECRET"), True, True),
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
