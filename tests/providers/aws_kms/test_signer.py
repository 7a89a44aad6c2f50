"""`aws_kms.signer`: the signer's contract over the wire, and what a KMS, or something in front of it, does wrong."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from core.domain import jws
from core.errors import Denial, InternalError, InvalidRequest, OwnFault, Silence
from core.providers.aws_kms.calls import Calls
from core.providers.aws_kms.failures import TABLE
from core.providers.aws_kms.signer import AwsSigner
from functions.emulators.kms import LOCAL_ACCOUNT, LOCAL_PRINCIPAL, Fault
from tests.conformance.signer import PAYLOAD, SignerContract, header, verified
from tests.providers.aws_kms.stage import Stage

EC: dict[str, Any] = {"spec": "ECC_NIST_P256", "usage": "SIGN_VERIFY", "rotation": False}


def key(stage: Stage, **more: Any) -> str:
    """A key of the platform's own account, which its identity policies let it use."""
    return stage.emulator.create_key(account=LOCAL_ACCOUNT, **{**EC, **more})


def signer(stage: Stage, arn: str = "", **more: Any) -> AwsSigner:
    """Another process's signer, as it were; it asks again without a pause, which would take most of the time."""
    made = AwsSigner(arn or key(stage), stage.settings, stage.clock, **{"remaining": lambda: stage.time_left, **more})
    made._session._calls = Calls(pause=lambda _: None)
    return made


class TestContract(SignerContract):
    @pytest.fixture(autouse=True)
    def _set_up(self, stage: Stage) -> None:
        self.stage = stage
        self.signer = signer(stage)

    def rotate(self) -> None:
        self.signer = signer(self.stage, retired=self.signer.jwks()["keys"])

    def silence(self) -> None:
        self.stage.emulator.add_fault(Fault(reset=True))


def test_one_call_signs_a_statement_of_any_size(stage: Stage) -> None:
    arn = key(stage)
    under_test = signer(stage, arn)
    for size in (0, 10, 1_000_000):
        payload = {"text": "x" * size}
        token = under_test.sign(payload)
        assert jws.verify(token, under_test.jwks()) == payload == verified(token, under_test.jwks())
        assert len(urlsafe_b64decode(token.rpartition(".")[2] + "==")) == 64
        assert header(token) == {"alg": "ES256", "kid": under_test.jwks()["keys"][0]["kid"]}
    assert stage.made() == ["GetPublicKey", "Sign", "Sign", "Sign"]
    assert {(call.principal_arn, call.key_arn) for call in stage.emulator.calls} == {(LOCAL_PRINCIPAL, arn)}


def test_two_processes_publish_the_same_key(stage: Stage) -> None:
    arn = key(stage)
    one, other = signer(stage, arn), signer(stage, arn)
    assert one.jwks() == other.jwks()
    assert verified(one.sign(PAYLOAD), other.jwks()) == PAYLOAD


Arrange = Callable[[Stage, str], object]
REFUSALS: dict[str, tuple[Arrange, type[Exception], str, str]] = {
    "disabled": (lambda s, arn: s.emulator.disable_key(arn), Denial, "disabled", "DisabledException"),
    "pending deletion": (
        lambda s, arn: s.emulator.schedule_key_deletion(arn),
        Denial,
        "pending_deletion",
        "KMSInvalidStateException",
    ),
    "deleted": (lambda s, arn: s.emulator.delete_key(arn), Denial, "not_found", "NotFoundException"),
    "not allowed": (
        lambda s, arn: s.emulator.put_key_policy(
            arn,
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*"}],
            },
        ),
        Denial,
        "policy",
        "AccessDeniedException",
    ),
    "a use it is not for": (
        lambda s, arn: s.emulator.add_fault(Fault(code="InvalidKeyUsageException")),
        Denial,
        "unknown",
        "InvalidKeyUsageException",
    ),
    "our credentials": (
        lambda s, arn: s.emulator.add_fault(Fault(code="UnrecognizedClientException")),
        OwnFault,
        "",
        "UnrecognizedClientException",
    ),
    "throttled": (lambda s, arn: s.emulator.add_fault(Fault(code="ThrottlingException")), Silence, "", ""),
    "in trouble": (lambda s, arn: s.emulator.add_fault(Fault(code="KMSInternalException")), Silence, "", ""),
    "no answer": (lambda s, arn: s.emulator.add_fault(Fault(reset=True)), Silence, "", ""),
    "an answer that is lost": (lambda s, arn: s.emulator.add_fault(Fault(lost=True)), Silence, "", ""),
    "a proxy's page": (lambda s, arn: s.emulator.add_fault(Fault(body=b"<html>")), Silence, "", ""),
    "a proxy's 403": (lambda s, arn: s.emulator.add_fault(Fault(body=b"<html>", status=403)), Silence, "", ""),
}


@pytest.mark.parametrize("used", [False, True], ids=["at first", "later"])
@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_are_told_from_silence(stage: Stage, case: str, used: bool) -> None:
    arrange, error, cause, code = REFUSALS[case]
    arn = key(stage)
    under_test = signer(stage, arn)
    published = under_test.jwks() if used else None
    arrange(stage, arn)
    with pytest.raises(error) as raised:
        under_test.sign(PAYLOAD)
    assert type(raised.value) is error
    found = raised.value
    assert (getattr(found, "cause", ""), getattr(found, "kms_code", "")) == (cause, code)
    assert bool(getattr(found, "request_id", "")) == (error is Denial)
    if published is not None:
        assert under_test.jwks() == published
        return
    with pytest.raises(error) as raised:
        under_test.jwks()
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("made", "code"),
    [
        ({"spec": "RSA_2048"}, ""),
        ({"spec": "ECC_NIST_P384"}, ""),
        ({"usage": "KEY_AGREEMENT"}, ""),
        ({"spec": "SYMMETRIC_DEFAULT", "usage": "ENCRYPT_DECRYPT"}, "UnsupportedOperationException"),
    ],
    ids=lambda found: "-".join(found.values()) if isinstance(found, dict) else None,
)
def test_a_key_of_another_kind_is_refused(stage: Stage, made: dict[str, str], code: str) -> None:
    under_test = signer(stage, key(stage, **made))
    for use in (lambda: under_test.sign(PAYLOAD), under_test.jwks):
        with pytest.raises(Denial) as raised:
            use()
        assert (raised.value.cause, raised.value.kms_code) == ("unknown", code)
    assert set(stage.made()) == {"GetPublicKey"}


@pytest.mark.parametrize("corrupt", ["signature", "other_key_id", "truncated", "bytes"])
def test_a_wrong_answer_is_never_given_out(stage: Stage, corrupt: Any) -> None:
    under_test = signer(stage)
    under_test.jwks()
    stage.emulator.add_fault(Fault("Sign", corrupt=corrupt))
    with pytest.raises(Silence) as raised:
        under_test.sign(PAYLOAD)
    assert type(raised.value) is Silence
    stage.emulator.clear_faults()
    assert verified(under_test.sign(PAYLOAD), under_test.jwks()) == PAYLOAD


def test_a_wrong_signature_is_asked_for_again(stage: Stage) -> None:
    under_test = signer(stage)
    stage.emulator.add_fault(Fault("Sign", corrupt="signature", times=2))
    assert verified(under_test.sign(PAYLOAD), under_test.jwks()) == PAYLOAD
    stage.emulator.add_fault(Fault("Sign", corrupt="signature"))
    with pytest.raises(Silence):
        under_test.sign(PAYLOAD)
    assert stage.made("Sign") == ["Sign"] * 6


@pytest.mark.parametrize("corrupt", ["public_key", "other_key_id", "truncated", "bytes"])
def test_a_wrong_public_key_signs_nothing_and_is_given_up(stage: Stage, corrupt: Any) -> None:
    arn = key(stage)
    under_test = signer(stage, arn)
    stage.emulator.add_fault(Fault("GetPublicKey", corrupt=corrupt))
    with pytest.raises(Silence):
        under_test.sign(PAYLOAD)
    stage.emulator.clear_faults()
    token = under_test.sign(PAYLOAD)
    assert verified(token, under_test.jwks()) == PAYLOAD
    assert under_test.jwks() == signer(stage, arn).jwks()


def test_the_former_key_stays_in_the_set(stage: Stage) -> None:
    old = signer(stage)
    token = old.sign(PAYLOAD)
    new = signer(stage, retired=old.jwks()["keys"])
    assert [found["kid"] for found in new.jwks()["keys"]] == [header(new.sign({}))["kid"], header(token)["kid"]]
    assert jws.verify(token, new.jwks()) == PAYLOAD
    again = signer(stage, new._arn, retired=new.jwks()["keys"])
    assert again.jwks() == new.jwks()


def test_no_time_is_left(stage: Stage) -> None:
    under_test = signer(stage)
    stage.time_left = 0
    for use in (lambda: under_test.sign(PAYLOAD), under_test.jwks):
        with pytest.raises(Silence, match="no time"):
            use()
    assert stage.made() == []


def test_what_hangs_ends_with_the_time(stage: Stage) -> None:
    under_test = signer(stage)
    stage.time_left = 0.2
    stage.emulator.add_fault(Fault(hang=True))
    with pytest.raises(Silence, match="time was up"):
        under_test.sign(PAYLOAD)


def test_a_payload_that_cannot_be_signed_is_not_sent(stage: Stage) -> None:
    with pytest.raises(InternalError):
        signer(stage).sign({"x": object()})
    assert stage.made() == []


def test_nobody_without_permission_signs(stage: Stage) -> None:
    stage.emulator.add_principal("another", "secret", "arn:aws:iam::999999999999:role/another", policies={})
    settings = replace(stage.settings, access_key_id="another", secret_access_key="secret")
    with pytest.raises(Denial) as raised:
        AwsSigner(key(stage), settings, stage.clock).sign(PAYLOAD)
    assert (raised.value.cause, raised.value.kms_code) == ("policy", "AccessDeniedException")


@pytest.mark.parametrize("arn", ["", "alias/signing", "arn:aws:kms:eu-central-1:999999999999:alias/signing", "x"])
def test_what_names_no_key(stage: Stage, arn: str) -> None:
    with pytest.raises(InvalidRequest):
        AwsSigner(arn, stage.settings, stage.clock)


def test_retired_keys_are_read_at_the_start(stage: Stage) -> None:
    with pytest.raises(InvalidRequest, match="retired"):
        signer(stage, retired=[{"kty": "RSA"}])


def test_every_error_of_these_operations_is_in_the_table() -> None:
    from botocore.session import Session

    model = Session().get_service_model("kms")
    declared = {shape.name for name in ("Sign", "GetPublicKey") for shape in model.operation_model(name).error_shapes}
    assert len(declared) > 8
    assert sorted(declared - TABLE.keys()) == []


def test_nothing_is_kept_open(stage: Stage) -> None:
    under_test = signer(stage)
    under_test.sign(PAYLOAD)
    under_test.close()
    assert verified(under_test.sign(PAYLOAD), under_test.jwks()) == PAYLOAD
    under_test.close()
