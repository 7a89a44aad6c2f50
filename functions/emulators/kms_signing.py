"""The operations of KMS on keys that sign: Sign, by elliptic curve keys only, and GetPublicKey."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import Hash, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key

from functions.emulators.aws_errors import AwsError, invalid
from functions.emulators.key_ring import KeyRing, Request, dry_run
from functions.emulators.kms_keys import Key
from functions.emulators.kms_specs import CURVES, ECDSA, RSA_BITS, SIGN, algorithms, public_key

MAX_MESSAGE = 4096


class Signing:
    """Operations on a key ring. Each refuses in the real service's order: key, permission, state, usage, data."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def sign(self, request: Request) -> dict[str, Any]:
        """Sign."""
        message, kind = _message(request), request.text("MessageType", default="RAW")
        if kind not in ("RAW", "DIGEST"):
            raise invalid("Value at 'messageType' failed to satisfy constraint, or the emulator does not have it")
        algorithm = request.text("SigningAlgorithm")
        key = self._ring.find(request)
        values = {"kms:signingalgorithm": (algorithm,), "kms:messagetype": (kind,)}
        self._ring.authorize(request, key, values=values)
        self._ring.require_enabled(request, key)
        digest = _digest(message, kind, _hash(key, algorithm), algorithm)
        if request.dry_run:
            raise dry_run()
        return {"KeyId": key.arn, "Signature": _signature(key, digest, algorithm), "SigningAlgorithm": algorithm}

    def get_public_key(self, request: Request) -> dict[str, Any]:
        """GetPublicKey: refused in the states in which the key may not be used either."""
        key = self._ring.find(request)
        self._ring.authorize(request, key)
        self._ring.require_enabled(request, key)
        if key.spec not in CURVES and key.spec not in RSA_BITS:
            raise AwsError("UnsupportedOperationException", f"{key.arn} is {key.spec}, which has no public key.")
        return {
            "KeyId": key.arn,
            "PublicKey": public_key(key.backing[-1]),
            "CustomerMasterKeySpec": key.spec,
            "KeySpec": key.spec,
            "KeyUsage": key.usage,
            **algorithms(key.spec, key.usage),
        }


def _message(request: Request) -> bytes:
    found = request.params.get("Message")
    if not isinstance(found, bytes | bytearray) or not 1 <= len(found) <= MAX_MESSAGE:
        raise invalid(f"Value at 'message' failed to satisfy constraint: length between 1 and {MAX_MESSAGE}")
    return bytes(found)


def _hash(key: Key, algorithm: str) -> HashAlgorithm:
    if key.usage != SIGN:
        raise AwsError("InvalidKeyUsageException", f"{key.arn} key usage is {key.usage} which is not valid for Sign.")
    if algorithm not in algorithms(key.spec, key.usage)["SigningAlgorithms"]:
        raise AwsError("InvalidKeyUsageException", f"Algorithm {algorithm} is incompatible with key spec {key.spec}.")
    if algorithm not in ECDSA:
        raise AwsError("UnsupportedOperationException", f"the emulator does not sign by {algorithm}")
    return ECDSA[algorithm][1]


def _digest(message: bytes, kind: str, algorithm: HashAlgorithm, name: str) -> bytes:
    if kind == "RAW":
        hashing = Hash(algorithm)
        hashing.update(message)
        return hashing.finalize()
    if len(message) != algorithm.digest_size:
        raise invalid(f"Digest is invalid length for algorithm {name}.")
    return message


def _signature(key: Key, digest: bytes, algorithm: str) -> bytes:
    private = load_der_private_key(key.backing[-1], None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ValueError("not an elliptic curve key")
    return private.sign(digest, ec.ECDSA(Prehashed(ECDSA[algorithm][1])))
