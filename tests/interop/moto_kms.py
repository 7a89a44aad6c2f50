"""A `KeyProvider` over an AWS KMS client, as small as the tests here need it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from core.domain.kek import Kek, KekDescription, UnwrappedKey, WrappedKey
from core.errors import Denial, WrapMismatch


class MotoKms:
    """`core.ports.KeyProvider` that sends what the official key store sends: the row's context, bit for bit.

    Args:
        kms: A boto3 KMS client.
    """

    def __init__(self, kms: Any) -> None:
        self._kms = kms

    def wrap(self, kek: Kek, key: bytes, context: Mapping[str, str]) -> WrappedKey:
        """See `core.ports.KeyProvider.wrap`."""
        answer = self._kms.encrypt(KeyId=kek.locator, Plaintext=key, EncryptionContext=dict(context))
        return WrappedKey(Kek(answer["KeyId"]), answer["CiphertextBlob"])

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> UnwrappedKey:
        """See `core.ports.KeyProvider.unwrap`."""
        try:
            answer = self._kms.decrypt(
                KeyId=wrapped.kek.locator, CiphertextBlob=wrapped.ciphertext, EncryptionContext=dict(context)
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "InvalidCiphertextException":
                raise WrapMismatch("the KMS refuses the ciphertext") from None
            raise Denial("the KMS said no", cause="unknown", kms_code=code) from None
        return UnwrappedKey(answer["Plaintext"])

    def describe(self, kek: Kek) -> KekDescription:
        """See `core.ports.KeyProvider.describe`."""
        found = self._kms.describe_key(KeyId=kek.locator)["KeyMetadata"]
        return KekDescription(kek, bool(found["Enabled"]), found["KeyState"])
