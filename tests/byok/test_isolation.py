"""Two tenants with neighbouring keys, roles, sessions and rows: whatever is swapped, nothing ever decrypts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.domain.branch_keys import ACTIVE, StoredRow
from core.domain.kek import Kek, KeyAccess, WrappedKey
from core.domain.tenants import RECORD
from core.errors import (
    ContextMismatch,
    Denial,
    InternalError,
    KeyCheckFailed,
    KeysteadError,
    MessageInvalid,
    StoreCorrupt,
    WrapMismatch,
)
from core.ports import Document
from functions.emulators.kms import CUSTOMER_ACCOUNT
from tests.byok.deployment import Deployment, deployed, filled

TENANTS = ("acme", "acme-2")
KEY_IDS = ("11111111-1111-4111-8111-111111111111", "11111111-1111-4111-8111-111111111112")
ROLES = ("for-keystead", "for-keystead-2")
TEXTS = {tenant: f"the secret of {tenant}".encode() for tenant in TENANTS}
TABLE = "keystead-branch-keys"


@dataclass(frozen=True)
class Side:
    """One of the two tenants."""

    tenant_id: str
    arn: str
    access: KeyAccess
    message: bytes
    rows: tuple[StoredRow, ...]


@dataclass(frozen=True)
class Neighbours:
    """Both, and the deployment they live in."""

    deployment: Deployment
    sides: Mapping[str, Side]


def neighbours(deployment: Deployment, *, roles: bool) -> Neighbours:
    sides = {}
    for tenant_id, key_id, role in zip(TENANTS, KEY_IDS, ROLES, strict=True):
        deployment.tenant(tenant_id)
        if roles:
            role_arn, arn = deployment.new_role_and_key(tenant_id, role)
        else:
            role_arn, arn = "", deployment.new_key(tenant_id, key_id=key_id)
        deployment.configure(tenant_id, arn, role_arn=role_arn)
        message = deployment.app.encryption.encrypt(tenant_id, TEXTS[tenant_id], {})
        record = deployment.app.tenants.read(tenant_id)
        active = deployment.keys.read(record.branch_key_id, ACTIVE)
        assert active is not None
        rows = (*deployment.keys.list_versions(record.branch_key_id), active)
        sides[tenant_id] = Side(tenant_id, arn, record.access(Kek(arn)), message, rows)
    return Neighbours(deployment, sides)


@pytest.fixture(scope="module", params=[False, True], ids=["key policy", "role"])
def both(request: pytest.FixtureRequest) -> Iterator[Neighbours]:
    with ExitStack() as stack:
        yield neighbours(stack.enter_context(deployed()), roles=request.param)


which = st.sampled_from(TENANTS)
rows = st.integers(0, 2)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tenant=which,
    locator=which,
    role=which,
    external_id=which,
    row=which,
    number=rows,
    context_of=which,
    context_number=rows,
    tenant_in_context=which,
    kek_in_context=which,
)
def test_no_swap_of_access_row_or_context_unwraps(
    both: Neighbours,
    tenant: str,
    locator: str,
    role: str,
    external_id: str,
    row: str,
    number: int,
    context_of: str,
    context_number: int,
    tenant_in_context: str,
    kek_in_context: str,
) -> None:
    sides = both.sides
    access = replace(
        sides[tenant].access,
        kek=Kek(sides[locator].arn),
        role_arn=sides[role].access.role_arn,
        external_id=sides[external_id].access.external_id,
    )
    stored = sides[row].rows[number].row
    context = {
        **sides[context_of].rows[context_number].row.kms_context(TABLE),
        "tenant_id": tenant_in_context,
        "kms-arn": sides[kek_in_context].arn,
    }
    right_context = context == stored.kms_context(TABLE)
    # With a key's own policy nothing hangs on role and external id; with roles the trust policy checks both.
    right_access = locator == row and (
        not access.role_arn or (role, external_id) == (row, row) or _same(sides, role, external_id, row)
    )
    provider = both.deployment.opened[0].connect(access)
    try:
        provider.unwrap(WrappedKey(access.kek, stored.enc), context)
    except (Denial, WrapMismatch):
        assert not (right_context and right_access)
    else:
        assert right_context
        assert right_access


def _same(sides: Mapping[str, Side], role: str, external_id: str, row: str) -> bool:
    return (sides[role].access.role_arn, sides[external_id].access.external_id) == (
        sides[row].access.role_arn,
        sides[row].access.external_id,
    )


def test_a_session_of_one_tenant_never_serves_another(both: Neighbours) -> None:
    """Warm sessions of both, in one process: each call carries its own tenant's credentials."""
    deployment, sides = both.deployment, both.sides
    app = deployment.process()
    seen: dict[str, set[str]] = {tenant: set() for tenant in TENANTS}
    for _ in range(3):
        for side in sides.values():
            before = len(deployment.emulator.calls)
            app.gate.purge_all()
            assert app.encryption.decrypt(side.tenant_id, side.message, {}) == TEXTS[side.tenant_id]
            for call in deployment.emulator.calls[before:]:
                if call.operation == "Decrypt":
                    assert call.context["tenant_id"] == side.tenant_id
                    assert call.key_arn == side.arn
                    seen[side.tenant_id].add(call.access_key_id)
    assert all(seen.values())
    if next(iter(sides.values())).access.role_arn:
        assert not seen[TENANTS[0]] & seen[TENANTS[1]]


def test_a_message_of_one_is_nothing_to_the_other(both: Neighbours) -> None:
    first, second = both.sides.values()
    for reader, writer in ((first, second), (second, first)):
        with pytest.raises((MessageInvalid, ContextMismatch)):
            both.deployment.app.encryption.decrypt(reader.tenant_id, writer.message, {})
        with pytest.raises((MessageInvalid, ContextMismatch)):
            both.deployment.app.encryption.decrypt(reader.tenant_id, writer.message, {}, foreign=True)


@pytest.mark.parametrize("disguise", ["none", "ids", "kek"])
def test_a_row_of_one_in_the_others_place_is_refused(
    both: Neighbours, monkeypatch: pytest.MonkeyPatch, disguise: str
) -> None:
    """Whoever can write the store swaps rows, as they are or dressed up."""
    deployment = both.deployment
    victim, thief = (both.sides[tenant] for tenant in TENANTS)
    own = thief.rows[-1]
    stolen = victim.rows[-1]
    if disguise in ("ids", "kek"):
        row = replace(stolen.row, branch_key_id=own.row.branch_key_id, tenant_id=thief.tenant_id)
        stolen = replace(stolen, row=replace(row, kek=own.row.kek) if disguise == "kek" else row)
    inner = deployment.keys.read

    def read(branch_key_id: str, row_type: str) -> StoredRow | None:
        planted = (branch_key_id, row_type) == (own.row.branch_key_id, ACTIVE)
        return stolen if planted else inner(branch_key_id, row_type)

    monkeypatch.setattr(deployment.keys, "read", read)
    with pytest.raises(StoreCorrupt):
        deployment.process().encryption.encrypt(thief.tenant_id, b"x", {})


def test_a_record_that_names_the_neighbours_key_is_refused(both: Neighbours, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = both.deployment
    victim, thief = (both.sides[tenant] for tenant in TENANTS)
    found = deployment.tenants.read(thief.tenant_id, RECORD)
    assert found is not None
    inner = deployment.tenants.read
    edited = replace(found, body={**found.body, "kek": victim.arn})

    def read(tenant_id: str, name: str) -> Document | None:
        return edited if (tenant_id, name) == (thief.tenant_id, RECORD) else inner(tenant_id, name)

    monkeypatch.setattr(deployment.tenants, "read", read)
    with pytest.raises(StoreCorrupt):
        deployment.process().encryption.encrypt(thief.tenant_id, b"x", {})


def test_a_provider_serves_the_key_it_was_made_for_and_no_other(both: Neighbours) -> None:
    first, second = both.sides.values()
    provider = both.deployment.opened[0].connect(first.access)
    calls = len(both.deployment.emulator.calls)
    attempts: list[Any] = [
        lambda: provider.wrap(Kek(second.arn), os.urandom(32), {"tenant_id": first.tenant_id}),
        lambda: provider.unwrap(WrappedKey(Kek(second.arn), second.rows[0].row.enc), {}),
        lambda: provider.describe(Kek(second.arn)),
    ]
    for attempt in attempts:
        with pytest.raises(InternalError):
            attempt()
    assert len(both.deployment.emulator.calls) == calls


class TestRegistration:
    def test_a_second_tenant_cannot_register_the_firsts_key(self, deployment: Deployment) -> None:
        deployment.tenant("acme")
        deployment.tenant("rival")
        arn = deployment.new_key("acme")
        deployment.configure("acme", arn)
        with pytest.raises(KeyCheckFailed) as raised:
            deployment.configure("rival", arn)
        failed = {check["name"] for check in raised.value.checks if check["result"] == "fail"}
        assert "round_trip" in failed  # the policy is bound to the first
        assert "exclusive" not in failed  # and whose key it is, is not told
        assert "acme" not in str(raised.value.checks)

    def test_not_even_one_that_its_owner_opened_to_both(self, deployment: Deployment) -> None:
        deployment.tenant("acme")
        deployment.tenant("rival")
        arn = deployment.new_key("acme")
        deployment.configure("acme", arn)
        policy = filled(deployment.kit("acme")["key_policy"], CUSTOMER_ACCOUNT)
        bound = next(s for s in policy["Statement"] if "Condition" in s)
        bound["Condition"]["StringEquals"]["kms:EncryptionContext:tenant_id"] = ["acme", "rival"]
        deployment.emulator.put_key_policy(arn, policy)
        with pytest.raises(KeyCheckFailed) as raised:
            deployment.configure("rival", arn)
        assert [c["name"] for c in raised.value.checks if c["result"] == "fail"] == ["exclusive"]

    def test_replicas_of_a_multi_region_key_are_one_key(self, deployment: Deployment) -> None:
        claims = deployment.app.key_configuration._claims
        deployment.tenant("acme")
        key_id = "mrk-" + "0" * 31
        first, replica = (
            Kek(f"arn:aws:kms:{region}:{CUSTOMER_ACCOUNT}:key/{key_id}1") for region in ("eu-central-1", "us-east-1")
        )
        assert claims.claim(first, "acme")
        assert not claims.free_for(replica, "rival")
        assert not claims.claim(replica, "rival")
        assert claims.claim(replica, "acme")

    def test_a_claim_edited_in_the_store_is_refused(self, deployment: Deployment) -> None:
        claims = deployment.app.key_configuration._claims
        deployment.tenant("acme")
        kek = Kek(deployment.new_key("acme"))
        assert claims.claim(kek, "acme")
        (name,) = [name for _, name in deployment.tenants._documents if name.startswith("kek:")]
        revision, text = deployment.tenants._documents["_system", name]
        deployment.tenants._documents["_system", name] = revision, text.replace("acme", "rival")
        with pytest.raises(StoreCorrupt):
            claims.free_for(kek, "rival")

    @pytest.mark.parametrize("account", ["999999999999"])
    def test_keys_of_the_platforms_own_account_are_refused(self, deployment: Deployment, account: str) -> None:
        deployment.tenant("acme")
        arn = deployment.new_key("acme", account=account)
        with pytest.raises(KeyCheckFailed) as raised:
            deployment.configure("acme", arn)
        assert "account" in [c["name"] for c in raised.value.checks if c["result"] == "fail"]

    def test_a_role_in_the_platforms_own_account_is_refused(self, deployment: Deployment) -> None:
        """Or a tenant would have the service use a powerful role of its own."""
        deployment.tenant("acme")
        arn = deployment.new_key("acme")
        with pytest.raises(KeysteadError) as raised:
            deployment.configure("acme", arn, role_arn="arn:aws:iam::999999999999:role/administrator")
        assert isinstance(raised.value, KeyCheckFailed)
        assert not [call for call in deployment.emulator.calls if call.operation == "AssumeRole"]
