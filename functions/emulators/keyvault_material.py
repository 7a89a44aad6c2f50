"""What a key is made of, and what it does: RSA-OAEP, AES key wrap and GCM; an EC key signs, and an RSA key does not."""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from functions.emulators.azure_errors import bad_parameter

RsaKeys = Callable[[int], rsa.RSAPrivateKey]
"""Gives an RSA key of so many bits."""
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | bytes
RSA_SIZES = (2048, 3072, 4096)
OCT_SIZES = (128, 192, 256)
DEFAULT_SIZE: Mapping[str, int] = {"RSA": 2048, "EC": 256, "oct": 256}
KEY_OPS: Mapping[str, tuple[str, ...]] = {
    "RSA": ("encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"),
    "EC": ("sign", "verify"),
    "oct": ("encrypt", "decrypt", "wrapKey", "unwrapKey"),
}
"""What a key may do if nothing is said, by family: what stands before ``-HSM``."""
_CURVES: Mapping[int, tuple[str, type[ec.EllipticCurve]]] = {
    256: ("P-256", ec.SECP256R1),
    384: ("P-384", ec.SECP384R1),
    521: ("P-521", ec.SECP521R1),
}
_PADDINGS: Mapping[str, Callable[[], padding.AsymmetricPadding]] = {
    "RSA-OAEP-256": lambda: padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
    "RSA-OAEP": lambda: padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None),  # noqa: S303 - as Azure's
    "RSA1_5": padding.PKCS1v15,
}
_KEY_WRAPS: Mapping[str, int] = {"A128KW": 128, "A192KW": 192, "A256KW": 256}
GCM: Mapping[str, int] = {"A128GCM": 128, "A192GCM": 192, "A256GCM": 256}
"""Algorithms that encrypt with a nonce and give a tag: bits of the key by name."""
_ECDSA: Mapping[str, tuple[int, hashes.HashAlgorithm]] = {
    "ES256": (256, hashes.SHA256()),
    "ES384": (384, hashes.SHA384()),
    "ES512": (521, hashes.SHA512()),
}
"""Signing algorithms: bits of the curve, and the digest."""
NONCE_BYTES, TAG_BYTES = 12, 16


def generate_rsa(size: int) -> rsa.RSAPrivateKey:
    """A new RSA key. Slow: half a second for 4096 bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=size)


@dataclass(frozen=True, slots=True)
class Material:
    """The bits of one key version.

    Attributes:
        kty: ``RSA``, ``EC``, ``oct``, each with ``-HSM`` behind it or not.
        size: In bits.
        private: The key itself.
    """

    kty: str
    size: int
    private: PrivateKey = field(repr=False)

    @classmethod
    def generate(cls, kty: str, size: int, rsa_keys: RsaKeys) -> Material:
        """A new key.

        Raises:
            AzureError: 400 for a type or size that Key Vault does not have.
        """
        family = kty.removesuffix("-HSM")
        wanted = size or DEFAULT_SIZE.get(family, 0)
        if family == "RSA" and wanted in RSA_SIZES:
            return cls(kty, wanted, rsa_keys(wanted))
        if family == "EC" and wanted in _CURVES:
            return cls(kty, wanted, ec.generate_private_key(_CURVES[wanted][1]()))
        if family == "oct" and kty != family and wanted in OCT_SIZES:
            return cls(kty, wanted, secrets.token_bytes(wanted // 8))
        raise bad_parameter(f"Key type {kty} of {wanted} bits is not supported.")

    @property
    def family(self) -> str:
        """The type, wherever the key is kept."""
        return self.kty.removesuffix("-HSM")

    def public(self) -> dict[str, str]:
        """The public fields of its JSON Web Key; a symmetric key has none."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            numbers = self.private.public_key().public_numbers()
            return {"n": _number(numbers.n), "e": _number(numbers.e)}
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            point, length = self.private.public_key().public_numbers(), (self.size + 7) // 8
            return {"crv": _CURVES[self.size][0], "x": _number(point.x, length), "y": _number(point.y, length)}
        return {}

    def encrypt(self, algorithm: str, plaintext: bytes) -> bytes:
        """Encrypt or wrap.

        Raises:
            AzureError: 400 for an algorithm that this key does not do, or bytes that it cannot take.
        """
        if isinstance(self.private, rsa.RSAPrivateKey) and algorithm in _PADDINGS:
            try:
                return self.private.public_key().encrypt(plaintext, _PADDINGS[algorithm]())
            except ValueError:
                raise bad_parameter("The value is too long for this key.") from None
        if isinstance(self.private, bytes) and _KEY_WRAPS.get(algorithm) == self.size:
            try:
                return aes_key_wrap(self.private, plaintext)
            except ValueError:
                raise bad_parameter("The value has a length that cannot be wrapped.") from None
        raise self._mismatch(algorithm)

    def decrypt(self, algorithm: str, ciphertext: bytes) -> bytes:
        """Decrypt or unwrap.

        Raises:
            AzureError: 400 for an algorithm that this key does not do, or bytes that it did not make.
        """
        try:
            if isinstance(self.private, rsa.RSAPrivateKey) and algorithm in _PADDINGS:
                return self.private.decrypt(ciphertext, _PADDINGS[algorithm]())
            if isinstance(self.private, bytes) and _KEY_WRAPS.get(algorithm) == self.size:
                return aes_key_unwrap(self.private, ciphertext)
        except (ValueError, InvalidUnwrap):
            raise bad_parameter("The value could not be decrypted with this key.") from None
        raise self._mismatch(algorithm)

    def seal(self, algorithm: str, plaintext: bytes, aad: bytes) -> tuple[bytes, bytes, bytes]:
        """Encrypt by one of `GCM`: the nonce, the ciphertext, the tag.

        Raises:
            AzureError: 400 for an algorithm that this key does not do.
        """
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._gcm(algorithm).encrypt(nonce, plaintext, aad)
        return nonce, sealed[:-TAG_BYTES], sealed[-TAG_BYTES:]

    def unseal(self, algorithm: str, nonce: bytes, ciphertext: bytes, tag: bytes, aad: bytes) -> bytes:
        """Decrypt what `seal` made.

        Raises:
            AzureError: 400 for an algorithm that this key does not do, or bytes that it did not make.
        """
        if len(nonce) == NONCE_BYTES and len(tag) == TAG_BYTES:
            with suppress(InvalidTag):
                return self._gcm(algorithm).decrypt(nonce, ciphertext + tag, aad)
        raise bad_parameter("The value could not be decrypted with this key.")

    def sign(self, algorithm: str, digest: bytes) -> bytes:
        """Sign a digest: r and s, one after the other.

        Raises:
            AzureError: 400 for an algorithm that this key does not do, or bytes that are no such digest.
        """
        size, hashing = _ECDSA.get(algorithm, (0, hashes.SHA256()))
        if not isinstance(self.private, ec.EllipticCurvePrivateKey) or size != self.size:
            raise self._mismatch(algorithm)
        if len(digest) != hashing.digest_size:
            raise bad_parameter(f"The value is no digest for '{algorithm}'.")
        numbers = decode_dss_signature(self.private.sign(digest, ec.ECDSA(Prehashed(hashing))))
        return b"".join(number.to_bytes((size + 7) // 8, "big") for number in numbers)

    def _gcm(self, algorithm: str) -> AESGCM:
        if isinstance(self.private, bytes) and GCM.get(algorithm) == self.size:
            return AESGCM(self.private)
        raise self._mismatch(algorithm)

    def _mismatch(self, algorithm: str) -> Exception:
        return bad_parameter(
            f"Key and algorithm are incompatible. The key is of type '{self.kty}' and of {self.size} bits; the "
            f"algorithm is '{algorithm}'."
        )

    def saved(self) -> dict[str, Any]:
        """As JSON, in the clear."""
        private = self.private
        der = (
            private
            if isinstance(private, bytes)
            else private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        )
        return {"kty": self.kty, "size": self.size, "private": b64encode(der).decode()}

    @classmethod
    def restored(cls, saved: Mapping[str, Any]) -> Material:
        """What `saved` gave.

        Raises:
            ValueError: It is something else.
        """
        data = b64decode(saved["private"], validate=True)
        if saved["kty"].removesuffix("-HSM") == "oct":
            return cls(saved["kty"], int(saved["size"]), data)
        private = load_der_private_key(data, None)
        if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise ValueError("a key is of an unknown type")
        return cls(saved["kty"], int(saved["size"]), private)


def base64url(data: bytes) -> str:
    """Without padding, as in JSON Web Keys."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int, length: int = 0) -> str:
    return base64url(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))
