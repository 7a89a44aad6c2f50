"""A tenant's key in AWS KMS, from the service's side: enabled, withdrawn in every way there is, and reinstated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from core.domain.states import State
from core.errors import KeyRevoked, KeysteadError, KeyUnreachable, VendorFault
from core.service.access import Caller, Permission
from core.service.results import DecryptItem
from core.service.revocation.pauses import DENIED_FOR, SILENT_FOR
from functions.emulators.faults import Fault
from tests.byok.deployment import Deployment, filled

ROLE = "arn:aws:iam::111122223333:role/for-keystead"
ELSEWHERE = {"AWS": "arn:aws:iam::444455556666:root"}
NOBODY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": ELSEWHERE, "Action": ["kms:*"], "Resource": "*"}],
}
NOBODY_TRUSTED = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": ELSEWHERE, "Action": "sts:AssumeRole"}],
}


@dataclass(frozen=True)
class Way:
    """One way to withdraw a key, how it is taken back, and the cause of the denial that it brings about."""

    role: bool
    withdraw: Callable[[Deployment, str], None]
    reinstate: Callable[[Deployment, str], None] | None
    cause: str


def reset_policy(deployment: Deployment, arn: str) -> None:
    deployment.emulator.put_key_policy(arn, filled(deployment.kit("acme")["key_policy"], "111122223333"))


def reset_trust(deployment: Deployment, arn: str) -> None:
    deployment.emulator.update_trust_policy(ROLE, deployment.kit("acme")["trust_policy"])


def cancel_deletion(deployment: Deployment, arn: str) -> None:
    deployment.emulator.cancel_key_deletion(arn)
    deployment.emulator.enable_key(arn)


WAYS = {
    "key disabled": Way(
        False, lambda d, arn: d.emulator.disable_key(arn), lambda d, arn: d.emulator.enable_key(arn), "disabled"
    ),
    "deletion scheduled": Way(
        False,
        lambda d, arn: d.emulator.schedule_key_deletion(arn, days=7),
        cancel_deletion,
        "pending_deletion",
    ),
    "key deleted": Way(False, lambda d, arn: d.emulator.delete_key(arn), None, "not_found"),
    "key policy changed": Way(False, lambda d, arn: d.emulator.put_key_policy(arn, NOBODY), reset_policy, "policy"),
    "key behind a role disabled": Way(
        True, lambda d, arn: d.emulator.disable_key(arn), lambda d, arn: d.emulator.enable_key(arn), "disabled"
    ),
    "trust policy changed": Way(
        True, lambda d, arn: d.emulator.update_trust_policy(ROLE, NOBODY_TRUSTED), reset_trust, "identity"
    ),
    "role deleted": Way(True, lambda d, arn: d.emulator.delete_role(ROLE), None, "identity"),
}


def enabled(deployment: Deployment, *, role: bool) -> str:
    deployment.tenant("acme")
    if role:
        _, arn = deployment.new_role_and_key("acme", "for-keystead")
        deployment.configure("acme", arn, role_arn=ROLE)
    else:
        arn = deployment.new_key("acme")
        deployment.configure("acme", arn)
    assert deployment.app.tenants.read("acme").state is State.ACTIVE
    return arn


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_after_the_lease_nothing_is_served_and_nothing_is_lost(deployment: Deployment, way: Way) -> None:
    arn = enabled(deployment, role=way.role)
    app = deployment.app
    message = app.encryption.encrypt("acme", b"secret", {})
    way.withdraw(deployment, arn)
    deployment.clock.advance(61)
    with pytest.raises(KeyRevoked):
        app.encryption.decrypt("acme", message, {})
    with pytest.raises(KeyRevoked):
        app.encryption.encrypt("acme", b"more", {})
    record = app.tenants.read("acme")
    assert (record.state, record.cause) == (State.HOLD, way.cause)
    if way.reinstate is None:
        return
    way.reinstate(deployment, arn)
    with pytest.raises(KeyRevoked):
        app.encryption.decrypt("acme", message, {})  # requests do not ask again at once
    deployment.clock.advance(DENIED_FOR)
    assert app.encryption.decrypt("acme", message, {}) == b"secret"  # each call proves the key while it is on hold
    assert app.tenants.read("acme").state is State.HOLD
    assert app.checks.check("acme", forced=True) is State.ACTIVE
    record = app.tenants.read("acme")
    assert (record.state, record.cause, record.withdrawal) == (State.ACTIVE, "", None)
    assert app.encryption.decrypt("acme", message, {}) == b"secret"


@pytest.mark.parametrize(
    ("fault", "error", "inside", "beyond"),
    [
        (Fault(operation="Decrypt", code="ThrottlingException"), KeyUnreachable, State.DEGRADED, State.UNREACHABLE),
        (
            Fault(operation="Decrypt", code="KMSInternalException", status=500),
            KeyUnreachable,
            State.DEGRADED,
            State.UNREACHABLE,
        ),
        (
            Fault(operation="Decrypt", code="DependencyTimeoutException"),
            KeyUnreachable,
            State.DEGRADED,
            State.UNREACHABLE,
        ),
        # Trouble of our own marks nobody.
        (Fault(operation="Decrypt", code="ExpiredTokenException"), VendorFault, State.ACTIVE, State.ACTIVE),
        (Fault(operation="Decrypt", code="UnrecognizedClientException"), VendorFault, State.ACTIVE, State.ACTIVE),
    ],
    ids=lambda value: getattr(value, "code", ""),
)
def test_silence_is_ridden_out_within_the_grace_only(
    deployment: Deployment, fault: Fault, error: type[KeysteadError], inside: State, beyond: State
) -> None:
    enabled(deployment, role=False)
    app = deployment.app
    message = app.encryption.encrypt("acme", b"secret", {})
    deployment.emulator.add_fault(fault)
    deployment.clock.advance(61)
    assert app.encryption.decrypt("acme", message, {}) == b"secret"
    assert app.tenants.read("acme").state is inside
    deployment.clock.advance(901)
    with pytest.raises(error):
        app.encryption.decrypt("acme", message, {})
    assert app.tenants.read("acme").state is inside
    assert app.checks.check("acme", forced=True) is beyond
    with pytest.raises(error):
        app.encryption.decrypt("acme", message, {})
    deployment.emulator.clear_faults()
    deployment.clock.advance(SILENT_FOR)
    assert app.encryption.decrypt("acme", message, {}) == b"secret"
    assert app.tenants.read("acme").state is State.ACTIVE  # what serves a request is not unreachable


def test_an_answer_that_nobody_foresaw_refuses_and_alarms(deployment: Deployment) -> None:
    enabled(deployment, role=False)
    app = deployment.app
    message = app.encryption.encrypt("acme", b"secret", {})
    deployment.emulator.add_fault(Fault(operation="Decrypt", code="BrandNewException"))
    deployment.clock.advance(61)
    with pytest.raises(KeyRevoked):
        app.encryption.decrypt("acme", message, {})
    record = app.tenants.read("acme")
    assert (record.state, record.cause) == (State.HOLD, "unknown")
    alarms = [data for kind, _, data in deployment.events.events if kind == "keystead.alarm.unknown_kms_answer"]
    assert [alarm["about"] for alarm in alarms] == ["BrandNewException"]


def test_our_own_trouble_alarms_the_operator_and_marks_nobody(deployment: Deployment) -> None:
    enabled(deployment, role=False)
    deployment.emulator.add_fault(Fault(operation="Decrypt", code="UnrecognizedClientException"))
    deployment.clock.advance(61)
    with pytest.raises(VendorFault):
        deployment.process().encryption.encrypt("acme", b"x", {})
    assert deployment.app.tenants.read("acme").state is State.ACTIVE
    assert ("keystead.alarm.own_access", "_system") in [
        (kind, subject) for kind, subject, _ in deployment.events.events
    ]


def test_one_request_waits_for_the_kms_once(deployment: Deployment) -> None:
    """A batch that names many versions under a KMS that does not answer is not held for a time-out each."""
    deployment.tenant("acme")
    deployment.configure("acme", deployment.new_key("acme"))
    messages = []
    for _ in range(4):
        messages.append(deployment.app.encryption.encrypt("acme", b"x", {}))
        deployment.app.rotation.rotate("acme")
    caller = Caller("app", "test", "acme", frozenset({Permission.DATA_DECRYPT}))
    deployment.emulator.add_fault(Fault(operation="Decrypt", code="ThrottlingException"))
    app = deployment.process()
    asked_before = len(deployment.emulator.calls)
    deployment.clock.pace = 0.1
    results = app.keystead.decrypt_many(caller, "acme", [DecryptItem(message, {}) for message in messages])
    assert [type(result) for result in results] == [KeyUnreachable] * 4
    asked = [call.context["type"] for call in deployment.emulator.calls[asked_before:]]
    assert asked
    assert len(set(asked)) < len(messages)  # the first ones used the time up; the others were not asked
