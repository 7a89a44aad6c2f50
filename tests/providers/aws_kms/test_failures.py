"""The failure table: complete against the SDK's model, and every line of it over the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.session import Session

from core.domain.kek import Kek
from core.errors import Denial, KeysteadError, OwnFault, Silence, WrapMismatch
from core.providers.aws_kms.failures import TABLE, Kind, read
from functions.emulators.kms import Fault
from tests.conformance.key_provider import KEY
from tests.providers.aws_kms.stage import CONTEXT, ROLE, Stage

CALLED = {
    "kms": ("Encrypt", "Decrypt", "DescribeKey", "GetKeyRotationStatus", "CreateGrant", "GenerateDataKey", "ReEncrypt"),
    "sts": ("AssumeRole", "GetCallerIdentity"),
}
UNDECLARED = (
    *("AccessDeniedException", "AccessDenied", "ThrottlingException", "Throttling", "ExpiredTokenException"),
    *("ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException"),
    *("SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken", "OptInRequired"),
    *("RequestExpired", "ServiceUnavailable", "InternalFailure", "ValidationException", "ValidationError"),
    *("LimitExceededException", "RegionDisabledException", "NotAuthorized"),
)


def declared_codes() -> set[str]:
    """Every error code that the SDK's model declares for what we call."""
    codes = set()
    for service, operations in CALLED.items():
        model = Session().get_service_model(service)
        for operation in operations:
            for shape in model.operation_model(operation).error_shapes:
                codes |= {shape.name, shape.error_code}
    return codes


def test_the_table_is_complete() -> None:
    codes = declared_codes()
    assert len(codes) > 14
    assert sorted(codes - TABLE.keys()) == []
    assert sorted(set(UNDECLARED) - TABLE.keys()) == []


def test_every_line_of_the_table_is_tried_over_the_wire() -> None:
    tried = {code for code, _, _ in WIRE} - {"SomethingNewException"}
    assert sorted(TABLE.keys() - tried - {code for code, meaning in TABLE.items() if meaning.kind in SAME}) == []


SAME = (Kind.SILENCE, Kind.CREDENTIALS, Kind.OWN)
WIRE: list[tuple[str, type[KeysteadError], str]] = [
    ("NotFoundException", Denial, "not_found"),
    ("RegionDisabledException", Denial, "identity"),
    *(
        (code, Denial, "policy")
        for code in ("AccessDeniedException", "AccessDenied", "NotAuthorized", "InvalidGrantTokenException")
    ),
    *(
        (code, Denial, "unknown")
        for code, meaning in TABLE.items()
        if meaning.cause == "unknown" and "State" not in code
    ),
    ("SomethingNewException", Denial, "unknown"),
    ("DisabledException", Denial, "disabled"),
    ("KMSInvalidStateException", Denial, "unknown"),
    ("InvalidCiphertextException", WrapMismatch, ""),
    ("IncorrectKeyException", WrapMismatch, ""),
    *((code, Silence, "") for code, meaning in TABLE.items() if meaning.kind in (Kind.SILENCE, Kind.DRY_RUN)),
    *((code, OwnFault, "") for code, meaning in TABLE.items() if meaning.kind in (Kind.CREDENTIALS, Kind.OWN)),
]


def outcome(stage: Stage, fault: Fault, *, unwrap: bool = True) -> KeysteadError:
    """What a use of a key under a fault raises, once it has worked."""
    arn = stage.key()
    provider = stage.kms.connect(stage.access(arn))
    wrapped = provider.wrap(Kek(arn), KEY, CONTEXT)
    stage.emulator.clear_calls()
    stage.emulator.add_fault(fault)
    with pytest.raises(KeysteadError) as raised:
        provider.unwrap(wrapped, CONTEXT) if unwrap else provider.wrap(Kek(arn), KEY, CONTEXT)
    assert "as ordered" not in f"{raised.value!r}{raised.value.detail}"
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    stage.emulator.clear_faults()
    assert provider.unwrap(wrapped, CONTEXT).key == KEY
    return raised.value


@pytest.mark.parametrize(("code", "error", "cause"), WIRE, ids=[code for code, _, _ in WIRE])
def test_by_code(stage: Stage, code: str, error: type[KeysteadError], cause: str) -> None:
    found = outcome(stage, Fault("Decrypt", code=code, status=400))
    assert type(found) is error
    attempts = stage.attempts()["Decrypt"] - 1  # the last one is the one that works again
    assert attempts == (3 if TABLE.get(code) and TABLE[code].kind is Kind.SILENCE else 1)
    if isinstance(found, Denial):
        assert (found.cause, found.kms_code) == (cause, code)
        assert found.request_id
    elif isinstance(found, OwnFault):
        assert found.kms_code == code


@pytest.mark.parametrize("code", ["DisabledException", "AccessDeniedException", "KMSInternalException", "New"])
@pytest.mark.parametrize("status", [500, 502, 503])
def test_http_from_500_is_silence_whatever_the_code(stage: Stage, code: str, status: int) -> None:
    assert type(outcome(stage, Fault("Decrypt", code=code, status=status))) is Silence


@pytest.mark.parametrize("code", ["InvalidCiphertextException", "IncorrectKeyException"])
def test_a_wrap_is_never_a_mismatch(stage: Stage, code: str) -> None:
    assert type(outcome(stage, Fault("Encrypt", code=code), unwrap=False)) is Silence


REFUSED = [Fault("DescribeKey", code="AccessDeniedException"), Fault("DescribeKey", code="NotFoundException")]
UNHEARD = [
    Fault("DescribeKey", code="ThrottlingException"),
    Fault("DescribeKey", code="KMSInternalException"),
    Fault("DescribeKey", reset=True),
    Fault("DescribeKey", body=b"<html>", status=200),
]


@pytest.mark.parametrize(
    ("code", "cause", "describe"),
    [
        *(("DisabledException", "disabled", describe) for describe in REFUSED + UNHEARD),
        *(("KMSInvalidStateException", "unknown", describe) for describe in REFUSED),
    ],
)
def test_a_state_that_cannot_be_told(stage: Stage, code: str, cause: str, describe: Fault) -> None:
    stage.emulator.add_fault(describe)
    found = outcome(stage, Fault("Decrypt", code=code))
    assert isinstance(found, Denial)
    assert (found.cause, found.kms_code) == (cause, code)


@pytest.mark.parametrize("describe", UNHEARD)
def test_an_unfit_state_that_nobody_explains_is_silence(stage: Stage, describe: Fault) -> None:
    """In a custom key store an outage looks like this, and nothing says that the key is in none."""
    stage.emulator.add_fault(describe)
    assert type(outcome(stage, Fault("Decrypt", code="KMSInvalidStateException"))) is Silence


@pytest.mark.parametrize("state", ["Creating", "Updating", "Unavailable"])
def test_disabled_is_a_denial_whatever_the_state_is_said_to_be(stage: Stage, state: str) -> None:
    arn = stage.key()
    provider = stage.kms.connect(stage.access(arn))
    wrapped = provider.wrap(Kek(arn), KEY, CONTEXT)
    stage.emulator.set_key_state(arn, state)
    for code, error in (("DisabledException", Denial), ("KMSInvalidStateException", Silence)):
        stage.emulator.add_fault(Fault("Decrypt", code=code))
        with pytest.raises(KeysteadError) as raised:
            provider.unwrap(wrapped, CONTEXT)
        assert type(raised.value) is error
        assert getattr(raised.value, "cause", "disabled") == "disabled"
        stage.emulator.clear_faults()


@pytest.mark.parametrize(
    "custom",
    [
        {"custom_key_store_id": "cks-1234", "origin": "AWS_CLOUDHSM"},
        {"custom_key_store_id": "cks-1234", "origin": "EXTERNAL_KEY_STORE"},
    ],
)
def test_a_custom_key_store_in_trouble_is_silent(stage: Stage, custom: Mapping[str, str]) -> None:
    arn = stage.key(**custom)
    provider = stage.kms.connect(stage.access(arn))
    wrapped = provider.wrap(Kek(arn), KEY, CONTEXT)
    for code, error in (("KMSInvalidStateException", Silence), ("DisabledException", Denial)):
        stage.emulator.add_fault(Fault("Decrypt", code=code))
        with pytest.raises(KeysteadError) as raised:
            provider.unwrap(wrapped, CONTEXT)
        assert type(raised.value) is error
        stage.emulator.clear_faults()
    stage.emulator.disable_key(arn)
    with pytest.raises(Denial) as denied:
        provider.unwrap(wrapped, CONTEXT)
    assert denied.value.cause == "disabled"


PAGE = b"<html><head><title>Blocked</title></head><body>AccessDeniedException</body></html>"


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault("Decrypt", body=PAGE, status=status) for status in (200, 302, 400, 403, 404, 407, 429, 502)),
        *(Fault("Decrypt", body=body, status=200) for body in (b"", b"{}", b"[]", b"null", b"7", b'"x"', b"\xff\xfe")),
        *(Fault("Decrypt", body=body, status=403) for body in (b"", b"{}", b"[]", b"null", b"\xff", b'{"__type": 7}')),
        Fault("Decrypt", body=b'{"Plaintext": 7, "KeyId": []}', status=200),
        Fault("Decrypt", reset=True),
        Fault("Decrypt", lost=True),
        *(
            Fault("Decrypt", corrupt=corrupt)
            for corrupt in ("bytes", "truncated", "no_plaintext", "other_key_id", "plaintext_length")
        ),
    ],
    ids=lambda fault: str(
        fault.corrupt or ("reset" * fault.reset or "lost" * fault.lost or f"{fault.status} {str(fault.body)[2:20]}")
    ),
)
def test_what_is_not_the_services_own_is_silence(stage: Stage, fault: Fault) -> None:
    assert type(outcome(stage, fault)) is Silence


@pytest.mark.parametrize("operation", ["Decrypt", "Encrypt"])
@pytest.mark.parametrize("code", ["AccessDeniedException", "ValidationException", "SomethingNewException", "Throttled"])
@pytest.mark.parametrize("status", [408, 429])
def test_a_status_that_says_busy_is_silence_whatever_the_code(
    stage: Stage, operation: str, code: str, status: int
) -> None:
    found = outcome(stage, Fault(operation, code=code, status=status), unwrap=operation != "Encrypt")
    assert type(found) is Silence


@pytest.mark.parametrize("corrupt", ["bytes", "truncated", "no_ciphertext", "other_key_id"])
def test_a_damaged_answer_to_a_wrap_is_silence(stage: Stage, corrupt: Any) -> None:
    assert type(outcome(stage, Fault("Encrypt", corrupt=corrupt), unwrap=False)) is Silence


@pytest.mark.parametrize(
    ("fault", "error", "cause"),
    [
        (Fault("AssumeRole", code="AccessDenied"), Denial, "identity"),
        (Fault("AssumeRole", code="RegionDisabledException"), Denial, "identity"),
        (Fault("AssumeRole", code="ValidationError"), Denial, "unknown"),
        (Fault("AssumeRole", code="Throttling"), Silence, ""),
        (Fault("AssumeRole", code="AccessDenied", status=503), Silence, ""),
        (Fault("AssumeRole", code="AccessDenied", status=429), Silence, ""),
        (Fault("AssumeRole", code="ExpiredToken"), OwnFault, ""),
        (Fault("AssumeRole", code="InvalidClientTokenId"), OwnFault, ""),
        (Fault("AssumeRole", code="SignatureDoesNotMatch"), OwnFault, ""),
        (Fault("AssumeRole", code="PackedPolicyTooLarge"), OwnFault, ""),
        (Fault("AssumeRole", body=PAGE, status=403), Silence, ""),
        (Fault("AssumeRole", body=PAGE, status=200), Silence, ""),
        (Fault("AssumeRole", body=b"<AssumeRoleResponse/>", status=200), Silence, ""),
        (Fault("AssumeRole", reset=True), Silence, ""),
    ],
    ids=lambda value: value.code or str(value.status) if isinstance(value, Fault) else None,
)
def test_failures_of_the_role(stage: Stage, fault: Fault, error: type[KeysteadError], cause: str) -> None:
    arn = stage.role_key()
    stage.role([arn])
    provider = stage.kms.connect(stage.role_access(arn))
    stage.emulator.add_fault(fault)
    with pytest.raises(KeysteadError) as raised:
        provider.wrap(Kek(arn), KEY, CONTEXT)
    assert type(raised.value) is error
    assert getattr(raised.value, "cause", "") == cause
    assert "Encrypt" not in stage.made()
    stage.emulator.clear_faults()
    assert provider.unwrap(provider.wrap(Kek(arn), KEY, CONTEXT), CONTEXT).key == KEY
    assert {call.principal_arn for call in stage.emulator.calls if call.operation == "Encrypt"} == {ROLE}


def client_error(operation: str, code: str, status: int = 400, request_id: str = "r-1") -> ClientError:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": {"x-amzn-requestid": request_id} if request_id else {}}
    return ClientError({"Error": {"Code": code, "Message": "CANARY"}, "ResponseMetadata": metadata}, operation)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (client_error("Decrypt", "com.amazonaws.kms#NotFoundException"), Kind.DENIAL, "NotFoundException"),
        (client_error("Decrypt", "NotFoundException:http://internal/"), Kind.DENIAL, "NotFoundException"),
        (client_error("Decrypt", "NotFoundException", request_id=""), Kind.SILENCE, ""),
        (client_error("Decrypt", "NotFoundException", request_id="<script>"), Kind.SILENCE, ""),
        (client_error("Decrypt", "404"), Kind.SILENCE, ""),
        (client_error("Decrypt", "a code with CANARY"), Kind.SILENCE, ""),
        (client_error("Decrypt", "NotFoundException", status=301), Kind.SILENCE, ""),
        # The SDK's own credential chain assumes roles too; its refusal says nothing of the tenant.
        (client_error("AssumeRole", "AccessDenied"), Kind.CREDENTIALS, "AccessDenied"),
        (KeyError("CANARY"), Kind.SILENCE, ""),
        (UnicodeDecodeError("utf-8", b"CANARY", 0, 1, "x"), Kind.SILENCE, ""),
    ],
)
def test_what_an_exception_means(error: Exception, kind: Kind, code: str) -> None:
    found = read(error, "Decrypt")
    assert (found.kind, found.code) == (kind, code)
    assert "CANARY" not in f"{found!r}{found.signal()!r}"
