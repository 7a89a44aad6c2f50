"""What every Signer must do. Subclass; set ``signer`` in an autouse fixture; say how to rotate and silence."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import jwt
import pytest

from core.errors import InternalError, Silence
from core.ports import Signer

PAYLOAD = {"iss": "keystead", "tenant": "acme", "text": "żółć", "n": 1, "list": [1, None], "inner": {"a": True}}
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}


def header(token: str) -> dict[str, Any]:
    """A JWS's protected header."""
    return dict(jwt.get_unverified_header(token))


def verified(token: str, jwks: Any) -> Any:
    """The payload of a JWS, checked by a library of others against a key set.

    Raises:
        jwt.InvalidTokenError: The signature does not hold, or no key has its ``kid``.
    """
    keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(json.loads(json.dumps(jwks))).keys}
    kid = header(token)["kid"]
    if kid not in keys:
        raise jwt.InvalidTokenError("no such key")
    key = keys[kid]
    return json.loads(jwt.PyJWS().decode(token, key.key, algorithms=[key.algorithm_name]))


class SignerContract:
    """The suite.

    Attributes:
        signer: Under test.
    """

    signer: Signer

    def rotate(self) -> None:
        """Have the signer use a new key."""
        raise NotImplementedError

    def silence(self) -> None:
        """Have the key not answer from now on."""
        raise NotImplementedError

    def test_others_can_verify_a_signature(self) -> None:
        token = self.signer.sign(PAYLOAD)
        assert verified(token, self.signer.jwks()) == PAYLOAD
        assert token.count(".") == 2
        assert "=" not in token

    def test_the_header_names_algorithm_and_key(self) -> None:
        found = header(self.signer.sign(PAYLOAD))
        [key] = [key for key in self.signer.jwks()["keys"] if key["kid"] == found["kid"]]
        assert found["alg"] == key["alg"]
        assert found["alg"] != "none"
        assert not {"jwk", "jku", "x5u"} & found.keys()

    @pytest.mark.parametrize("part", [0, 1, 2], ids=["header", "payload", "signature"])
    def test_any_change_shows(self, part: int) -> None:
        parts = self.signer.sign(PAYLOAD).split(".")
        raw = bytearray(urlsafe_b64decode(parts[part] + "=" * (-len(parts[part]) % 4)))
        jwks = self.signer.jwks()
        for position in range(0, len(raw), 7):
            changed = bytearray(raw)
            changed[position] ^= 1
            parts[part] = urlsafe_b64encode(changed).rstrip(b"=").decode()
            with pytest.raises((jwt.InvalidTokenError, KeyError)):
                verified(".".join(parts), jwks)

    def test_the_key_set_is_public(self) -> None:
        self.rotate()
        keys = self.signer.jwks()["keys"]
        assert len({key["kid"] for key in keys}) == len(keys)
        for key in keys:
            assert key["use"] == "sig"
            assert not PRIVATE_MEMBERS & key.keys()

    def test_old_signatures_verify_after_rotation(self) -> None:
        tokens = [self.signer.sign(PAYLOAD)]
        for _ in range(2):
            self.rotate()
            tokens.append(self.signer.sign(PAYLOAD))
        assert len({header(token)["kid"] for token in tokens}) == 3
        for token in tokens:
            assert verified(token, self.signer.jwks()) == PAYLOAD

    @pytest.mark.parametrize("value", [object(), float("nan"), b"bytes"], ids=["object", "nan", "bytes"])
    def test_what_is_not_json_is_not_signed(self, value: object) -> None:
        with pytest.raises(InternalError):
            self.signer.sign({"x": value})

    def test_silence(self) -> None:
        self.silence()
        with pytest.raises(Silence):
            self.signer.sign(PAYLOAD)
