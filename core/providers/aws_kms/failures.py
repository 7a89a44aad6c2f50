"""What a failed call to KMS or STS means: one table by error code, never by message text.

An answer counts as the service's own if it has AWS's request id and an error code that is more than an HTTP status.
Whatever else arrives (a proxy's page, a broken body, nothing at all) is silence, and so is every HTTP status from 500.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from core.errors import Denial, OwnFault, ProviderSignal, Silence, WrapMismatch
from core.providers._dates import read_date

STS_OPERATIONS = frozenset({"AssumeRole", "GetCallerIdentity"})


class Kind(Enum):
    """Classes of failures."""

    DENIAL = auto()
    """A genuine no."""
    STATE = auto()
    """A genuine no that has several causes: DescribeKey tells which, and whether it is one at all."""
    SILENCE = auto()
    """No answer, or not the service's own, or one that asks to come again."""
    DATA = auto()
    """The ciphertext, the key and the context do not belong together."""
    CREDENTIALS = auto()
    """Whoever signed the request is not known, or no longer."""
    OWN = auto()
    """Our own quota or our own request is at fault."""
    DRY_RUN = auto()
    """It would have been allowed. Only an examination asks so."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One line of the table.

    Attributes:
        kind: The class.
        cause: Of a denial, as in `core.errors.Denial`.
    """

    kind: Kind
    cause: str = ""


_POLICY = Meaning(Kind.DENIAL, "policy")
_UNKNOWN = Meaning(Kind.DENIAL, "unknown")
_SILENCE = Meaning(Kind.SILENCE)
_BUSY = (408, 429)
"""Statuses that say, whatever the code beside them, that the request was not looked at in time."""
_CREDENTIALS = Meaning(Kind.CREDENTIALS)
_OWN = Meaning(Kind.OWN)

TABLE: Mapping[str, Meaning] = {
    "DisabledException": Meaning(Kind.STATE, "disabled"),
    "KMSInvalidStateException": Meaning(Kind.STATE, "unknown"),
    "NotFoundException": Meaning(Kind.DENIAL, "not_found"),
    "RegionDisabledException": Meaning(Kind.DENIAL, "identity"),  # of STS: the role's account has switched it off
    **dict.fromkeys(
        ("AccessDeniedException", "AccessDenied", "NotAuthorized", "InvalidGrantTokenException"),
        _POLICY,
    ),
    # A key that passed its examination cannot give these: the denial stands, and the service alarms on its cause.
    **dict.fromkeys(
        (
            *("InvalidKeyUsageException", "InvalidArnException", "UnsupportedOperationException"),
            *("ValidationException", "ValidationError", "UnknownOperationException", "InvalidAction"),
            *("MalformedHttpRequestException", "SerializationException"),
        ),
        _UNKNOWN,
    ),
    "DryRunOperationException": Meaning(Kind.DRY_RUN),
    **dict.fromkeys(("InvalidCiphertextException", "IncorrectKeyException"), Meaning(Kind.DATA)),
    **dict.fromkeys(
        (
            *("KeyUnavailableException", "DependencyTimeoutException", "KMSInternalException"),
            *("InternalFailure", "InternalError", "InternalServerError", "InternalServiceException"),
            *("ServiceUnavailable", "ServiceUnavailableException", "RequestAbortedException"),
            *("RequestTimeout", "RequestTimeoutException"),
            *("Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled"),
            *("RequestThrottledException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown"),
            *("ProvisionedThroughputExceededException", "BandwidthLimitExceeded", "PriorRequestNotComplete"),
        ),
        _SILENCE,
    ),
    **dict.fromkeys(
        (
            *("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidClientTokenId"),
            *("UnrecognizedClientException", "InvalidAccessKeyId", "AuthFailure", "InvalidToken"),
            *("InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature"),
            *("IncompleteSignatureException", "MissingAuthenticationToken", "MissingAuthenticationTokenException"),
            *("RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"),
        ),
        _CREDENTIALS,
    ),
    **dict.fromkeys(
        (
            *("LimitExceededException", "OptInRequired", "SubscriptionRequiredException"),
            *("MalformedPolicyDocument", "PackedPolicyTooLarge"),  # the session policy that we write
            *("MalformedPolicyDocumentException", "PackedPolicyTooLargeException"),
        ),
        _OWN,
    ),
}
"""Error code -> meaning. A genuine 4xx with a code that is not here is a denial of unknown cause."""

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9._]{0,99}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,100}")


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that did not succeed.

    Attributes:
        kind: Its class.
        operation: Which call, such as ``Decrypt``.
        seen: What was seen, in a few words; never the SDK's own message.
        cause: Of a denial.
        code: The error code of a genuine answer, else "".
        request_id: Of a genuine answer, else "".
        again: Whether asking again at once makes sense.
        server_time: Of a genuine answer: the service's wall clock, in seconds since the epoch, or None.
    """

    kind: Kind
    operation: str
    seen: str
    cause: str = ""
    code: str = ""
    request_id: str = ""
    again: bool = False
    server_time: float | None = None

    def signal(self, cause: str = "", note: str = "") -> ProviderSignal:
        """The error to raise.

        Args:
            cause: Of a denial, in place of this one's own.
            note: Added to the detail.
        """
        service = "AWS STS" if self.operation in STS_OPERATIONS else "AWS KMS"
        told = f"{self.operation}: {self.seen}{note}"
        if self.kind in (Kind.DENIAL, Kind.STATE):
            return Denial(
                f"{service} refused {told}",
                cause=cause or self.cause,
                kms_code=self.code,
                request_id=self.request_id,
                server_time=self.server_time,
            )
        if self.kind is Kind.DATA and self.operation == "Decrypt":
            return WrapMismatch("wrapped bytes, KEK and context do not belong together")
        if self.kind in (Kind.CREDENTIALS, Kind.OWN):
            return OwnFault(f"our own access to {service} is in trouble at {told}", kms_code=self.code)
        return Silence(f"{service} did not answer {told}")


def silent(operation: str, seen: str, *, again: bool = False) -> Failure:
    """A silence that no exception told of."""
    return Failure(Kind.SILENCE, operation, seen, again=again)


def read(error: BaseException, operation: str) -> Failure:
    """What an exception of the SDK means.

    Args:
        error: Whatever the SDK raised.
        operation: The call that was made.
    """
    from botocore import exceptions as sdk

    if isinstance(error, sdk.ClientError):
        return _answered(error.operation_name, error.response, operation)
    name = type(error).__name__
    if isinstance(error, _credential_errors()):
        return Failure(Kind.CREDENTIALS, operation, f"no credentials ({name})")
    # After a read timeout nearly all of the budget is spent, and the KMS has one more request to bear.
    again = isinstance(error, sdk.BotoCoreError) and not isinstance(error, sdk.ReadTimeoutError)
    return silent(operation, f"no answer of the service's own ({name})", again=again)


def own(error: BaseException, operation: str) -> Failure:
    """The same for an exception met before the call: no client, or no credentials of ours."""
    return Failure(Kind.CREDENTIALS, operation, f"the request could not be signed ({type(error).__name__})")


def _answered(asked: str, response: Mapping[str, Any], operation: str) -> Failure:
    metadata = response.get("ResponseMetadata", {})
    status, headers = metadata.get("HTTPStatusCode", 0), metadata.get("HTTPHeaders", {})
    # KMS writes com.amazonaws.kms#Code or Code:http://...; the SDK strips only the first.
    code = str(response.get("Error", {}).get("Code", "")).rpartition("#")[2].partition(":")[0]
    request_id = str(headers.get("x-amzn-requestid") or "")
    if not request_id and operation in STS_OPERATIONS:
        request_id = str(metadata.get("RequestId") or "")
    if asked != operation:
        # The SDK's own credential chain made a call of its own, which says nothing of any tenant.
        return Failure(Kind.CREDENTIALS, operation, f"our credentials were refused at {asked}", code=_named(code))
    if not (_REQUEST_ID.fullmatch(request_id) and _named(code)):
        return silent(operation, f"HTTP {status}, not the service's own answer", again=status >= 500)
    if status in _BUSY or not 400 <= status < 500:
        return silent(operation, f"HTTP {status} {code}", again=True)
    meaning = TABLE.get(code, _UNKNOWN)
    if operation == "GetCallerIdentity" and meaning.kind is Kind.DENIAL:
        meaning = _CREDENTIALS  # it asks about nobody but ourselves
    cause = "identity" if operation == "AssumeRole" and meaning is _POLICY else meaning.cause
    if meaning.kind is Kind.SILENCE or (meaning.kind is Kind.DATA and operation != "Decrypt"):
        return Failure(Kind.SILENCE, operation, code, code=code, request_id=request_id, again=True)
    told = read_date(headers.get("date"))
    return Failure(meaning.kind, operation, code, cause, code, request_id, server_time=told)


def _named(code: str) -> str:
    return code if _CODE.fullmatch(code) else ""


def _credential_errors() -> tuple[type[Exception], ...]:
    from botocore import exceptions as sdk

    return (
        *(sdk.NoCredentialsError, sdk.PartialCredentialsError, sdk.CredentialRetrievalError),
        *(sdk.MetadataRetrievalError, sdk.TokenRetrievalError, sdk.UnknownCredentialError),
        *(sdk.SSOError, sdk.RefreshWithMFAUnsupportedError, sdk.ProfileNotFound, sdk.InvalidConfigError),
    )
