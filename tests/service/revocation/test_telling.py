"""Changes of state are told: once to timeline and audit chain, to events at least once, and after any disturbance."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from core.bootstrap import Application
from core.domain.audit import AuditEntry
from core.domain.key_target import KeyTarget
from core.domain.states import Signal
from core.domain.tenants import TenantRecord
from core.domain.withdrawals import StateChange, instant
from core.errors import KeysteadError, StoreUnavailable
from core.service.revocation import telling
from core.service.revocation.telling import ACTION, DOCUMENT, KEPT, LEFT_ALONE, LOOKED_BACK, STATE_CHANGED, Teller
from core.stores.memory import MemoryAuditLog
from tests.service.injection import Injector, Killed, When, injected
from tests.service.world import OTHER_KEK, World


class ShakyAuditLog(MemoryAuditLog):
    """An audit log that can fall silent."""

    def __init__(self) -> None:
        super().__init__()
        self.silent = False

    def append(self, entry: AuditEntry) -> None:
        if self.silent:
            raise StoreUnavailable("the audit log does not answer")
        super().append(entry)


class Setting:
    """A tenant with a key of its own, of which all is told, and where it is told."""

    def __init__(self) -> None:
        self.log = ShakyAuditLog()
        self.world = World(audit_log=self.log)
        self.world.tenant()
        self.world.app.key_configuration.configure("acme", KeyTarget(OTHER_KEK.locator), {})
        self.before = (len(self.audited()), len(self.emitted()), len(self.timeline()))

    def change(self, *signals: Signal, by: str = "") -> TenantRecord:
        """Write changes of state, and tell nobody."""

        def changed(record: TenantRecord) -> TenantRecord:
            for number, signal in enumerate(signals):
                name = f"{signal}-{len(record.untold)}"
                now = self.world.clock.wall_time + number
                facts: dict[str, Any] = {"cause": "policy", "kek": "local:x", "request_id": f"r-{number}", "by": by}
                record = record.after(signal, now, change_id=name, **facts)
            return record

        found = self.world.app.records.change("acme", changed)
        assert found is not None
        assert len(found.untold) >= len(signals)
        return found

    def record(self) -> TenantRecord:
        return self.world.app.tenants.read("acme")

    def audited(self) -> list[AuditEntry]:
        entries = self.world.app.audit.read("acme", limit=1000)
        return [entry for entry in entries if entry.action == ACTION]

    def emitted(self) -> list[Mapping[str, Any]]:
        return [data for kind, tenant, data in self.world.events.events if (kind, tenant) == (STATE_CHANGED, "acme")]

    def timeline(self) -> tuple[StateChange, ...]:
        return teller(self.world.app).timeline("acme")

    def told(self) -> tuple[list[str], list[str], list[str]]:
        """Ids of the changes that were told since the start: to the audit chain, to events, to the timeline."""
        audit, events, timeline = self.before
        return (
            [str(entry.details["id"]) for entry in self.audited()[audit:]],
            [data["id"] for data in self.emitted()[events:]],
            [change.id for change in self.timeline()[timeline:]],
        )

    def assert_told(self, *names: str, exactly: bool = True, emitted: int = 1) -> None:
        """Everything was told, in order.

        To the timeline once, to the audit chain once unless a repetition is allowed, to events so often at most.
        """
        audited, events, timeline = self.told()
        assert timeline == list(names)
        assert [*dict.fromkeys(audited)] == [*dict.fromkeys(events)] == list(names)
        if exactly:
            assert audited == list(names)
        assert max(map(events.count, names), default=0) <= emitted
        assert self.record().untold == ()
        assert self.world.app.audit.verify("acme").ok


def teller(app: Application) -> Teller:
    return app.kill_switch._teller


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_an_enablement_is_told(setting: Setting) -> None:
    told = [
        (change.before, change.after, change.signal, change.by, change.kek, change.cause)
        for change in setting.timeline()
    ]
    assert told == [("platform", "active", "move", "", OTHER_KEK.locator, "")]
    assert [entry.details["id"] for entry in setting.audited()] == [setting.timeline()[0].id]
    assert [data["id"] for data in setting.emitted()] == [setting.timeline()[0].id]
    assert setting.record().untold == ()


def test_a_change_is_told_everywhere_and_to_the_chain_and_the_timeline_once(setting: Setting) -> None:
    record = setting.change(Signal.DENIED)
    assert teller(setting.world.app).tell(record)
    setting.assert_told("denied-0")
    facts = {
        "id": "denied-0",
        "at": instant(setting.world.clock.wall_time),
        "before": "active",
        "after": "hold",
        "signal": "denied",
        "cause": "policy",
        "kek": "local:x",
        "request_id": "r-0",
        "by": "",
    }
    entry = setting.audited()[-1]
    assert (entry.chain, entry.action, entry.subject, entry.outcome) == ("acme", "key.state", "keystead", "ok")
    assert entry.details == {**facts, "reason": "HEALTH_CHECK"}
    assert setting.world.events.events[-1] == (STATE_CHANGED, "acme", {**facts, "from": "active", "to": "hold"})
    assert setting.timeline()[-1].to_body() == facts
    for process in (setting.world.app, setting.world.process()):
        for told in (setting.record(), record):  # as it is now, and as the one who told it still has it
            assert teller(process).tell(told)
    setting.assert_told("denied-0", emitted=3)


def test_several_changes_are_told_in_their_order(setting: Setting) -> None:
    record = setting.change(Signal.SILENT, Signal.GRANTED, Signal.DENIED)
    assert teller(setting.world.app).tell(record)
    setting.assert_told("silent-0", "granted-1", "denied-2")
    assert [entry.details["request_id"] for entry in setting.audited()[-3:]] == ["r-0", "r-1", "r-2"]


def test_who_ordered_a_change_is_named(setting: Setting) -> None:
    assert teller(setting.world.app).tell(setting.change(Signal.SUSPEND, by="alice"))
    entry = setting.audited()[-1]
    assert (entry.subject, entry.details["by"], setting.timeline()[-1].by) == ("alice", "alice", "alice")
    assert setting.emitted()[-1]["by"] == "alice"


def test_nothing_is_asked_of_any_store_where_nothing_is_untold(setting: Setting) -> None:
    injector = Injector()
    app = injected(setting.world.app, injector)
    record = setting.record()
    injector.arm()
    assert teller(app).tell(record)
    assert teller(app).tell_forgotten(record, 1e12)
    assert injector.points == []
    assert setting.told() == ([], [], [])


def fail(name: str) -> None:
    raise StoreUnavailable("no answer")


def kill(name: str) -> None:
    raise Killed


def calls() -> int:
    """How many calls to stores it takes to tell two changes."""
    setting, injector = Setting(), Injector()
    app = injected(setting.world.app, injector)
    app.tenants.read("acme")
    record = setting.change(Signal.SILENT, Signal.GRANTED)
    injector.arm()
    assert teller(app).tell(record)
    names = [point.name for point in injector.points]
    assert names.count("append") == 2
    assert names.count("write") == 3, "two entries of the timeline, and the record"
    return len(names)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("dies", [True, False], ids=["crash", "store in trouble"])
def test_whatever_happens_at_any_call_is_made_good_by_the_next_look(dies: bool, when: When) -> None:
    incomplete = 0
    for at in range(calls()):
        setting, injector = Setting(), Injector()
        app = injected(setting.world.app, injector)
        app.tenants.read("acme")
        record = setting.change(Signal.SILENT, Signal.GRANTED)
        injector.arm(at, when, kill if dies else fail)
        if dies:
            with pytest.raises(Killed):
                teller(app).tell(record)
        else:
            assert teller(app).tell(record) is False
        injector.armed = False
        incomplete += bool(setting.record().untold)
        setting.world.clock.advance(1 + LEFT_ALONE)
        other = setting.world.process()
        other.checks.check("acme")
        setting.assert_told("silent-0", "granted-1", emitted=2)
        told = setting.told()
        other.checks.check("acme", forced=True)
        assert setting.told() == told
    assert incomplete >= calls() - 1


def test_what_a_dead_process_left_is_told_by_others_after_a_while_and_not_before(setting: Setting) -> None:
    record = setting.change(Signal.SUSPEND)  # nothing is asked, so nothing but this is told
    other = setting.world.process()
    setting.world.clock.advance(LEFT_ALONE - 0.1)
    assert teller(other).tell_forgotten(record, setting.world.clock.wall_time)
    other.checks.check("acme")
    assert setting.told() == ([], [], [])
    assert setting.record().untold == record.untold
    setting.world.clock.advance(0.1)
    other.checks.check("acme")
    setting.assert_told("suspend-0")
    assert setting.audited()[-1].details["at"] == record.untold[0].at


def test_who_looks_may_tell_the_forgotten_by_itself(setting: Setting) -> None:
    record = setting.change(Signal.DENIED)
    now = setting.world.clock.wall_time
    assert teller(setting.world.process()).tell_forgotten(record, now + LEFT_ALONE)
    setting.assert_told("denied-0")


def test_the_check_of_all_tells_what_was_forgotten_even_of_a_key_that_is_suspended(setting: Setting) -> None:
    setting.change(Signal.DENIED, Signal.SUSPEND)
    setting.world.clock.advance(1 + LEFT_ALONE)
    other = setting.world.process()
    unwraps = setting.world.kms.branch_unwraps()
    assert other.schedules.run("check", 60).failed == {}
    setting.assert_told("denied-0", "suspend-1")
    assert setting.world.kms.branch_unwraps() == unwraps
    other.close()


def test_an_audit_log_that_is_silent_delays_and_stops_nothing(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    setting.log.silent = True
    record = setting.change(Signal.DENIED)
    with caplog.at_level(logging.WARNING, "keystead.revocation"):
        assert teller(setting.world.app).tell(record) is False
    (line,) = [found for found in caplog.records if found.name == "keystead.revocation"]
    assert vars(line)["fields"] == {"tenant": "acme", "code": "store_unavailable"}
    assert setting.told() == ([], [], [])
    # The next change takes along what waits.
    setting.log.silent = False
    record = setting.change(Signal.GRANTED)
    assert [change.id for change in record.untold] == ["denied-0", "granted-1"]
    assert teller(setting.world.app).tell(record)
    setting.assert_told("denied-0", "granted-1")


def test_a_store_that_is_silent_delays_and_stops_nothing(setting: Setting) -> None:
    record = setting.change(Signal.DENIED)
    setting.world.tenants.silent = True
    assert teller(setting.world.app).tell(record) is False
    assert teller(setting.world.app).tell_forgotten(record, setting.world.clock.wall_time + LEFT_ALONE) is False
    setting.world.tenants.silent = False
    assert teller(setting.world.app).tell(record)
    setting.assert_told("denied-0", emitted=3)


def test_a_change_made_while_another_is_told_is_not_lost(setting: Setting) -> None:
    for at in range(calls()):
        setting, injector = Setting(), Injector()
        app = injected(setting.world.app, injector)
        record = setting.change(Signal.SILENT, Signal.GRANTED)

        def meanwhile(name: str, setting: Setting = setting) -> None:
            setting.change(Signal.DENIED)

        injector.arm(at, "before", meanwhile)
        assert teller(app).tell(record)
        injector.armed = False
        names = [change.id for change in setting.record().untold]
        assert len(names) == 1
        assert names[0].startswith("denied-")
        assert setting.told()[2] == ["silent-0", "granted-1"]
        assert teller(app).tell(setting.record())
        setting.assert_told("silent-0", "granted-1", *names)


def test_two_processes_that_tell_at_once_leave_one_entry_in_the_timeline() -> None:
    for at in range(calls()):
        setting, injector = Setting(), Injector()
        app = injected(setting.world.app, injector)
        other = setting.world.process()
        record = setting.change(Signal.SILENT, Signal.GRANTED)

        def meanwhile(name: str, other: Application = other, record: TenantRecord = record) -> None:
            assert teller(other).tell(record)

        injector.arm(at, "before", meanwhile)
        assert teller(app).tell(record)
        injector.armed = False
        setting.assert_told("silent-0", "granted-1", exactly=False, emitted=2)


def test_the_timeline_keeps_the_latest(setting: Setting) -> None:
    made = [StateChange(f"c-{number}", "t", "active", "degraded", "silent") for number in range(KEPT + 5)]
    for number in range(0, len(made), 41):
        setting.world.change(untold=tuple(made[number : number + 41]))
        assert teller(setting.world.app).tell(setting.record())
    assert KEPT == 200
    assert setting.timeline() == tuple(made[-KEPT:])
    assert len(setting.emitted()) == len(made) + setting.before[1]


@pytest.mark.parametrize(
    "body",
    [{}, {"changes": None}, {"changes": 1}, {"changes": ["x"]}, {"changes": [{}]}, {"changes": [{"id": 1}]}],
    ids=str,
)
def test_a_timeline_that_makes_no_sense_is_begun_anew_and_keeps_nothing_out_of_the_chain(
    setting: Setting, body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    document = setting.world.tenants.read("acme", DOCUMENT)
    assert document is not None
    setting.world.tenants.write("acme", DOCUMENT, body, expected_revision=document.revision)
    assert setting.timeline() == ()
    assert [line.message for line in caplog.records] == ["a tenant's stored timeline cannot be read"]
    record = setting.change(Signal.DENIED)
    assert teller(setting.world.app).tell(record)
    assert setting.timeline() == record.untold
    assert setting.told()[:2] == (["denied-0"], ["denied-0"])
    assert setting.record().untold == ()


def test_who_forges_the_timeline_keeps_nothing_out_of_the_chain(setting: Setting) -> None:
    record = setting.change(Signal.DENIED)
    document = setting.world.tenants.read("acme", DOCUMENT)
    assert document is not None
    forged = {"changes": [*document.body["changes"], record.untold[0].to_body()]}
    setting.world.tenants.write("acme", DOCUMENT, forged, expected_revision=document.revision)
    assert teller(setting.world.app).tell(record)
    setting.assert_told("denied-0")


def test_a_change_is_found_at_the_end_of_a_long_chain_and_not_entered_again(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(LOOKED_BACK + 10):
        setting.world.app.audit.record("acme", "key.check", "alice", "ok", {"number": number})
    record = setting.change(Signal.DENIED)

    def broken(*args: object) -> None:
        raise StoreUnavailable("the store does not answer")

    monkeypatch.setattr(setting.world.app.records, "change", broken)
    assert teller(setting.world.app).tell(record) is False
    monkeypatch.undo()
    assert setting.record().untold == record.untold
    assert teller(setting.world.process()).tell(record)
    setting.assert_told("denied-0", emitted=2)


def test_an_entry_of_another_kind_does_not_stand_for_a_change(setting: Setting) -> None:
    record = setting.change(Signal.DENIED)
    setting.world.app.audit.record("acme", "key.check", "alice", "ok", {"id": "denied-0"})
    assert teller(setting.world.app).tell(record)
    setting.assert_told("denied-0")


def test_no_timeline_yet(setting: Setting) -> None:
    assert teller(setting.world.app).timeline("nobody") == ()


def test_a_timeline_that_others_keep_writing_delays(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    record, count = setting.change(Signal.DENIED), 0
    write = setting.world.tenants.write

    def busy(tenant_id: str, name: str, body: Mapping[str, Any], *, expected_revision: int) -> Any:
        nonlocal count
        if name == DOCUMENT and count < limit:
            count += 1
            write(tenant_id, name, {"changes": []}, expected_revision=expected_revision)
        return write(tenant_id, name, body, expected_revision=expected_revision)

    monkeypatch.setattr(setting.world.tenants, "write", busy)
    limit = telling.ATTEMPTS
    assert teller(setting.world.app).tell(record) is False
    assert count == limit
    assert setting.record().untold == record.untold
    count, limit = 0, telling.ATTEMPTS - 1
    assert teller(setting.world.app).tell(record)
    assert setting.timeline() == record.untold
    assert setting.record().untold == ()


def test_telling_never_raises_what_the_service_knows(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    record = setting.change(Signal.DENIED)

    def broken(*args: object) -> None:
        raise KeysteadError("anything")

    monkeypatch.setattr(setting.world.app.records, "change", broken)
    assert teller(setting.world.app).tell(record) is False
    monkeypatch.undo()
    assert teller(setting.world.app).tell(replace(record))
    setting.assert_told("denied-0", emitted=2)
