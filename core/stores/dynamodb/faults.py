"""From the SDK's errors to ours: by code or class, never by message text, and without quoting what was sent or stored.

Each error is judged by three questions: what our caller is told, whether another attempt makes sense, and whether a
write may have been made all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from core.errors import Conflict, InternalError, KeysteadError, StoreUnavailable

CANCELLED = "TransactionCanceledException"

BUSY = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottledException",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TransactionConflict",
        "TransactionConflictException",
    }
)
"""Refused for now; nothing was written."""
UNSETTLED = frozenset(
    {
        "InternalFailure",
        "InternalServerError",
        "ReplicatedWriteConflictException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "TransactionInProgressException",
    }
)
"""No answer to the question; a write may have been made, or still be under way. So is whatever comes with a 5xx."""
OURS = frozenset(
    {
        "IdempotentParameterMismatchException",
        "ItemCollectionSizeLimitExceeded",
        "SerializationException",
        "UnknownOperationException",
        "ValidationError",
        "ValidationException",
    }
)
"""The request is not one that DynamoDB takes."""
OPERATOR = {
    "AccessDenied": "let the service's role use the tables",
    "AccessDeniedException": "let the service's role use the tables",
    "ExpiredTokenException": "renew the service's credentials",
    "IncompleteSignatureException": "check the service's credentials",
    "InvalidClientTokenId": "check the service's credentials",
    "InvalidSignatureException": "check the service's credentials and its machine's clock",
    "MissingAuthenticationTokenException": "give the service credentials",
    "OptInRequired": "enable the AWS Region for the account",
    "ResourceInUseException": "wait until the table can be used",
    "ResourceNotFoundException": "create the tables, and check their names and the AWS Region",
    "UnrecognizedClientException": "check the service's credentials",
}
"""Refused until somebody mends it: code -> what there is to mend."""
_CONDITION = "ConditionalCheckFailed"
_NO_CREDENTIALS = "give the service credentials that the AWS SDK can find"


@dataclass(frozen=True, slots=True)
class Fault:
    """What an error of the SDK means.

    Attributes:
        error: What our caller is told; `Conflict` where a condition of a transaction did not hold.
        retry: Whether the same request may be sent again.
        may_have_written: Whether a write may have been made although it failed.
    """

    error: KeysteadError
    retry: bool
    may_have_written: bool


def sdk_errors() -> tuple[type[Exception], ...]:
    """What a call of the SDK raises: its own errors, and Python's over an answer that is not DynamoDB's."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return BotoCoreError, ClientError, ResponseParserError, ValueError, TypeError, LookupError, AttributeError


def fault_of(error: Exception) -> Fault:
    """Judge one of `sdk_errors`."""
    from botocore import exceptions as sdk

    if isinstance(error, sdk.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == CANCELLED:
            reasons = error.response.get("CancellationReasons") or ()
            return _cancelled([str(reason.get("Code", "")) for reason in reasons])
        return _answered(code, error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    name = type(error).__name__
    if isinstance(error, sdk.ParamValidationError):
        return Fault(InternalError(f"DynamoDB takes no such request ({name})"), retry=False, may_have_written=False)
    if isinstance(error, sdk.NoCredentialsError | sdk.PartialCredentialsError | sdk.CredentialRetrievalError):
        return Fault(_unavailable(name, _NO_CREDENTIALS), retry=False, may_have_written=False)
    never_sent = isinstance(error, sdk.ConnectTimeoutError | sdk.EndpointConnectionError | sdk.ProxyConnectionError)
    return Fault(_unavailable(name), retry=True, may_have_written=not never_sent)


def _answered(code: str, status: int) -> Fault:
    if code in BUSY:
        return Fault(_unavailable(code), retry=True, may_have_written=False)
    if code in UNSETTLED or status >= 500:
        return Fault(_unavailable(code), retry=True, may_have_written=True)
    if code in OURS:
        return Fault(InternalError(f"DynamoDB takes no such request ({code})"), retry=False, may_have_written=False)
    if code in OPERATOR:
        return Fault(_unavailable(code, OPERATOR[code]), retry=False, may_have_written=False)
    return Fault(_unavailable(code or "an answer without a code"), retry=False, may_have_written=True)


def _cancelled(reasons: Sequence[str]) -> Fault:
    """A transaction that was cancelled: nothing of it was written, whatever the reasons."""
    found = {reason for reason in reasons if reason not in ("", "None")}
    for group in (found & OURS, found - OURS - BUSY - {_CONDITION}):
        if group:
            code = _first(group)
            fault = _answered(code, 0)
            return Fault(fault.error, retry=code in UNSETTLED, may_have_written=False)
    if _CONDITION in found:
        return Fault(Conflict("what is stored changed meanwhile"), retry=False, may_have_written=False)
    return Fault(_unavailable(_first(found) if found else CANCELLED), retry=True, may_have_written=False)


def _first(codes: Collection[str]) -> str:
    return min(codes)


def _unavailable(code: str, hint: str | None = None) -> StoreUnavailable:
    return StoreUnavailable(f"DynamoDB does not serve the store ({code})", hint=hint)
