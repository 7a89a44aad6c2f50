"""`azure_key_vault`: withdrawals that only Azure knows, versions, and what the vault's own time decides."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from azure.keyvault.keys import ApiVersion

from core.domain.kek import Kek, WrappedKey
from core.errors import WRITE_CAUSES, Denial, KeysteadError, WrapMismatch
from core.providers.azure_key_vault.operations import API_VERSION
from functions.emulators import keyvault
from tests.conformance.key_provider import CONTEXT, KEY
from tests.providers.azure_key_vault.stage import CLIENT_ID, DIRECTORY, Stage

DAY = 86_400


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


def test_the_api_version_is_one_that_is_deployed_everywhere(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vault that knows no newer one is served too: to an unwrap it would say the same as to damaged bytes."""
    monkeypatch.setattr(keyvault, "API_VERSIONS", frozenset({"7.4"}))
    case = Case(stage)
    case.unwrap()
    assert case.provider.describe(case.kek.key).enabled
    assert {check.name: check.result.value for check in stage.kms.examine(stage.access(case.kek), CONTEXT).checks}[
        "reachable"
    ] == "pass"
    assert API_VERSION in {version.value for version in ApiVersion}


def test_server_time(stage: Stage) -> None:
    case = Case(stage)
    stage.emulator.skew = 7200.0
    told = case.provider.unwrap(case.wrapped, CONTEXT).server_time
    assert told is not None
    assert abs(told - 7200 - stage.clock.wall()) < 60
