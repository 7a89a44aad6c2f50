"""`AwsKms`: what it refuses before anything is sent, whose credentials it uses, and what it never tells."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import replace

import pytest

from core.domain.kek import Kek, KeyAccess, WrappedKey
from core.errors import InternalError, InvalidRequest, KeysteadError, OwnFault, Silence, WrapMismatch
from core.providers.aws_kms import AwsKms, AwsSettings
from core.providers.aws_kms.clients import Credentials
from core.providers.aws_kms.sessions import SessionKey
from functions.emulators.kms import DEFAULT_REGION, LOCAL_PRINCIPAL, Fault
from tests.conformance.key_provider import KEY
from tests.providers.aws_kms.stage import CONTEXT, EXTERNAL_ID, PLATFORM_ACCOUNT, Stage, StageClock

KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
ARN = f"arn:aws:kms:{DEFAULT_REGION}:111122223333:key/{KEY_ID}"
ROLE = "arn:aws:iam::111122223333:role/r"


def nowhere(**more: object) -> AwsKms:
    """A connector that reaches nobody."""
    settings = AwsSettings(frozenset({DEFAULT_REGION}), endpoint_url="http://127.0.0.1:9", access_key_id="AKIDEXAMPLE")
    return AwsKms(replace(settings, **more), StageClock())  # type: ignore[arg-type]  # a table of fields


@pytest.mark.parametrize(
    ("locator", "role", "external_id", "settings"),
    [
        ("arn:aws:kms:eu-central-1:111122223333:alias/byok", "", "x", {}),
        ("local:platform", "", "x", {}),
        (ARN.replace(DEFAULT_REGION, "eu-west-1"), "", "x", {}),
        (ARN, "", "x", {"regions": frozenset()}),
        (ARN, ROLE, "", {}),
        (ARN, "arn:aws:iam::111122223333:user/u", "x", {}),
        (ARN, "arn:aws-cn:iam::111122223333:role/r", "x", {}),
        (ARN, "", "x", {"accounts": frozenset({"111122223333"})}),
        (ARN, "", "x", {"principal": "arn:aws:iam::111122223333:role/keystead"}),
        (ARN, "arn:aws:iam::444455556666:role/r", "x", {"accounts": frozenset({"444455556666"})}),
    ],
)
def test_what_cannot_be_connected_to(locator: str, role: str, external_id: str, settings: dict[str, object]) -> None:
    access = replace(Stage.access(None, locator), role_arn=role, external_id=external_id)  # type: ignore[arg-type]  # no stage needed
    with pytest.raises(InvalidRequest):
        nowhere(**settings).connect(access)


@pytest.mark.parametrize(
    ("role", "settings", "refused"),
    [
        ("", {"accounts": frozenset({"111122223333"})}, False),
        (ROLE, {"accounts": frozenset({"111122223333"})}, False),
        ("", {"principal": "arn:aws:iam::111122223333:role/keystead"}, True),
        ("arn:aws:iam::444455556666:role/r", {"principal": "arn:aws:iam::444455556666:role/keystead"}, True),
    ],
)
def test_a_canary_lies_in_any_account_but_that_of_our_identity(
    role: str, settings: dict[str, object], refused: bool
) -> None:
    access = KeyAccess("_system", 1, Kek(ARN), role, "x" if role else "")
    kms = nowhere(**settings)
    if refused:
        with pytest.raises(InvalidRequest):
            kms.connect(access)
    else:
        kms.connect(access)


def test_the_account_found_by_asking_counts_as_our_own(stage: Stage) -> None:
    access = stage.access(stage.key(account=PLATFORM_ACCOUNT))
    stage.kms.connect(access)
    stage.kms.setup_kit("acme", EXTERNAL_ID)
    with pytest.raises(InvalidRequest):
        stage.kms.connect(access)


def test_another_kek_is_refused_before_anything_is_sent(stage: Stage) -> None:
    arn, other = stage.key(), Kek(stage.key())
    provider = stage.kms.connect(stage.access(arn))
    uses: list[Callable[[], object]] = [
        lambda: provider.wrap(other, KEY, CONTEXT),
        lambda: provider.unwrap(WrappedKey(other, b"x" * 100), CONTEXT),
        lambda: provider.describe(other),
    ]
    for use in uses:
        with pytest.raises(InternalError):
            use()
    assert stage.made() == []


@pytest.mark.parametrize("length", [0, 6145])
def test_a_ciphertext_that_kms_would_not_take(stage: Stage, length: int) -> None:
    arn = stage.key()
    with pytest.raises(WrapMismatch):
        stage.kms.connect(stage.access(arn)).unwrap(WrappedKey(Kek(arn), bytes(length)), CONTEXT)
    assert stage.made() == []


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"secret_access_key": "wrong"}, "InvalidSignatureException"),
        ({"access_key_id": "unknown"}, "UnrecognizedClientException"),
    ],
)
def test_trouble_with_our_own_credentials(stage: Stage, settings: dict[str, str], code: str) -> None:
    arn = stage.key()
    kms = stage.connector(replace(stage.settings, **settings))  # type: ignore[arg-type]  # a table of fields
    with pytest.raises(OwnFault) as raised:
        kms.connect(stage.access(arn)).wrap(Kek(arn), KEY, CONTEXT)
    assert raised.value.kms_code == code
    with pytest.raises(OwnFault):
        kms.setup_kit("acme", EXTERNAL_ID)
    kms.close()


def test_without_credentials_of_its_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    arn = stage.key()
    kms = stage.connector(replace(stage.settings, access_key_id="", secret_access_key=""))
    with pytest.raises(OwnFault) as raised:
        kms.connect(stage.access(arn)).wrap(Kek(arn), KEY, CONTEXT)
    assert raised.value.kms_code == ""
    assert stage.made() == []
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", stage.settings.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", stage.settings.secret_access_key)
    provider = kms.connect(stage.access(arn))
    assert provider.unwrap(provider.wrap(Kek(arn), KEY, CONTEXT), CONTEXT).key == KEY
    kms.close()


def test_an_endpoint_in_the_environment_is_ignored(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", stage.settings.endpoint_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", stage.settings.endpoint_url)
    arn = stage.key()
    stage.time_left = 0.2
    kms = stage.connector(replace(stage.settings, endpoint_url=""))
    client = kms.connect(stage.access(arn))._session._kms._made()
    assert client.meta.endpoint_url == f"https://kms.{DEFAULT_REGION}.amazonaws.com"
    assert kms._sts_in(DEFAULT_REGION)._made().meta.endpoint_url == f"https://sts.{DEFAULT_REGION}.amazonaws.com"
    kms.close()


def test_secrets_are_never_told(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("botocore").setLevel(logging.INFO)  # at DEBUG it writes down whole requests
    arn = stage.role_key()
    stage.role([arn])
    access = stage.role_access(arn, lease=3600)
    provider = stage.kms.connect(access)
    wrapped = provider.wrap(Kek(arn), KEY, CONTEXT)
    told = [repr(provider), repr(stage.settings), repr(stage.kms), repr(SessionKey.of(access)), repr(wrapped)]
    told += [repr(Credentials("AKID-CANARY", "SECRET-CANARY", "TOKEN-CANARY")), repr(provider._session)]
    for fault in (
        *(
            Fault("Decrypt", code=code)
            for code in ("AccessDeniedException", "DisabledException", "ThrottlingException")
        ),
        *(Fault("Decrypt", corrupt=corrupt) for corrupt in ("bytes", "truncated", "plaintext_length")),
        Fault("Decrypt", reset=True),
        Fault("AssumeRole", code="AccessDenied"),
        Fault("AssumeRole", body=EXTERNAL_ID.encode(), status=403),
    ):
        stage.emulator.add_fault(fault)
        stage.clock.ahead += 1000
        with pytest.raises(KeysteadError) as raised:
            provider.unwrap(wrapped, CONTEXT)
        told += ["".join(traceback.format_exception(raised.value)), repr(raised.value), raised.value.detail]
        stage.emulator.clear_faults()
    told += [str(stage.kms.examine(access, CONTEXT).to_body()), caplog.text]
    sessions = stage.emulator.identities.sessions.values()
    secrets = [EXTERNAL_ID, "CANARY", stage.settings.secret_access_key, KEY.hex(), repr(KEY)[2:-1], "bk-1"]
    secrets += [secret for session in sessions for secret in (session.secret, session.token)]
    assert len(secrets) > 12
    assert [(secret, text) for secret in secrets for text in told if secret in text] == []


def test_close_forgets_everything(stage: Stage) -> None:
    arn = stage.role_key()
    stage.role([arn])
    access = stage.role_access(arn, lease=3600)
    for made in (1, 2):
        stage.kms.connect(access).wrap(Kek(arn), KEY, CONTEXT)
        assert stage.attempts()["AssumeRole"] == made
        stage.kms.close()


def test_setup_kit_without_an_answer() -> None:
    with pytest.raises(Silence):
        nowhere().setup_kit("acme", EXTERNAL_ID)
    assert nowhere(principal=LOCAL_PRINCIPAL).setup_kit("acme", EXTERNAL_ID)["identity"] == LOCAL_PRINCIPAL
