"""The one gate: every public operation is authorised and leaves exactly one record, refusals included."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest

from core.domain.key_policy import PolicyChange
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.domain.tenants import SYSTEM
from core.domain.withdrawals import Withdrawal, instant
from core.errors import AccessDenied, Denial, InternalError, KeyUnreachable, MessageInvalid, Silence
from core.service.access import Caller, Op, Operation, Permission
from core.service.key_operations import KeyOperations
from core.service.keystead import Keystead
from core.service.results import DecryptItem, EncryptItem
from tests.service.world import OPERATOR, OTHER_KEK, World, caller


@dataclass(frozen=True)
class Prepared:
    """Arguments made beforehand, so that a call under test does nothing but call."""

    message: bytes
    granted: bytes
    receipt: str


Call = Callable[[Keystead, Caller, Prepared], object]

TARGET = KeyTarget(OTHER_KEK.locator, activation="2100-01-01T00:00:00.000000Z")
CALLS: dict[str, tuple[Operation, Call]] = {
    "create_tenant": (Op.TENANT_CREATE, lambda k, c, w: k.create_tenant(c, "acme")),
    "list_tenants": (Op.TENANT_LIST, lambda k, c, w: k.list_tenants(c)),
    "show_tenant": (Op.TENANT_SHOW, lambda k, c, w: k.show_tenant(c, "acme")),
    "key_status": (Op.KEY_STATUS, lambda k, c, w: k.key_status(c, "acme")),
    "update_tenant": (Op.TENANT_UPDATE, lambda k, c, w: k.update_tenant(c, "acme", display_name="Acme")),
    "validate_key": (Op.KEY_VALIDATE, lambda k, c, w: k.validate_key(c, "acme", TARGET)),
    "configure_key": (Op.KEY_CONFIGURE, lambda k, c, w: k.configure_key(c, "acme", TARGET)),
    "revert_key": (Op.KEY_REVERT, lambda k, c, w: k.revert_key(c, "acme")),
    "check_key": (Op.KEY_CHECK, lambda k, c, w: k.check_key(c, "acme")),
    "key_setup": (Op.KEY_SETUP, lambda k, c, w: k.key_setup(c, "acme", "local")),
    "key_export": (Op.KEY_EXPORT, lambda k, c, w: k.key_export(c, "acme")),
    "suspend_key": (Op.KEY_SUSPEND, lambda k, c, w: k.suspend_key(c, "acme", "an incident")),
    "store_restored": (Op.STORE_RESTORED, lambda k, c, w: k.store_restored(c, "acme")),
    "resume_key": (Op.KEY_RESUME, lambda k, c, w: k.resume_key(c, "acme")),
    "set_policy": (Op.KEY_POLICY, lambda k, c, w: k.set_policy(c, "acme", PolicyChange(lease=30))),
    "list_receipts": (Op.RECEIPT_LIST, lambda k, c, w: k.list_receipts(c, "acme")),
    "receipt": (Op.RECEIPT_SHOW, lambda k, c, w: k.receipt(c, "acme", w.receipt)),
    "rotate": (Op.KEY_ROTATE, lambda k, c, w: k.rotate(c, "acme")),
    "encrypt": (Op.ENCRYPT, lambda k, c, w: k.encrypt(c, "acme", b"x", {})),
    "decrypt": (Op.DECRYPT, lambda k, c, w: k.decrypt(c, "acme", w.message, {})),
    "encrypt_many": (Op.ENCRYPT, lambda k, c, w: k.encrypt_many(c, "acme", [EncryptItem(b"x", {})] * 3)),
    "decrypt_many": (Op.DECRYPT, lambda k, c, w: k.decrypt_many(c, "acme", [DecryptItem(w.message, {})] * 3)),
    "new_data_key": (Op.DATA_KEY_GRANT, lambda k, c, w: k.new_data_key(c, "acme", {})),
    "open_data_key": (
        Op.DATA_KEY_OPEN,
        lambda k, c, w: k.open_data_key(c, "acme", w.granted, {}),
    ),
    "audit_entries": (Op.AUDIT_READ, lambda k, c, w: k.audit_entries(c, "acme")),
    "audit_checkpoints": (Op.AUDIT_CHECKPOINTS, lambda k, c, w: k.audit_checkpoints(c, "acme")),
}
OPEN_TO_ALL = {"health", "jwks", "azure_consent"}
ADMISSION = {"admit", "time_left"}
"""Performs nothing: refuses what the operations would refuse."""


def records(world: World, chain: str) -> list[tuple[str, str, str]]:
    # What an act makes of the key's state is told beside the act.
    found = world.audit_log.read(chain, limit=1000)
    return [(e.action, e.subject, e.outcome) for e in found if e.action != "key.state"]


def usage_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [r.fields for r in caplog.records if r.name == "keystead.usage"]  # type: ignore[attr-defined]


def test_the_table_of_calls_is_complete() -> None:
    public = {name for name in {*vars(Keystead), *vars(KeyOperations)} if not name.startswith("_")}
    assert public - OPEN_TO_ALL - ADMISSION == set(CALLS)
    assert {op for op, _ in CALLS.values()} == {v for v in vars(Op).values() if isinstance(v, Operation)}


@pytest.fixture
def prepared(world: World) -> Prepared:
    world.app.key_configuration.configure("acme", TARGET, {})  # so that there is something to revert
    parts, receipt, at = world.app.keystead._parts, str(uuid4()), instant(world.clock.wall())
    withdrawal = Withdrawal(OTHER_KEK.locator, "disabled", "No", "r-1", at, receipt=receipt)
    withdrawal = replace(withdrawal, confirmed=at, written=at, guard="not_needed")
    parts.receipts.issue(replace(world.app.tenants.read("acme"), state=State.REVOKED, withdrawal=withdrawal))
    return Prepared(world.encrypt(), parts.handed_out.grant("acme", {}).encrypted_data_key, receipt)


def granted(operation: Operation) -> Caller:
    return OPERATOR if operation.permission is Permission.PLATFORM_OPERATE else caller("acme", operation.permission)


@pytest.mark.parametrize("name", CALLS)
def test_an_operation_with_just_its_permission_leaves_one_record(
    world: World, prepared: Prepared, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    operation, call = CALLS[name]
    who = granted(operation)
    with caplog.at_level(logging.INFO, "keystead.usage"):
        call(world.app.keystead, who, prepared)
    audited, lines = records(world, "acme") + records(world, SYSTEM), usage_lines(caplog)
    assert len(audited) + len(lines) == 1
    if operation.kind == "control":
        assert audited == [(operation.name, who.subject, "ok")]
    else:
        assert (lines[0]["operation"], lines[0]["outcome"]) == (operation.name, "ok")
        assert lines[0]["reason"] == operation.reason
        assert lines[0]["request_id"] == who.request_id


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("flaw", ["no scope", "all other scopes", "another tenant", "no tenant"])
def test_everyone_else_is_refused_before_any_look_up(
    world: World, prepared: Prepared, caplog: pytest.LogCaptureFixture, name: str, flaw: str
) -> None:
    operation, call = CALLS[name]
    # Where the operator may do it too, the caller must lack that scope as well to be refused.
    operators = operation.operator_too or operation.permission is Permission.PLATFORM_OPERATE
    everything = frozenset(Permission) - ({Permission.PLATFORM_OPERATE} if operators else set())
    who = {
        "no scope": Caller("mallory", "test", "acme", frozenset()),
        "all other scopes": Caller("mallory", "test", "acme", everything - {operation.permission}),
        "another tenant": Caller("mallory", "test", "other", everything),
        "no tenant": Caller("mallory", "test", None, everything),
    }[flaw]
    world.tenant("other")
    reads, keys = world.tenants.reads, len(world.keys.reads)
    with caplog.at_level(logging.INFO, "keystead.usage"), pytest.raises(AccessDenied):
        call(world.app.keystead, who, prepared)
    assert (world.tenants.reads, len(world.keys.reads)) == (reads, keys)
    own = records(world, who.tenant_id) if who.tenant_id else records(world, SYSTEM)
    assert own == [("access.denied", "mallory", "access_denied")]
    assert records(world, SYSTEM) == own
    if who.tenant_id != "acme":
        assert records(world, "acme") == []  # never the victim's chain
    assert usage_lines(caplog) == []


@pytest.mark.parametrize("operation", {op.name: op for op, _ in CALLS.values()}.values(), ids=lambda op: op.name)
def test_admission_refuses_as_the_operation_does_and_leaves_nothing_else(
    world: World, caplog: pytest.LogCaptureFixture, operation: Operation
) -> None:
    world.tenant("other")
    tenant_id = None if operation is Op.TENANT_LIST else "acme"
    with caplog.at_level(logging.INFO, "keystead.usage"):
        world.app.keystead.admit(granted(operation), operation, tenant_id)
        assert records(world, "acme") + records(world, SYSTEM) == []
        with pytest.raises(AccessDenied):
            world.app.keystead.admit(caller("other", Permission.STORE_ACK), operation, tenant_id)
    assert [action for action, _, _ in records(world, "other")] == ["access.denied"]
    assert records(world, SYSTEM) == records(world, "other")
    assert records(world, "acme") == []
    assert usage_lines(caplog) == []


def test_the_answer_is_the_same_whether_or_not_the_tenant_exists(world: World) -> None:
    answers = []
    for tenant_id in ("acme", "nobody"):
        with pytest.raises(AccessDenied) as caught:
            world.app.keystead.encrypt(caller("other"), tenant_id, b"x", {})
        answers.append((caught.value.detail, caught.value.hint))
    assert answers[0] == answers[1]


def test_the_operator_never_decrypts(world: World, prepared: Prepared) -> None:
    for name in ("encrypt", "decrypt", "new_data_key", "open_data_key", "rotate", "audit_entries"):
        with pytest.raises(AccessDenied):
            CALLS[name][1](world.app.keystead, OPERATOR, prepared)


def test_failures_are_recorded_with_their_code(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def silence(_operation: str, _context: object) -> None:
        raise Silence("no answer")

    with caplog.at_level(logging.INFO, "keystead.usage"), pytest.raises(MessageInvalid):
        world.app.keystead.decrypt(caller(), "acme", b"junk", {})
    assert [line["outcome"] for line in usage_lines(caplog)] == ["message_invalid"]
    world.kms.trouble = silence
    with pytest.raises(KeyUnreachable):
        world.app.keystead.rotate(caller(), "acme")
    assert records(world, "acme")[-1] == ("key.rotate", "alice", "key_unreachable")


def test_a_provider_signal_never_reaches_a_caller(world: World) -> None:
    def leak() -> bytes:
        raise Denial("raw", cause="disabled")

    world.app.keystead._parts.encryption.encrypt = lambda *_: leak()  # type: ignore[method-assign]
    with pytest.raises(InternalError):
        world.app.keystead.encrypt(caller(), "acme", b"x", {})


def test_batches_answer_item_by_item(world: World) -> None:
    good = world.encrypt(b"one", {"app": "x"})
    items = [DecryptItem(good, {"app": "x"}), DecryptItem(good, {}), DecryptItem(b"junk", {})]
    results = world.app.keystead.decrypt_many(caller(), "acme", items)
    assert results[0] == b"one"
    assert [getattr(result, "code", None) for result in results[1:]] == ["context_mismatch", "message_invalid"]


def test_a_flood_of_refusals_is_folded(world: World) -> None:
    def refuse(times: int) -> None:
        for _ in range(times):
            with pytest.raises(AccessDenied):
                world.app.keystead.rotate(caller("other"), "acme")

    refuse(500)
    assert len(records(world, "other")) == 1
    world.clock.advance(60)
    refuse(1)
    entries = world.audit_log.read("other", limit=10)
    assert sorted(entry.details["count"] for entry in entries) == [1, 1, 499]
    refuse(2)
    world.app.close()
    assert sum(entry.details["count"] for entry in world.audit_log.read("other", limit=10)) == 503
    assert sum(entry.details["count"] for entry in world.audit_log.read(SYSTEM, limit=10)) == 503


def test_one_subjects_flood_is_not_counted_as_anothers(world: World) -> None:
    """The same name at two tenants, or from two issuers, is two subjects."""
    for who in (caller("one"), caller("two"), replace(caller("one"), issuer="elsewhere")):
        for _ in range(3):
            with pytest.raises(AccessDenied):
                world.app.keystead.rotate(who, "acme")
    world.app.close()
    counts = {
        chain: sorted((e.details["issuer"], e.details["count"]) for e in world.audit_log.read(chain, limit=99))
        for chain in ("one", "two")
    }
    assert counts == {
        "one": [("elsewhere", 1), ("elsewhere", 2), ("test", 1), ("test", 2)],
        "two": [("test", 1), ("test", 2)],
    }
