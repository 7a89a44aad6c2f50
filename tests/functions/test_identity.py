"""Which tokens are believed."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from core.errors import Unauthenticated
from functions import identity as module
from functions.identity import Identity, key_set
from tests.functions import tokens

ID = "request-1"
NOW = tokens.NOW


def identify(token: str, **of_issuer: Any) -> Any:
    return Identity([tokens.issuer(**of_issuer)], clock=lambda: float(NOW)).identify(f"Bearer {token}", ID)


@pytest.mark.parametrize(("kid", "algorithm"), [("r", "RS256"), ("e", "ES256"), ("o", "EdDSA")])
def test_good_tokens_of_each_algorithm(kid: str, algorithm: str) -> None:
    caller = identify(tokens.mint(kid, algorithm, scope="data:encrypt  key:read"))
    assert (caller.subject, caller.issuer, caller.tenant_id) == ("app", tokens.ISSUER, "acme")
    assert caller.scopes == {"data:encrypt", "key:read"}
    assert caller.request_id == ID


def signed(
    change: Callable[[str], str] = str,
    *,
    encoding: str = "utf-8",
    header: str = '{"alg":"EdDSA","kid":"o"}',
    header_encoding: str = "utf-8",
) -> str:
    """A token with a right signature over parts written in any way."""
    parts = [header.encode(header_encoding), change(json.dumps(tokens.claims())).encode(encoding)]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    return (text + b"." + base64.urlsafe_b64encode(tokens.ed_key().sign(text)).rstrip(b"=")).decode()


def test_claims_that_mean_nothing_here_may_be_anything() -> None:
    assert identify(signed()).subject == "app"
    assert identify(tokens.mint(uid=12345678901234567890, nested={"a": [1, 2.5, None]})).subject == "app"


BAD: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "no jws": lambda: "abc",
    "two parts": lambda: "a.b",
    "four parts": lambda: tokens.mint() + ".x",
    "not base64": lambda: "!.!.!",
    "not ascii": lambda: tokens.mint() + "\u00e9",
    "too long": lambda: tokens.mint(sub="x" * 9000),
    "list of claims": lambda: "eyJhbGciOiJFZERTQSIsImtpZCI6Im8ifQ.W10.",
    "alg none": lambda: tokens.assemble({"alg": "none", "kid": "o"}, tokens.claims()),
    "alg None": lambda: tokens.assemble({"alg": "None", "kid": "o"}, tokens.claims()),
    "alg missing": lambda: tokens.assemble({"kid": "o"}, tokens.claims()),
    "hs256 with the public key": tokens.hs256_with_public_key,
    "tampered": tokens.tampered,
    "no kid": lambda: tokens.mint(None),
    "unknown kid": lambda: tokens.mint("x"),
    "kid of another key": lambda: tokens.mint("r", "EdDSA", tokens.ed_key()),
    "another key under the kid": lambda: tokens.mint("o", key=tokens.ed_key("another")),
    "rs512": lambda: tokens.mint("r", "RS512"),
    "ps256": lambda: tokens.mint("r", "PS256"),
    "crit": lambda: tokens.assemble({"alg": "EdDSA", "kid": "o", "crit": ["x"], "x": 1}, tokens.claims()),
    "unknown typ": lambda: tokens.assemble({"alg": "EdDSA", "kid": "o", "typ": "receipt"}, tokens.claims()),
    "expired": lambda: tokens.mint(iat=NOW - 600, exp=NOW - 31),
    "no expiry": lambda: tokens.mint(exp=None),
    "expiry text": lambda: tokens.mint(exp=str(NOW + 60)),
    "expiry true": lambda: tokens.mint(exp=True),
    "expiry infinite": lambda: tokens.mint(exp=float("inf")),
    "expiry huge": lambda: tokens.mint(exp=10**400),
    "valid for too long": lambda: tokens.mint(exp=NOW + 25 * 3600),
    "valid for too long without iat": lambda: tokens.mint(iat=None, exp=NOW + 25 * 3600),
    "issued in the future": lambda: tokens.mint(iat=NOW + 120),
    "not yet valid": lambda: tokens.mint(nbf=NOW + 120),
    "foreign issuer": lambda: tokens.mint(iss="https://other.test"),
    "issuer list": lambda: tokens.mint(iss=[tokens.ISSUER]),
    "no issuer": lambda: tokens.mint(iss=None),
    "wrong audience": lambda: tokens.mint(aud="another"),
    "no audience": lambda: tokens.mint(aud=None),
    "no subject": lambda: tokens.mint(sub=None),
    "empty subject": lambda: tokens.mint(sub=""),
    "subject with a line break": lambda: tokens.mint(sub="a\nb"),
    "long subject": lambda: tokens.mint(sub="x" * 257),
    "scope list": lambda: tokens.mint(scope=["data:encrypt"]),
    "many scopes": lambda: tokens.mint(scope=" ".join(map(str, range(65)))),
    "operator that decrypts": lambda: tokens.mint(scope="platform:operate data:decrypt"),
    "operator that hands out keys": lambda: tokens.mint(tenant_id=None, scope="data:keys platform:operate"),
    "claims in utf-16": lambda: signed(encoding="utf-16"),
    "claims with a byte order mark": lambda: signed(encoding="utf-8-sig"),
    "claim twice": lambda: signed(lambda text: text.replace("{", '{"tenant_id":"other",', 1)),
    "header in utf-16": lambda: signed(header_encoding="utf-16"),
    "header twice": lambda: signed(header='{"alg":"EdDSA","kid":"r","kid":"o"}'),
    "claim that is not a number": lambda: signed(lambda text: text.replace("{", '{"x":NaN,', 1)),
    "tenant upper case": lambda: tokens.mint(tenant_id="Acme"),
    "tenant list": lambda: tokens.mint(tenant_id=["acme"]),
    "tenant empty": lambda: tokens.mint(tenant_id=""),
    "tenant system": lambda: tokens.mint(tenant_id="_system"),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
def test_bad_tokens_are_refused_alike(make: Callable[[], str], caplog: pytest.LogCaptureFixture) -> None:
    token = make()
    with caplog.at_level(logging.DEBUG), pytest.raises(Unauthenticated) as caught:
        identify(token)
    assert caught.value.detail == "the token is not accepted"
    assert caught.value.__cause__ is None
    [line] = caplog.records
    assert line.fields["reason"]  # type: ignore[attr-defined] # set through `extra`
    for part in token.split("."):
        assert len(part) < 8 or part not in str(line.__dict__)


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic abc", "bearer", "token"])
def test_other_schemes(header: str) -> None:
    with pytest.raises(Unauthenticated):
        Identity([tokens.issuer()]).identify(header, ID)


def test_no_token_is_told_apart_from_a_bad_one() -> None:
    for nothing in (None, ""):
        with pytest.raises(Unauthenticated, match="needs a token"):
            Identity([tokens.issuer()]).identify(nothing, ID)


def test_scheme_in_any_case() -> None:
    assert Identity([tokens.issuer()]).identify(f"bEARER {tokens.mint()}", ID).subject == "app"


def test_leeway() -> None:
    assert identify(tokens.mint(iat=NOW - 600, exp=NOW - 20)).subject == "app"
    assert identify(tokens.mint(iat=NOW + 20)).subject == "app"


def test_audience_may_be_one_of_several() -> None:
    assert identify(tokens.mint(aud=["other", tokens.AUDIENCE])).subject == "app"


def test_issuer_speaks_for_its_tenants_only() -> None:
    assert identify(tokens.mint(), tenants=frozenset({"acme"})).tenant_id == "acme"
    with pytest.raises(Unauthenticated):
        identify(tokens.mint(tenant_id="beta"), tenants=frozenset({"acme"}))


def test_platform_tokens_need_a_platform_issuer() -> None:
    without_tenant = tokens.mint(tenant_id=None, scope="platform:operate")
    assert identify(without_tenant).tenant_id is None
    with pytest.raises(Unauthenticated):
        identify(without_tenant, platform=False)
    with pytest.raises(Unauthenticated):
        identify(tokens.mint(scope="platform:operate"), platform=False)
    assert identify(tokens.mint(), platform=False).tenant_id == "acme"


def test_keys_belong_to_their_issuer() -> None:
    """A kid of one issuer does not verify the tokens of another."""
    other = module.Issuer("https://other.test", tokens.AUDIENCE, {})
    with pytest.raises(Unauthenticated):
        Identity([tokens.issuer(), other]).identify(f"Bearer {tokens.mint(iss='https://other.test')}", ID)


class Counting:
    """A clock to turn, and a count of verifications."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = float(NOW)
        self.checks = 0
        real = Identity._check

        def check(itself: Identity, token: str, now: float) -> Any:
            self.checks += 1
            return real(itself, token, now)

        monkeypatch.setattr(Identity, "_check", check)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Counting:
    return Counting(monkeypatch)


def test_verified_tokens_are_kept_for_a_minute(clock: Counting) -> None:
    identity = Identity([tokens.issuer()], clock=clock)
    header = f"Bearer {tokens.mint()}"
    for second, checks in ((0, 1), (59, 1), (60, 2), (61, 2)):
        clock.now = NOW + second
        assert identity.identify(header, ID).subject == "app"
        assert clock.checks == checks
    clock.now = NOW + 30  # before the last verification
    identity.identify(header, ID)
    assert clock.checks == 3


def test_nothing_is_kept_beyond_its_expiry(clock: Counting) -> None:
    identity = Identity([tokens.issuer()], clock=clock)
    header = f"Bearer {tokens.mint(exp=NOW + 10)}"
    identity.identify(header, ID)
    clock.now = NOW + 15
    identity.identify(header, ID)
    assert clock.checks == 2
    clock.now = NOW + 41
    with pytest.raises(Unauthenticated):
        identity.identify(header, ID)


def test_the_cache_is_bounded_and_holds_no_token(clock: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_ENTRIES", 3)
    identity = Identity([tokens.issuer()], clock=clock)
    headers = [f"Bearer {tokens.mint(sub=f's{n}')}" for n in range(4)]
    for header in headers:
        identity.identify(header, ID)
    assert len(identity._verified) == 3
    assert not any(header.split()[1] in repr(identity._verified) for header in headers)
    identity.identify(headers[3], ID)
    assert clock.checks == 4
    identity.identify(headers[0], ID)
    assert clock.checks == 5


def test_refusals_are_not_kept(clock: Counting) -> None:
    identity = Identity([tokens.issuer()], clock=clock)
    header = f"Bearer {tokens.mint(iat=NOW + 60)}"
    with pytest.raises(Unauthenticated):
        identity.identify(header, ID)
    clock.now = NOW + 60
    assert identity.identify(header, ID).subject == "app"


GOOD = tokens.jwks()["keys"]


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"keys": []},
        {"keys": {}},
        {"keys": ["x"]},
        {"keys": [{**GOOD[0], "kid": None}]},
        {"keys": [GOOD[0], GOOD[0]]},
        {"keys": [{"kty": "oct", "k": "AAAA", "kid": "s"}]},
        {"keys": [{**GOOD[0], "alg": "HS256"}]},
        {"keys": [{**GOOD[0], "alg": "PS256"}]},
        {"keys": [{**GOOD[0], "use": "enc"}]},
        {"keys": [{**GOOD[1], "crv": "P-384"}]},
        {"keys": [{**GOOD[1], "x": "AAAA"}]},
        {"keys": [{**GOOD[2], "d": "AAAA"}]},
        {"keys": [{**GOOD[2], "x": 7}]},
        {"keys": [{**GOOD[0], "kty": ["RSA"]}]},
        {"keys": [{**GOOD[1], "crv": {"P-256": 1}}]},
        {"keys": [{**GOOD[0], "kty": None}]},
        {"keys": [{**GOOD[0], "n": ["AAAA"]}]},
        {"keys": [{**GOOD[0], "n": None}]},
    ],
)
def test_key_sets_that_are_refused(document: object) -> None:
    with pytest.raises(ValueError) as caught:
        key_set(document)
    assert "AAAA" not in str(caught.value)


def test_weak_rsa_keys_are_refused() -> None:
    from jwt.algorithms import RSAAlgorithm

    jwk = RSAAlgorithm.to_jwk(tokens.rsa_key(1024).public_key(), as_dict=True)
    with pytest.raises(ValueError, match="2048"):
        key_set({"keys": [{**jwk, "kid": "weak"}]})
