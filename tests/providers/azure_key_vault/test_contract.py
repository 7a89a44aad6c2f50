"""`azure_key_vault`: the provider's contract over the wire for every type of key, and withdrawals only Azure knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from core.domain.kek import KEY_BYTES, Kek, WrappedKey
from core.errors import WRITE_CAUSES, Denial, KeysteadError, WrapMismatch
from core.ports import KeyProvider
from tests.conformance.key_provider import CONTEXT, KEY, KeyProviderContract, Withdrawal
from tests.providers.azure_key_vault.stage import CLIENT_ID, DIRECTORY, Dispatcher, Stage, missing

DAY = 86_400


class AzureContract(KeyProviderContract):
    """All types of keys have these."""

    kty: str
    size: int
    hsm = False
    stage: Stage
    kek: Kek

    @pytest.fixture(autouse=True)
    def _set_up(self, stage: Stage) -> None:
        self.stage = stage
        self.vault = stage.new_vault(hsm=True) if self.hsm else stage.vault
        self.kek, self.other_kek = (
            stage.key(name, self.vault, kty=self.kty, size=self.size) for name in ("kek", "other")
        )
        self.missing_kek = missing(self.kek)
        self.provider: KeyProvider = Dispatcher(stage.kms, stage.access(self.kek, lease=60))

    def withdrawals(self) -> Sequence[Withdrawal]:
        emulator, kid = self.stage.emulator, self.kek.locator
        both = ("wrapKey", "unwrapKey")
        return [
            Withdrawal("disabled", lambda: emulator.set_enabled(kid, False), lambda: emulator.set_enabled(kid, True)),
            Withdrawal(
                "policy",
                lambda: emulator.set_attributes(kid, key_ops=("wrapKey",)),
                lambda: emulator.set_attributes(kid, key_ops=both),
            ),
        ]

    def silence(self) -> None:
        self.stage.fault(reset=True)

    def test_the_wrapped_key_has_its_size(self) -> None:
        size = 88 if self.kty == "oct-HSM" else self.size // 8
        assert len(self.provider.wrap(self.kek, KEY, CONTEXT).ciphertext) == size


class TestRsa2048(AzureContract):
    kty, size = "RSA", 2048


class TestRsa3072(AzureContract):
    kty, size = "RSA", 3072


class TestRsa4096(AzureContract):
    kty, size = "RSA", 4096


class TestRsaHsm(AzureContract):
    kty, size, hsm = "RSA-HSM", 3072, True


class TestOctHsm(AzureContract):
    kty, size, hsm = "oct-HSM", 256, True

    def test_two_wraps_differ(self) -> None:
        """AES key wrap (RFC 3394) has no randomness of its own: what differs is the keys, which are random."""
        keys = [bytes([number]) * KEY_BYTES for number in range(20)]
        assert len({self.provider.wrap(self.kek, key, CONTEXT).ciphertext for key in keys}) == 20

    def test_two_wrapped_keys_cannot_be_mixed(self) -> None:
        one, other = (self.provider.wrap(self.kek, key, CONTEXT).ciphertext for key in (KEY, bytes(KEY_BYTES)))
        for cut in (12, len(one) // 2, len(one) - 16):
            self.refuses(WrapMismatch, WrappedKey(self.kek, one[:cut] + other[cut:]), CONTEXT)


class Case:
    """A key that wrapped something before its owner takes it away."""

    def __init__(self, stage: Stage, access: str = "rbac") -> None:
        self.stage = stage
        self.vault = stage.new_vault(access=access)
        self.kek = stage.key("kek", self.vault)
        self.provider = stage.kms.connect(stage.access(self.kek))
        self.wrapped: WrappedKey = self.provider.wrap(self.kek, KEY, CONTEXT)

    def uses(self) -> list[Callable[[], object]]:
        return [lambda: self.provider.wrap(self.kek, KEY, CONTEXT), lambda: self.unwrap()]

    def unwrap(self) -> None:
        assert self.provider.unwrap(self.wrapped, CONTEXT).key == KEY

    def refused(self, use: Callable[[], object], cause: str, code: str) -> None:
        with pytest.raises(KeysteadError) as raised:
            use()
        found = raised.value
        assert type(found) is Denial
        assert (found.cause, found.kms_code) == (cause, code)
        assert found.request_id
        assert found.__context__ is None


Act = Callable[[Case], object]
WITHDRAWALS: dict[str, tuple[str, Act, Act, str, str]] = {
    "deleted": (
        "rbac",
        lambda case: case.stage.emulator.delete_key(case.kek.locator),
        lambda case: case.stage.emulator.recover_key(case.kek.locator),
        "not_found",
        "KeyNotFound",
    ),
    "role assignment": (
        "rbac",
        lambda case: case.stage.emulator.revoke(case.vault, CLIENT_ID),
        lambda case: case.stage.emulator.grant(case.vault, CLIENT_ID),
        "policy",
        "ForbiddenByRbac",
    ),
    "access policy": (
        "policy",
        lambda case: case.stage.emulator.revoke(case.vault, CLIENT_ID),
        lambda case: case.stage.emulator.grant(case.vault, CLIENT_ID),
        "policy",
        "ForbiddenByPolicy",
    ),
    "firewall": (
        "rbac",
        lambda case: case.stage.emulator.set_network(case.vault, "firewall"),
        lambda case: case.stage.emulator.set_network(case.vault, "open"),
        "network",
        "ForbiddenByFirewall",
    ),
    "private link": (
        "rbac",
        lambda case: case.stage.emulator.set_network(case.vault, "private"),
        lambda case: case.stage.emulator.set_network(case.vault, "open"),
        "network",
        "ForbiddenByConnection",
    ),
    "consent": (
        "rbac",
        lambda case: case.stage.emulator.withdraw_consent(CLIENT_ID, DIRECTORY),
        lambda case: case.stage.emulator.consent(CLIENT_ID, DIRECTORY),
        "identity",
        "AADSTS700016",
    ),
    "application disabled": (
        "rbac",
        lambda case: case.stage.emulator.disable_application(CLIENT_ID, DIRECTORY),
        lambda case: case.stage.emulator.enable_application(CLIENT_ID, DIRECTORY),
        "identity",
        "AADSTS7000112",
    ),
    "conditional access": (
        "rbac",
        lambda case: case.stage.emulator.set_conditional_access(CLIENT_ID, DIRECTORY, blocked=True),
        lambda case: case.stage.emulator.set_conditional_access(CLIENT_ID, DIRECTORY, blocked=False),
        "identity",
        "AADSTS53003",
    ),
    "directory deleted": (
        "rbac",
        lambda case: case.stage.emulator.remove_tenant(DIRECTORY),
        lambda case: case.stage.emulator.add_tenant(DIRECTORY),
        "identity",
        "AADSTS90002",
    ),
}


@pytest.mark.parametrize("name", WITHDRAWALS)
def test_withdrawn_and_given_back(stage: Stage, name: str) -> None:
    access, withdraw, reinstate, cause, code = WITHDRAWALS[name]
    case = Case(stage, access)
    withdraw(case)
    for use in case.uses() * 2:
        case.refused(use, cause, code)
    case.refused(lambda: case.provider.describe(case.kek), cause, code)
    reinstate(case)
    for use in case.uses():
        use()
    assert case.provider.describe(case.kek).enabled


@pytest.mark.parametrize("strict", [False, True])
def test_a_disabled_key_is_never_asked_to_wrap(stage: Stage, strict: bool) -> None:
    """The service may still wrap then; and no copy of the public key may stand in for it."""
    case = Case(stage)
    stage.emulator.key_vault.strict_disabled = strict
    try:
        stage.emulator.set_enabled(case.kek.locator, False)
        stage.emulator.clear_calls()
        for _ in range(3):
            with pytest.raises(Denial) as raised:
                case.provider.wrap(case.kek, KEY, CONTEXT)
            assert raised.value.cause == "disabled"
        assert stage.made("get", "wrapkey") == ["get"] * 3
    finally:
        stage.emulator.key_vault.strict_disabled = False


def test_each_wrap_is_one_read_and_one_wrap_at_the_vault(stage: Stage) -> None:
    case = Case(stage)
    provider = stage.kms.connect(stage.access(case.kek, lease=60))
    provider.wrap(case.kek, KEY, CONTEXT)
    for wraps in (1, 4):
        stage.emulator.clear_calls()
        for _ in range(wraps):
            provider.wrap(case.kek, KEY, CONTEXT)
        calls = [(call.operation, call.status, call.version) for call in stage.emulator.calls]
        version = case.kek.locator[-32:]
        assert calls == [("get", 200, version), ("wrapkey", 200, version)] * wraps
        stage.emulator.clear_calls()
        provider.unwrap(case.wrapped, CONTEXT)
        assert stage.made() == ["unwrapkey"]


@pytest.mark.parametrize(
    ("attributes", "cause"),
    [
        ({"nbf": DAY}, "not_yet_valid"),
        ({"exp": -DAY}, "expired"),
        ({"exp": 0}, "expired"),
        ({"key_ops": ("unwrapKey", "sign")}, "wrap_not_permitted"),
    ],
    ids=["not yet valid", "expired", "expires now", "wrapKey not permitted"],
)
def test_what_stops_new_wraps_only(stage: Stage, attributes: dict[str, object], cause: str) -> None:
    case, now = Case(stage), int(stage.clock.wall())
    changes = {name: now + value if isinstance(value, int) else value for name, value in attributes.items()}
    stage.emulator.set_attributes(case.kek.locator, **changes)
    with pytest.raises(Denial) as raised:
        case.provider.wrap(case.kek, KEY, CONTEXT)
    assert raised.value.cause == cause
    assert raised.value.cause in WRITE_CAUSES
    assert stage.attempts()["wrapkey"] == 1
    case.unwrap()
    described = case.provider.describe(case.kek)
    assert (described.kek, described.enabled) == (case.kek, False)
    assert described.detail.replace(" ", "_").lower() in (cause, "wrapkey_not_permitted")
    assert described.cause == cause


def test_now_is_the_vaults_own_time(stage: Stage) -> None:
    case, now = Case(stage), int(stage.clock.wall())
    stage.emulator.set_attributes(case.kek.locator, nbf=now + 600, exp=now + 1200)
    for ahead, cause in ((0, "not_yet_valid"), (700, ""), (1300, "expired")):
        stage.emulator.skew = float(ahead)
        if cause:
            case.refused(lambda: case.provider.wrap(case.kek, KEY, CONTEXT), cause, "")
        else:
            # This emulator's own rules go by its own clock; what is to be seen is that it was asked.
            case.refused(lambda: case.provider.wrap(case.kek, KEY, CONTEXT), "not_yet_valid", "KeyNotYetValid")


def test_a_key_that_cannot_wrap(stage: Stage) -> None:
    kek = stage.key("curve", kty="EC", size=256)
    provider = stage.kms.connect(stage.access(kek))
    with pytest.raises(Denial) as raised:
        provider.wrap(kek, KEY, CONTEXT)
    assert raised.value.cause == "wrap_not_permitted"
    assert not provider.describe(kek).enabled


def test_versions(stage: Stage) -> None:
    """The newest is found by the key's name; each is used by its own, for as long as it is there."""
    old = stage.key()
    provider = stage.kms.connect(stage.access(old))
    wrapped = provider.wrap(old, KEY, CONTEXT)
    assert provider.describe(old.key).kek == old
    new = Kek(stage.emulator.rotate_key(old.key.locator))
    described = provider.describe(old.key)
    assert (described.kek, described.enabled, described.made) == (new, True, int(described.made or 0))
    assert described.cause == ""
    assert provider.describe(old).kek == old
    assert provider.wrap(new, KEY, CONTEXT).kek == new
    assert provider.unwrap(wrapped, CONTEXT).key == KEY
    stage.emulator.set_enabled(new.locator, False)
    assert provider.describe(old.key).enabled is False
    assert provider.unwrap(wrapped, CONTEXT).key == KEY
    stage.emulator.set_enabled(new.locator, True)
    with pytest.raises(WrapMismatch):
        provider.unwrap(WrappedKey(new, wrapped.ciphertext), CONTEXT)


def test_server_time(stage: Stage) -> None:
    case = Case(stage)
    stage.emulator.skew = 7200.0
    told = case.provider.unwrap(case.wrapped, CONTEXT).server_time
    assert told is not None
    assert abs(told - 7200 - stage.clock.wall()) < 60
