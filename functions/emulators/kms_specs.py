"""What KMS keys can be made of: by key spec, what they are for, by which algorithms, and new material for one.

Source: AWS KMS Developer Guide, "Key spec reference".
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from functions.emulators.aws_errors import invalid

SYMMETRIC = "SYMMETRIC_DEFAULT"
ENCRYPT, SIGN = "ENCRYPT_DECRYPT", "SIGN_VERIFY"
CURVES: Mapping[str, ec.EllipticCurve] = {
    "ECC_NIST_P256": ec.SECP256R1(),
    "ECC_NIST_P384": ec.SECP384R1(),
    "ECC_NIST_P521": ec.SECP521R1(),
}
RSA_BITS: Mapping[str, int] = {"RSA_2048": 2048, "RSA_3072": 3072, "RSA_4096": 4096}
ECDSA: Mapping[str, tuple[str, HashAlgorithm]] = {
    "ECDSA_SHA_256": ("ECC_NIST_P256", SHA256()),
    "ECDSA_SHA_384": ("ECC_NIST_P384", SHA384()),
    "ECDSA_SHA_512": ("ECC_NIST_P521", SHA512()),
}
"""Signing algorithms of elliptic curve keys: the one key spec that each is for, and its digest."""
_RSA_SIGNING = tuple(f"RSASSA_{padding}_SHA_{bits}" for padding in ("PSS", "PKCS1_V1_5") for bits in (256, 384, 512))
_SYMMETRIC_BYTES = 32


def algorithms(spec: str, usage: str) -> dict[str, list[str]]:
    """What a key's description says of its algorithms: one list, under a name that its usage decides."""
    if usage == ENCRYPT:
        return {
            "EncryptionAlgorithms": [SYMMETRIC] if spec == SYMMETRIC else ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"]
        }
    if usage == SIGN:
        of_curve = [name for name, (needed, _) in ECDSA.items() if needed == spec]
        return {"SigningAlgorithms": of_curve or [*_RSA_SIGNING]}
    return {}


def check_usage(spec: str, usage: str) -> None:
    """Refuse a key that cannot be for what it is to be for; specs without a key pair here are not looked at.

    Raises:
        AwsError: ``ValidationException``.
    """
    pairs = {**dict.fromkeys(RSA_BITS, (ENCRYPT, SIGN)), **dict.fromkeys(CURVES, (SIGN, "KEY_AGREEMENT"))}
    fit: Mapping[str, tuple[str, ...]] = {SYMMETRIC: (ENCRYPT,), **pairs}
    if usage not in fit.get(spec, (usage,)):
        raise invalid(f"The operation failed because the KeyUsage value of the KMS key is {usage}, not fit for {spec}.")


def new_material(spec: str) -> bytes:
    """What a new key is made of: a private key in DER where it is one of a pair, else random bytes."""
    if spec in CURVES or spec in RSA_BITS:
        return key_pair(spec)[0]
    return secrets.token_bytes(_SYMMETRIC_BYTES)


def key_pair(spec: str) -> tuple[bytes, bytes]:
    """A new private key of `CURVES` or `RSA_BITS`, and its public one, both in DER."""
    made = (
        ec.generate_private_key(CURVES[spec])
        if spec in CURVES
        else rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS[spec])
    )
    return made.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), _public(made.public_key())


def public_key(material: bytes) -> bytes:
    """The public key of a pair, in DER, from its private one."""
    private = load_der_private_key(material, None)
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("not a key that was made here")
    return _public(private.public_key())


def _public(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
