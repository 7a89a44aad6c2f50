"""A tenant's key in Azure, from the service's side: enabled, withdrawn in every way there is, and reinstated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from core.domain.kek import Kek
from core.domain.states import State
from core.errors import KeyNetworkBlocked, KeyRevoked, KeysteadError, KeyUnreachable, KeyWriteBlocked, VendorFault
from core.service.revocation.pauses import DENIED_FOR, SILENT_FOR
from functions.emulators.azure_faults import AzureFault
from tests.byok.clouds import CLIENT_ID, ENTRA_TENANT, TwoClouds, two_clouds

VAULT = "https://acme-kv.vault.azure.net"


@pytest.fixture
def clouds() -> Iterator[TwoClouds]:
    with two_clouds() as made:
        made.tenant("acme")
        yield made


@dataclass(frozen=True)
class Way:
    """One way to withdraw a key, how it is taken back, the denial's cause, what callers hear, and the key's state."""

    withdraw: Callable[[TwoClouds, str], None]
    reinstate: Callable[[TwoClouds, str], None]
    cause: str
    error: type[KeysteadError] = KeyRevoked
    state: State = State.HOLD


WAYS = {
    "key disabled": Way(
        lambda c, key: c.azure.set_enabled(key, False), lambda c, key: c.azure.set_enabled(key, True), "disabled"
    ),
    "key deleted": Way(lambda c, key: c.azure.delete_key(key), lambda c, key: c.azure.recover_key(key), "not_found"),
    "role removed": Way(
        lambda c, key: c.azure.revoke(VAULT, CLIENT_ID),
        lambda c, key: c.azure.grant(VAULT, CLIENT_ID, key="kek"),
        "policy",
    ),
    "consent withdrawn": Way(
        lambda c, key: c.azure.withdraw_consent(CLIENT_ID, ENTRA_TENANT),
        lambda c, key: c.azure.consent(CLIENT_ID, ENTRA_TENANT),
        "identity",
    ),
    "application disabled": Way(
        lambda c, key: c.azure.disable_application(CLIENT_ID, ENTRA_TENANT),
        lambda c, key: c.azure.enable_application(CLIENT_ID, ENTRA_TENANT),
        "identity",
    ),
    "conditional access": Way(
        lambda c, key: c.azure.set_conditional_access(CLIENT_ID, ENTRA_TENANT, blocked=True),
        lambda c, key: c.azure.set_conditional_access(CLIENT_ID, ENTRA_TENANT, blocked=False),
        "identity",
    ),
    "firewall": Way(
        lambda c, key: c.azure.set_network(VAULT, "firewall"),
        lambda c, key: c.azure.set_network(VAULT, "open"),
        "network",
        KeyNetworkBlocked,
        State.NETWORK_BLOCKED,
    ),
    "private link": Way(
        lambda c, key: c.azure.set_network(VAULT, "private"),
        lambda c, key: c.azure.set_network(VAULT, "open"),
        "network",
        KeyNetworkBlocked,
        State.NETWORK_BLOCKED,
    ),
    "unwrapping not permitted": Way(
        lambda c, key: c.azure.set_attributes(key, key_ops=("wrapKey",)),
        lambda c, key: c.azure.set_attributes(key, key_ops=("wrapKey", "unwrapKey")),
        "policy",
    ),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_after_the_lease_nothing_is_served_and_nothing_is_lost(clouds: TwoClouds, way: Way) -> None:
    key = clouds.new_vault_key("acme")
    clouds.into_vault("acme", key)
    app = clouds.app
    message = app.encryption.encrypt("acme", b"secret", {})
    way.withdraw(clouds, key)
    clouds.clock.advance(61)
    with pytest.raises(KeysteadError) as raised:
        app.encryption.decrypt("acme", message, {})
    assert type(raised.value) is way.error
    with pytest.raises(way.error):
        app.encryption.encrypt("acme", b"more", {})
    record = clouds.record("acme")
    assert (record.state, record.cause) == (way.state, way.cause)
    way.reinstate(clouds, key)
    with pytest.raises(way.error):
        app.encryption.decrypt("acme", message, {})  # requests do not ask again at once
    clouds.clock.advance(DENIED_FOR)
    if way.state is State.HOLD:
        assert app.encryption.decrypt("acme", message, {}) == b"secret"  # each call proves the key while it is on hold
        assert clouds.record("acme").state is State.HOLD
    else:
        with pytest.raises(way.error):
            app.encryption.decrypt("acme", message, {})  # the state refuses, whatever the vault would say
    assert app.checks.check("acme", forced=True) is State.ACTIVE
    record = clouds.record("acme")
    assert (record.state, record.cause, record.withdrawal) == (State.ACTIVE, "", None)
    assert app.encryption.decrypt("acme", message, {}) == b"secret"


@pytest.mark.parametrize(
    ("attributes", "cause"),
    [({"exp": -1}, "expired"), ({"nbf": 3600}, "not_yet_valid"), ({"key_ops": ("unwrapKey",)}, "wrap_not_permitted")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_only_stops_wraps_serves_on_and_refuses_new_branch_keys(
    clouds: TwoClouds, attributes: dict[str, object], cause: str
) -> None:
    key = clouds.new_vault_key("acme")
    clouds.into_vault("acme", key)
    message = clouds.app.encryption.encrypt("acme", b"secret", {})
    now = clouds.clock.wall_time
    clouds.azure.set_attributes(key, **{n: int(now) + v if isinstance(v, int) else v for n, v in attributes.items()})
    clouds.clock.advance(61)
    assert clouds.app.encryption.decrypt("acme", message, {}) == b"secret"
    with pytest.raises(KeyWriteBlocked) as raised:
        clouds.app.rotation.rotate("acme")
    assert cause in str(raised.value.hint)
    with pytest.raises(KeyWriteBlocked):
        clouds.check("acme")
    assert clouds.app.encryption.decrypt("acme", clouds.app.encryption.encrypt("acme", b"more", {}), {}) == b"more"
    # Whoever checks the key finds out; then, within the state age, nothing new is encrypted under it.
    assert clouds.app.checks.check("acme", forced=True) is State.WRITE_BLOCKED
    assert clouds.record("acme").cause == cause
    clouds.clock.advance(10)
    with pytest.raises(KeyWriteBlocked):
        clouds.app.encryption.encrypt("acme", b"more", {})
    assert clouds.app.encryption.decrypt("acme", message, {}) == b"secret"


def test_nothing_is_wrapped_under_a_disabled_key_though_the_vault_would(clouds: TwoClouds) -> None:
    key = clouds.new_vault_key("acme")
    clouds.into_vault("acme", key)
    clouds.azure.set_enabled(key, False)
    clouds.azure.clear_calls()
    with pytest.raises(KeyRevoked):
        clouds.app.rotation.rotate("acme")
    operations = [call.operation for call in clouds.azure.calls]
    assert "get" in operations
    # The refusal has the key checked, which is asked to unwrap; nothing is wrapped.
    assert "wrapkey" not in operations
    assert clouds.record("acme").state is State.HOLD


def test_every_wrap_is_asked_of_the_vault(clouds: TwoClouds) -> None:
    """The SDK would wrap with a public key that it remembers."""
    clouds.into_vault("acme", clouds.new_vault_key("acme"))
    clouds.azure.clear_calls()
    clouds.app.rotation.rotate("acme")
    wraps = [call for call in clouds.azure.calls if call.operation == "wrapkey" and call.status == 200]
    assert len(wraps) == 2  # the version's row and the ACTIVE row
    for stored in (*clouds.keys.list_versions(clouds.record("acme").branch_key_id),):
        assert len(stored.row.enc) == 256
    assert all(len(call.version) == 32 for call in clouds.azure.calls if call.operation in ("wrapkey", "unwrapkey"))


def test_a_new_version_is_seen_within_one_check_and_old_ones_may_go_then(clouds: TwoClouds) -> None:
    key = clouds.new_vault_key("acme")
    first = clouds.app.encryption.encrypt("acme", b"first", {})
    clouds.into_vault("acme", key)
    (old,) = clouds.app.keystead._parts.status.status("acme").kek_versions
    clouds.clock.advance(5)
    newest = clouds.azure.rotate_key(key)
    facts = clouds.check("acme")
    assert (facts["kek_version"], facts["rotated"]) == (newest, True)
    assert clouds.app.keystead._parts.status.status("acme").kek_versions == (newest,)
    clouds.azure.set_enabled(old, False)
    assert clouds.process().encryption.decrypt("acme", first, {}) == b"first"
    rows = clouds.keys.list_versions(clouds.record("acme").branch_key_id)
    assert {stored.row.kek for stored in rows} == {Kek(newest)}


@pytest.mark.parametrize(("kty", "size"), [("RSA-HSM", 2048), ("oct-HSM", 256)])
def test_keys_of_a_managed_hsm(clouds: TwoClouds, kty: str, size: int) -> None:
    clouds.azure.consent(CLIENT_ID, ENTRA_TENANT)
    url = clouds.azure.create_vault("acme-hsm", ENTRA_TENANT, hsm=True)
    assert url == "https://acme-hsm.managedhsm.azure.net"
    kid = clouds.azure.create_key(url, "kek", kty=kty, size=size, tags={"keystead-proof": clouds.proof("acme")})
    clouds.azure.grant(url, CLIENT_ID, key="kek")
    clouds.into_vault("acme", Kek(kid).key.locator)
    message = clouds.app.encryption.encrypt("acme", b"secret", {})
    assert clouds.process().encryption.decrypt("acme", message, {}) == b"secret"
    clouds.azure.set_enabled(kid, False)
    with pytest.raises(KeyRevoked):
        clouds.process().encryption.decrypt("acme", message, {})


def test_silence_is_ridden_out_within_the_grace_only(clouds: TwoClouds) -> None:
    clouds.into_vault("acme", clouds.new_vault_key("acme"))
    app = clouds.app
    message = app.encryption.encrypt("acme", b"secret", {})
    clouds.azure.add_fault(AzureFault(operation="unwrapkey", status=503))
    clouds.clock.advance(61)
    assert app.encryption.decrypt("acme", message, {}) == b"secret"
    assert clouds.record("acme").state is State.DEGRADED
    clouds.clock.advance(901)
    with pytest.raises(KeyUnreachable):
        app.encryption.decrypt("acme", message, {})
    assert clouds.record("acme").state is State.DEGRADED
    assert app.checks.check("acme", forced=True) is State.UNREACHABLE
    clouds.azure.clear_faults()
    clouds.clock.advance(SILENT_FOR)
    assert app.encryption.decrypt("acme", message, {}) == b"secret"
    assert clouds.record("acme").state is State.ACTIVE  # what serves a request is not unreachable


def test_an_outage_of_entra_is_silence_and_our_own_secret_is_our_own_fault(clouds: TwoClouds) -> None:
    clouds.into_vault("acme", clouds.new_vault_key("acme"))
    app = clouds.app
    message = app.encryption.encrypt("acme", b"secret", {})
    for fault, error, state in (
        (AzureFault(operation="token", status=503), KeyUnreachable, State.DEGRADED),
        (AzureFault(operation="token", aadsts=7000222), VendorFault, State.ACTIVE),
    ):
        clouds.azure.add_fault(fault)
        clouds.clock.advance(61)
        assert app.encryption.decrypt("acme", message, {}) == b"secret"  # ridden out: the key was not refused
        with pytest.raises(error):
            clouds.process().encryption.decrypt("acme", message, {})
        assert clouds.record("acme").state is state
        clouds.azure.clear_faults()
        assert app.checks.check("acme", forced=True) is State.ACTIVE
        assert app.encryption.decrypt("acme", message, {}) == b"secret"
    assert ("keystead.alarm.own_access", "_system") in [(kind, subject) for kind, subject, _ in clouds.events.events]
