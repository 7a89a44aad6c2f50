"""What a vault's challenge may ask for, and what it may not: no token goes where it was not meant to."""

from __future__ import annotations

import pytest

from core.errors import Denial, KeysteadError, Silence
from core.providers.azure_key_vault.credentials import AnotherDirectory, AnotherToken, HeldToken, StrangeChallenge
from core.providers.azure_key_vault.sessions import YOUNG_SECONDS
from tests.providers.azure_key_vault.stage import AUTHORITY, DIRECTORY, OTHER_DIRECTORY, Stage

RESOURCE = "https://vault.azure.net"
SCOPE = f"{RESOURCE}/.default"


def bearer(directory: str = DIRECTORY, resource: str = RESOURCE, authority: str = AUTHORITY) -> str:
    return f'Bearer authorization="https://{authority}/{directory}", resource="{resource}"'


HOSTILE: dict[str, tuple[str, type[KeysteadError]]] = {
    "another directory": (bearer(OTHER_DIRECTORY), Denial),
    "another directory, at another login": (bearer(OTHER_DIRECTORY, authority="evil.example"), Denial),
    "no directory": (f'Bearer authorization="https://{AUTHORITY}", resource="{RESOURCE}"', Silence),
    "any directory": (bearer("common"), Silence),
    "all organisations": (bearer("organizations"), Silence),
    "AD FS": (bearer("adfs"), Silence),
    "a domain": (bearer("acme.onmicrosoft.com"), Silence),
    "another resource": (bearer(resource="https://management.azure.com"), Silence),
    "a resource of somebody else": (bearer(resource="https://evil.example"), Silence),
    "a resource above it": (bearer(resource="https://azure.net"), Silence),
    "the resource above all": (bearer(resource="https://net"), Silence),
    "a Managed HSM's resource": (bearer(resource="https://managedhsm.azure.net"), Silence),
    "a scope of another kind": (
        f'Bearer authorization="https://{AUTHORITY}/{DIRECTORY}", scope="https://azure.net/user_impersonation"',
        Silence,
    ),
    "no resource": (f'Bearer authorization="https://{AUTHORITY}/{DIRECTORY}"', Silence),
    "another scheme": ('Basic realm="proxy"', Silence),
    "nothing": ("", Silence),
    "noise": ("Bearer", Silence),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_challenge_gets_no_token(stage: Stage, name: str) -> None:
    header, error = HOSTILE[name]
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek))
    stage.fault("challenge", status=401, headers={"WWW-Authenticate": header})
    with pytest.raises(KeysteadError) as raised:
        provider.describe(kek)
    assert type(raised.value) is error
    if isinstance(raised.value, Denial):
        assert raised.value.cause == "identity"
        assert raised.value.request_id
    made = stage.emulator.calls
    assert {call.operation for call in made if call.host != AUTHORITY} == {"challenge"}
    assert {(call.host, call.tenant) for call in made if call.operation == "token"} == {(AUTHORITY, DIRECTORY)}
    stage.emulator.clear_faults()
    assert provider.describe(kek).kek == kek


def test_a_login_elsewhere_is_never_called(stage: Stage) -> None:
    kek = stage.key()
    stage.fault("challenge", status=401, headers={"WWW-Authenticate": bearer(authority="evil.example")})
    assert stage.kms.connect(stage.access(kek)).describe(kek).kek == kek
    assert {call.host for call in stage.emulator.calls} == {AUTHORITY, stage.vault.removeprefix("https://")}


@pytest.mark.parametrize("directory", [OTHER_DIRECTORY, "common"])
def test_a_challenge_heard_before_does_not_count_for_ever(stage: Stage, directory: str) -> None:
    """The SDK keeps challenges for the life of the process, whoever's client heard them."""
    from azure.keyvault.keys._shared import HttpChallenge, http_challenge_cache

    kek = stage.key()
    url = f"{stage.vault}/keys/kek"
    http_challenge_cache.set_challenge_for_url(url, HttpChallenge(url, bearer(directory)))
    assert stage.kms.connect(stage.access(kek)).describe(kek).kek == kek


def test_in_mid_life_too(stage: Stage) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=600))
    provider.describe(kek)
    stage.fault("get", status=401, headers={"WWW-Authenticate": bearer(OTHER_DIRECTORY)})
    with pytest.raises(Denial) as raised:
        provider.describe(kek)
    assert raised.value.cause == "identity"
    stage.emulator.clear_faults()
    assert provider.describe(kek).kek == kek


def test_a_challenge_that_is_not_the_vaults_own_is_silence(stage: Stage) -> None:
    kek = stage.key()
    header = {"WWW-Authenticate": bearer(OTHER_DIRECTORY)}
    stage.fault("challenge", body=b"", status=401, headers=header)
    with pytest.raises(KeysteadError) as raised:
        stage.kms.connect(stage.access(kek)).describe(kek)
    assert type(raised.value) is Silence


def test_a_challenge_for_more_claims_asks_entra_again(stage: Stage) -> None:
    kek = stage.key()
    provider = stage.kms.connect(stage.access(kek, lease=600))
    provider.describe(kek)
    stage.clock.ahead += YOUNG_SECONDS
    claims = f'{bearer()}, error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ=="'
    stage.fault("get", status=401, headers={"WWW-Authenticate": claims}, times=1)
    assert provider.describe(kek).kek == kek
    assert stage.made("token") == ["token"] * 2


@pytest.fixture
def held() -> HeldToken:
    return HeldToken(DIRECTORY, SCOPE, "TOKEN-CANARY", 4_000_000_000)


class TestHeldToken:
    def test_given_for_what_it_is(self, held: HeldToken) -> None:
        for directory in (DIRECTORY, DIRECTORY.upper()):
            assert held.get_token(SCOPE, tenant_id=directory, enable_cae=True).token == "TOKEN-CANARY"
            options = {"tenant_id": directory, "enable_cae": True}
            assert held.get_token_info(SCOPE, options=options).token == "TOKEN-CANARY"

    @pytest.mark.parametrize(
        ("scopes", "directory", "claims", "error"),
        [
            ((SCOPE,), OTHER_DIRECTORY, None, AnotherDirectory),
            ((SCOPE,), None, None, StrangeChallenge),
            ((SCOPE,), "", None, StrangeChallenge),
            ((SCOPE,), f"{DIRECTORY}\n", None, StrangeChallenge),
            ((SCOPE,), "common", None, StrangeChallenge),
            (("https://azure.net/.default",), DIRECTORY, None, StrangeChallenge),
            (("https://vault.azure.net//.default",), DIRECTORY, None, StrangeChallenge),
            ((SCOPE, "https://management.azure.com/.default"), DIRECTORY, None, StrangeChallenge),
            ((), DIRECTORY, None, StrangeChallenge),
            ((SCOPE,), DIRECTORY, '{"access_token": {}}', AnotherToken),
        ],
        ids=str,
    )
    def test_for_nothing_else(
        self,
        held: HeldToken,
        scopes: tuple[str, ...],
        directory: str | None,
        claims: str | None,
        error: type[Exception],
    ) -> None:
        with pytest.raises(error):
            held.get_token(*scopes, tenant_id=directory, claims=claims)
        with pytest.raises(error):
            held.get_token_info(*scopes, options={"tenant_id": directory, "claims": claims})

    def test_hides_itself(self, held: HeldToken) -> None:
        assert "CANARY" not in f"{held!r}{held!s}"
