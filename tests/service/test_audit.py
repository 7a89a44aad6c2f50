"""Audit chains: any edit, cut or change of order shows; truncation shows against a signed checkpoint."""

from __future__ import annotations

import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.domain import jws
from core.domain.audit import AuditEntry, AuditHead
from core.errors import Conflict, InvalidRequest, StoreCorrupt, StoreUnavailable
from core.service.audit import CHECKPOINT_EVERY, AuditTrail
from core.service.timekeeper import Timekeeper
from core.stores.memory import MemoryAuditLog, MemoryTenantStore
from tests.service.world import FakeClock


class Ed25519Signer:
    """Signs with a key made on the spot."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    def sign(self, payload: Mapping[str, Any]) -> str:
        head = _encode(json.dumps({"alg": "EdDSA", "kid": "k"}).encode())
        signed = f"{head}.{_encode(json.dumps(dict(payload)).encode())}"
        return f"{signed}.{_encode(self._key.sign(signed.encode()))}"

    def jwks(self) -> Mapping[str, Any]:
        x = _encode(self._key.public_key().public_bytes_raw())
        return {"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "k", "x": x}]}


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


class OpenLog(MemoryAuditLog):
    """An audit log that a test can falsify as someone with write access to the store could."""

    def __init__(self) -> None:
        super().__init__()
        self.forge: Callable[[list[AuditEntry]], list[AuditEntry]] = lambda entries: entries
        self.forged_head: Callable[[AuditHead], AuditHead] = lambda head: head
        self.conflicts = 0

    def head(self, chain: str) -> AuditHead:
        return self.forged_head(super().head(chain))

    def read(self, chain: str, *, after: int = 0, limit: int = 100) -> Sequence[AuditEntry]:
        entries = self.forge(list(super().read(chain, limit=10_000)))
        return [entry for entry in entries if entry.sequence > after][:limit]

    def append(self, entry: AuditEntry) -> None:
        if self.conflicts:
            self.conflicts -= 1
            raise Conflict("the head has moved")
        super().append(entry)


@pytest.fixture
def log() -> OpenLog:
    return OpenLog()


@pytest.fixture
def trail(log: OpenLog) -> AuditTrail:
    now = Timekeeper(FakeClock(), lambda reason: None).now
    trail = AuditTrail(log, MemoryTenantStore(), Ed25519Signer(), now)
    for number in range(10):
        trail.record("acme", "key.rotate", "alice", "ok", {"number": number})
    return trail


def test_an_honest_chain_verifies(trail: AuditTrail) -> None:
    verdict = trail.verify("acme")
    assert (verdict.ok, verdict.entries, verdict.problem) == (True, 10, "")
    assert trail.verify("nobody").ok


def rehashed(entry: AuditEntry, **changes: object) -> AuditEntry:
    changed = replace(entry, **changes)  # type: ignore[arg-type]
    return replace(changed, hash=changed.computed_hash())


FORGERIES: dict[str, tuple[Callable[[list[AuditEntry]], list[AuditEntry]], int]] = {
    "detail edited": (lambda e: [*e[:4], replace(e[4], details={"number": 99}), *e[5:]], 5),
    "subject edited and rehashed": (lambda e: [*e[:4], rehashed(e[4], subject="bob"), *e[5:]], 6),
    "outcome edited": (lambda e: [replace(e[0], outcome="access_denied"), *e[1:]], 1),
    "time edited": (lambda e: [*e[:9], replace(e[9], time="2001-01-01T00:00:00.000000Z")], 10),
    "one cut out": (lambda e: [*e[:4], *e[5:]], 5),
    "one cut out and renumbered": (
        lambda e: [*e[:4], *(rehashed(x, sequence=x.sequence - 1) for x in e[5:])],
        5,
    ),
    "first cut off": (lambda e: e[1:], 1),
    "last cut off": (lambda e: e[:-1], 10),
    "two swapped": (lambda e: [*e[:3], rehashed(e[4], sequence=4), rehashed(e[3], sequence=5), *e[5:]], 4),
    "one doubled": (lambda e: [*e[:5], rehashed(e[4], sequence=6), *e[6:]], 6),
    "of another chain": (lambda e: [*e[:2], rehashed(e[2], chain="other"), *e[3:]], 3),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_chain_does_not(log: OpenLog, trail: AuditTrail, name: str) -> None:
    log.forge, fault = FORGERIES[name]
    verdict = trail.verify("acme")
    assert not verdict.ok
    assert verdict.first_fault == fault
    assert verdict.problem


def test_an_unreadable_head_is_a_verdict(log: OpenLog, trail: AuditTrail) -> None:
    def unreadable(_head: AuditHead) -> AuditHead:
        raise StoreCorrupt("not a head")

    log.forged_head = unreadable
    verdict = trail.verify("acme")
    assert (verdict.ok, verdict.problem) == (False, "the stored head cannot be read")


def test_a_consistently_rewritten_chain_shows_against_a_checkpoint(log: OpenLog, trail: AuditTrail) -> None:
    (kept,) = trail.checkpoints("acme")
    honest = list(log.read("acme"))
    rewritten = [rehashed(honest[0], subject="nobody")]
    for entry in honest[1:]:
        rewritten.append(rehashed(entry, previous=rewritten[-1].hash))
    for forged in (rewritten, rewritten[:-1], honest[:5]):
        log.forge = lambda entries, forged=forged: forged  # type: ignore[misc]
        log.forged_head = lambda head, forged=forged: AuditHead(len(forged), forged[-1].hash)  # type: ignore[misc]
        assert not trail.verify("acme").ok
    bare = AuditTrail(log, MemoryTenantStore(), trail._signer, trail._now)  # the store's own checkpoints are gone too
    assert bare.verify("acme").ok
    assert not bare.verify("acme", checkpoints=[kept]).ok


@pytest.mark.parametrize("what", ["signature", "payload", "chain", "type", "sequence", "hash", "junk"])
def test_a_false_checkpoint_is_named(trail: AuditTrail, what: str) -> None:
    (kept,) = trail.checkpoints("acme")
    head, payload, signature = kept.split(".")
    honest = jws.verify(kept, trail._signer.jwks())
    false = {
        "signature": f"{head}.{payload}.{_encode(bytes(64))}",
        "payload": f"{head}.{_encode(b'{}')}.{signature}",
        "chain": trail._signer.sign({"typ": "keystead-audit-checkpoint", "chain": "b", "sequence": 1, "hash": ""}),
        "type": trail._signer.sign({**honest, "typ": "keystead-receipt"}),
        "sequence": trail._signer.sign({**honest, "sequence": "10"}),
        "hash": trail._signer.sign({**honest, "hash": "0" * 64}),
        "junk": "junk",
    }[what]
    verdict = trail.verify("acme", checkpoints=[false])
    assert not verdict.ok
    assert "checkpoint" in verdict.problem


def test_checkpoints_are_signed_now_and_then_and_on_demand(trail: AuditTrail) -> None:
    for number in range(2 * CHECKPOINT_EVERY):
        trail.record("acme", "key.rotate", "alice", "ok", {"number": number})
    assert len(trail.checkpoints("acme")) == 3
    assert len(trail.checkpoints("acme")) == 3  # nothing new to sign
    assert trail.checkpoints("nobody") == ()
    assert trail.verify("acme").checkpoints == 3


def test_old_checkpoints_make_room(trail: AuditTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.service.audit.KEPT_CHECKPOINTS", 3)
    kept = 0
    for _ in range(5):
        trail.record("acme", "a", "s", "ok")
        kept = len(trail.checkpoints("acme"))
    assert kept == 3
    assert trail.verify("acme").ok


def test_a_lost_race_is_run_again_and_an_endless_one_is_given_up(log: OpenLog, trail: AuditTrail) -> None:
    log.conflicts = 3
    assert trail.record("acme", "a", "s", "ok").sequence == 11
    log.conflicts = 10_000
    with pytest.raises(StoreUnavailable):
        trail.record("acme", "a", "s", "ok")


def test_many_writers_leave_one_chain(log: OpenLog, trail: AuditTrail) -> None:
    trails = [AuditTrail(log, MemoryTenantStore(), trail._signer, trail._now) for _ in range(4)]
    threads = [
        threading.Thread(target=lambda t=t: [t.record("acme", "a", "s", "ok") for _ in range(25)]) for t in trails
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trail.verify("acme").entries == 110


@pytest.mark.parametrize(("after", "limit"), [(0, 0), (0, 1001), (-1, 10)])
def test_pages_have_bounds(trail: AuditTrail, after: int, limit: int) -> None:
    with pytest.raises(InvalidRequest):
        trail.read("acme", after=after, limit=limit)
