"""Secrets planted in keys, tokens, plaintext and credentials never reach a log, an error, audit, an event or a repr."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from core.domain.key_target import KeyTarget
from core.providers.aws_kms.provider import AwsKeyProvider
from core.service.results import DecryptItem, EncryptItem
from functions.emulators.faults import Fault
from functions.emulators.kms import LOCAL_SECRET_ACCESS_KEY
from tests.byok.canaries import OWNER, PLAINTEXT, forms, spied, written
from tests.byok.deployment import Deployment

ROLE = "for-keystead"


@pytest.fixture
def branch_keys(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every plain key that AWS KMS handed to the service or took from it."""
    return spied(AwsKeyProvider, monkeypatch)


def life(deployment: Deployment) -> Iterator[Callable[[], object]]:
    """Everything that can happen to a tenant with a key of its own, good and bad."""
    app, emulator = deployment.app, deployment.emulator
    role, arn = deployment.new_role_and_key("acme", ROLE)
    other = deployment.new_key("acme")
    keystead = app.keystead
    context = {"app": "billing"}
    yield lambda: deployment.configure("acme", other, role_arn=role)  # the wrong role for this key
    yield lambda: deployment.configure("acme", arn, role_arn=role)
    message = app.encryption.encrypt("acme", PLAINTEXT, context)
    yield lambda: keystead.encrypt_many(OWNER, "acme", [EncryptItem(PLAINTEXT, context)] * 2)
    yield lambda: keystead.decrypt_many(OWNER, "acme", [DecryptItem(message, {"app": "x"}), DecryptItem(b"no", {})])
    yield lambda: keystead.new_data_key(OWNER, "acme", context)
    yield lambda: keystead.rotate(OWNER, "acme")
    yield lambda: keystead.key_status(OWNER, "acme")
    yield lambda: keystead.key_setup(OWNER, "acme", "aws_kms")
    yield lambda: keystead.key_export(OWNER, "acme")
    for operation in ("Encrypt", "Decrypt", "AssumeRole"):
        for code, status in (
            ("AccessDeniedException", 400),
            ("ThrottlingException", 400),
            ("KMSInternalException", 500),
            ("SomethingNewException", 400),
            ("ExpiredTokenException", 400),
            ("InvalidCiphertextException", 400),
        ):
            emulator.clear_faults()
            emulator.add_fault(Fault(operation=operation, code=code, status=status))
            deployment.clock.advance(1000)
            yield lambda: app.encryption.decrypt("acme", message, context)
            yield lambda: keystead.rotate(OWNER, "acme")
        yield lambda: keystead.validate_key(OWNER, "acme", KeyTarget(arn, role))
    emulator.clear_faults()
    yield lambda: deployment.configure("acme", other)
    emulator.disable_key(other)
    deployment.clock.advance(1000)
    yield lambda: app.encryption.decrypt("acme", message, context)
    yield lambda: deployment.configure("acme", arn, role_arn=role)


def test_no_canary_ever_sings(
    deployment: Deployment, branch_keys: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    deployment.tenant("acme")
    # All loggers at their most talkative: at DEBUG the SDK writes the bodies of its requests.
    with caplog.at_level(logging.DEBUG):
        everything = written(deployment, life(deployment), caplog)
    assert len(set(branch_keys)) > 5
    for secret in (PLAINTEXT, *set(branch_keys), *deployment.kms.keys.values()):
        for form in forms(secret):
            assert form not in everything
    assert LOCAL_SECRET_ACCESS_KEY not in everything
    sessions = deployment.emulator.identities.sessions.values()
    assert len(sessions) > 5
    for session in sessions:
        assert session.secret not in everything
        assert session.token not in everything
