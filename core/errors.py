"""Every error Keystead raises on purpose.

::

    KeysteadError
    +-- RequestError                 the caller's request; remedy: caller
    |   +-- InvalidRequest           400 invalid_request
    |   +-- Unauthenticated          401 unauthenticated
    |   +-- AccessDenied             403 access_denied
    |   +-- NotFound                 404 not_found
    |   +-- MethodNotAllowed         405 method_not_allowed
    |   +-- Conflict                 409 conflict
    |   |   +-- ApprovalNeeded       409 approval_needed; remedy: tenant
    |   +-- PayloadTooLarge          413 payload_too_large
    |   +-- UnsupportedMediaType     415 unsupported_media_type
    |   +-- MessageInvalid           422 message_invalid
    |   +-- ContextMismatch          422 context_mismatch
    |   +-- TooManyRequests          429 too_many_requests
    +-- KeyWithheld                  the tenant's key says no; remedy: tenant
    |   +-- KeyRevoked               424 key_revoked
    |   +-- KeySuspended             424 key_suspended
    |   +-- KeyNetworkBlocked        424 key_network_blocked
    |   +-- KeyWriteBlocked          424 key_write_blocked
    +-- KeyCheckFailed               422 key_check_failed; the key a tenant named cannot be put to use; remedy: tenant
    +-- Unavailable                  try again later; remedy: operator
    |   +-- KeyUnreachable           503 key_unreachable
    |   +-- VendorFault              503 vendor_fault
    |   +-- StoreUnavailable         503 store_unavailable
    +-- ServiceFault                 ours to mend; remedy: operator
    |   +-- InternalError            500 internal
    |   +-- StoreCorrupt             500 store_corrupt
    +-- ProviderSignal               what a key provider reports; the service turns it into one of the above
        +-- Denial                   the KMS answered no
        +-- Silence                  the KMS did not answer
        |   +-- OwnFault             it was not asked about the key: our own credentials or account are in trouble
        |   +-- Unasked              it was not asked at all: no time or no slot was left for it
        +-- WrapMismatch             wrapped bytes, KEK and context do not belong together

Errors carry facts, never secrets: no key, token or plaintext may enter a message. Source: DESIGN 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

Remedy = Literal["caller", "tenant", "operator"]


class KeysteadError(Exception):
    """Base of the tree.

    Args:
        detail: One sentence for the person who must act. Shown to callers; holds no secret.
        hint: What to do about it, if that is not obvious.
        retry_after: Seconds after which trying again makes sense, or None.
    """

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False
    remedy: ClassVar[Remedy] = "operator"

    def __init__(self, detail: str, *, hint: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.retry_after = retry_after


class RequestError(KeysteadError):
    """The request cannot be served as it is."""

    code = "invalid_request"
    title = "Invalid request"
    remedy: ClassVar[Remedy] = "caller"


class InvalidRequest(RequestError):
    """A field, parameter or body is not what the API says."""


class Unauthenticated(RequestError):
    """No token, or one that is not to be trusted."""

    code = "unauthenticated"
    title = "Authentication needed"


class AccessDenied(RequestError):
    """The caller may not do this; the answer does not tell whether the tenant exists."""

    code = "access_denied"
    title = "Access denied"


class NotFound(RequestError):
    """No such route or thing."""

    code = "not_found"
    title = "Not found"


class MethodNotAllowed(RequestError):
    """The route exists, not for this method.

    Args:
        detail: As in the base class.
        allowed: Methods the route has.
    """

    code = "method_not_allowed"
    title = "Method not allowed"

    def __init__(self, detail: str, *, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.allowed = allowed


class Conflict(RequestError):
    """Somebody else changed the same thing first, or it exists already."""

    code = "conflict"
    title = "Conflict"
    retryable = True


class ApprovalNeeded(Conflict):
    """The tenant wants two people for this: it is kept as a proposal until another one asks for the same."""

    code = "approval_needed"
    title = "Second person needed"
    retryable = False
    remedy = "tenant"


class PayloadTooLarge(RequestError):
    """The body, or the answer it would cause, is over the limit."""

    code = "payload_too_large"
    title = "Payload too large"


class UnsupportedMediaType(RequestError):
    """A content type or content encoding that this route does not read."""

    code = "unsupported_media_type"
    title = "Unsupported media type"


class MessageInvalid(RequestError):
    """Not a message this service can open: malformed, damaged, truncated, or not this tenant's."""

    code = "message_invalid"
    title = "Message invalid"


class ContextMismatch(RequestError):
    """The encryption context given differs from the one in the message."""

    code = "context_mismatch"
    title = "Encryption context differs"


class TooManyRequests(RequestError):
    """Over a limit of requests under way or per time."""

    code = "too_many_requests"
    title = "Too many requests"
    retryable = True


class KeyWithheld(KeysteadError):
    """The tenant's key does not allow this now; nothing is lost."""

    code = "key_revoked"
    title = "Key withheld"
    remedy = "tenant"


class KeyRevoked(KeyWithheld):
    """The KMS answered no to the use of the tenant's key, or did so once and is being asked again."""

    title = "Key revoked"


class KeySuspended(KeyWithheld):
    """The kill switch is on."""

    code = "key_suspended"
    title = "Key suspended"


class KeyNetworkBlocked(KeyWithheld):
    """A network rule in front of the tenant's key refused us."""

    code = "key_network_blocked"
    title = "Key blocked by a network rule"


class KeyWriteBlocked(KeyWithheld):
    """The tenant's key still unwraps but does not wrap."""

    code = "key_write_blocked"
    title = "Key blocked for writing"


class KeyCheckFailed(KeysteadError):
    """The key a tenant named did not pass its examination; nothing was changed.

    Args:
        detail: As in the base class.
        checks: The examination's checks in their JSON form.
    """

    code = "key_check_failed"
    title = "Key check failed"
    remedy = "tenant"

    def __init__(self, detail: str, *, hint: str | None = None, checks: tuple[Mapping[str, str], ...] = ()) -> None:
        super().__init__(detail, hint=hint)
        self.checks = checks


class Unavailable(KeysteadError):
    """Something this service needs does not answer."""

    code = "key_unreachable"
    title = "Unavailable"
    retryable = True

    def __init__(self, detail: str, *, hint: str | None = None, retry_after: int | None = 5) -> None:
        super().__init__(detail, hint=hint, retry_after=retry_after)


class KeyUnreachable(Unavailable):
    """The KMS is silent, and no cached key may serve any longer."""

    title = "Key unreachable"


class VendorFault(Unavailable):
    """Our own access is broken; no tenant's key is to blame."""

    code = "vendor_fault"
    title = "Service fault"


class StoreUnavailable(Unavailable):
    """A store does not answer."""

    code = "store_unavailable"
    title = "Store unavailable"


class ServiceFault(KeysteadError):
    """A fault of this service."""


class InternalError(ServiceFault):
    """Anything not foreseen."""


class StoreCorrupt(ServiceFault):
    """A stored row or document fails its checks. It is refused, and the operator is alarmed.

    Args:
        detail: As in the base class.
        alarmed: Whether the operator was alarmed where it was found; if not, the access gate does it.
    """

    code = "store_corrupt"
    title = "Stored data failed its checks"

    def __init__(self, detail: str, *, hint: str | None = None, alarmed: bool = False) -> None:
        super().__init__(detail, hint=hint)
        self.alarmed = alarmed


class ProviderSignal(KeysteadError):
    """What a key provider reports. Never reaches a caller."""


class Denial(ProviderSignal):
    """The KMS answered no.

    Args:
        detail: As in the base class.
        cause: ``disabled``, ``deleted``, ``pending_deletion``, ``not_found``, ``identity``, ``policy``, ``network``,
            ``unknown``; or one of ``WRITE_CAUSES``, which say that the key does not wrap, but may unwrap.
        kms_code: The KMS's own error code, or "".
        request_id: The KMS's request id, or "".
        server_time: The KMS's own wall clock at the answer, in seconds since the epoch, or None if it told none.
    """

    code = "denial"

    def __init__(
        self,
        detail: str,
        *,
        cause: str,
        kms_code: str = "",
        request_id: str = "",
        server_time: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.server_time = server_time
        self.cause = cause
        self.kms_code = kms_code
        self.request_id = request_id


WRITE_CAUSES = frozenset({"not_yet_valid", "expired", "wrap_not_permitted"})
"""Causes of a denial that stop new wraps only."""


class Silence(ProviderSignal):
    """The KMS did not answer: timeout, 5xx, throttling, or a body that is not the KMS's own."""

    code = "silence"
    retryable = True


class OwnFault(Silence):
    """Our own credentials, account or quota are in trouble, so nothing was learned about the tenant's key.

    Args:
        detail: As in the base class.
        kms_code: The cloud's own error code, or "".
    """

    code = "own_fault"

    def __init__(self, detail: str, *, kms_code: str = "") -> None:
        super().__init__(detail)
        self.kms_code = kms_code


class Unasked(Silence):
    """Nothing was asked, because this request had no time left, or too many calls were under way. Tells nothing."""

    code = "unasked"


class WrapMismatch(ProviderSignal):
    """Wrapped bytes, KEK and context do not belong together. Says no more than that."""

    code = "wrap_mismatch"
