"""Two tenants with keys in Azure: whatever is swapped, nothing decrypts; who names another's vault learns nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha384
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.domain.branch_keys import ACTIVE, RowMac, StoredRow
from core.domain.context import serialise
from core.domain.kek import Kek, KeyAccess, WrappedKey
from core.errors import ContextMismatch, Denial, KeyCheckFailed, MessageInvalid, StoreCorrupt, WrapMismatch
from tests.byok.clouds import CLIENT_ID, ENTRA_TENANT, OTHER_ENTRA_TENANT, TAG, TwoClouds, two_clouds

TABLE = "keystead-branch-keys"
TENANTS = ("acme", "acme-2")
VAULTS = ("acme-kv", "acme-kv2")
DIRECTORIES = (ENTRA_TENANT, OTHER_ENTRA_TENANT)
TEXTS = {tenant: f"the secret of {tenant}".encode() for tenant in TENANTS}
UNTOLD = ("exists", "enabled", "type", "size", "key_ops", "validity", "recovery", "round_trip", "access_model")


@dataclass(frozen=True)
class Side:
    """One of the two tenants."""

    tenant_id: str
    access: KeyAccess
    message: bytes
    rows: tuple[StoredRow, ...]


@dataclass(frozen=True)
class Neighbours:
    """Both, each with a vault in a directory of its own, and the deployment they live in."""

    clouds: TwoClouds
    sides: dict[str, Side]


@pytest.fixture(scope="module")
def both() -> Iterator[Neighbours]:
    with two_clouds() as clouds:
        sides = {}
        for tenant_id, vault, directory in zip(TENANTS, VAULTS, DIRECTORIES, strict=True):
            clouds.tenant(tenant_id)
            key = clouds.new_vault_key(tenant_id, vault=vault, entra_tenant=directory)
            clouds.into_vault(tenant_id, key, directory)
            message = clouds.app.encryption.encrypt(tenant_id, TEXTS[tenant_id], {})
            record = clouds.record(tenant_id)
            active = clouds.keys.read(record.branch_key_id, ACTIVE)
            assert active is not None
            rows = (*clouds.keys.list_versions(record.branch_key_id), active)
            sides[tenant_id] = Side(tenant_id, record.access(Kek(key)), message, rows)
        yield Neighbours(clouds, sides)


which = st.sampled_from(TENANTS)
rows = st.integers(0, 2)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tenant=which, key=which, directory=which, row=which, number=rows, context_of=which, context_number=rows, named=which
)
def test_no_swap_of_access_directory_row_or_context_unwraps(
    both: Neighbours,
    tenant: str,
    key: str,
    directory: str,
    row: str,
    number: int,
    context_of: str,
    context_number: int,
    named: str,
) -> None:
    sides = both.sides
    access = replace(sides[tenant].access, kek=sides[key].access.kek, entra_tenant=sides[directory].access.entra_tenant)
    stored = sides[row].rows[number].row
    context = {**sides[context_of].rows[context_number].row.kms_context(TABLE), "tenant_id": named}
    right_context = context == stored.kms_context(TABLE)
    right_access = key == directory == row
    # The row's version if it is one of this key, else the other side's: no provider takes a key that is not its own.
    version = stored.kek if key == row else sides[key].rows[0].row.kek
    provider = both.clouds.connectors[0].connect(access)
    try:
        provider.unwrap(WrappedKey(version, stored.enc), context)
    except (Denial, WrapMismatch):
        assert not (right_context and right_access)
    else:
        assert right_context
        assert right_access


def test_each_call_carries_its_own_tenants_token(both: Neighbours) -> None:
    app = both.clouds.process()
    for _ in range(3):
        for side, directory in zip(both.sides.values(), DIRECTORIES, strict=True):
            app.gate.purge_all()
            both.clouds.azure.clear_calls()
            assert app.encryption.decrypt(side.tenant_id, side.message, {}) == TEXTS[side.tenant_id]
            unwraps = [call for call in both.clouds.azure.calls if call.operation == "unwrapkey"]
            assert [call.host for call in unwraps] == [side.access.kek.locator.split("/")[2]]
            tokens = [call for call in both.clouds.azure.calls if call.operation == "token"]
            assert {call.tenant for call in tokens} <= {directory}


def test_a_message_of_one_is_nothing_to_the_other(both: Neighbours) -> None:
    first, second = both.sides.values()
    for reader, writer in ((first, second), (second, first)):
        with pytest.raises((MessageInvalid, ContextMismatch)):
            both.clouds.app.encryption.decrypt(reader.tenant_id, writer.message, {})


@pytest.fixture(scope="module")
def rivals() -> Iterator[TwoClouds]:
    with two_clouds() as clouds:
        clouds.tenant("acme")
        clouds.tenant("rival")
        clouds.into_vault("acme", clouds.new_vault_key("acme"))
        yield clouds


class TestAnothersVault:
    """The second tenant has consented to nothing and owns nothing; it names what is the first's."""

    def refused(self, clouds: TwoClouds, key: str) -> list[dict[str, str]]:
        clouds.azure.clear_calls()
        with pytest.raises(KeyCheckFailed) as raised:
            clouds.into_vault("rival", key)
        assert not {"wrapkey", "unwrapkey", "encrypt"} & {call.operation for call in clouds.azure.calls}
        return [dict(check) for check in raised.value.checks]

    def test_it_fails_the_proof_of_control(self, rivals: TwoClouds) -> None:
        checks = self.refused(rivals, "https://acme-kv.vault.azure.net/keys/kek")
        assert [check["name"] for check in checks if check["result"] == "fail"] == ["proof_of_control"]
        assert {check["result"] for check in checks if check["name"] in UNTOLD} == {"skip"}

    STATES: ClassVar[dict[str, Callable[[TwoClouds, str], Any]]] = {
        "as it serves": lambda c, key: None,
        "disabled": lambda c, key: c.azure.set_enabled(key, False),
        "deleted": lambda c, key: c.azure.delete_key(key),
        "no role": lambda c, key: c.azure.revoke("https://acme-kv.vault.azure.net", CLIENT_ID),
        "firewall": lambda c, key: c.azure.set_network("https://acme-kv.vault.azure.net", "firewall"),
        "private": lambda c, key: c.azure.set_network("https://acme-kv.vault.azure.net", "private"),
        "no tag": lambda c, key: c.azure.set_tags(key, {}),
        "odd tag": lambda c, key: c.azure.set_tags(key, {TAG: "guessed"}),
    }

    def test_it_learns_nothing(self) -> None:
        """Whether there is such a key, what it is and whether it serves: the answers are the same to the letter."""
        told = {}
        for name, change in self.STATES.items():
            with two_clouds() as clouds:
                clouds.tenant("acme")
                clouds.tenant("rival")
                key = clouds.new_vault_key("acme")
                clouds.into_vault("acme", key)
                change(clouds, key)
                told[name] = self.refused(clouds, key)
                told[f"no such key, and {name}"] = self.refused(clouds, key.replace("kek", "kex"))
        reports = [str(checks).replace("kex", "kek") for checks in told.values()]
        assert len(reports) == 16
        assert len(set(reports)) == 1

    def test_nor_with_the_firsts_proof_in_a_tag_of_its_own(self, rivals: TwoClouds) -> None:
        """The value of the tag is no secret: it proves control of the key it is on, for the one tenant it is of."""
        url = rivals.azure.create_vault("rivals", OTHER_ENTRA_TENANT)
        rivals.azure.consent(CLIENT_ID, OTHER_ENTRA_TENANT)
        rivals.azure.grant(url, CLIENT_ID)
        kid = rivals.azure.create_key(url, "kek", size=2048, tags={TAG: rivals.proof("acme")})
        with pytest.raises(KeyCheckFailed) as raised:
            rivals.into_vault("rival", Kek(kid).key.locator, OTHER_ENTRA_TENANT)
        assert [c["name"] for c in raised.value.checks if c["result"] == "fail"] == ["proof_of_control"]

    def test_a_key_tagged_for_both_is_the_firsts(self, rivals: TwoClouds) -> None:
        key = "https://acme-kv.vault.azure.net/keys/kek"
        rivals.azure.set_tags(key, {TAG: rivals.proof("rival")})
        with pytest.raises(KeyCheckFailed) as raised:
            rivals.into_vault("rival", key)
        assert [c["name"] for c in raised.value.checks if c["result"] == "fail"] == ["exclusive"]
        rivals.azure.set_tags(key, {TAG: rivals.proof("acme")})


class TestPlanting:
    """Whoever can write the store and has the key's public half: what he wraps unwraps, and is refused all the same."""

    @pytest.fixture
    def clouds(self) -> Iterator[TwoClouds]:
        with two_clouds() as clouds:
            clouds.tenant("acme")
            clouds.into_vault("acme", clouds.new_vault_key("acme"))
            yield clouds

    def forged(self, clouds: TwoClouds, stored: StoredRow, key: bytes) -> StoredRow:
        """The row with another branch key, wrapped without the vault."""
        context = stored.row.kms_context(TABLE)
        _, _, (version,) = clouds.azure._key(stored.row.kek.locator)
        private = version.material.private
        assert isinstance(private, rsa.RSAPrivateKey)
        oaep = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
        wrapped = private.public_key().encrypt(sha384(serialise(context)).digest() + key, oaep)
        record = clouds.record("acme")
        provider = clouds.connectors[0].connect(record.access(stored.row.kek))
        assert provider.unwrap(WrappedKey(stored.row.kek, wrapped), context).key == key
        return replace(stored, row=replace(stored.row, enc=wrapped))

    @pytest.mark.parametrize("mac", ["kept", "missing", "forged"])
    @pytest.mark.parametrize("row_type", ["version", "active"])
    def test_a_planted_branch_key_is_refused(
        self, clouds: TwoClouds, row_type: str, mac: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        message = clouds.app.encryption.encrypt("acme", b"secret", {})
        branch_key_id = clouds.record("acme").branch_key_id
        planted: dict[str, StoredRow] = {}
        active = clouds.keys.read(branch_key_id, ACTIVE)
        assert active is not None
        for stored in (active, *clouds.keys.list_versions(branch_key_id)):
            row = self.forged(clouds, stored, os.urandom(32))
            assert row.mac is not None
            macs = {
                "kept": row.mac,
                "missing": None,
                "forged": RowMac(row.mac.revision, row.mac.sequence, os.urandom(32)),
            }
            planted[stored.row.type] = replace(row, mac=macs[mac])
        inner = clouds.keys.read

        def read(branch_key_id: str, wanted: str) -> StoredRow | None:
            found = (wanted == ACTIVE) == (row_type == "active")
            return planted[wanted] if found else inner(branch_key_id, wanted)

        monkeypatch.setattr(clouds.keys, "read", read)
        fresh = clouds.process()
        clouds.azure.clear_calls()
        use = fresh.encryption.encrypt if row_type == "active" else fresh.encryption.decrypt
        with pytest.raises(StoreCorrupt):
            use("acme", message, {})
        assert not [call for call in clouds.azure.calls if call.operation == "unwrapkey"]
        assert "keystead.alarm.store_corrupt" in clouds.events.types()

    def test_nor_is_one_rewrapped_by_a_change_of_key(self, clouds: TwoClouds, monkeypatch: pytest.MonkeyPatch) -> None:
        branch_key_id = clouds.record("acme").branch_key_id
        versions = [self.forged(clouds, stored, bytes(32)) for stored in clouds.keys.list_versions(branch_key_id)]
        monkeypatch.setattr(clouds.keys, "list_versions", lambda branch_key_id: versions)
        clouds.azure.rotate_key(clouds.record("acme").kek)
        with pytest.raises(StoreCorrupt):
            clouds.check("acme")
