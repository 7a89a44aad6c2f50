"""Copies of audit chains: only a true one is taken, and what a store lost is put back exactly as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from core.domain import jws
from core.domain.audit import EMPTY_HEAD, GENESIS, AuditEntry, AuditHead
from core.domain.audit_copies import ChainCopy
from core.errors import Conflict, Denial, InvalidRequest, KeysteadError, Silence, StoreCorrupt, StoreUnavailable
from core.service.audit import CHECKPOINT_EVERY, CHECKPOINTS, STATEMENT, AuditTrail
from core.service.audit_copies import AuditCopies, PutBack
from core.service.timekeeper import Timekeeper
from core.stores.memory import MemoryTenantStore
from tests.service.injection import Injector, Killed
from tests.service.test_audit import FORGERIES, OpenLog, rehashed
from tests.service.world import FakeClock, MemorySigner

ENTRIES = 10


@dataclass
class Site:
    """A deployment's chains; another site may share its signing key."""

    log: OpenLog = field(default_factory=OpenLog)
    documents: MemoryTenantStore = field(default_factory=MemoryTenantStore)
    signer: MemorySigner = field(default_factory=MemorySigner)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.trail = AuditTrail(self.log, self.documents, self.signer, Timekeeper(self.clock, lambda reason: None).now)
        self.copies = AuditCopies(self.log, self.trail)

    def write(self, entries: int = ENTRIES, chain: str = "acme", who: str = "alice") -> None:
        for number in range(entries):
            self.clock.advance(1)
            self.trail.record(chain, "key.rotate", who, "ok", {"number": number})

    def restored(self, entries: int, chain: str = "acme") -> Site:
        """The same deployment after its store was restored from a backup of a time when the chain was shorter."""
        site = Site(signer=self.signer, clock=self.clock)
        for entry in list(self.log.read(chain, limit=10_000))[:entries]:
            site.log.append(entry)
        return site

    def chain(self, chain: str = "acme") -> list[AuditEntry]:
        return list(self.log.read(chain, limit=10_000))

    def checkpoint(self, sequence: int, entry_hash: str, chain: str = "acme", **more: Any) -> str:
        return self.signer.sign({"typ": STATEMENT, "chain": chain, "sequence": sequence, "hash": entry_hash, **more})


@pytest.fixture
def site() -> Site:
    site = Site()
    site.write()
    return site


@pytest.fixture
def copy(site: Site) -> ChainCopy:
    return site.copies.make("acme")


# Made


def test_a_copy_is_the_chain_and_a_checkpoint_of_its_end(site: Site) -> None:
    copy = site.copies.make("acme")
    assert (copy.chain, list(copy.entries)) == ("acme", site.chain())
    assert jws.verify(copy.checkpoint, site.signer.jwks())["sequence"] == ENTRIES
    assert list(site.trail.checkpoints("acme")) == [copy.checkpoint]
    site.copies.check(copy)
    assert site.copies.make("acme") == copy, "the chain is the same, and so is what was signed of it"
    site.write(1)
    longer = site.copies.make("acme")
    assert longer.entries[:ENTRIES] == copy.entries
    assert len(longer.entries) == ENTRIES + 1
    site.copies.check(longer)
    site.copies.check(copy)


def test_nothing_is_made_of_an_empty_chain(site: Site) -> None:
    assert site.copies.make("nobody") == ChainCopy("nobody", (), "")
    assert site.documents.read("nobody", CHECKPOINTS) is None


@pytest.mark.parametrize("page", [1, 3, ENTRIES // 2, ENTRIES - 1, ENTRIES, ENTRIES + 1])
def test_chains_of_several_pages(site: Site, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.service.audit_copies.PAGE", page)
    assert list(site.copies.make("acme").entries) == site.copies.read("acme") == site.chain()
    assert site.copies.read("acme", up_to=4) == site.chain()[:4]
    assert site.copies.read("acme", up_to=0) == []
    assert site.copies.read("nobody") == []
    assert len(site.copies.read("acme", up_to=ENTRIES + 5)) == ENTRIES


def test_what_is_written_meanwhile_is_for_the_next_copy(site: Site) -> None:
    def appending(entries: list[AuditEntry]) -> list[AuditEntry]:
        site.log.forge = lambda found: found
        site.write(1, who="bob")
        return site.chain()

    site.log.forge = appending
    copy = site.copies.make("acme")
    assert len(copy.entries) == ENTRIES
    assert len(site.chain()) == ENTRIES + 1
    site.copies.check(copy)


@pytest.mark.parametrize("name", FORGERIES)
def test_no_copy_is_made_of_a_chain_that_does_not_hold(site: Site, name: str) -> None:
    site.trail.checkpoint("acme")
    site.log.forge, _ = FORGERIES[name]
    with pytest.raises(StoreCorrupt, match="the audit chain of acme does not hold"):
        site.copies.make("acme")


def test_no_copy_is_made_of_a_chain_that_ends_before_its_checkpoint(site: Site) -> None:
    site.trail.checkpoint("acme")
    last = site.chain()[-2]
    site.log.forged_head = lambda head: AuditHead(last.sequence, last.hash)
    with pytest.raises(StoreCorrupt, match="ends before an entry"):
        site.copies.make("acme")


def test_no_copy_is_made_while_nobody_can_vouch_for_it(site: Site) -> None:
    site.signer.silent = True
    with pytest.raises(Silence):
        site.copies.make("acme")
    assert site.documents.read("acme", CHECKPOINTS) is None


# Checked


def entries(change: Callable[[list[AuditEntry]], list[AuditEntry]]) -> Callable[[Site, ChainCopy], ChainCopy]:
    return lambda site, copy: replace(copy, entries=tuple(change(list(copy.entries))))


def signed(sign: Callable[[Site, AuditEntry], str]) -> Callable[[Site, ChainCopy], ChainCopy]:
    return lambda site, copy: replace(copy, checkpoint=sign(site, copy.entries[-1]))


def rewritten(copied: list[AuditEntry]) -> list[AuditEntry]:
    """The whole chain told anew, each link in place: only the checkpoint knows better."""
    forged = [rehashed(copied[0], subject="nobody")]
    for entry in copied[1:]:
        forged.append(rehashed(entry, previous=forged[-1].hash))
    return forged


def by_another_key(site: Site, last: AuditEntry) -> str:
    return Site().checkpoint(last.sequence, last.hash)


def with_another_payload(site: Site, last: AuditEntry) -> str:
    head, _, signature = site.checkpoint(1, last.hash).split(".")
    return f"{head}.{site.checkpoint(last.sequence, last.hash).split('.')[1]}.{signature}"


def of_the_other_chain(site: Site, copy: ChainCopy) -> ChainCopy:
    site.write(ENTRIES, "globex")
    return replace(copy, entries=tuple(site.chain("globex")))


def signed_as_this_one(site: Site, copy: ChainCopy) -> ChainCopy:
    """As nothing but a service gone wrong could sign it."""
    site.write(ENTRIES, "globex")
    others = site.chain("globex")
    return ChainCopy("acme", tuple(others), site.checkpoint(ENTRIES, others[-1].hash))


def named_otherwise(site: Site, copy: ChainCopy) -> ChainCopy:
    site.write(ENTRIES, "globex")
    return replace(site.copies.make("globex"), chain="acme")


def early(site: Site, copy: ChainCopy) -> ChainCopy:
    """The copy's own entries with the checkpoint of a copy of before."""
    site.write(1)
    return replace(site.copies.make("acme"), checkpoint=copy.checkpoint)


FALSE: dict[str, Callable[[Site, ChainCopy], ChainCopy]] = {
    **{name: entries(forge) for name, (forge, _) in FORGERIES.items()},
    "no entries": entries(lambda copied: []),
    "no entries and a checkpoint of none": lambda site, copy: ChainCopy("acme", (), site.checkpoint(0, GENESIS)),
    "no entries and no checkpoint": lambda site, copy: ChainCopy("acme", (), ""),
    "what JSON cannot tell": entries(lambda copied: [*copied[:-1], replace(copied[-1], details={"n": float("nan")})]),
    "an entry more": entries(
        lambda copied: [
            *copied,
            rehashed(copied[-1], sequence=ENTRIES + 1, previous=copied[-1].hash),
        ]
    ),
    "told anew": entries(rewritten),
    "another chain's entries": of_the_other_chain,
    "another chain's entries, signed as this one's": signed_as_this_one,
    "another chain under this one's name": named_otherwise,
    "this chain under another's name": lambda site, copy: replace(copy, chain="globex"),
    "unsigned": lambda site, copy: replace(copy, checkpoint=""),
    "junk for a signature": lambda site, copy: replace(copy, checkpoint="a.b.c"),
    "an algorithm of none": lambda site, copy: replace(
        copy, checkpoint="eyJhbGciOiJub25lIiwia2lkIjoibWVtb3J5In0." + copy.checkpoint.split(".")[1] + "."
    ),
    "signed by another key": signed(by_another_key),
    "signed for something else": signed(with_another_payload),
    "a checkpoint of another chain": signed(lambda site, last: site.checkpoint(last.sequence, last.hash, "globex")),
    "another kind of statement": signed(
        lambda site, last: site.checkpoint(last.sequence, last.hash, typ="keystead-receipt")
    ),
    "a checkpoint of another entry": early,
    "a checkpoint of a later entry": signed(lambda site, last: site.checkpoint(last.sequence + 1, last.hash)),
    "a checkpoint of another hash": signed(lambda site, last: site.checkpoint(last.sequence, "0" * 64)),
    "a checkpoint whose sequence is text": signed(lambda site, last: site.checkpoint("10", last.hash)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", FALSE)
def test_a_false_copy_is_refused_and_changes_nothing(site: Site, copy: ChainCopy, name: str) -> None:
    false = FALSE[name](site, copy)
    for lost in (0, 4, ENTRIES):
        restored = site.restored(lost)
        with pytest.raises(InvalidRequest) as refused:
            restored.copies.put_back(false)
        assert type(refused.value) is InvalidRequest
        assert refused.value.detail
        assert restored.chain() == list(copy.entries[:lost])
        assert restored.chain("globex") == []
        assert restored.documents.read("acme", CHECKPOINTS) is None
        with pytest.raises(InvalidRequest):
            restored.copies.check(false)


def test_it_is_told_where_a_copy_does_not_hold(site: Site, copy: ChainCopy) -> None:
    false = FALSE["detail edited"](site, copy)
    with pytest.raises(InvalidRequest, match=r"at entry 5: the entry was changed"):
        site.copies.check(false)


@pytest.mark.parametrize("trouble", [Silence("no answer"), Denial("no", cause="policy")])
def test_keys_that_cannot_be_read_are_no_verdict(
    site: Site, copy: ChainCopy, trouble: KeysteadError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def jwks() -> Mapping[str, Any]:
        raise trouble

    restored = site.restored(4)
    monkeypatch.setattr(site.signer, "jwks", jwks)
    with pytest.raises(StoreUnavailable, match="signing keys"):
        restored.copies.put_back(copy)
    assert len(restored.chain()) == 4


# Put back


@pytest.mark.parametrize("left", [0, 1, 4, ENTRIES - 1])
def test_what_was_lost_is_there_again_exactly_as_it_was(site: Site, copy: ChainCopy, left: int) -> None:
    restored = site.restored(left)
    assert restored.copies.put_back(copy) == PutBack(ENTRIES - left, diverged=False)
    assert restored.chain() == site.chain()
    assert restored.log.head("acme") == site.log.head("acme")
    verdict = restored.trail.verify("acme", checkpoints=[copy.checkpoint])
    assert (verdict.ok, verdict.entries, verdict.problem) == (True, ENTRIES, "")
    for _ in range(2):
        assert restored.copies.put_back(copy) == PutBack()
    assert restored.chain() == site.chain()
    # And goes on from there.
    restored.write(1, who="bob")
    assert restored.trail.verify("acme", checkpoints=[copy.checkpoint]).ok
    assert restored.copies.put_back(copy) == PutBack()
    assert restored.copies.make("acme").entries[:ENTRIES] == copy.entries


def test_a_copy_that_went_through_its_line_is_as_good(site: Site, copy: ChainCopy) -> None:
    restored = site.restored(3)
    assert restored.copies.put_back(ChainCopy.from_line(copy.to_line())) == PutBack(ENTRIES - 3)
    assert restored.chain() == site.chain()


def test_copies_of_different_times(site: Site, copy: ChainCopy) -> None:
    site.write(5)
    longer = site.copies.make("acme")
    restored = site.restored(4)
    assert restored.copies.put_back(copy) == PutBack(ENTRIES - 4)
    assert restored.copies.put_back(longer) == PutBack(5)
    assert restored.copies.put_back(copy) == PutBack()
    assert restored.chain() == site.chain()


def test_a_long_chain_with_checkpoints_on_its_way() -> None:
    site = Site()
    site.write(2 * CHECKPOINT_EVERY + 3)
    copy, kept = site.copies.make("acme"), site.trail.checkpoints("acme")
    assert len(kept) == 3
    restored = site.restored(5)
    assert restored.copies.put_back(copy) == PutBack(len(copy.entries) - 5)
    assert restored.trail.verify("acme", checkpoints=kept).ok


def test_other_chains_are_left_alone(site: Site, copy: ChainCopy) -> None:
    restored = site.restored(4)
    restored.write(2, "globex")
    before = restored.chain("globex")
    restored.copies.put_back(copy)
    assert restored.chain("globex") == before


@pytest.mark.parametrize("left", [0, 4, ENTRIES - 1])
@pytest.mark.parametrize("gone_on", [1, ENTRIES + 3])
def test_a_chain_that_went_on_differently_stays_as_it_is(site: Site, copy: ChainCopy, left: int, gone_on: int) -> None:
    restored = site.restored(left)
    restored.write(gone_on, who="bob")
    before = restored.chain()
    for _ in range(2):
        assert restored.copies.put_back(copy) == PutBack(0, diverged=True)
    assert restored.chain() == before
    assert restored.trail.verify("acme").ok


def test_a_chain_of_the_same_length_that_went_on_differently(site: Site, copy: ChainCopy) -> None:
    restored = site.restored(ENTRIES - 1)
    restored.write(1, who="bob")
    assert len(restored.chain()) == ENTRIES
    assert restored.copies.put_back(copy) == PutBack(0, diverged=True)


def test_a_head_beyond_entries_that_are_gone(site: Site, copy: ChainCopy) -> None:
    restored = site.restored(ENTRIES)
    restored.log.forge = lambda found: []
    assert restored.copies.put_back(copy) == PutBack(0, diverged=True)


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("at", [4, 7, ENTRIES - 1])
def test_somebody_else_appends_meanwhile(site: Site, copy: ChainCopy, at: int, same: bool) -> None:
    """Another that puts the same back, or a service that was not stopped."""
    restored = site.restored(4)
    append = restored.log.append

    def raced(entry: AuditEntry) -> None:
        if entry.sequence == at + 1 and len(restored.chain()) == at:
            if same:
                append(copy.entries[at])
            else:
                restored.log.append = append  # type: ignore[method-assign]
                restored.write(1, who="bob")
        append(entry)

    restored.log.append = raced  # type: ignore[method-assign]
    found = restored.copies.put_back(copy)
    assert found == (PutBack(ENTRIES - 4 - 1) if same else PutBack(at - 4, diverged=True))
    assert restored.chain()[:at] == list(copy.entries[:at])
    assert (restored.chain() == site.chain()) is same
    assert restored.trail.verify("acme").ok


def test_a_race_that_is_lost_for_ever_is_given_up(site: Site, copy: ChainCopy) -> None:
    restored = site.restored(4)
    restored.log.conflicts = 10
    assert restored.copies.put_back(copy) == PutBack(ENTRIES - 4)
    restored = site.restored(4)
    restored.log.conflicts = 10_000
    with pytest.raises(StoreUnavailable, match="too busy") as refused:
        restored.copies.put_back(copy)
    assert refused.value.retry_after == 1
    restored.log.conflicts = 0
    assert restored.copies.put_back(copy) == PutBack(ENTRIES - 4)


@pytest.mark.parametrize("trouble", [StoreUnavailable("no answer"), StoreCorrupt("no head")])
def test_a_head_that_cannot_be_read(site: Site, copy: ChainCopy, trouble: KeysteadError) -> None:
    def unreadable(_head: AuditHead) -> AuditHead:
        raise trouble

    restored = site.restored(4)
    restored.log.forged_head = unreadable
    with pytest.raises(type(trouble)):
        restored.copies.put_back(copy)
    restored.log.forged_head = lambda head: head
    assert restored.chain() == list(copy.entries[:4])


HOW = ("killed before", "killed after", "fails before", "fails after", "conflicts before", "conflicts after")


def disturbed(site: Site, copy: ChainCopy, how: str, at: int) -> tuple[Site, bool]:
    restored = site.restored(4)
    injector = Injector()
    log = injector.wrap(restored.log, "head", "append", "read")

    def disturb(_point: str) -> None:
        if how.startswith("killed"):
            raise Killed
        raise (StoreUnavailable if how.startswith("fails") else Conflict)("no answer")

    injector.arm(at, "before" if how.endswith("before") else "after", disturb)
    with suppress(Killed, KeysteadError):
        AuditCopies(log, restored.trail).put_back(copy)
    return restored, at < len(injector.points)


@pytest.mark.parametrize("how", HOW)
def test_disturbed_at_every_call(site: Site, copy: ChainCopy, how: str) -> None:
    """Whatever is there then is the beginning of the copy; run again, all of it is."""
    points = 0
    for at in range(100):
        restored, reached = disturbed(site, copy, how, at)
        if not reached:
            break
        points += 1
        found = restored.chain()
        assert found == list(copy.entries[: len(found)])
        assert restored.copies.put_back(copy) == PutBack(ENTRIES - len(found))
        assert restored.chain() == site.chain()
    assert points == 2 * (ENTRIES - 4) + 2, "a look at the head and a write for each, and a look at the end"


def test_the_first_link_of_all_is_not_taken_for_a_divergence(site: Site, copy: ChainCopy) -> None:
    restored = Site(signer=site.signer)
    assert restored.log.head("acme") == EMPTY_HEAD
    assert restored.copies.put_back(copy).entries == ENTRIES


def test_the_same_chain_in_a_store_of_another_deployment_is_not_taken(copy: ChainCopy) -> None:
    other = Site()
    with pytest.raises(InvalidRequest):
        other.copies.put_back(copy)
    assert other.chain() == []


def test_what_is_put_back_is_what_json_says_and_no_more(site: Site) -> None:
    site.trail.record("acme", "key.suspend", "alice", "ok", {"why": "ż\u2028\x00", "n": 1e100, "deep": [[{"a": None}]]})
    copy = ChainCopy.from_line(site.copies.make("acme").to_line())
    restored = Site(signer=site.signer)
    restored.copies.put_back(copy)
    assert restored.chain() == site.chain()
    assert json.loads(copy.to_line())["entries"][-1]["details"]["n"] == 1e100
