"""Every row that is known of both services' refusals: what comes over the wire, and what it must mean."""

from __future__ import annotations

from typing import Any

from core.errors import Denial, KeysteadError, OwnFault, Silence, WrapMismatch

Outcome = tuple[type[KeysteadError], str]
NO_ANSWER: Outcome = (Silence, "")
MISMATCH: Outcome = (WrapMismatch, "")
OURS: Outcome = (OwnFault, "")
REQUEST_ID = "5f7c0a2b-0000-4000-8000-000000000001"
HEADERS = {"x-ms-request-id": REQUEST_ID, "content-type": "application/json"}


def denied(cause: str) -> Outcome:
    return Denial, cause


VAULT_ROWS: dict[str, tuple[int, str, str, str, Outcome, Outcome, tuple[int, str]]] = {
    # name: status, code, inner code, message, of an unwrap, of a wrap, line of the table
    "disabled": (
        *(403, "Forbidden", "KeyDisabled", "Operation unwrapKey is not allowed on a disabled key."),
        *(denied("disabled"), denied("disabled"), (403, "KeyDisabled")),
    ),
    "not yet active": (
        *(403, "Forbidden", "KeyNotYetValid", ""),
        *(denied("unknown"), denied("not_yet_valid"), (403, "KeyNotYetValid")),
    ),
    "expired": (
        *(403, "Forbidden", "KeyExpired", ""),
        *(denied("unknown"), denied("expired"), (403, "KeyExpired")),
    ),
    "operation not in key_ops": (
        *(403, "Forbidden", "KeyOperationForbidden", ""),
        *(denied("policy"), denied("wrap_not_permitted"), (403, "KeyOperationForbidden")),
    ),
    "absent, deleted or another version": (
        *(404, "KeyNotFound", "", "A key with (name/id) n was not found in this key vault."),
        *(denied("not_found"), denied("not_found"), (404, "KeyNotFound")),
    ),
    "role assignment removed": (
        *(403, "Forbidden", "ForbiddenByRbac", "Caller is not authorized"),
        *(denied("policy"), denied("policy"), (403, "ForbiddenByRbac")),
    ),
    "access policy removed": (
        *(403, "Forbidden", "ForbiddenByPolicy", ""),
        *(denied("policy"), denied("policy"), (403, "ForbiddenByPolicy")),
    ),
    "access policy removed, by its other code": (
        *(403, "Forbidden", "AccessDenied", ""),
        *(denied("policy"), denied("policy"), (403, "AccessDenied")),
    ),
    "access policy removed, by the outer code": (
        *(403, "AccessDenied", "", ""),
        *(denied("policy"), denied("policy"), (403, "AccessDenied")),
    ),
    "firewall": (
        *(403, "Forbidden", "ForbiddenByFirewall", ""),
        *(denied("network"), denied("network"), (403, "ForbiddenByFirewall")),
    ),
    "public access off": (
        *(403, "Forbidden", "ForbiddenByConnection", ""),
        *(denied("network"), denied("network"), (403, "ForbiddenByConnection")),
    ),
    "forbidden, no cause told": (
        *(403, "Forbidden", "", "Operation unwrapKey is not allowed on a disabled key."),
        *(denied("unknown"), denied("unknown"), (403, "")),
    ),
    "forbidden, a cause that is new": (
        *(403, "Forbidden", "KeyIsTired", ""),
        *(denied("unknown"), denied("unknown"), (403, "")),
    ),
    "throttled": (429, "Throttled", "", "VaultRequestTypeLimitReached", NO_ANSWER, NO_ANSWER, (429, "")),
    "throttled, by an inner code": (
        *(429, "Throttled", "VaultOperationLimitReached", ""),
        *(NO_ANSWER, NO_ANSWER, (429, "")),
    ),
    "bad ciphertext, wrong version, wrong algorithm": (
        *(400, "BadParameter", "", ""),
        *(MISMATCH, NO_ANSWER, (400, "BadParameter")),
    ),
    "conflict": (409, "Conflict", "ObjectIsBeingRecovered", "", NO_ANSWER, NO_ANSWER, (409, "")),
    "time-out": (408, "RequestTimeout", "", "", NO_ANSWER, NO_ANSWER, (408, "")),
    "misdirected": (421, "Misdirected", "", "", NO_ANSWER, NO_ANSWER, (421, "")),
    "too early": (425, "TooEarly", "", "", NO_ANSWER, NO_ANSWER, (425, "")),
    "given up": (499, "ClientClosedRequest", "", "", NO_ANSWER, NO_ANSWER, (499, "")),
    "not found, no cause told": (
        *(404, "ResourceNotFound", "", ""),
        *(denied("unknown"), denied("unknown"), (404, "")),
    ),
    "token of another directory": (
        *(401, "Unauthorized", "", "AKV10032: Invalid issuer. Expected one of a, found b."),
        *(denied("identity"), denied("identity"), (401, "AKV10032")),
    ),
    "token not taken": (
        *(401, "Unauthorized", "", "AKV10046: Unable to resolve the key used for signature validation."),
        *(NO_ANSWER, NO_ANSWER, (401, "")),
    ),
}
UNLISTED: dict[str, tuple[int, str, str, str, Outcome, Outcome]] = {
    # Of the request, which is ours; or of a gateway. No tenant takes its key away by any of these.
    **{
        f"HTTP {status} {code}": (status, code, "", "", OURS, OURS)
        for status, code in (
            *((400, "SomethingNew"), (400, "InvalidApiVersion"), (402, "PaymentRequired"), (405, "MethodNotAllowed")),
            *((406, "NotAcceptable"), (407, "ProxyAuthenticationRequired"), (410, "Gone"), (411, "LengthRequired")),
            *((412, "ConditionNotMet"), (413, "RequestEntityTooLarge"), (414, "UriTooLong")),
            *((415, "UnsupportedMediaType"), (417, "ExpectationFailed"), (422, "SomethingNew")),
            *((426, "UpgradeRequired"), (428, "PreconditionRequired"), (431, "HeadersTooLarge"), (451, "Legal")),
        )
    },
    # Nor by a cause that belongs to another status.
    "HTTP 400 with KeyDisabled": (400, "BadRequest", "KeyDisabled", "", OURS, OURS),
    "HTTP 405 with KeyNotFound": (405, "KeyNotFound", "", "", OURS, OURS),
    **{
        f"HTTP {status} with {inner}": (status, "Forbidden", inner, "", NO_ANSWER, NO_ANSWER)
        for status in (500, 502, 503, 504)
        for inner in ("KeyDisabled", "")
    },
}

CLIENT_GONE = {700016: "not found in the directory", 7000229: "no service principal", 7000112: "disabled"}
BLOCKED = (53003, 530003, 530031, 530032, 530033, 530034, 530035, 500021, 500022, 500213, 501051)
DIRECTORY_LOST = (90002, 5000224, 5000225, 500011, 500014, 650052)
OUR_PROOF = (
    *(7000215, 7000216, 7000218, 7000222, 700027, 700021, 700023, 700024, 700229, 700211, 700212, 700213),
    *(50012, 50013, 50027, 500133),
)
OUR_REGISTRATION = (50194, 700022, 700054, 7002139, 650057)
WRONG_FLOW = (65001, 50020)
BUSY = (90006, 90012, 90024, 90033, 90055, 90090, 50033)
NUMBERS: dict[int, Outcome] = {
    **dict.fromkeys((*CLIENT_GONE, *BLOCKED, *DIRECTORY_LOST), denied("identity")),
    **dict.fromkeys((*OUR_PROOF, *OUR_REGISTRATION, *WRONG_FLOW), OURS),
    **dict.fromkeys(BUSY, NO_ANSWER),
}
ERRORS: dict[str, tuple[Outcome, Outcome]] = {
    # OAuth error: outcome without a number, and with one that is not listed
    "unauthorized_client": (denied("identity"), OURS),
    "access_denied": (denied("identity"), denied("identity")),
    "interaction_required": (denied("identity"), denied("identity")),
    "invalid_resource": (denied("identity"), denied("identity")),
    "invalid_client": (OURS, OURS),
    "invalid_grant": (OURS, OURS),
    "invalid_request": (OURS, OURS),
    "invalid_scope": (OURS, OURS),
    "unsupported_grant_type": (OURS, OURS),
    "temporarily_unavailable": (NO_ANSWER, NO_ANSWER),
    "server_error": (NO_ANSWER, NO_ANSWER),
    "something_new": (OURS, OURS),
}
UNLISTED_NUMBER = 1234567
ENTRA_ROWS: list[tuple[str, int, Outcome]] = [
    # OAuth error, AADSTS number (0: none), outcome
    *((error, 0, bare) for error, (bare, _) in ERRORS.items()),
    *((error, UNLISTED_NUMBER, numbered) for error, (_, numbered) in ERRORS.items()),
    *((error, number, expected) for error in ERRORS for number, expected in NUMBERS.items()),
]


def vault_body(code: str, inner: str = "", message: str = "") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **({"innererror": {"code": inner}} if inner else {})}}


def entra_body(error: str, *numbers: int) -> dict[str, Any]:
    return {"error": error, "error_description": "as ordered", "error_codes": list(numbers), "trace_id": REQUEST_ID}
