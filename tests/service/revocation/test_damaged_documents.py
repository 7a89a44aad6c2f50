"""Documents that are damaged: each stops what hangs on it alone, and what can be made anew is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from core.domain import receipts
from core.domain.receipt_sentences import UNCOUNTED
from core.domain.states import State
from core.errors import StoreCorrupt
from core.service.handed_out_counts import DOCUMENT as COUNT
from core.service.probes import PREFIX as PROBE
from core.service.revocation.receipt_documents import PREFIX as RECEIPT
from core.service.revocation.telling import ACTION, STATE_CHANGED
from core.service.revocation.telling import DOCUMENT as TIMELINE
from core.service.revocation.turns import DOCUMENT as TURN
from tests.service.revocation.test_schedules import LONG, Fleet
from tests.service.revocation.withdrawing import Owned
from tests.service.world import caller


def damage(owned: Owned, name: str, body: Mapping[str, Any]) -> None:
    """Overwrite a document of the tenant's."""
    document = owned.world.tenants.read("acme", name)
    owned.world.tenants.write("acme", name, body, expected_revision=document.revision if document else 0)


# -- the turn document -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [{"attempts": 1.5}, {"attempts": -6}, {"due": 10**400}, {"described": 10**400}, {"began": 10**400}],
    ids=lambda body: str(body)[:20],
)
def test_a_turn_that_makes_no_sense_stops_no_check(owned: Owned, body: dict[str, Any]) -> None:
    damage(owned, TURN, body)
    assert owned.app.schedules.run("check", LONG).failed == {}
    assert owned.asked
    damage(owned, TURN, body)
    owned.app.kill_switch._turns.begin("acme", steady=True)
    assert owned.app.kill_switch._turns.read("acme").began == owned.world.clock.wall_time
    owned.app.close()


def test_a_turn_that_makes_no_sense_breaks_no_request(owned: Owned) -> None:
    owned.world.change(state=State.UNREACHABLE)
    owned.silence()
    owned.world.clock.advance(2000)
    assert owned.outcome() == "key_unreachable"
    damage(owned, TURN, {"attempts": 1.5})
    owned.world.clock.advance(6)
    assert owned.outcome() == "key_unreachable"
    owned.serve()
    owned.world.clock.advance(6)
    assert owned.outcome() == "ok"


@pytest.mark.parametrize("checked", [1e300, -1e300])
def test_a_turn_that_makes_no_sense_breaks_no_status(owned: Owned, checked: float) -> None:
    damage(owned, TURN, {"checked": checked})
    assert owned.app.keystead.key_status(caller("acme"), "acme").state is State.ACTIVE


# -- a tenant's record -----------------------------------------------------------------------------------------------


def test_a_record_that_is_refused_does_not_stop_the_check_of_the_others() -> None:
    fleet = Fleet(3)
    revision, text = fleet.world.tenants._documents["t-000", "tenant"]
    forged = text.replace('"display_name":""', '"display_name":"x"')
    assert forged != text
    fleet.world.tenants._documents["t-000", "tenant"] = revision, forged
    assert fleet.app.schedules.run("check", LONG).failed == {"store_corrupt": 1}
    assert fleet.told() == fleet.once("t-001", "t-002")
    fleet.app.close()


# -- the timeline ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{}, {"changes": None}, {"changes": [{"id": 1}]}, {"changes": ["x"]}], ids=str)
def test_a_damaged_timeline_stops_nothing_and_is_begun_anew(owned: Owned, body: dict[str, Any]) -> None:
    damage(owned, TIMELINE, body)
    status = owned.app.keystead.key_status(caller("acme"), "acme")
    assert (status.state, status.timeline) == (State.ACTIVE, ())
    owned.deny()
    assert owned.check() is State.HOLD
    owned.app.kill_switch.suspend("acme", "alice", {})
    status = owned.app.keystead.key_status(caller("acme"), "acme")
    assert [change.after for change in status.timeline] == ["hold", "suspended"]
    ids = [change.id for change in status.timeline]
    audited = [entry.details["id"] for entry in owned.app.audit.read("acme", limit=1000) if entry.action == ACTION]
    assert audited[-2:] == ids
    assert [data["id"] for name, _, data in owned.world.events.events if name == STATE_CHANGED][-2:] == ids
    assert owned.record.untold == ()


# -- the probe envelope ----------------------------------------------------------------------------------------------


def lose(owned: Owned, name: str) -> None:
    """Take a document away."""
    del owned.world.tenants._documents["acme", name]


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "damaged"])
def test_a_probe_is_made_anew_while_the_key_serves_and_confirms_a_later_withdrawal(owned: Owned, lost: bool) -> None:
    before = owned.record.probe_digest
    if lost:
        lose(owned, PROBE + before)
    else:
        damage(owned, PROBE + before, {"kek": "local:x"})
    owned.world.clock.advance(3601)
    owned.app.schedules.run("check", LONG)
    after = owned.record.probe_digest
    assert after != before
    assert owned.world.tenants.read("acme", PROBE + after) is not None
    owned.check()
    assert owned.record.probe_digest == after, "made once"
    owned.revoke()
    owned.app.close()


def test_without_a_probe_nothing_is_confirmed(owned: Owned) -> None:
    lose(owned, PROBE + owned.record.probe_digest)
    owned.deny()
    for _ in range(5):
        owned.check()
        owned.world.clock.advance(30)
    assert owned.state is State.HOLD
    assert "keystead.alarm.store_corrupt" in owned.world.events.types()


# -- the count of data keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{}, {"reserved": 3}, {"reserved": 64, "since": "", "last": "", "mac": "00"}], ids=str)
def test_a_damaged_count_keeps_no_receipt_back_and_the_receipt_says_so(owned: Owned, body: dict[str, Any]) -> None:
    damage(owned, COUNT, body)
    owned.revoke()
    (entry,) = owned.app.keystead.list_receipts(caller("acme"), "acme")
    statement = owned.app.keystead.receipt(caller("acme"), "acme", entry.id).statement
    told = receipts.verify(statement, owned.app.keystead.jwks())
    assert told["data_keys"]["at_most"] == UNCOUNTED
    assert "could not be read: any number may have been" in json.dumps(told)


# -- receipts --------------------------------------------------------------------------------------------------------


def other_statement(body: dict[str, Any]) -> dict[str, Any]:
    """The statement with its last character but four changed: part of the signature."""
    text = body["statement"]
    return {**body, "statement": f"{text[:-5]}{'A' if text[-5] != 'A' else 'B'}{text[-4:]}"}


DAMAGES = {
    "empty": lambda body: {},
    "another form": lambda body: {"stored_by": 7},
    "another count": lambda body: {**body, "data_keys": "many"},
    "another signature": other_statement,
}


@pytest.mark.parametrize("first", [True, False], ids=["the older", "the newer"])
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_receipt_hides_no_other(owned: Owned, how: str, first: bool) -> None:
    who = caller("acme")
    owned.revoke()
    owned.serve()
    owned.check()
    owned.world.clock.advance(1)
    owned.revoke()
    entries = list(owned.app.keystead.list_receipts(who, "acme"))
    assert len(entries) == 2
    damaged, whole = entries if first else reversed(entries)
    document = owned.world.tenants.read("acme", RECEIPT + damaged.id)
    assert document is not None
    damage(owned, RECEIPT + damaged.id, DAMAGES[how](dict(document.body)))
    assert list(owned.app.keystead.list_receipts(who, "acme")) == [whole]
    assert owned.app.keystead.receipt(who, "acme", whole.id).entry == whole
    with pytest.raises(StoreCorrupt):
        owned.app.keystead.receipt(who, "acme", damaged.id)
