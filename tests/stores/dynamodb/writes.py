"""Every write of the stores, ready to be made, with what other writers do before, meanwhile and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import uuid4

from core.domain.audit import EMPTY_HEAD
from core.domain.branch_keys import ACTIVE
from core.domain.tenants import RECORD
from tests.samples import new_id, new_version, next_entry, rewrapped, tenant_record
from tests.stores.dynamodb.deployments import Deployment

Act = Callable[[Deployment], object]


@dataclass(frozen=True)
class Write:
    """One write, ready to be made.

    Attributes:
        make: Makes it.
        same: Another writer makes a write with the very same content.
        other: Another writer makes a different one in its place.
        after: Another writer makes one that follows it.
        stored: What is stored that this write is about.
    """

    make: Act
    same: Act
    other: Act
    after: Act
    stored: Act


def create(deployment: Deployment) -> Write:
    branch_key_id = str(uuid4())
    pair, others, later = (new_version(branch_key_id, sequence) for sequence in (1, 1, 2))

    def make(at: Deployment) -> None:
        at.keys.create(*pair, 1)

    return Write(
        make=make,
        same=make,
        other=lambda at: at.keys.create(*others, 1),
        after=lambda at: at.keys.rotate(*later, expected_active_enc=pair[1].row.enc, fence=1),
        stored=lambda at: _content(at, branch_key_id),
    )


def rotate(deployment: Deployment) -> Write:
    branch_key_id = str(uuid4())
    first, pair, others, later = (new_version(branch_key_id, sequence) for sequence in (1, 2, 2, 3))
    deployment.keys.create(*first, 1)

    def make(at: Deployment) -> None:
        at.keys.rotate(*pair, expected_active_enc=first[1].row.enc, fence=1)

    return Write(
        make=make,
        same=make,
        other=lambda at: at.keys.rotate(*others, expected_active_enc=first[1].row.enc, fence=1),
        after=lambda at: at.keys.rotate(*later, expected_active_enc=pair[1].row.enc, fence=1),
        stored=lambda at: _content(at, branch_key_id),
    )


def replace_wrapping(deployment: Deployment) -> Write:
    branch_key_id = str(uuid4())
    version, active = new_version(branch_key_id, 1)
    deployment.keys.create(version, active, 1)
    new, later = rewrapped(active), rewrapped(active, "local:later")

    def make(at: Deployment) -> None:
        at.keys.replace_wrapping(new, expected_enc=active.row.enc, fence=1)

    return Write(
        make=make,
        same=make,
        other=lambda at: at.keys.move_fence(branch_key_id, expected=1, new=2),
        after=lambda at: at.keys.replace_wrapping(later, expected_enc=new.row.enc, fence=1),
        stored=lambda at: _content(at, branch_key_id),
    )


def move_fence(deployment: Deployment) -> Write:
    branch_key_id = str(uuid4())
    deployment.keys.create(*new_version(branch_key_id, 1), 1)

    def make(at: Deployment) -> None:
        at.keys.move_fence(branch_key_id, expected=1, new=3)

    return Write(
        make=make,
        same=make,
        other=lambda at: at.keys.move_fence(branch_key_id, expected=1, new=2),
        after=lambda at: at.keys.move_fence(branch_key_id, expected=3, new=4),
        stored=lambda at: _content(at, branch_key_id),
    )


def first_record(deployment: Deployment) -> Write:
    return _document(deployment, RECORD, 0)


def later_record(deployment: Deployment) -> Write:
    return _document(deployment, RECORD, 1)


def note(deployment: Deployment) -> Write:
    return _document(deployment, "note", 0)


def _document(deployment: Deployment, name: str, revision: int) -> Write:
    tenant_id = new_id()
    tenant = tenant_record(tenant_id)
    if revision:
        deployment.tenants.write(tenant_id, name, tenant.to_body(), expected_revision=0)

    def write(display_name: str, revision: int) -> Act:
        body = replace(tenant, display_name=display_name).to_body()
        return lambda at: at.tenants.write(tenant_id, name, body, expected_revision=revision)

    return Write(
        make=write("ours", revision),
        same=write("ours", revision),
        other=write("theirs", revision),
        after=write("later", revision + 1),
        stored=lambda at: at.tenants.read(tenant_id, name),
    )


def append(deployment: Deployment) -> Write:
    chain = new_id()
    entry, others = next_entry(EMPTY_HEAD, chain), next_entry(EMPTY_HEAD, chain, {"other": True})

    def make(at: Deployment) -> None:
        at.audit.append(entry)

    return Write(
        make=make,
        same=make,
        other=lambda at: at.audit.append(others),
        after=lambda at: at.audit.append(next_entry(at.audit.head(chain), chain, {"later": True})),
        stored=lambda at: (at.audit.head(chain), list(at.audit.read(chain))),
    )


def _content(at: Deployment, branch_key_id: str) -> object:
    keys = at.keys
    return keys.read(branch_key_id, ACTIVE), list(keys.list_versions(branch_key_id)), keys.read_fence(branch_key_id)


WRITES = [create, rotate, replace_wrapping, move_fence, first_record, later_record, note, append]
TOLD_APART = [move_fence, first_record, later_record, note, append]
"""Writes that are known not to be ours even where another's has the same content."""
NEVER_BURIED = [create, rotate, append]
"""Writes that can be found whatever was written after them."""


def keys_case(write: str, meanwhile: str) -> Callable[[Deployment], tuple[Act, Act]]:
    """A write of a branch key, and what another writer does to the same branch key meanwhile."""

    def prepare(deployment: Deployment) -> tuple[Act, Act]:
        branch_key_id = str(uuid4())
        version, active = new_version(branch_key_id, 1)
        deployment.keys.create(version, active, 1)
        pair, others = new_version(branch_key_id, 2), new_version(branch_key_id, 2)
        enc = active.row.enc
        acts: dict[str, Act] = {
            "rotate": lambda at: at.keys.rotate(*pair, expected_active_enc=enc, fence=1),
            "rewrap": lambda at: at.keys.replace_wrapping(rewrapped(active), expected_enc=enc, fence=1),
            "rewrap version": lambda at: at.keys.replace_wrapping(
                rewrapped(version), expected_enc=version.row.enc, fence=1
            ),
            "move fence": lambda at: at.keys.move_fence(branch_key_id, expected=1, new=2),
            "rotate otherwise": lambda at: at.keys.rotate(*others, expected_active_enc=enc, fence=1),
            "plant the version": lambda at: at.plant_branch_key_item(branch_key_id, pair[0].row.type, "{}", None),
        }
        return acts[write], acts[meanwhile]

    return prepare


MEANWHILE = [
    ("rotate", "move fence"),
    ("rotate", "rewrap"),
    ("rotate", "rotate otherwise"),
    ("rotate", "plant the version"),
    ("rewrap", "move fence"),
    ("rewrap", "rewrap"),
    ("rewrap", "rotate otherwise"),
    ("rewrap version", "move fence"),
    ("rewrap version", "rewrap version"),
    ("move fence", "move fence"),
]
