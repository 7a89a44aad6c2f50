"""What the services' refusals, silences and damaged answers become, over the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.domain.kek import WrappedKey
from core.errors import Denial, KeysteadError, OwnFault, Silence, WrapMismatch
from core.providers.azure_key_vault.base64url import base64url
from core.providers.azure_key_vault.failures import TOKEN, UNWRAP, WRAP
from core.providers.azure_key_vault.operations import GET
from tests.conformance.key_provider import KEY
from tests.providers.azure_key_vault.failure_rows import (
    ENTRA_ROWS,
    NO_ANSWER,
    VAULT_ROWS,
    Outcome,
    entra_body,
    vault_body,
)
from tests.providers.azure_key_vault.stage import CONTEXT, DIRECTORY, SECRET, Stage


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


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("operation", [UNWRAP, WRAP, GET])
def test_retried_and_never_a_denial(stage: Stage, operation: str, status: int) -> None:
    found, attempts = used(stage, WRAP if operation == GET else operation, status=status)
    assert type(found) is Silence
    assert f"HTTP {status}" in found.detail  # not that time was up: the SDK, which knows no budget, does not retry
    assert attempts[WRAP if operation == GET else operation] == 3


def test_a_conflict_is_not_asked_again_and_is_no_denial(stage: Stage) -> None:
    found, attempts = used(stage, UNWRAP, status=409)
    assert (type(found), attempts[UNWRAP]) == (Silence, 1)


@pytest.mark.parametrize(("status", "code"), [(400, "InvalidApiVersion"), (405, "MethodNotAllowed"), (413, "TooLong")])
@pytest.mark.parametrize("operation", [UNWRAP, WRAP, GET])
def test_a_fault_of_our_request_is_ours(stage: Stage, operation: str, status: int, code: str) -> None:
    found, attempts = used(stage, WRAP if operation == GET else operation, status=status, code=code)
    assert isinstance(found, OwnFault)
    assert found.kms_code == code
    assert attempts[WRAP if operation == GET else operation] == 1


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


WIRE = {(error, expected): (error, number, expected) for error, number, expected in ENTRA_ROWS}


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
