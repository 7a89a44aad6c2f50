"""After a restore: what the chain remembers is done again, and what the backup does not have is told."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import pytest

from core.domain.audit_copies import ChainCopy
from core.domain.causes import OLDER_KEY, remedy_for
from core.domain.key_policy import PolicyChange
from core.domain.key_target import KeyTarget
from core.domain.states import State
from core.domain.tenants import SYSTEM
from core.errors import Denial, KeysteadError, KeySuspended, StoreCorrupt
from core.service.revocation.store_restores import AfterRestore
from tests.service.revocation.restoring import (
    DIVERGED,
    OLDER,
    SWITCH,
    Backup,
    configured,
    entries,
    go_on,
    holds,
    moved,
    order,
    platform,
    record_of,
    resume,
    suspend,
)
from tests.service.revocation.withdrawing import Owned
from tests.service.world import OPERATOR, OTHER_KEK, PLATFORM, THIRD_KEK, caller


@pytest.mark.parametrize("kept", ["in the chain", "in a copy", "in a copy, and the chain went on"])
def test_a_kill_switch_is_turned_on_again_until_the_tenant_resumes(owned: Owned, kept: str) -> None:
    backup = Backup(owned.world)
    owned.world.clock.advance(60)
    suspend(owned.app)
    copy: ChainCopy | None = owned.app.audit_copies.make("acme")
    chain = deepcopy((owned.world.audit_log._heads, owned.world.audit_log._entries))
    owned.world.clock.advance(60)
    app = backup.restore()
    assert owned.outcome(app) == "ok"
    if kept == "in the chain":  # which lies in another store that was not restored
        owned.world.audit_log._heads, owned.world.audit_log._entries = chain
        copy = None
    diverged = kept.endswith("went on")
    if diverged:
        go_on(app)
    found = order(app, copy)
    assert (found.after, found.reasons, found.lost) == ("suspended", (SWITCH,), (DIVERGED,) if diverged else ())
    assert entries(app)[-1].details["diverged"] is diverged
    assert owned.outcome(app) == "key_suspended"
    assert owned.outcome(owned.world.process()) == "key_suspended"
    app.checks.check("acme", forced=True)
    assert record_of(app).state is State.SUSPENDED
    if diverged:
        assert app.audit.verify("acme").ok
    elif copy is not None:
        holds(app, copy)

    owned.world.clock.advance(60)
    resume(app)
    assert record_of(app).state is State.HOLD
    app.checks.check("acme", forced=True)
    assert record_of(app).state is State.ACTIVE
    owned.world.clock.advance(60)
    # Whoever orders it again: the tenant has decided since.
    for again in (copy, None):
        assert order(app, again).reasons == ()
        assert record_of(app).state is State.HOLD
        app.checks.check("acme", forced=True)
    assert owned.outcome(app) == "ok"


@pytest.mark.parametrize("diverged", [False, True])
def test_a_switch_that_was_turned_on_and_off_since_is_off(owned: Owned, diverged: bool) -> None:
    backup = Backup(owned.world)
    for act in (suspend, resume):
        owned.world.clock.advance(60)
        act(owned.app)
    copy = owned.app.audit_copies.make("acme")
    app = backup.restore()
    if diverged:
        go_on(app)
    found = order(app, copy)
    assert (found.after, found.reasons) == ("hold", ())


def test_a_switch_whose_order_was_never_audited(owned: Owned) -> None:
    """The process died after it had told the change of state."""
    backup = Backup(owned.world)
    owned.app.kill_switch.suspend("acme", "alice", {})
    copy = owned.app.audit_copies.make("acme")
    assert [entry.action for entry in copy.entries][-1] == "key.state"
    assert order(backup.restore(), copy).reasons == (SWITCH,)


@pytest.mark.parametrize("diverged", [False, True])
@pytest.mark.parametrize("before", ["platform", "another key"])
def test_a_change_of_key_since(before: str, diverged: bool) -> None:
    owned = Owned()
    world = platform() if before == "platform" else owned.world
    target = OTHER_KEK if before == "platform" else THIRD_KEK
    message = world.encrypt()
    backup = Backup(world)
    world.clock.advance(60)
    configured(world.app, target.locator)
    copy = world.app.audit_copies.make("acme")
    app = backup.restore()
    if diverged:
        go_on(app)
    former = record_of(app)
    found = order(app, copy)
    assert (found.after, found.reasons) == ("suspended", (moved(target.locator),))
    held = State.PLATFORM if before == "platform" else State.HOLD
    assert (record_of(app).kek, record_of(app).resume_to) == (former.kek, held.value)
    details = entries(app)[-1].details
    assert (details["why"], details["kek"]) == ([moved(target.locator)], former.kek)
    with pytest.raises(KeysteadError) as refused:
        app.encryption.decrypt("acme", message, {})
    assert refused.value.code == "key_suspended"
    world.clock.advance(60)
    assert order(app, copy).after == "suspended"

    # Resumed by the tenant, which knows: ordered again, it is not suspended again.
    world.clock.advance(60)
    resume(app)
    assert record_of(app).state is held
    world.clock.advance(60)
    for again in (copy, None):
        assert (order(app, again).after, record_of(app).kek) == (held.value, former.kek)
    app.checks.check("acme", forced=True)
    assert app.encryption.decrypt("acme", message, {}) == b"secret"

    # It brings its key again; then that is the one that a backup of before lacks.
    later = Backup(world)
    configured(app, target.locator)
    assert app.encryption.decrypt("acme", message, {}) == b"secret"
    copy = app.audit_copies.make("acme")
    assert order(app, copy).reasons == ()
    assert order(later.restore(), copy).reasons == (moved(target.locator),)


def test_a_backup_of_before_a_key_that_an_earlier_restore_had_left_in_place(owned: Owned) -> None:
    """Resuming after one restore says nothing of what another brings back."""
    oldest = Backup(owned.world)
    owned.world.clock.advance(60)
    configured(owned.app, THIRD_KEK.locator)
    newer = Backup(owned.world)
    owned.world.clock.advance(60)
    suspend(owned.app)
    copy = owned.app.audit_copies.make("acme")
    app = newer.restore()
    assert order(app, copy).reasons == (SWITCH,)
    owned.world.clock.advance(60)
    resume(app)
    copy = app.audit_copies.make("acme")
    assert order(oldest.restore(), copy).reasons == (moved(THIRD_KEK.locator),)


def test_the_way_back_since() -> None:
    world = platform()
    configured(world.app, OTHER_KEK.locator, reversible=True)
    backup = Backup(world)
    world.clock.advance(60)
    world.app.keystead.revert_key(caller(), "acme")
    copy = world.app.audit_copies.make("acme")
    found = order(backup.restore(), copy)
    assert (found.after, found.reasons) == ("suspended", (moved(PLATFORM.locator),))


def test_there_and_back_again_since() -> None:
    """The rows of the backup lie under the key that the tenant has."""
    world = platform()
    configured(world.app, OTHER_KEK.locator)
    backup = Backup(world)
    for kek in (THIRD_KEK, OTHER_KEK):
        world.clock.advance(60)
        configured(world.app, kek.locator)
    copy = world.app.audit_copies.make("acme")
    found = order(backup.restore(), copy)
    assert (found.after, found.reasons) == ("hold", ())


def test_a_backup_of_the_middle_of_a_change(owned: Owned) -> None:
    """What is under way is finished, with the key that the copy tells of."""
    owned.world.change(kek=THIRD_KEK.locator, moving_from=OTHER_KEK.locator, moving_binding=owned.record.binding)
    backup = Backup(owned.world)
    owned.world.clock.advance(60)
    owned.app.audit.record("acme", "key.configure", "alice", "ok", {"moving_to": THIRD_KEK.locator})
    copy = owned.app.audit_copies.make("acme")
    found = order(backup.restore(), copy)
    assert (found.after, found.reasons) == ("hold", ())


def test_both_reasons(owned: Owned) -> None:
    backup = Backup(owned.world)
    configured(owned.app, THIRD_KEK.locator)
    suspend(owned.app)
    copy = owned.app.audit_copies.make("acme")
    app = backup.restore()
    assert order(app, copy).reasons == (moved(THIRD_KEK.locator), SWITCH)
    assert record_of(app).cause == OLDER_KEY
    shown = app.keystead.key_status(caller(), "acme")
    assert (shown.state, shown.cause, shown.remedy) == (
        State.SUSPENDED,
        OLDER_KEY,
        remedy_for(State.SUSPENDED, OLDER_KEY),
    )
    with pytest.raises(KeySuspended) as refused:
        app.keystead.decrypt(caller(), "acme", owned.message, {})
    assert refused.value.hint == remedy_for(State.SUSPENDED, OLDER_KEY)
    resume(app)
    assert record_of(app).cause == ""


# What is lost


@pytest.mark.parametrize("diverged", [False, True])
def test_versions_made_since_are_told(owned: Owned, diverged: bool) -> None:
    who = caller()
    owned.app.keystead.rotate(who, "acme")
    backup = Backup(owned.world)
    assert order(owned.world.process()).lost == ()
    backup.restore()
    for _ in range(2):
        owned.app.keystead.rotate(who, "acme")
    lost = owned.world.encrypt(b"lost")
    copy = owned.app.audit_copies.make("acme")
    app = backup.restore()
    if diverged:
        go_on(app)
    told = "versions 4 to 5 of the branch key: what was encrypted under them cannot be read"
    assert order(app, copy).lost == ((DIVERGED, told) if diverged else (told,))
    assert entries(app)[-1].details["lost"][-1] == told
    assert owned.outcome(app) == "ok"
    with pytest.raises(KeysteadError):
        app.encryption.decrypt("acme", lost, {})


def test_rotations_of_a_branch_key_that_was_left_behind_are_not_lost(owned: Owned) -> None:
    for _ in range(3):
        owned.app.keystead.rotate(caller(), "acme")
    older = owned.app.audit_copies.make("acme")
    owned.revoke()
    configured(owned.app, THIRD_KEK.locator)
    assert owned.record.former_branch_keys
    for copy in (None, older):
        assert order(owned.world.process(), copy).lost == ()
    backup = Backup(owned.world)
    app = backup.restore()
    app.checks.check("acme", forced=True)
    app.keystead.rotate(caller(), "acme")
    copy = app.audit_copies.make("acme")
    assert order(backup.restore(), copy).lost == (
        "version 2 of the branch key: what was encrypted under it cannot be read",
    )


def test_a_tenant_of_after_the_backup_is_told_and_its_chain_is_put_back(owned: Owned) -> None:
    backup = Backup(owned.world)
    owned.app.keystead.create_tenant(OPERATOR, "globex")
    suspend(owned.app, "globex")
    copy = owned.app.audit_copies.make("globex")
    app = backup.restore()
    assert order(app, copy, "globex") == AfterRestore("globex", lost=(OLDER,), entries=len(copy.entries))
    assert app.records.read("globex") is None
    assert app.audit.verify("globex", checkpoints=[copy.checkpoint]).ok
    last = entries(app, "globex")[-1]
    assert (last.action, last.outcome, last.details["entries_put_back"]) == ("store.restored", "ok", len(copy.entries))
    assert owned.state is State.ACTIVE, "every tenant is ordered for itself"


def test_nobody(owned: Owned) -> None:
    assert order(owned.app, None, "nobody") == AfterRestore("nobody")
    assert owned.app.records.read("nobody") is None


@pytest.mark.parametrize("kept", [False, True])
def test_a_spent_id_stays_spent(owned: Owned, kept: bool) -> None:
    owned.world.change(deleted=True)
    before = owned.app.records.read("acme")
    owned.app.audit.record("acme", "key.suspend", "alice", "ok")
    copy = owned.app.audit_copies.make("acme") if kept else None
    assert order(owned.app, copy) == AfterRestore("acme")
    assert owned.app.records.read("acme") == before


@pytest.mark.parametrize("diverged", [False, True])
def test_the_operators_chain(owned: Owned, diverged: bool) -> None:
    backup = Backup(owned.world)
    for number in range(3):
        owned.app.audit.record(SYSTEM, "tenant.list", "operator", "ok", {"number": number})
    copy = owned.app.audit_copies.make(SYSTEM)
    app = backup.restore()
    if diverged:
        app.audit.record(SYSTEM, "tenant.list", "operator", "ok")
    expected = AfterRestore(SYSTEM, lost=(DIVERGED,)) if diverged else AfterRestore(SYSTEM, entries=3)
    assert order(app, copy, SYSTEM) == expected
    assert app.audit.verify(SYSTEM, checkpoints=[] if diverged else [copy.checkpoint]).ok
    assert (entries(app, SYSTEM)[-1].action, entries(app, SYSTEM)[-1].details["diverged"]) == (
        "store.restored",
        diverged,
    )
    assert owned.state is State.ACTIVE
    assert order(app, None, SYSTEM) == AfterRestore(SYSTEM)


def test_restored_twice(owned: Owned) -> None:
    backup = Backup(owned.world)
    owned.world.clock.advance(60)
    suspend(owned.app)
    first = owned.app.audit_copies.make("acme")
    app = backup.restore()
    assert order(app, first).reasons == (SWITCH,)
    resume(app)
    app.checks.check("acme", forced=True)
    owned.world.clock.advance(60)
    app.keystead.rotate(caller(), "acme")
    second = app.audit_copies.make("acme")
    owned.world.clock.advance(60)
    app = backup.restore()
    found = order(app, second)
    assert (found.before, found.after, found.reasons) == ("active", "hold", ())
    assert found.entries == len(second.entries) - len(first.entries) + 2
    assert len(found.lost) == 1
    holds(app, first, second)
    # The older copy alone, by mistake: what the store knows counts.
    assert order(app, first).reasons == ()
    app = backup.restore()
    assert order(app, first).reasons == (SWITCH,), "nobody told it of the rest"
    assert order(app, second).lost[0] == DIVERGED
    assert owned.state is State.SUSPENDED, "only ever tightens"


def test_where_the_chain_in_the_store_does_not_hold_the_copy_is_believed(owned: Owned) -> None:
    backup = Backup(owned.world)
    suspend(owned.app)
    copy = owned.app.audit_copies.make("acme")
    app = backup.restore()
    app.audit_copies.put_back(copy)
    chain = owned.world.audit_log._entries["acme"]
    for number in sorted(chain)[-2:]:
        chain[number] = chain[number].replace("suspended", "active").replace("key.suspend", "key.check")
    with pytest.raises(StoreCorrupt, match="does not hold at entry"):
        order(app, copy)
    assert record_of(app).state is State.SUSPENDED


@pytest.mark.parametrize("own", [True, False], ids=["own to own", "platform to own"])
def test_a_change_of_key_that_another_process_finished_is_known(own: bool) -> None:
    """Whoever began it died before its order was in the chain."""
    world = Owned().world if own else platform()
    backup = Backup(world)
    mover = world.app.key_configuration._mover

    class Died(BaseException):
        pass

    def dies(*_: object) -> None:
        raise Died

    before, mover.run = mover.run, dies  # type: ignore[method-assign,assignment]
    with pytest.raises(Died):
        world.app.key_configuration.configure("acme", KeyTarget(THIRD_KEK.locator), {})
    mover.run = before  # type: ignore[method-assign]
    other = world.process()
    world.clock.advance(60)
    other.schedules.run("check", 60)
    assert record_of(other).kek == THIRD_KEK.locator
    assert record_of(other).moving_from is None
    copy = other.audit_copies.make("acme")
    app = backup.restore()
    assert order(app, copy).reasons == (moved(THIRD_KEK.locator),)
    assert record_of(app).state is State.SUSPENDED


@pytest.mark.parametrize("first", [False, True], ids=["ordered", "held first, as the command does"])
def test_a_key_that_does_not_wrap_is_not_active_before_that_was_looked_at(owned: Owned, first: bool) -> None:
    def no_wrap(operation: str, context: Mapping[str, str]) -> None:
        if operation == "wrap" and context.get("kms-arn") == OTHER_KEK.locator:
            raise Denial("no", cause="wrap_not_permitted")

    owned.world.kms.trouble = no_wrap
    assert owned.check() is State.WRITE_BLOCKED
    app = Backup(owned.world).restore()
    if first:
        assert app.store_restores.hold("acme", "operator", end_receipts=False) is State.WRITE_BLOCKED
    assert order(app).after == "hold"
    owned.world.clock.advance(5)
    assert app.checks.check("acme") is State.WRITE_BLOCKED


@pytest.mark.parametrize("diverged", [False, True])
def test_a_policy_that_was_set_since_is_told(owned: Owned, diverged: bool) -> None:
    keystead = owned.app.keystead
    keystead.set_policy(caller(), "acme", PolicyChange(rotation_days=30))
    backup = Backup(owned.world)
    keystead.set_policy(caller(), "acme", PolicyChange(lease=5, approval="second_person"))
    keystead.set_policy(caller(), "acme", PolicyChange(lease=0))
    copy = owned.app.audit_copies.make("acme")
    app = backup.restore()
    if diverged:
        go_on(app)
    told = [what for what in order(app, copy).lost if what != DIVERGED]
    assert sorted(told) == [
        "the policy's approval, which was set to 'second_person': it is '' again",
        f"the policy's lease, which was set to 0: it is {owned.policy.lease!r} again",
    ]
    app.keystead.set_policy(caller(), "acme", PolicyChange(lease=0, approval="second_person"))
    assert [what for what in order(app, copy).lost if what != DIVERGED] == []
