"""Signed statements verify offline, against one key chosen by its id, in their one spelling; else InvalidRequest."""

from __future__ import annotations

import json
import string
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP384R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from core.domain.jws import verify
from core.errors import InvalidRequest
from tests.domain.strategies import usual

PAYLOAD = {"tenant": "acme", "text": "żółć", "n": [1, None]}
Sign = Callable[[bytes], bytes]


def b64(data: bytes) -> str:
    """base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def ecdsa(key: EllipticCurvePrivateKey, size: int = 32) -> Sign:
    """Signs as ES256 says: r and s, one after the other."""

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ECDSA(SHA256())))
        return r.to_bytes(size) + s.to_bytes(size)

    return sign


def ec_jwk(key: EllipticCurvePrivateKey, size: int = 32, **changes: object) -> dict[str, Any]:
    """The public half."""
    numbers = key.public_key().public_numbers()
    x, y = b64(numbers.x.to_bytes(size)), b64(numbers.y.to_bytes(size))
    return {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "ec", "x": x, "y": y, **changes}


ED, OTHER_ED = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
EC, P384 = generate_private_key(SECP256R1()), generate_private_key(SECP384R1())
ED_X = b64(ED.public_key().public_bytes_raw())
ED_JWK = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "ed", "x": ED_X}
OTHER_JWK = {**ED_JWK, "kid": "other", "x": b64(OTHER_ED.public_key().public_bytes_raw())}
JWKS = {"keys": [OTHER_JWK, ED_JWK, ec_jwk(EC)]}
ED_HEADER = {"alg": "EdDSA", "kid": "ed"}


def statement(sign: Sign, header: object = ED_HEADER, payload: object = PAYLOAD) -> str:
    """A compact JWS."""
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(payload).encode())}"
    return f"{signed}.{b64(sign(signed.encode()))}"


GOOD = {
    "EdDSA": statement(ED.sign),
    "ES256": statement(ecdsa(EC), {"alg": "ES256", "kid": "ec"}),
}
good = pytest.mark.parametrize("compact", GOOD.values(), ids=GOOD)


def refuse(compact: str, jwks: Any = JWKS) -> None:
    """It is refused, and the error is the only one there is."""
    with pytest.raises(InvalidRequest):
        verify(compact, jwks)


@good
def test_a_good_statement_gives_its_payload(compact: str) -> None:
    assert verify(compact, JWKS) == PAYLOAD


@good
def test_every_other_character_in_any_place_is_refused(compact: str) -> None:
    for at, was in enumerate(compact):
        for char in (chr(ord(was) ^ 1), "A" if was != "A" else "B", "=", "\n", "é"):
            if char != was:
                refuse(compact[:at] + char + compact[at + 1 :])


@good
def test_there_is_one_spelling(compact: str) -> None:
    alphabet = string.ascii_letters + string.digits + "-_+/"
    spellings = [compact + "=", compact + "==", compact + "\n", " " + compact, compact + ".", "." + compact]
    spellings += [compact[:-1] + char for char in alphabet if char != compact[-1]]
    spellings += [compact[:at] + extra + compact[at:] for at in range(0, len(compact), 7) for extra in " \n=!"]
    head, payload, signature = compact.split(".")
    spellings += [
        f"{head}.{signature}.{payload}",
        f"{head}.{payload}",
        f"{head}.{payload}.",
        f"{head}..{signature}",
        "",
    ]
    for spelling in spellings:
        refuse(spelling)


@good
def test_other_keys_do_not_verify_it(compact: str) -> None:
    other_ec = ec_jwk(generate_private_key(SECP256R1()))
    keys = (other_ec, {**OTHER_JWK, "kid": "ed"}, {**ec_jwk(EC), "kid": "x"}, {**ED_JWK, "kid": "x"})
    for key in keys:
        refuse(compact, {"keys": [key]})
    refuse(compact, {"keys": []})


def padded(data: bytes) -> bytes:
    """The same two numbers, one byte longer."""
    signature = ecdsa(EC)(data)
    return signature[:32] + b"\x00" + signature[32:]


@pytest.mark.parametrize(
    ("compact", "jwk"),
    [
        pytest.param(statement(ED.sign, {"alg": "ES256", "kid": "ed"}), ED_JWK, id="the header's alg is not the key's"),
        pytest.param(statement(ED.sign, {"alg": "none", "kid": "ed"}), {**ED_JWK, "alg": "none"}, id="alg none"),
        pytest.param(statement(lambda _: b"", {"alg": "none", "kid": "ed"}), {**ED_JWK, "alg": "none"}, id="unsigned"),
        pytest.param(statement(ED.sign, {"alg": "HS256", "kid": "ed"}), {**ED_JWK, "alg": "HS256"}, id="alg HS256"),
        pytest.param(statement(ED.sign), {**ED_JWK, "crv": "Ed448"}, id="another curve of the same family"),
        pytest.param(statement(ED.sign), {**ED_JWK, "kty": "EC"}, id="another key type"),
        pytest.param(statement(ED.sign), {**ED_JWK, "x": b64(bytes(31))}, id="a key one byte short"),
        pytest.param(statement(ED.sign), {**ED_JWK, "x": ED_X + "="}, id="a key with padding"),
        pytest.param(statement(ED.sign), {**ED_JWK, "x": 7}, id="a key that is a number"),
        pytest.param(statement(ED.sign), {"kid": "ed", "alg": "EdDSA"}, id="a key without a key"),
        pytest.param(statement(ED.sign), {**ec_jwk(EC), "kid": "ed", "alg": "EdDSA"}, id="EdDSA with an EC key"),
        pytest.param(
            statement(ecdsa(P384, 48), {"alg": "ES256", "kid": "ec"}), ec_jwk(P384, 48), id="P-384 passed off as P-256"
        ),
        pytest.param(
            statement(ecdsa(P384, 48), {"alg": "ES256", "kid": "ec"}), ec_jwk(P384, 48, crv="P-384"), id="P-384"
        ),
        pytest.param(
            statement(lambda data: EC.sign(data, ECDSA(SHA256())), {"alg": "ES256", "kid": "ec"}), ec_jwk(EC), id="DER"
        ),
        pytest.param(statement(padded, {"alg": "ES256", "kid": "ec"}), ec_jwk(EC), id="a zero before s"),
        pytest.param(statement(lambda _: bytes(64), {"alg": "ES256", "kid": "ec"}), ec_jwk(EC), id="r and s of zero"),
        pytest.param(
            statement(ecdsa(EC), {"alg": "ES256", "kid": "ec"}), {**ec_jwk(EC), "y": b64(bytes(32))}, id="off the curve"
        ),
        pytest.param(
            statement(ecdsa(EC), {"alg": "ES256", "kid": "ec"}), {**ec_jwk(EC), "x": b64(b"\xff" * 99)}, id="huge x"
        ),
    ],
)
def test_keys_and_algorithms_that_do_not_belong_together(compact: str, jwk: dict[str, Any]) -> None:
    refuse(compact, {"keys": [jwk]})


@pytest.mark.parametrize(
    "compact",
    [
        pytest.param(statement(ED.sign, {"alg": "EdDSA"}), id="no kid"),
        pytest.param(statement(ED.sign, {"kid": "ed"}), id="no alg"),
        pytest.param(statement(ED.sign, {**ED_HEADER, "kid": ["ed"]}), id="kid is a list"),
        pytest.param(statement(ED.sign, {**ED_HEADER, "kid": "nobody"}), id="unknown kid"),
        pytest.param(statement(ED.sign, {**ED_HEADER, "crit": ["b64"], "b64": False}), id="critical extension"),
        pytest.param(statement(ED.sign, ["EdDSA", "ed"]), id="header is a list"),
        pytest.param(statement(ED.sign, 1), id="header is a number"),
        pytest.param(statement(ED.sign, payload=[1]), id="payload is a list"),
        pytest.param(statement(ED.sign, payload="text"), id="payload is a string"),
        pytest.param(f"{b64(b'[' * 200_000)}.e30.e30", id="deeply nested header"),
        pytest.param(f"{b64(b'1' * 10_000)}.e30.e30", id="a number too long to convert"),
        pytest.param(f"{b64(bytes([0xFF, 0xFE, 0xFD]))}.e30.e30", id="not text"),
        pytest.param("\ud800.e30.e30", id="lone surrogate"),
        pytest.param("..", id="empty parts"),
        pytest.param("e30.e30.e30.e30", id="four parts"),
    ],
)
def test_malformed_statements(compact: str) -> None:
    refuse(compact)


def test_a_signed_payload_that_is_not_json_is_refused() -> None:
    head = b64(json.dumps(ED_HEADER).encode())
    for raw in (b"", b"{", b"[" * 200_000, b"\xff"):
        signed = f"{head}.{b64(raw)}"
        refuse(f"{signed}.{b64(ED.sign(signed.encode()))}")


@good
@pytest.mark.parametrize(
    "jwks", [{}, {"keys": None}, {"keys": [None]}, {"keys": ["ed"]}, {"keys": [{}]}, {"keys": 1}, []]
)
def test_malformed_key_sets(compact: str, jwks: Any) -> None:
    refuse(compact, jwks)


def test_the_error_tells_a_wrong_key_set_from_a_forged_statement() -> None:
    genuine = statement(ED.sign)
    head, payload, signature = genuine.split(".")
    forged = f"{head}.{payload}.{b64(bytes(64))}"
    for compact, jwks, told in (
        ("hello", JWKS, "the signed statement is malformed"),
        (genuine, {"keys": []}, "the key that the signed statement names is not in this key set"),
        (statement(ED.sign, {**ED_HEADER, "kid": "nobody"}), JWKS, "is not in this key set"),
        (statement(ED.sign, {**ED_HEADER, "alg": "none"}), JWKS, "is not in this key set"),
        (forged, JWKS, "was changed after it was signed, or forged"),
        (f"{head}.{b64(b'{}')}.{signature}", JWKS, "was changed after it was signed, or forged"),
    ):
        with pytest.raises(InvalidRequest, match=told) as caught:
            verify(compact, jwks)
        assert bool(caught.value.hint) is ("key set" in told)


@usual
@given(st.text(max_size=60) | st.text(alphabet=string.ascii_letters + "._-", max_size=60))
def test_any_text_gives_no_other_error(text: str) -> None:
    refuse(text)
