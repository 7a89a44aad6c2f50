"""The failure tables: every row that is known of both services, by status, code and OAuth error, and over the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.domain.kek import WrappedKey
from core.errors import Denial, KeysteadError, OwnFault, Silence, WrapMismatch
from core.providers.azure_key_vault.base64url import base64url
from core.providers.azure_key_vault.failures import TOKEN, UNWRAP, WRAP, Failure, of_entra, of_error, of_vault, own
from core.providers.azure_key_vault.meanings import ENTRA, KEY_VAULT, Kind
from core.providers.azure_key_vault.operations import GET
from tests.conformance.key_provider import KEY
from tests.providers.azure_key_vault.stage import CONTEXT, DIRECTORY, SECRET, Stage

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
    *(("invalid_client", code, OURS, ("invalid_client", 0)) for code in (*CLIENT_GONE, *BLOCKED)),
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


def outcome(failure: Failure) -> Outcome:
    signal = failure.signal()
    return type(signal), getattr(signal, "cause", "")


def vault_body(code: str, inner: str = "", message: str = "") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **({"innererror": {"code": inner}} if inner else {})}}


def entra_body(error: str, *numbers: int) -> dict[str, Any]:
    return {"error": error, "error_description": "as ordered", "error_codes": list(numbers), "trace_id": REQUEST_ID}


def test_every_line_of_the_tables_is_named_here() -> None:
    assert {row[-1] for row in VAULT_ROWS.values()} == set(KEY_VAULT)
    assert {row[-1] for row in ENTRA_ROWS} == set(ENTRA)


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
def test_entra_rows(row: tuple[str, int, Outcome, tuple[str, int]]) -> None:
    error, number, expected, _ = row
    for status in (400, 401, 403):
        found = of_entra(status, HEADERS, entra_body(error, *([number] if number else [])))
        assert outcome(found) == expected
        assert found.code == (f"AADSTS{number}" if number else error)
        assert "as ordered" not in found.signal().detail
    for status in (408, 429, 500, 502, 503, 504):
        assert outcome(of_entra(status, HEADERS, entra_body(error, number))) == NO_ANSWER


def test_an_oauth_error_that_is_new_is_our_own_trouble() -> None:
    assert outcome(of_entra(400, HEADERS, entra_body("something_new", 700016))) == OURS


def test_the_oauth_error_decides_whatever_the_number_says() -> None:
    assert outcome(of_entra(401, HEADERS, entra_body("invalid_client", 700016))) == OURS
    assert outcome(of_entra(400, HEADERS, entra_body("unauthorized_client", 1, 7000215))) == OURS


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


def used(stage: Stage, operation: str, **fault: Any) -> tuple[KeysteadError, dict[str, int]]:
    """What a use of a key under a fault raises, once it has worked, and the calls that were made."""
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=60))
    wrapped: WrappedKey = provider.wrap(kek, KEY, CONTEXT)
    if operation == TOKEN:
        stage.clock.ahead += 60
    stage.emulator.clear_calls()
    stage.fault(operation, **fault)
    with pytest.raises(KeysteadError) as raised:
        provider.wrap(kek, KEY, CONTEXT) if operation == WRAP else provider.unwrap(wrapped, CONTEXT)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    told = f"{raised.value!r}{raised.value.detail}"
    assert "as ordered" not in told
    assert SECRET not in told
    attempts = dict(stage.attempts())
    stage.emulator.clear_faults()
    assert provider.unwrap(wrapped, CONTEXT).key == KEY
    return raised.value, attempts


ONCE = [(name, row) for name, row in VAULT_ROWS.items() if row[4] is not NO_ANSWER]


@pytest.mark.parametrize(("name", "row"), ONCE, ids=[name for name, _ in ONCE])
@pytest.mark.parametrize("operation", [UNWRAP, WRAP])
def test_vault_rows_over_the_wire(stage: Stage, operation: str, name: str, row: Any) -> None:
    status, code, inner, message, unwrapped, wrapped, _ = row
    if operation == WRAP and wrapped is NO_ANSWER:
        return
    found, attempts = used(stage, operation, status=status, code=code, inner=inner, message=message or "as ordered")
    assert (type(found), getattr(found, "cause", "")) == (unwrapped if operation == UNWRAP else wrapped)
    assert attempts[operation] == 1
    if isinstance(found, Denial):
        assert found.kms_code == ("AKV10032" if name == "token of another directory" else inner or code)
        assert found.request_id


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("operation", [UNWRAP, WRAP, GET])
def test_retried_and_never_a_denial(stage: Stage, operation: str, status: int) -> None:
    found, attempts = used(stage, WRAP if operation == GET else operation, status=status)
    assert type(found) is Silence
    assert f"HTTP {status}" in found.detail  # not that time was up: the SDK, which knows no budget, does not retry
    assert attempts[WRAP if operation == GET else operation] == 3


@pytest.mark.parametrize("status", [429, 503])
def test_what_passes_is_not_heard_of(stage: Stage, status: int) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=60))
    for operation in (GET, WRAP):
        stage.fault(operation, status=status, times=1)
    wrapped = provider.wrap(kek, KEY, CONTEXT)
    for fault in ({"status": status}, {"dropped": True}, {"reset": True}, {"lost": True}, {"corrupt": "truncated"}):
        stage.fault(UNWRAP, times=1, **fault)
        assert provider.unwrap(wrapped, CONTEXT).key == KEY
        stage.emulator.clear_faults()


CORRUPTED = ("bytes", "truncated", "no_object", "no_value", "value_length", "no_kid", "other_key", "other_version")


@pytest.mark.parametrize("corrupt", CORRUPTED)
@pytest.mark.parametrize("operation", [UNWRAP, WRAP])
def test_a_damaged_answer_is_not_believed(stage: Stage, operation: str, corrupt: str) -> None:
    found, attempts = used(stage, operation, corrupt=corrupt)
    assert type(found) is Silence
    assert attempts[operation] == 3


def test_a_damaged_plaintext_is_not_believed(stage: Stage) -> None:
    assert type(used(stage, UNWRAP, corrupt="value")[0]) is WrapMismatch


@pytest.mark.parametrize("request_id", ["", "1-2-3"])
def test_a_bundle_without_the_services_id_is_not_believed(stage: Stage, request_id: str) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=60))
    bundle = {
        "key": {"kid": kek.locator, "kty": "RSA", "key_ops": ["wrapKey", "unwrapKey"], "n": base64url(b"\xff" * 256)},
        "attributes": {"enabled": True, "created": 1_700_000_000},
    }
    headers = {"x-ms-request-id": request_id} if request_id else {}
    stage.fault(GET, body=json.dumps(bundle).encode(), status=200, content_type="application/json", headers=headers)
    if request_id:
        assert provider.describe(kek).made == 1_700_000_000
        return
    with pytest.raises(KeysteadError) as raised:
        provider.describe(kek)
    assert type(raised.value) is Silence


@pytest.mark.parametrize("corrupt", ["bytes", "truncated", "no_object", "no_kid", "other_key", "other_version"])
def test_damaged_attributes_are_not_believed(stage: Stage, corrupt: str) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek))
    stage.fault(GET, corrupt=corrupt)
    for use in (lambda: provider.wrap(kek, KEY, CONTEXT), lambda: provider.describe(kek)):
        with pytest.raises(KeysteadError) as raised:
            use()
        assert type(raised.value) is Silence
    assert "wrapkey" not in stage.attempts()


PAGES: dict[str, dict[str, Any]] = {
    "a page": {"body": b"<html>blocked</html>", "status": 403},
    "a page that says it went well": {"body": b"<html>log in here</html>", "status": 200},
    "JSON of a proxy": {
        "body": json.dumps(vault_body("Forbidden", "KeyDisabled")).encode(),
        "status": 403,
        "content_type": "application/json",
    },
    "nothing": {"body": b"", "status": 403},
    "nothing at all": {"body": b"", "status": 200},
    "JSON of nobody": {"body": b"{}", "status": 200, "content_type": "application/json"},
}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("operation", [UNWRAP, TOKEN])
def test_a_proxys_page_is_silence(stage: Stage, operation: str, page: str) -> None:
    assert type(used(stage, operation, **PAGES[page])[0]) is Silence


WIRE = {(error, bool(number)): (error, number, expected) for error, number, expected, _ in ENTRA_ROWS}


@pytest.mark.parametrize("row", WIRE.values(), ids=lambda row: f"{row[0]}-{row[1]}")
def test_entra_rows_over_the_wire(stage: Stage, row: tuple[str, int, Outcome]) -> None:
    error, number, expected = row
    body = json.dumps(entra_body(error, *([number] if number else []))).encode()
    found, attempts = used(stage, TOKEN, body=body, status=400, content_type="application/json")
    assert (type(found), getattr(found, "cause", "")) == expected
    assert attempts[TOKEN] == (3 if expected is NO_ANSWER else 1)
    assert "unwrapkey" not in attempts
    if expected is not NO_ANSWER:
        assert getattr(found, "kms_code", "") == (f"AADSTS{number}" if number else error)


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"reset": True}, {"dropped": True}], ids=str)
def test_an_outage_of_entra_is_never_a_denial(stage: Stage, fault: dict[str, Any]) -> None:
    """The SDK's own exceptions do not tell these from a withdrawn consent."""
    found, attempts = used(stage, TOKEN, tenant=DIRECTORY, **fault)
    assert type(found) is Silence
    assert "time was up" not in found.detail
    assert attempts[TOKEN] == 3


class TestACauseThatIsNotTold:
    """A 403 with an inner code that nobody knows: the key's attributes are asked."""

    def refused(self, stage: Stage, operation: str, **attributes: Any) -> tuple[Denial, list[str]]:
        kek = stage.key()
        provider = stage.kms.connect(stage.access(kek, lease=60))
        wrapped = provider.wrap(kek, KEY, CONTEXT)
        stage.fault(operation, status=403, inner="KeyIsTired")
        if attributes:
            stage.emulator.set_attributes(kek.locator, **attributes)
        stage.emulator.clear_calls()
        with pytest.raises(Denial) as raised:
            provider.wrap(kek, KEY, CONTEXT) if operation == WRAP else provider.unwrap(wrapped, CONTEXT)
        assert raised.value.kms_code == "KeyIsTired"
        assert raised.value.request_id
        return raised.value, stage.made()

    @pytest.mark.parametrize(
        ("attributes", "cause"),
        [
            ({"enabled": False}, "disabled"),
            ({"key_ops": ("wrapKey",)}, "policy"),
            ({"exp": 1_600_000_000}, "unknown"),
            ({"nbf": 4_000_000_000}, "unknown"),
            ({"key_ops": ("unwrapKey",)}, "unknown"),
            ({}, "unknown"),
        ],
        ids=str,
    )
    def test_unwrap(self, stage: Stage, attributes: dict[str, Any], cause: str) -> None:
        found, made = self.refused(stage, UNWRAP, **attributes)
        assert found.cause == cause
        assert [operation for operation in made if operation in (UNWRAP, GET)] == [UNWRAP, GET]

    def test_wrap(self, stage: Stage) -> None:
        found, made = self.refused(stage, WRAP)
        assert found.cause == "unknown"
        assert [operation for operation in made if operation in (WRAP, GET)] == [GET, WRAP, GET]

    @pytest.mark.parametrize(
        ("fault", "cause"),
        [
            ({"status": 403, "inner": "ForbiddenByFirewall"}, "network"),
            ({"status": 403, "inner": "ForbiddenByRbac"}, "policy"),
            ({"status": 404}, "not_found"),
            ({"status": 403, "inner": "AnotherNewOne"}, "unknown"),
            ({"status": 503}, "unknown"),
            ({"body": b"<html>", "status": 403}, "unknown"),
        ],
        ids=str,
    )
    def test_attributes_that_cannot_be_had(self, stage: Stage, fault: dict[str, Any], cause: str) -> None:
        stage.fault(GET, after=1, **fault)
        found, _ = self.refused(stage, UNWRAP)
        assert found.cause == cause
