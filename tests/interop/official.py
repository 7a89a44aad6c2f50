"""The official AWS Encryption SDK over in-process moto: all that a customer has who must read without us.

It is given a table, a KMS key and the logical key store name, and nothing of ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from aws_cryptographic_material_providers.keystore import KeyStore
from aws_cryptographic_material_providers.keystore.config import KeyStoreConfig
from aws_cryptographic_material_providers.keystore.models import (
    CreateKeyInput,
    Discovery,
    KMSConfigurationDiscovery,
    KMSConfigurationKmsKeyArn,
)
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import (
    AesWrappingAlg,
    CacheTypeDefault,
    CreateAwsKmsHierarchicalKeyringInput,
    CreateDefaultCryptographicMaterialsManagerInput,
    CreateMultiKeyringInput,
    CreateRawAesKeyringInput,
    CreateRequiredEncryptionContextCMMInput,
    DefaultCache,
)
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import Algorithm
from moto import mock_aws

REGION = "eu-central-1"
COMMITTED = Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
"""Suite 0x0478, the one Keystead reads and writes."""
SIGNED = Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384
"""Suite 0x0578, the official client's default."""
BRANCH_KEY_TTL = 3600
"""Seconds the official keyring keeps a branch key: longer than any test or benchmark runs."""


@dataclass(frozen=True)
class Cloud:
    """boto3 clients whose requests moto answers in this process."""

    kms: Any
    dynamodb: Any

    def new_key(self) -> str:
        """Create a KMS key and give its ARN."""
        return str(self.kms.create_key()["KeyMetadata"]["Arn"])

    def new_table(self, name: str) -> None:
        """Create an empty branch key table."""
        keys = (("branch-key-id", "HASH"), ("type", "RANGE"))
        self.dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key, _ in keys],
            BillingMode="PAY_PER_REQUEST",
        )


@contextmanager
def cloud() -> Iterator[Cloud]:
    """An AWS account that lives as long as the block."""
    with mock_aws():
        fake = {"region_name": REGION, "aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        yield Cloud(boto3.client("kms", **fake), boto3.client("dynamodb", **fake))


def _any_key() -> Any:
    return KMSConfigurationDiscovery(Discovery())


class Official:
    """The official client, its keyrings and its key store.

    Args:
        cloud: The account.
        table: Name of the DynamoDB table that holds the rows.
        logical_name: The logical key store name.
        kms_arn: The KMS key the rows must be wrapped under; None takes the one that each row names.
    """

    def __init__(self, cloud: Cloud, table: str, logical_name: str, kms_arn: str | None) -> None:
        self._mpl = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
        self.key_store = KeyStore(
            config=KeyStoreConfig(
                ddb_client=cloud.dynamodb,
                ddb_table_name=table,
                logical_key_store_name=logical_name,
                kms_client=cloud.kms,
                kms_configuration=_any_key() if kms_arn is None else KMSConfigurationKmsKeyArn(kms_arn),
            )
        )
        self.client = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)

    def create_branch_key(self) -> str:
        """Let the official key store make a branch key of its own, and give its id."""
        return str(self.key_store.create_key(CreateKeyInput()).branch_key_identifier)

    def hierarchical(self, branch_key_id: str) -> Any:
        """A hierarchical keyring with an empty branch key cache."""
        return self._mpl.create_aws_kms_hierarchical_keyring(
            CreateAwsKmsHierarchicalKeyringInput(
                key_store=self.key_store,
                branch_key_id=branch_key_id,
                ttl_seconds=BRANCH_KEY_TTL,
                cache=CacheTypeDefault(DefaultCache(entry_capacity=100)),
            )
        )

    def raw_aes(self, namespace: str, name: str, key: bytes) -> Any:
        """A raw AES keyring over a 32-byte key."""
        return self._mpl.create_raw_aes_keyring(
            CreateRawAesKeyringInput(
                key_namespace=namespace,
                key_name=name,
                wrapping_key=key,
                wrapping_alg=AesWrappingAlg.ALG_AES256_GCM_IV12_TAG16,
            )
        )

    def multi(self, generator: Any, *children: Any) -> Any:
        """A keyring that writes an EDK of each."""
        return self._mpl.create_multi_keyring(
            CreateMultiKeyringInput(generator=generator, child_keyrings=list(children))
        )

    def manager(self, keyring: Any) -> Any:
        """The default materials manager over a keyring, made once instead of per call."""
        return self._mpl.create_default_cryptographic_materials_manager(
            CreateDefaultCryptographicMaterialsManagerInput(keyring=keyring)
        )

    def requiring(self, keyring: Any, *keys: str) -> Any:
        """A materials manager that authenticates some context pairs without storing them in the message."""
        return self._mpl.create_required_encryption_context_cmm(
            CreateRequiredEncryptionContextCMMInput(
                underlying_cmm=self.manager(keyring), required_encryption_context_keys=list(keys)
            )
        )

    def encrypt(
        self,
        keyring: Any,
        plaintext: bytes,
        context: Mapping[str, str],
        *,
        frame_length: int = 4096,
        algorithm: Algorithm = COMMITTED,
    ) -> bytes:
        """Encrypt a value."""
        message, _ = self.client.encrypt(
            source=plaintext,
            keyring=keyring,
            encryption_context=dict(context),
            frame_length=frame_length,
            algorithm=algorithm,
        )
        return bytes(message)

    def decrypt(self, keyring: Any, message: bytes) -> tuple[bytes, dict[str, str]]:
        """Decrypt a message; its plaintext and context."""
        plaintext, header = self.client.decrypt(source=message, keyring=keyring)
        return bytes(plaintext), dict(header.encryption_context)
