"""Values that many tests need, made in one line. Imports nothing but `core`, so that processes of tests start fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from core.domain.audit import AuditEntry, AuditHead
from core.domain.branch_keys import ACTIVE, VERSION_PREFIX, BranchKeyRow, StoredRow, row_mac
from core.domain.kek import Kek
from core.domain.states import TRANSITIONS, State
from core.domain.tenants import TenantRecord

MAC_KEY = bytes(32)
TABLE = "keys"
NOW = "2026-01-31T12:00:00.000000Z"


def new_id() -> str:
    """A tenant id nobody has."""
    return f"t{uuid4()}"


def tenant_record(tenant_id: str, **changes: Any) -> TenantRecord:
    """A tenant's record."""
    return replace(TenantRecord(tenant_id, str(uuid4()), "local:platform", since=NOW, created=NOW), **changes)


def path_to(state: State) -> tuple[State, ...]:
    """The shortest legal way from ``platform`` to a state, the state included, ``platform`` not."""
    paths: dict[State, tuple[State, ...]] = {State.PLATFORM: ()}
    queue = [State.PLATFORM]
    for at in queue:
        for following in sorted(TRANSITIONS[at] - paths.keys()):
            paths[following] = (*paths[at], following)
            queue.append(following)
    return paths[state]


def stored(row: BranchKeyRow, sequence: int, revision: int = 1) -> StoredRow:
    """A row with a good MAC."""
    return StoredRow(row, row_mac(MAC_KEY, TABLE, row, revision, sequence))


def new_version(branch_key_id: str, sequence: int, enc: bytes | None = None) -> tuple[StoredRow, StoredRow]:
    """A fresh version row and the ACTIVE row that goes with it."""
    version_type = f"{VERSION_PREFIX}{uuid4()}"
    version = BranchKeyRow(
        branch_key_id=branch_key_id,
        type=version_type,
        version=None,
        kek=Kek("local:platform"),
        create_time=NOW,
        tenant_id="acme",
        enc=enc or uuid4().bytes * 4,
    )
    active = replace(version, type=ACTIVE, version=version_type, enc=enc or uuid4().bytes * 4)
    return stored(version, sequence), stored(active, sequence)


def rewrapped(row: StoredRow, kek: str = "local:customer-acme") -> StoredRow:
    """The same version under another KEK."""
    assert row.mac
    return stored(replace(row.row, kek=Kek(kek), enc=uuid4().bytes * 4), row.mac.sequence, row.mac.revision)


def next_entry(head: AuditHead, chain: str, details: Mapping[str, Any] | None = None) -> AuditEntry:
    """The entry that continues a chain."""
    entry = AuditEntry(
        chain=chain,
        sequence=head.sequence + 1,
        time=NOW,
        action="tenant.create",
        subject="operator",
        outcome="ok",
        details=details or {},
        previous=head.hash,
    )
    return replace(entry, hash=entry.computed_hash())
