"""What both signers in a KMS share: public keys as JWKs, signatures as a JWS has them, retired keys read strictly."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.errors import InternalError, InvalidRequest
from core.providers._jws import (
    P256Key,
    base64url,
    ed25519_jwk,
    encoded,
    key_set,
    public_jwks,
    raw_signature,
    unbase64url,
)

EC = generate_private_key(SECP256R1())
KEY = P256Key(EC.public_key())
# RFC 7515, appendix A.3: an ES256 statement and its key.
A3_X, A3_Y = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
A3_SIGNED = (
    b"eyJhbGciOiJFUzI1NiJ9."
    b"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
)
A3_SIGNATURE = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"


def test_the_statement_of_rfc_7515() -> None:
    key = P256Key.of_point(A3_X, A3_Y)
    signature = unbase64url(A3_SIGNATURE)
    assert key.verifies(A3_SIGNED, signature)
    assert not key.verifies(A3_SIGNED + b"x", signature)
    assert not KEY.verifies(A3_SIGNED, signature)
    jwk = key.jwk
    assert (jwk["x"], jwk["y"]) == (A3_X, A3_Y)
    # Made by openssl from {"crv":"P-256","kty":"EC","x":"...","y":"..."}: SHA-256, in base64url.
    assert jwk["kid"] == "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"


def test_a_key_is_the_same_from_der_and_from_its_point() -> None:
    der = EC.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert P256Key.of_der(der).jwk == KEY.jwk == P256Key.of_point(KEY.jwk["x"], KEY.jwk["y"]).jwk
    assert {len(unbase64url(KEY.jwk[name])) for name in "xy"} == {32}


@pytest.mark.parametrize(
    "public",
    [generate_private_key(SECP384R1()).public_key(), Ed25519PrivateKey.generate().public_key()],
    ids=["P-384", "Ed25519"],
)
def test_other_keys_are_no_p256_keys(public: Any) -> None:
    with pytest.raises(ValueError, match="P-256"):
        P256Key.of_der(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def test_signatures_become_two_numbers_of_one_length() -> None:
    lengths = set()
    for number in range(300):  # one in 128 signatures has a short r or s
        signed = str(number).encode()
        der = EC.sign(signed, ECDSA(SHA256()))
        lengths.add(len(der))
        raw = raw_signature(der)
        assert len(raw) == 64
        assert KEY.verifies(signed, raw)
    assert len(lengths) > 1


@pytest.mark.parametrize(
    "der",
    [
        b"",
        bytes(64),
        EC.sign(b"x", ECDSA(SHA256()))[:-1],
        EC.sign(b"x", ECDSA(SHA256())) + b"\0",
        generate_private_key(SECP384R1()).sign(b"x", ECDSA(SHA256())),
        bytes.fromhex("300602018002 0101".replace(" ", "")),
    ],
    ids=["empty", "raw", "cut", "longer", "P-384", "negative"],
)
def test_what_is_no_signature(der: bytes) -> None:
    with pytest.raises(ValueError):
        raw_signature(der)


def test_no_other_length_verifies() -> None:
    raw = raw_signature(EC.sign(b"x", ECDSA(SHA256())))
    assert KEY.verifies(b"x", raw)
    for wrong in (b"", raw[:-1], raw + b"\0", b"\0" + raw, raw[:32] + b"\0" + raw[32:], bytes(64), b"\xff" * 64):
        assert not KEY.verifies(b"x", wrong)


@pytest.mark.parametrize("payload", [{"a": {1, 2}}, {"a": float("inf")}, {"a": b""}, 7, None], ids=repr)
def test_what_is_no_json_object(payload: Any) -> None:
    with pytest.raises(InternalError):
        encoded(payload)


ED = ed25519_jwk(bytes(range(32)))


def test_retired_keys_are_given_back_as_they_are_published() -> None:
    given: list[dict[str, Any]] = [
        KEY.jwk,
        {name: KEY.jwk[name] for name in ("kty", "crv", "x", "y")},
        {**ED, "key_ops": ["verify"]},
    ]
    assert public_jwks(given) == (KEY.jwk, KEY.jwk, ED)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ({**ED, "d": "AAAA"}, "private half"),
        ({**KEY.jwk, "d": "AAAA"}, "private half"),
        ({}, "public key"),
        ({**ED, "crv": "Ed448"}, "public key"),
        ({"kty": "oct", "k": "AAAA"}, "public key"),
        ({**ED, "x": base64url(bytes(31))}, "public key"),
        ({**ED, "x": 7}, "public key"),
        ({**ED, "x": None}, "public key"),
        ({**KEY.jwk, "y": base64url(bytes(32))}, "public key"),
        ({**KEY.jwk, "x": base64url(b"\xff" * 99)}, "public key"),
        ({name: value for name, value in KEY.jwk.items() if name != "y"}, "public key"),
        ({**KEY.jwk, "kid": ED["kid"]}, "belong"),
        ({**KEY.jwk, "alg": "EdDSA"}, "belong"),
        ({**KEY.jwk, "use": "enc"}, "belong"),
    ],
)
def test_what_is_no_retired_key(key: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as caught:
        public_jwks([ED, key])
    assert "AAAA" not in f"{caught.value.detail}{caught.value.hint}"


def test_a_key_set_has_each_key_once_the_active_one_first() -> None:
    other = ed25519_jwk(bytes(32))
    assert key_set(KEY.jwk, [ED, other, KEY.jwk, ED]) == {"keys": [KEY.jwk, ED, other]}


def test_base64url_has_one_spelling() -> None:
    assert unbase64url("-_8") == urlsafe_b64decode("-_8=")
    for wrong in ("-_8=", "-_9", "-_", "+/8", " -_8", "-_8\n"):
        with pytest.raises(ValueError):
            unbase64url(wrong)
