"""From the SDK's errors to ours: by status and code, never by message, and without quoting what was sent or stored.

Each error is judged by three questions: what our caller is told, whether another attempt makes sense, and whether a
write may have been made all the same. The codes are those of Azure Storage (Microsoft, "Table service error codes") and
of Cosmos DB for Table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import Conflict, InternalError, KeysteadError, StoreUnavailable

CONDITION = frozenset(
    {
        "ConditionNotMet",
        "EntityAlreadyExists",
        "EntityNotFound",
        "ResourceAlreadyExists",
        "ResourceNotFound",
        "UpdateConditionNotSatisfied",
    }
)
"""What is stored is not what the write expects; nothing was written. So is whatever comes with a 412."""
BUSY = frozenset({"TooManyRequests"})
"""Refused for now; nothing was written. So is whatever comes with a 429."""
UNSETTLED = frozenset(
    {"InternalError", "InternalServerError", "OperationTimedOut", "RequestTimeout", "ServerBusy", "ServiceUnavailable"}
)
"""No answer to the question; a write may have been made, or still be under way. So is what comes with 408, 449, 5xx."""
OURS = frozenset(
    {
        "BadRequest",
        "CommandsInBatchActOnDifferentPartitions",
        "ConditionHeadersNotSupported",
        "DuplicatePropertiesSpecified",
        "EmptyMetadataKey",
        "EntityTooLarge",
        "HostInformationNotPresent",
        "InvalidDuplicateRow",
        "InvalidHeaderValue",
        "InvalidHttpVerb",
        "InvalidInput",
        "InvalidMd5",
        "InvalidMetadata",
        "InvalidQueryParameterValue",
        "InvalidRange",
        "InvalidUri",
        "InvalidValueType",
        "InvalidXmlDocument",
        "InvalidXmlNodeValue",
        "JsonFormatNotSupported",
        "KeyValueTooLarge",
        "Md5Mismatch",
        "MetadataTooLarge",
        "MethodNotAllowed",
        "MissingContentLengthHeader",
        "MissingRequiredHeader",
        "MissingRequiredQueryParameter",
        "MissingRequiredXmlNode",
        "MultipleConditionHeadersNotSupported",
        "NotImplemented",
        "OutOfRangeInput",
        "OutOfRangeQueryParameterValue",
        "PropertiesNeedValue",
        "PropertyNameInvalid",
        "PropertyNameTooLong",
        "PropertyValueTooLarge",
        "RequestBodyTooLarge",
        "RequestUrlFailedToParse",
        "TooManyProperties",
        "UnsupportedHeader",
        "UnsupportedHttpVerb",
        "UnsupportedQueryParameter",
        "UnsupportedXmlNode",
        "XMethodIncorrectCount",
        "XMethodIncorrectValue",
        "XMethodNotUsingPost",
    }
)
"""The request is not one that Azure Tables takes. So is whatever comes with a 413."""
_CREDENTIALS = "check the service's credentials and its machine's clock"
_ACCESS = "let the service's identity read and write the tables, through the account's firewall too"
NO_TABLES = "create the tables, and check their names and the endpoint"
OPERATOR = {
    "AccountAlreadyExists": "check the endpoint",
    "AccountBeingCreated": "wait until the account can be used",
    "AccountIsDisabled": "enable the account",
    "AuthenticationFailed": _CREDENTIALS,
    "AuthorizationFailure": _ACCESS,
    "AuthorizationPermissionMismatch": _ACCESS,
    "Forbidden": _ACCESS,
    "InsufficientAccountPermissions": _ACCESS,
    "InvalidAuthenticationInfo": _CREDENTIALS,
    "InvalidResourceName": NO_TABLES,
    "KeyBasedAuthenticationNotPermitted": "give the service an identity: the account takes no account key",
    "NoAuthenticationInformation": _CREDENTIALS,
    "ResourceTypeMismatch": NO_TABLES,
    "TableAlreadyExists": NO_TABLES,
    "TableBeingDeleted": "wait until the table can be made again",
    "TableNotFound": NO_TABLES,
    "Unauthorized": _CREDENTIALS,
}
"""Refused until somebody mends it: code -> what there is to mend."""
_BY_STATUS = {401: _CREDENTIALS, 403: _ACCESS}
_CODE = re.compile(r"[A-Za-z0-9]{1,60}")
_RETRIED = frozenset({408, 449})


@dataclass(frozen=True, slots=True)
class Fault:
    """What an error of the SDK means.

    Attributes:
        error: What our caller is told; `Conflict` where what is stored is not what a write expects.
        retry: Whether the same request may be sent again.
        may_have_written: Whether a write may have been made although it failed.
    """

    error: KeysteadError
    retry: bool
    may_have_written: bool


def sdk_errors() -> tuple[type[Exception], ...]:
    """What a call of the SDK raises: its own errors, and others' over an answer that is not the service's."""
    from http.client import HTTPException

    from azure.core.exceptions import AzureError

    return AzureError, HTTPException, OSError, ValueError, TypeError, LookupError, AttributeError


def fault_of(error: Exception) -> Fault:
    """Judge one of `sdk_errors`."""
    from azure.core import exceptions as sdk
    from azure.data.tables import RequestTooLargeError

    name = type(error).__name__
    if isinstance(error, sdk.HttpResponseError):
        # Of a part of a transaction that was too large the SDK gives the status of the whole answer.
        status = 413 if isinstance(error, RequestTooLargeError) else getattr(error, "status_code", None) or 0
        if status >= 300:
            return _answered(_code(error), status)
        if isinstance(error, sdk.ClientAuthenticationError):
            # There was no request to the service yet: the credential could not be used, or gave no token.
            return Fault(_unavailable(name, _CREDENTIALS), retry=False, may_have_written=False)
    # What else fails may fail when the request has been sent: a refused connection cannot be told from a broken one.
    never_sent = isinstance(error, sdk.ServiceRequestTimeoutError)
    return Fault(_unavailable(name), retry=True, may_have_written=not never_sent)


def _code(error: Exception) -> str:
    code = getattr(error, "error_code", None)
    code = getattr(code, "value", code)
    # It may come from whatever stands between us and the service.
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""


def _answered(code: str, status: int) -> Fault:
    told = code or f"status {status}"
    if code in CONDITION or status == 412:
        return Fault(Conflict("what is stored changed meanwhile"), retry=False, may_have_written=False)
    if code in BUSY or status == 429:
        return Fault(_unavailable(told), retry=True, may_have_written=False)
    if code in OURS or status == 413:
        return Fault(InternalError(f"Azure Tables takes no such request ({told})"), retry=False, may_have_written=False)
    if hint := OPERATOR.get(code, _BY_STATUS.get(status)):
        return Fault(_unavailable(told, hint), retry=False, may_have_written=False)
    if code in UNSETTLED or status in _RETRIED or status >= 500:
        return Fault(_unavailable(told), retry=True, may_have_written=True)
    return Fault(_unavailable(told), retry=False, may_have_written=True)


def _unavailable(told: str, hint: str | None = None) -> StoreUnavailable:
    return StoreUnavailable(f"Azure Tables does not serve the store ({told})", hint=hint)
