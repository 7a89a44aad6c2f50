"""The cryptographic operations of KMS: Encrypt, Decrypt, GenerateDataKey, GenerateDataKeyPair, ReEncrypt."""

from __future__ import annotations

import secrets
from typing import Any

from functions.emulators.aws_errors import AwsError, invalid
from functions.emulators.key_ring import KeyRing, Request, dry_run
from functions.emulators.kms_keys import Key, tag_of
from functions.emulators.kms_specs import CURVES, RSA_BITS, SYMMETRIC, key_pair

MAX_PLAINTEXT = 4096
MAX_CIPHERTEXT = 6144
_DATA_KEY_BYTES = {"AES_128": 16, "AES_256": 32}


class Cryptography:
    """Operations on a key ring. Each refuses in the real service's order: key, permission, state, usage, data."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def encrypt(self, request: Request) -> dict[str, Any]:
        """Encrypt."""
        plaintext, context = _blob(request, "Plaintext", MAX_PLAINTEXT), request.context()
        key = self._usable(request, self._ring.find(request), context)
        _require_algorithm(request, "EncryptionAlgorithm")
        if request.dry_run:
            raise dry_run()
        return {
            "CiphertextBlob": key.encrypt(plaintext, context),
            "KeyId": key.arn,
            "EncryptionAlgorithm": SYMMETRIC,
        }

    def decrypt(self, request: Request) -> dict[str, Any]:
        """Decrypt."""
        blob, context = _blob(request, "CiphertextBlob", MAX_CIPHERTEXT), request.context()
        key, plaintext = self._open(request, blob, "KeyId", "Decrypt", context)
        _require_algorithm(request, "EncryptionAlgorithm")
        if request.dry_run:
            raise dry_run()
        return {"KeyId": key.arn, "Plaintext": plaintext, "EncryptionAlgorithm": SYMMETRIC, **_material(key)}

    def generate_data_key(self, request: Request) -> dict[str, Any]:
        """GenerateDataKey."""
        return self._generate(request, with_plaintext=True)

    def generate_data_key_without_plaintext(self, request: Request) -> dict[str, Any]:
        """GenerateDataKeyWithoutPlaintext."""
        return self._generate(request, with_plaintext=False)

    def generate_data_key_pair(self, request: Request) -> dict[str, Any]:
        """GenerateDataKeyPair."""
        return self._generate_pair(request, with_plaintext=True)

    def generate_data_key_pair_without_plaintext(self, request: Request) -> dict[str, Any]:
        """GenerateDataKeyPairWithoutPlaintext."""
        return self._generate_pair(request, with_plaintext=False)

    def re_encrypt(self, request: Request) -> dict[str, Any]:
        """ReEncrypt: the caller needs ReEncryptFrom on the one key and ReEncryptTo on the other."""
        blob = _blob(request, "CiphertextBlob", MAX_CIPHERTEXT)
        before, after = request.context("SourceEncryptionContext"), request.context("DestinationEncryptionContext")
        source, plaintext = self._open(request, blob, "SourceKeyId", "ReEncryptFrom", before)
        target = self._usable(request, self._ring.find(request, "DestinationKeyId"), after, "ReEncryptTo")
        _require_algorithm(request, "SourceEncryptionAlgorithm")
        _require_algorithm(request, "DestinationEncryptionAlgorithm")
        if request.dry_run:
            raise dry_run()
        return {
            "CiphertextBlob": target.encrypt(plaintext, after),
            "SourceKeyId": source.arn,
            "KeyId": target.arn,
            "SourceEncryptionAlgorithm": SYMMETRIC,
            "DestinationEncryptionAlgorithm": SYMMETRIC,
        }

    def _generate(self, request: Request, *, with_plaintext: bool) -> dict[str, Any]:
        size, context = _data_key_bytes(request), request.context()
        key = self._usable(request, self._ring.find(request), context)
        if request.dry_run:
            raise dry_run()
        plaintext = secrets.token_bytes(size)
        found = {"CiphertextBlob": key.encrypt(plaintext, context), "KeyId": key.arn, **_material(key)}
        return {**found, "Plaintext": plaintext} if with_plaintext else found

    def _generate_pair(self, request: Request, *, with_plaintext: bool) -> dict[str, Any]:
        spec, context = request.text("KeyPairSpec"), request.context()
        if spec not in CURVES and spec not in RSA_BITS:
            raise invalid("Value at 'keyPairSpec' failed to satisfy constraint, or the emulator does not have it")
        key = self._usable(request, self._ring.find(request), context)
        if key.custom_key_store_id is not None:
            raise AwsError("UnsupportedOperationException", "keys in custom key stores make no key pairs")
        if request.dry_run:
            raise dry_run()
        private, public = key_pair(spec)
        found = {
            "PrivateKeyCiphertextBlob": key.encrypt(private, context),
            "PublicKey": public,
            "KeyId": key.arn,
            "KeyPairSpec": spec,
            **_material(key),
        }
        return {**found, "PrivateKeyPlaintext": private} if with_plaintext else found

    def _usable(self, request: Request, key: Key, context: dict[str, str], action: str = "") -> Key:
        values = {} if action else {"kms:encryptionalgorithm": (SYMMETRIC,)}
        self._ring.authorize(request, key, action=action, context=context, values=values)
        self._ring.require_enabled(request, key)
        key.require_symmetric()
        return key

    def _open(
        self, request: Request, blob: bytes, name: str, action: str, context: dict[str, str]
    ) -> tuple[Key, bytes]:
        named = request.params.get(name) is not None
        key = self._ring.find(request, name) if named else self._ring.of_ciphertext(blob, request)
        self._usable(request, key, context, "" if action == request.operation else action)
        if tag_of(blob) != key.tag:
            raise AwsError(
                "IncorrectKeyException",
                "The key ID in the request does not identify a CMK that can perform this operation.",
            )
        return key, key.decrypt(blob, context)


def _material(key: Key) -> dict[str, Any]:
    return {} if key.custom_key_store_id is not None else {"KeyMaterialId": key.material_id}


def _blob(request: Request, name: str, limit: int) -> bytes:
    found = request.params.get(name)
    if not isinstance(found, bytes | bytearray) or not 1 <= len(found) <= limit:
        raise invalid(f"Value at '{name}' failed to satisfy constraint: Member must have length between 1 and {limit}")
    return bytes(found)


def _require_algorithm(request: Request, name: str) -> None:
    if request.params.get(name, SYMMETRIC) != SYMMETRIC:
        raise AwsError("InvalidKeyUsageException", "the algorithm is not one of this key's")


def _data_key_bytes(request: Request) -> int:
    size, spec = request.params.get("NumberOfBytes"), request.params.get("KeySpec")
    if (size is None) == (spec is None):
        raise invalid("Please specify either number of bytes or key spec.")
    found = _DATA_KEY_BYTES.get(str(spec)) if size is None else size
    if type(found) is not int or not 1 <= found <= 1024:
        raise invalid("Value at 'numberOfBytes' failed to satisfy constraint: Member must be between 1 and 1024")
    return found
