"""`azure_key_vault.signer`: the signer's contract over the wire, and what Azure, or something before it, does wrong."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.domain import jws
from core.domain.vaults import VaultKey
from core.errors import Denial, InternalError, InvalidRequest, OwnFault, Silence
from core.providers.azure_key_vault.calls import Calls
from core.providers.azure_key_vault.signer import AzureSigner
from tests.conformance.signer import PAYLOAD, SignerContract, header, verified
from tests.providers.azure_key_vault.stage import CLIENT_ID, DIRECTORY, HOME, Stage

DAY = 86_400
USER = ("read", "sign")
"""What the application needs."""


class Operator:
    """The operator's own vault, and signers with its keys."""

    def __init__(self, stage: Stage, **vault: Any) -> None:
        self.stage = stage
        self.vault = stage.new_vault(HOME, **vault)
        stage.emulator.revoke(self.vault, CLIENT_ID)
        stage.emulator.grant(self.vault, CLIENT_ID, actions=USER)
        self._made: list[AzureSigner] = []

    def key(self, name: str = "signing", **more: Any) -> str:
        """A version of a key."""
        return self.stage.emulator.create_key(self.vault, name, **{"kty": "EC", **more})

    def signer(self, key: str = "", **more: Any) -> AzureSigner:
        """Another process's signer, as it were; it asks again without a pause, which would take most of the time."""
        stage = self.stage
        given = {"remaining": lambda: stage.time_left, **more}
        made = AzureSigner(key or self.key(), stage.settings, stage.clock, **given)
        made._session._tokens._calls = made._session._calls = Calls(pause=lambda _: None)
        self._made.append(made)
        return made

    def made(self) -> list[str]:
        """The calls so far, without those for tokens."""
        return [name for name in self.stage.made() if name not in ("challenge", "token")]

    def close(self) -> None:
        for signer in self._made:
            signer.close()


@pytest.fixture
def operator(stage: Stage) -> Iterator[Operator]:
    found = Operator(stage)
    yield found
    found.close()


class SigningContract(SignerContract):
    kty: str
    vault: dict[str, Any]

    @pytest.fixture(autouse=True)
    def _set_up(self, stage: Stage) -> Iterator[None]:
        self.operator = Operator(stage, **self.vault)
        self.signer = self.made()
        yield
        self.operator.close()

    def made(self, **more: Any) -> AzureSigner:
        return self.operator.signer(self.operator.key(kty=self.kty), **more)

    def rotate(self) -> None:
        self.signer = self.made(retired=self.signer.jwks()["keys"])

    def silence(self) -> None:
        self.operator.stage.fault(reset=True)


class TestInAVault(SigningContract):
    kty, vault = "EC", {}


class TestInAnHsm(SigningContract):
    kty, vault = "EC-HSM", {"hsm": True}


def test_one_call_signs_a_statement_of_any_size(stage: Stage, operator: Operator) -> None:
    key = operator.key()
    under_test = operator.signer(key)
    for size in (0, 10, 1_000_000):
        payload = {"text": "x" * size}
        token = under_test.sign(payload)
        assert jws.verify(token, under_test.jwks()) == payload == verified(token, under_test.jwks())
        assert len(urlsafe_b64decode(token.rpartition(".")[2] + "==")) == 64
        assert header(token) == {"alg": "ES256", "kid": under_test.jwks()["keys"][0]["kid"]}
    assert operator.made() == ["get", "sign", "sign", "sign"]
    assert stage.made("token") == ["token"]
    named = VaultKey.parse(key)
    asked = {(call.key, call.version, call.client_id, call.tenant) for call in stage.emulator.calls if call.key}
    assert asked - {(named.name, named.version, "", "")} == {(named.name, named.version, CLIENT_ID, HOME)}


def test_the_newest_version_does_not_take_the_named_ones_place(operator: Operator) -> None:
    key = operator.key()
    under_test = operator.signer(key)
    before = under_test.jwks()
    newer = operator.stage.emulator.rotate_key(key)
    assert verified(under_test.sign(PAYLOAD), before) == PAYLOAD
    assert operator.signer(key).jwks() == before
    assert operator.signer(newer).jwks() != before


Arrange = Callable[[Stage, str], object]


def _attributes(**more: Any) -> Arrange:
    return lambda stage, key: stage.emulator.set_attributes(key, **more)


def _fault(**more: Any) -> Arrange:
    return lambda stage, _: stage.fault(**more)


def _without_a_reason(stage: Stage, _: str) -> None:
    for operation in ("get", "sign"):
        stage.fault(operation, status=403, code="New")


def _vault(key: str) -> str:
    return VaultKey.parse(key).vault_url


REFUSED_TO_SIGN: dict[str, tuple[Arrange, str, str]] = {
    "disabled": (lambda stage, key: stage.emulator.set_enabled(key, False), "disabled", "KeyDisabled"),
    "expired": (lambda stage, key: _attributes(exp=int(stage.clock.wall()) - DAY)(stage, key), "unknown", "KeyExpired"),
    "not yet valid": (
        lambda stage, key: _attributes(nbf=int(stage.clock.wall()) + DAY)(stage, key),
        "unknown",
        "KeyNotYetValid",
    ),
    "not for signing": (_attributes(key_ops=("verify",)), "policy", "KeyOperationForbidden"),
}


@pytest.mark.parametrize("used", [False, True], ids=["at first", "later"])
@pytest.mark.parametrize("case", REFUSED_TO_SIGN)
def test_a_key_that_may_not_sign_still_tells_its_public_half(operator: Operator, case: str, used: bool) -> None:
    arrange, cause, code = REFUSED_TO_SIGN[case]
    key = operator.key()
    published = operator.signer(key).jwks()
    under_test = operator.signer(key)
    if used:
        under_test.sign(PAYLOAD)
    arrange(operator.stage, key)
    with pytest.raises(Denial) as raised:
        under_test.sign(PAYLOAD)
    assert type(raised.value) is Denial
    assert (raised.value.cause, raised.value.kms_code, bool(raised.value.request_id)) == (cause, code, True)
    assert under_test.jwks() == published


REFUSALS: dict[str, tuple[Arrange, type[Exception], str, str]] = {
    "deleted": (lambda stage, key: stage.emulator.delete_key(key), Denial, "not_found", "KeyNotFound"),
    "no role": (
        lambda stage, key: stage.emulator.revoke(_vault(key), CLIENT_ID),
        Denial,
        "policy",
        "ForbiddenByRbac",
    ),
    "firewall": (
        lambda stage, key: stage.emulator.set_network(_vault(key), "firewall"),
        Denial,
        "network",
        "ForbiddenByFirewall",
    ),
    "a 403 that tells nothing": (
        _without_a_reason,
        Denial,
        "unknown",
        "New",
    ),
    "throttled": (_fault(status=429), Silence, "", ""),
    "in trouble": (_fault(status=503), Silence, "", ""),
    "no answer": (_fault(reset=True), Silence, "", ""),
    "an answer that is lost": (_fault(lost=True), Silence, "", ""),
    "a proxy's page": (_fault(body=b"<html>"), Silence, "", ""),
    "a proxy's 403": (_fault(body=b"<html>", status=403), Silence, "", ""),
    "another service": (_fault(redirect="https://evil.test/"), Silence, "", ""),
}


@pytest.mark.parametrize("used", [False, True], ids=["at first", "later"])
@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_are_told_from_silence(operator: Operator, case: str, used: bool) -> None:
    arrange, error, cause, code = REFUSALS[case]
    key = operator.key()
    under_test = operator.signer(key)
    published = under_test.jwks() if used else None
    arrange(operator.stage, key)
    with pytest.raises(error) as raised:
        under_test.sign(PAYLOAD)
    assert type(raised.value) is error
    found = raised.value
    assert (getattr(found, "cause", ""), getattr(found, "kms_code", "")) == (cause, code)
    if published is not None:
        assert under_test.jwks() == published
        return
    with pytest.raises(error) as raised:
        under_test.jwks()
    assert type(raised.value) is error


def test_our_own_application_in_trouble(operator: Operator) -> None:
    operator.stage.emulator.disable_application(CLIENT_ID, HOME)
    with pytest.raises(OwnFault):
        operator.signer().sign(PAYLOAD)


def test_a_vault_of_another_directory_is_refused(stage: Stage) -> None:
    vault = stage.new_vault(DIRECTORY)
    stage.emulator.grant(vault, CLIENT_ID, actions=USER)
    key = stage.emulator.create_key(vault, "signing", kty="EC")
    with pytest.raises(Denial) as raised:
        AzureSigner(key, stage.settings, stage.clock).sign(PAYLOAD)
    assert raised.value.cause == "identity"


@pytest.mark.parametrize("made", [{"kty": "RSA", "size": 2048}, {"kty": "EC", "size": 384}], ids=["RSA", "P-384"])
def test_a_key_of_another_kind_is_refused(operator: Operator, made: dict[str, Any]) -> None:
    under_test = operator.signer(operator.key(**made))
    for use in (lambda: under_test.sign(PAYLOAD), under_test.jwks):
        with pytest.raises(Denial) as raised:
            use()
        assert (raised.value.cause, bool(raised.value.request_id)) == ("unknown", True)
    assert set(operator.made()) == {"get"}


@pytest.mark.parametrize(
    "corrupt",
    [
        *("value", "value_length", "no_value", "no_kid", "other_key", "other_version"),
        *("truncated", "bytes", "no_object"),
    ],
)
def test_a_wrong_answer_is_never_given_out(operator: Operator, corrupt: Any) -> None:
    under_test = operator.signer()
    under_test.jwks()
    operator.stage.fault("sign", corrupt=corrupt)
    with pytest.raises(Silence) as raised:
        under_test.sign(PAYLOAD)
    assert type(raised.value) is Silence
    assert operator.made().count("sign") == 3
    operator.stage.emulator.clear_faults()
    operator.stage.fault("sign", corrupt=corrupt, times=1)
    assert verified(under_test.sign(PAYLOAD), under_test.jwks()) == PAYLOAD


@pytest.mark.parametrize("corrupt", ["public_key", "no_kid", "other_key", "other_version", "truncated", "bytes"])
def test_a_wrong_public_key_signs_nothing_and_is_given_up(operator: Operator, corrupt: Any) -> None:
    key = operator.key()
    under_test = operator.signer(key)
    operator.stage.fault("get", corrupt=corrupt)
    with pytest.raises(Silence):
        under_test.sign(PAYLOAD)
    operator.stage.emulator.clear_faults()
    assert verified(under_test.sign(PAYLOAD), under_test.jwks()) == PAYLOAD
    assert under_test.jwks() == operator.signer(key).jwks()


def test_the_former_key_stays_in_the_set(operator: Operator) -> None:
    old = operator.signer()
    token = old.sign(PAYLOAD)
    new = operator.signer(retired=old.jwks()["keys"])
    assert [found["kid"] for found in new.jwks()["keys"]] == [header(new.sign({}))["kid"], header(token)["kid"]]
    assert jws.verify(token, new.jwks()) == PAYLOAD


def test_a_token_is_used_again_and_not_for_ever(stage: Stage, operator: Operator) -> None:
    under_test = operator.signer()
    for _ in range(2):
        under_test.sign(PAYLOAD)
    assert stage.made("token") == ["token"]
    stage.clock.ahead += 600
    under_test.sign(PAYLOAD)
    assert stage.made("token") == ["token"] * 2


def test_no_time_is_left(stage: Stage, operator: Operator) -> None:
    under_test = operator.signer()
    stage.time_left = 0
    for use in (lambda: under_test.sign(PAYLOAD), under_test.jwks):
        with pytest.raises(Silence, match="no time"):
            use()
    assert stage.made() == []


def test_what_hangs_ends_with_the_time(stage: Stage, operator: Operator) -> None:
    under_test = operator.signer()
    under_test.jwks()
    stage.time_left = 0.2
    stage.fault("sign", hang=True)
    with pytest.raises(Silence, match="time was up"):
        under_test.sign(PAYLOAD)


def test_a_payload_that_cannot_be_signed_is_not_sent(stage: Stage, operator: Operator) -> None:
    with pytest.raises(InternalError):
        operator.signer().sign({"x": object()})
    assert stage.made() == []


VERSION = "0" * 32


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "not the identifier"),
        ("https://kv.evil.test/keys/signing", "not the"),
        ("https://kv-1.vault.azure.net/keys/signing", "no version"),
        (f"https://kv-1.vault.azure.cn/keys/signing/{VERSION}", "the cloud china"),
    ],
)
def test_what_names_no_version_of_a_key(stage: Stage, key: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        AzureSigner(key, stage.settings, stage.clock)


def test_retired_keys_are_read_at_the_start(operator: Operator) -> None:
    with pytest.raises(InvalidRequest, match="retired"):
        operator.signer(retired=[{"kty": "RSA"}])
