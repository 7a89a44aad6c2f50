"""Receipts: issued once whatever happens on the way, never after the key was reinstated, never other than signed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import pytest

from core.domain import receipts as domain
from core.domain.states import State
from core.domain.tenants import TenantRecord
from core.errors import (
    Conflict,
    Denial,
    InternalError,
    KeysteadError,
    NotFound,
    Silence,
    StoreCorrupt,
    StoreUnavailable,
)
from core.ports import Signer
from core.service.handed_out_counts import BLOCK, HandedOutCounts
from core.service.revocation.receipt_documents import INDEX, KEPT, PREFIX
from core.service.revocation.receipts import Receipts
from core.service.timekeeper import Timekeeper
from core.stores.memory import MemoryTenantStore
from tests.domain.test_jws import EC, ED, JWKS, OTHER_ED, ecdsa, statement
from tests.domain.withdrawn import ARN, BOUNDS, ISSUER, RECEIPT, VAULT_KEY, at, revoked
from tests.service.injection import Injector, Killed, When
from tests.service.revocation.withdrawing import MACS
from tests.service.world import FakeClock

BACK = at(100)
"""When the key is reinstated in these tests."""


class TestSigner:
    """Signs with a key made on the spot; ``trouble`` runs before and may raise, ``sign_as`` may sign something else."""

    __test__ = False

    def __init__(self) -> None:
        self.trouble: Callable[[str], None] = lambda call: None
        self.sign_as: Callable[[dict[str, Any]], str] = lambda payload: statement(ED.sign, payload=payload)
        self.signed = 0

    def sign(self, payload: Mapping[str, Any]) -> str:
        self.trouble("sign")
        self.signed += 1
        return self.sign_as(dict(payload))

    def jwks(self) -> Mapping[str, Any]:
        self.trouble("jwks")
        return JWKS


@dataclass
class Desk:
    """Receipts over a store in memory, and everything a test can disturb."""

    clock: FakeClock = field(default_factory=FakeClock)
    store: MemoryTenantStore = field(default_factory=MemoryTenantStore)
    signer: TestSigner = field(default_factory=TestSigner)
    injector: Injector = field(default_factory=Injector)

    def __post_init__(self) -> None:
        self.clock.advance(2)
        self.timekeeper = Timekeeper(self.clock, lambda reason: None)
        self.disturbed = self.process(
            self.injector.wrap(self.store, "read", "write"), self.injector.wrap(self.signer, "sign", "jwks")
        )
        self.fresh = self.process(self.store, self.signer)

    def process(self, store: Any, signer: Signer) -> Receipts:
        now = self.timekeeper.now
        return Receipts(store, signer, now, counts=HandedOutCounts(store, now, MACS), bounds=BOUNDS, issuer=ISSUER)

    def counts(self) -> HandedOutCounts:
        return HandedOutCounts(self.store, self.timekeeper.now, MACS)

    def stored(self, name: str = PREFIX + RECEIPT, tenant_id: str = "acme") -> dict[str, Any]:
        document = self.store.read(tenant_id, name)
        assert document is not None
        return dict(document.body)

    def overwrite(self, body: Mapping[str, Any], name: str = PREFIX + RECEIPT, tenant_id: str = "acme") -> None:
        document = self.store.read(tenant_id, name)
        self.store.write(tenant_id, name, body, expected_revision=document.revision if document else 0)

    def check_sound(self, *, reinstated: bool) -> None:
        """What must hold at any time: at most one receipt, readable, as it was signed, and never after the end."""
        listed = self.fresh.list("acme")
        assert len(listed) <= 1
        try:
            receipt = self.fresh.read("acme", RECEIPT)
        except NotFound:
            assert not listed
            return
        payload = domain.verify(receipt.statement, JWKS)
        assert payload["id"] == receipt.entry.id == RECEIPT
        assert receipt.entry.reinstated == (BACK if reinstated else "")
        assert not listed or list(listed) == [receipt.entry]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_issued_listed_and_read(desk: Desk) -> None:
    entry = desk.fresh.issue(revoked())
    assert entry is not None
    assert (entry.id, entry.issued, entry.kek, entry.cause) == (RECEIPT, at(2), ARN, "disabled")
    assert (entry.first_denial, entry.confirmed, entry.not_served_after) == (at(0), at(1), at(67))
    assert entry.reinstated == ""
    assert desk.fresh.list("acme") == [entry]
    receipt = desk.fresh.read("acme", RECEIPT)
    assert receipt.entry == entry
    expected = domain.build(revoked(), domain.Findings(at(2)), bounds=BOUNDS, issued=at(2), issuer=ISSUER)
    assert domain.verify(receipt.statement, desk.signer.jwks()) == expected


def test_issuing_again_changes_nothing(desk: Desk) -> None:
    entry, before = desk.fresh.issue(revoked()), desk.stored()
    desk.clock.advance(3600)
    assert desk.fresh.issue(revoked()) == entry
    assert desk.process(desk.store, desk.signer).issue(revoked()) == entry
    assert desk.stored() == before
    assert desk.signer.signed == 1
    assert len(desk.fresh.list("acme")) == 1


@pytest.mark.parametrize(
    "record",
    [
        *(replace(revoked(), state=state) for state in State if state is not State.REVOKED),
        revoked(receipt=""),
        replace(revoked(), withdrawal=None),
    ],
    ids=lambda record: f"{record.state} {record.withdrawal is not None and record.withdrawal.receipt != ''}",
)
def test_none_is_due(desk: Desk, record: TenantRecord) -> None:
    assert desk.disturbed.issue(record) is None
    assert desk.fresh.list("acme") == []
    with pytest.raises(NotFound):
        desk.fresh.read("acme", RECEIPT)


def test_a_key_with_versions_is_listed_with_its_version(desk: Desk) -> None:
    entry = desk.fresh.issue(revoked(kek=f"{VAULT_KEY}/{7:032x}"))
    assert entry is not None
    assert entry.kek == f"{VAULT_KEY}/{7:032x}"


def test_data_keys_counted_until_it_was_found_stored(desk: Desk) -> None:
    desk.counts().reserve("acme", lambda: None)
    desk.fresh.issue(revoked())
    told = domain.verify(desk.fresh.read("acme", RECEIPT).statement, JWKS)["data_keys"]
    assert told == {"at_most": BLOCK, "counted_since": at(2), "none_after": at(67)}


def test_a_signer_in_trouble_delays_it_and_changes_nothing_that_it_says(desk: Desk) -> None:
    def trouble(call: str) -> None:
        raise Denial("no", cause="disabled")

    desk.signer.trouble = trouble
    with pytest.raises(StoreUnavailable):
        desk.fresh.issue(revoked())
    assert desk.fresh.list("acme") == []
    desk.clock.advance(3600)
    desk.counts().reserve("acme", lambda: None)
    desk.signer.trouble = lambda call: None
    entry = desk.fresh.issue(revoked())
    assert entry is not None
    assert (entry.issued, entry.not_served_after) == (at(3602), at(67))
    assert domain.verify(desk.fresh.read("acme", RECEIPT).statement, JWKS)["data_keys"]["at_most"] == 0


@pytest.mark.parametrize("call", ["sign", "jwks"])
@pytest.mark.parametrize("signal", [Denial("no", cause="policy"), Silence("nothing")], ids=["denial", "silence"])
def test_signals_of_the_signing_key_reach_nobody(desk: Desk, call: str, signal: KeysteadError) -> None:
    def trouble(called: str) -> None:
        if called == call:
            raise signal

    desk.signer.trouble = trouble
    with pytest.raises(StoreUnavailable):
        desk.fresh.issue(revoked())
    desk.signer.trouble = lambda called: None
    desk.fresh.issue(revoked())
    desk.signer.trouble = trouble
    if call == "jwks":
        for act in (lambda: desk.fresh.list("acme"), lambda: desk.fresh.read("acme", RECEIPT)):
            with pytest.raises(StoreUnavailable):
                act()


SIGNED_WRONG: dict[str, Callable[[dict[str, Any]], str]] = {
    "by a key nobody knows": lambda payload: statement(OTHER_ED.sign, payload=payload),
    "not at all": lambda payload: "x.y.z",
    "something else": lambda payload: statement(ED.sign, payload={**payload, "cause": "deleted"}),
    "no receipt": lambda payload: statement(ED.sign, payload={}),
}


@pytest.mark.parametrize("sign", SIGNED_WRONG.values(), ids=SIGNED_WRONG)
def test_what_does_not_verify_is_not_stored(desk: Desk, sign: Callable[[dict[str, Any]], str]) -> None:
    right, desk.signer.sign_as = desk.signer.sign_as, sign
    with pytest.raises(InternalError):
        desk.fresh.issue(revoked())
    assert desk.stored()["statement"] == ""
    desk.signer.sign_as = right
    assert desk.fresh.issue(revoked()) is not None


def test_a_signature_of_a_kms(desk: Desk) -> None:
    desk.signer.sign_as = lambda payload: statement(ecdsa(EC), {"alg": "ES256", "kid": "ec"}, payload)
    assert desk.fresh.issue(revoked()) in desk.fresh.list("acme")


# Reinstatement


def test_reinstated_after_it_was_issued(desk: Desk) -> None:
    entry = desk.fresh.issue(revoked())
    statement_before = desk.fresh.read("acme", RECEIPT).statement
    assert entry is not None
    assert not desk.fresh.was_voided("acme", RECEIPT)
    for when in (BACK, at(200), at(50)):
        desk.fresh.reinstating("acme", RECEIPT, when)
    ended = replace(entry, reinstated=BACK, holds_until=BACK)
    assert desk.fresh.list("acme") == [ended]
    assert desk.fresh.read("acme", RECEIPT).entry == ended
    assert desk.fresh.read("acme", RECEIPT).statement == statement_before
    assert desk.fresh.was_voided("acme", RECEIPT)
    assert desk.fresh.issue(revoked()) == ended


def test_how_long_it_holds_is_kept_beside_when_the_key_served_again(desk: Desk) -> None:
    entry = desk.fresh.issue(revoked())
    assert entry is not None
    desk.fresh.reinstating("acme", RECEIPT, BACK, at(60))
    desk.fresh.reinstating("acme", RECEIPT, at(200), at(195))
    assert desk.fresh.list("acme") == [replace(entry, reinstated=BACK, holds_until=at(60))]
    progress, revision = desk.fresh._documents.read("acme", RECEIPT)
    assert progress is not None
    desk.fresh._documents.step("acme", RECEIPT, replace(progress, holds_until=""), revision)
    assert desk.fresh.list("acme") == [replace(entry, reinstated=BACK, holds_until=BACK)], "of an older version"


@pytest.mark.parametrize("found", [False, True])
def test_reinstated_before_it_was_issued(desk: Desk, found: bool) -> None:
    if found:
        desk.signer.sign_as = lambda payload: ""
        with pytest.raises(InternalError):
            desk.fresh.issue(revoked())
    desk.fresh.reinstating("acme", RECEIPT, BACK)
    desk.fresh.reinstating("acme", RECEIPT, at(200))
    assert desk.fresh.was_voided("acme", RECEIPT)
    assert desk.stored()["void"] == BACK
    assert desk.fresh.issue(revoked()) is None
    assert desk.fresh.list("acme") == []
    with pytest.raises(NotFound):
        desk.fresh.read("acme", RECEIPT)


def test_revoked_all_the_same_under_another_id(desk: Desk) -> None:
    desk.fresh.issue(revoked())
    desk.fresh.reinstating("acme", RECEIPT, BACK)
    other = str(uuid4())
    assert not desk.fresh.was_voided("acme", other)
    desk.clock.advance(200)
    entry = desk.fresh.issue(revoked(receipt=other))
    assert [found.id for found in desk.fresh.list("acme")] == [RECEIPT, other]
    assert entry is not None
    assert (entry.reinstated, entry.not_served_after) == ("", at(267))


def test_a_withdrawal_never_confirmed_has_nothing_to_end(desk: Desk) -> None:
    desk.injector.arm()
    desk.disturbed.reinstating("acme", "", BACK)
    assert desk.injector.points == []


# Interleavings and crashes


def issue(receipts: Receipts) -> None:
    receipts.issue(revoked())


def reinstate(receipts: Receipts) -> None:
    receipts.reinstating("acme", RECEIPT, BACK)


def calls(act: Callable[[Receipts], None], prepare: Callable[[Receipts], None] = lambda receipts: None) -> int:
    """How many calls an act makes."""
    desk = Desk()
    prepare(desk.fresh)
    desk.injector.arm()
    act(desk.disturbed)
    return len(desk.injector.points)


ISSUING, ENDING, ENDING_ISSUED = calls(issue), calls(reinstate), calls(reinstate, issue)
WHENS: tuple[When, ...] = ("before", "after")


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("call", range(ISSUING))
def test_reinstated_while_it_is_issued(desk: Desk, call: int, when: When) -> None:
    desk.injector.arm(call, when, lambda name: reinstate(desk.fresh))
    entry = desk.disturbed.issue(revoked())
    desk.check_sound(reinstated=True)
    listed = desk.fresh.list("acme")
    assert (entry is None) is desk.stored()["void"].startswith("2027")
    assert [found.id for found in listed] == ([] if entry is None else [RECEIPT])
    assert desk.fresh.was_voided("acme", RECEIPT)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("call", range(ENDING))
def test_issued_while_it_is_reinstated(desk: Desk, call: int, when: When) -> None:
    desk.injector.arm(call, when, lambda name: issue(desk.fresh))
    reinstate(desk.disturbed)
    desk.check_sound(reinstated=True)
    assert desk.fresh.was_voided("acme", RECEIPT)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("call", range(ISSUING))
def test_two_processes_issue_one_receipt(desk: Desk, call: int, when: When) -> None:
    others: list[object] = []
    desk.injector.arm(call, when, lambda name: others.append(desk.fresh.issue(revoked())))
    entry = desk.disturbed.issue(revoked())
    assert others == [entry]
    assert desk.fresh.list("acme") == [entry]
    desk.check_sound(reinstated=False)


def test_many_threads_issue_one_receipt(desk: Desk) -> None:
    barrier, found = threading.Barrier(8), []

    def run() -> None:
        receipts = desk.process(desk.store, desk.signer)
        barrier.wait()
        found.append(receipts.issue(revoked()))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert set(found) == set(desk.fresh.list("acme"))
    assert len(set(found)) == 1


def killed(name: str) -> None:
    raise Killed


def failing(name: str) -> None:
    if name in ("sign", "jwks"):
        raise Silence("nothing")
    raise StoreUnavailable("the store does not answer")


@pytest.mark.parametrize("act", [killed, failing])
@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("call", range(ISSUING))
@pytest.mark.parametrize("then", ["again", "reinstated"])
def test_cut_short_while_it_is_issued(desk: Desk, call: int, when: When, act: Callable[[str], None], then: str) -> None:
    desk.injector.arm(call, when, act)
    with pytest.raises((Killed, StoreUnavailable)):
        desk.disturbed.issue(revoked())
    desk.check_sound(reinstated=False)
    issued = desk.store.read("acme", PREFIX + RECEIPT) is not None and bool(desk.stored()["statement"])
    if then == "reinstated":
        reinstate(desk.fresh)
        desk.check_sound(reinstated=True)
        assert [entry.reinstated for entry in desk.fresh.list("acme")] == ([BACK] if issued else [])
        assert (desk.fresh.issue(revoked()) is not None) is issued
    else:
        entry = desk.fresh.issue(revoked())
        assert entry is not None
        assert desk.fresh.list("acme") == [entry]


@pytest.mark.parametrize("act", [killed, failing])
@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize(
    ("issued", "call"),
    [*((False, call) for call in range(ENDING)), *((True, call) for call in range(ENDING_ISSUED))],
)
def test_cut_short_while_it_is_reinstated(
    desk: Desk, call: int, when: When, issued: bool, act: Callable[[str], None]
) -> None:
    if issued:
        issue(desk.fresh)
    desk.injector.arm(call, when, act)
    with pytest.raises((Killed, StoreUnavailable)):
        reinstate(desk.disturbed)
    reinstate(desk.fresh)
    desk.check_sound(reinstated=True)
    assert [entry.reinstated for entry in desk.fresh.list("acme")] == ([BACK] if issued else [])
    assert (desk.fresh.issue(revoked()) is not None) is issued


def test_a_document_that_others_keep_changing(desk: Desk) -> None:
    class Busy(MemoryTenantStore):
        def write(self, *args: Any, **kwargs: Any) -> Any:
            raise Conflict("the document changed meanwhile")

    busy = desk.process(Busy(), desk.signer)
    for act in (issue, reinstate):
        with pytest.raises(StoreUnavailable):
            act(busy)


# What someone can do who writes the store


def replaced(payload: Mapping[str, Any], **fields: Any) -> str:
    """A statement by somebody else that says something else."""
    return statement(OTHER_ED.sign, payload={**payload, **fields})


TAMPERED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another statement": lambda body: {**body, "statement": replaced({}, typ=domain.TYPE)},
    "a signature of something else": lambda body: {**body, "statement": statement(ED.sign, payload={"typ": "x"})},
    "no statement": lambda body: {**body, "statement": "x"},
    "a number": lambda body: {**body, "statement": 7},
    "no form": lambda body: {"anything": 1},
    "empty": lambda body: {},
    "issued and void": lambda body: {**body, "void": at(0)},
    "reinstated whenever": lambda body: {**body, "reinstated": "whenever"},
    "reinstated, not issued": lambda body: {**body, "statement": "", "reinstated": at(0)},
    "data keys in part": lambda body: {**body, "data_keys": 0.5},
    "counted since whenever": lambda body: {**body, "counted_since": "whenever"},
    "found whenever": lambda body: {**body, "stored_by": "whenever"},
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
def test_a_stored_receipt_that_was_changed(desk: Desk, tamper: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    desk.fresh.issue(revoked())
    desk.overwrite(tamper(desk.stored()))
    for act in (lambda: desk.fresh.read("acme", RECEIPT), lambda: desk.fresh.issue(revoked())):
        with pytest.raises(StoreCorrupt):
            act()
    assert desk.fresh.list("acme") == [], "it is not shown, and hides no other"
    desk.fresh.reinstating("acme", RECEIPT, BACK)  # it stops no reinstatement
    assert desk.fresh.was_voided("acme", RECEIPT), "nor another receipt"


@pytest.mark.parametrize(
    ("tenant_id", "receipt_id"), [("globex", RECEIPT), ("acme", "0d9b4f0f-2a11-4f0c-9d3a-4f0c2a438a0b")]
)
def test_a_receipt_put_in_anothers_place(desk: Desk, tenant_id: str, receipt_id: str) -> None:
    desk.fresh.issue(revoked())
    desk.overwrite(desk.stored(), PREFIX + receipt_id, tenant_id)
    desk.overwrite({"ids": [receipt_id]}, INDEX, tenant_id)
    with pytest.raises(StoreCorrupt):
        desk.fresh.read(tenant_id, receipt_id)
    assert desk.fresh.list(tenant_id) == []


@pytest.mark.parametrize("body", [{}, {"ids": RECEIPT}, {"ids": [7]}, {"ids": ["x"]}])
def test_a_list_that_is_none(desk: Desk, body: dict[str, Any]) -> None:
    desk.overwrite(body, INDEX)
    with pytest.raises(StoreCorrupt):
        desk.fresh.list("acme")


def test_a_list_that_names_what_is_not_there_shows_the_others(desk: Desk) -> None:
    desk.fresh.issue(revoked())
    desk.overwrite({"ids": [str(uuid4()), RECEIPT]}, INDEX)
    assert [entry.id for entry in desk.fresh.list("acme")] == [RECEIPT]


def test_a_list_that_names_a_void_receipt(desk: Desk) -> None:
    reinstate(desk.fresh)
    desk.overwrite({"ids": [RECEIPT]}, INDEX)
    assert desk.fresh.list("acme") == []


def test_findings_that_were_changed_before_they_were_signed(desk: Desk) -> None:
    desk.signer.sign_as = lambda payload: ""
    with pytest.raises(InternalError):
        desk.fresh.issue(revoked(data_keys=64))
    desk.overwrite({**desk.stored(), "stored_by": at(-1000), "data_keys": 0})
    desk.signer.sign_as = lambda payload: statement(ED.sign, payload=payload)
    desk.fresh.issue(revoked(data_keys=64))
    told = domain.verify(desk.fresh.read("acme", RECEIPT).statement, JWKS)
    assert told["state_stored_by"] == told["state_written"] == at(1.5)
    assert told["data_keys"]["at_most"] == 64


@pytest.mark.parametrize(
    "receipt_id", ["", "x", RECEIPT.upper(), f"{{{RECEIPT}}}", RECEIPT.replace("-", ""), "../tenant"]
)
def test_what_is_no_id_names_no_receipt(desk: Desk, receipt_id: str) -> None:
    desk.fresh.issue(revoked())
    desk.injector.arm()
    with pytest.raises(NotFound):
        desk.disturbed.read("acme", receipt_id)
    assert desk.injector.points == []


def test_the_list_is_bounded_and_older_ones_stay_readable(desk: Desk) -> None:
    ids = [str(uuid4()) for _ in range(KEPT + 1)]
    for receipt_id in ids:
        desk.fresh.issue(revoked(receipt=receipt_id))
    assert [entry.id for entry in desk.fresh.list("acme")] == ids[1:]
    assert desk.fresh.read("acme", ids[0]).entry.id == ids[0]
    desk.fresh.reinstating("acme", ids[0], BACK)
    assert desk.fresh.read("acme", ids[0]).entry.reinstated == BACK
    # Far from what the narrowest store takes in one document.
    assert len(json.dumps(desk.stored(INDEX))) < 16_000
