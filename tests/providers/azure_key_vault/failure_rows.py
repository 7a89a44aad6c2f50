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
    "a new 4xx": (422, "SomethingNew", "", "", denied("unknown"), denied("unknown")),
    "another 400": (400, "SomethingNew", "", "", denied("unknown"), denied("unknown")),
    "another 404": (404, "SomethingNew", "", "", denied("unknown"), denied("unknown")),
    **{
        f"HTTP {status} with {inner}": (status, "Forbidden", inner, "", NO_ANSWER, NO_ANSWER)
        for status in (500, 502, 503, 504)
        for inner in ("KeyDisabled", "")
    },
}

CLIENT_GONE = {700016: "not found in the directory", 7000229: "no service principal", 7000112: "disabled"}
BLOCKED = (53003, 530003, 530031, 530032, 530033, 530034, 530035, 500021, 500022, 500213)
OUR_PROOF = (
    *(7000215, 7000216, 7000218, 7000222, 700027, 700021, 700023, 700024, 700229, 700211, 700212, 700213),
    *(50012, 50013, 50027, 500133),
)
ASSERTIONS = (50012, 50013, 50027, 500133)
BUSY = (90006, 90012, 90024, 90033, 90055, 90090, 50033)
WRONG_FLOW = (65001, 50020)
ENTRA_ROWS: list[tuple[str, int, Outcome, tuple[str, int]]] = [
    # OAuth error, AADSTS number (0: none), outcome, line of the table
    ("unauthorized_client", 0, denied("identity"), ("unauthorized_client", 0)),
    ("unauthorized_client", 1234567, denied("identity"), ("unauthorized_client", 0)),
    *(("unauthorized_client", code, denied("identity"), ("unauthorized_client", code)) for code in CLIENT_GONE),
    *(("unauthorized_client", code, OURS, ("unauthorized_client", code)) for code in OUR_PROOF),
    ("invalid_client", 0, OURS, ("invalid_client", 0)),
    ("invalid_client", 1234567, OURS, ("invalid_client", 0)),
    *(("invalid_client", code, OURS, ("invalid_client", code)) for code in OUR_PROOF),
    *(("invalid_client", code, OURS, ("invalid_client", 0)) for code in BLOCKED),
    *(("invalid_client", code, denied("identity"), ("invalid_client", code)) for code in CLIENT_GONE),
    ("invalid_resource", 500011, denied("identity"), ("invalid_resource", 500011)),
    ("invalid_resource", 0, denied("identity"), ("invalid_resource", 0)),
    ("invalid_request", 90002, denied("identity"), ("invalid_request", 90002)),
    ("invalid_request", 0, OURS, ("invalid_request", 0)),
    ("invalid_request", 90014, OURS, ("invalid_request", 0)),
    ("access_denied", 0, denied("identity"), ("access_denied", 0)),
    ("interaction_required", 0, denied("identity"), ("interaction_required", 0)),
    ("invalid_grant", 0, OURS, ("invalid_grant", 0)),
    *(("invalid_grant", code, OURS, ("invalid_grant", code)) for code in ASSERTIONS),
    *(
        (error, code, denied("identity"), (error, code))
        for error in (
            "access_denied",
            "interaction_required",
            "invalid_grant",
            "invalid_request",
            "unauthorized_client",
        )
        for code in BLOCKED
    ),
    *((error, code, NO_ANSWER, ("", code)) for error in ("invalid_request", "invalid_client") for code in BUSY),
    *((error, code, OURS, ("", code)) for error in ("invalid_grant", "unauthorized_client") for code in WRONG_FLOW),
    ("temporarily_unavailable", 0, NO_ANSWER, ("temporarily_unavailable", 0)),
    ("server_error", 0, NO_ANSWER, ("server_error", 0)),
    ("invalid_scope", 70011, OURS, ("invalid_scope", 0)),
    ("unsupported_grant_type", 70003, OURS, ("unsupported_grant_type", 0)),
]


def vault_body(code: str, inner: str = "", message: str = "") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **({"innererror": {"code": inner}} if inner else {})}}


def entra_body(error: str, *numbers: int) -> dict[str, Any]:
    return {"error": error, "error_description": "as ordered", "error_codes": list(numbers), "trace_id": REQUEST_ID}
