"""The one error an emulated AWS service answers with: its code, its text and its HTTP status."""

from __future__ import annotations

from collections.abc import Mapping

STATUS: Mapping[str, int] = {
    "AccessDenied": 403,
    "DependencyTimeoutException": 503,
    "ExpiredToken": 403,
    "InternalFailure": 500,
    "InvalidClientTokenId": 403,
    "KMSInternalException": 500,
    "KeyUnavailableException": 500,
    "MissingAuthenticationToken": 403,
    "RegionDisabledException": 403,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
}
"""HTTP status by code, where it is not 400. KMS refuses access with 400, STS with 403."""

STS_CODES: Mapping[str, str] = {
    "AccessDeniedException": "AccessDenied",
    "ExpiredTokenException": "ExpiredToken",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "MalformedPolicyDocumentException": "MalformedPolicyDocument",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "UnknownOperationException": "InvalidAction",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "ValidationException": "ValidationError",
}
"""What STS calls the errors that both services have; the emulator speaks KMS's words inside."""


class AwsError(Exception):
    """A refusal, in the service's own words.

    Args:
        code: Such as ``DisabledException``.
        message: For people.
        status: HTTP status; None for the one that goes with the code.
    """

    def __init__(self, code: str, message: str = "", status: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = STATUS.get(code, 400) if status is None else status

    def for_sts(self) -> AwsError:
        """The same refusal as STS words it."""
        code = STS_CODES.get(self.code)
        return self if code is None else AwsError(code, self.message)


def denied(caller_arn: str, action: str, resource: str) -> AwsError:
    """The refusal of an action."""
    return AwsError(
        "AccessDeniedException", f"User: {caller_arn} is not authorized to perform: {action} on resource: {resource}"
    )


def invalid(message: str) -> AwsError:
    """The refusal of a malformed request."""
    return AwsError("ValidationException", message)
