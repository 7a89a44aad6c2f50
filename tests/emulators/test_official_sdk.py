"""The official Encryption SDK's hierarchical keyring on the emulator: what it takes for a real KMS, others will too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from moto import mock_aws

from functions.emulators.kms import CUSTOMER_ACCOUNT, LOCAL_PRINCIPAL
from tests.emulators.conftest import Connect
from tests.emulators.worlds import World, open_to, policy, statement

pytestmark = pytest.mark.slow
TABLE = "branch-keys"


@contextmanager
def table() -> Iterator[Any]:
    with mock_aws():
        dynamodb = boto3.client(
            "dynamodb", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="s"
        )
        keys = (("branch-key-id", "HASH"), ("type", "RANGE"))
        dynamodb.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key, _ in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        yield dynamodb
        dynamodb.close()


def keyring(store: Any, branch_key_id: str) -> Any:
    """A hierarchical keyring with an empty cache: it asks the KMS anew."""
    from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
    from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
    from aws_cryptographic_material_providers.mpl.models import CreateAwsKmsHierarchicalKeyringInput

    return AwsCryptographicMaterialProviders(MaterialProvidersConfig()).create_aws_kms_hierarchical_keyring(
        CreateAwsKmsHierarchicalKeyringInput(key_store=store, branch_key_id=branch_key_id, ttl_seconds=60)
    )


@pytest.mark.parametrize("over_the_wire", [False, True])
def test_branch_keys_are_made_rotated_and_used(world: World, connect: Connect, over_the_wire: bool) -> None:
    from aws_cryptographic_material_providers.keystore import KeyStore
    from aws_cryptographic_material_providers.keystore.config import KeyStoreConfig
    from aws_cryptographic_material_providers.keystore.models import (
        CreateKeyInput,
        GetActiveBranchKeyInput,
        GetBranchKeyVersionInput,
        KMSConfigurationKmsKeyArn,
        VersionKeyInput,
    )
    from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient

    client = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
    root = statement(f"arn:aws:iam::{CUSTOMER_ACCOUNT}:root", "kms:*")
    needed = ["kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:Decrypt"]
    arn = world.key(policy(root, statement(LOCAL_PRINCIPAL, needed)))
    with table() as dynamodb:
        store = KeyStore(
            KeyStoreConfig(
                ddb_client=dynamodb,
                ddb_table_name=TABLE,
                logical_key_store_name=TABLE,
                kms_client=connect() if over_the_wire else world.kms,
                kms_configuration=KMSConfigurationKmsKeyArn(arn),
            )
        )
        made = store.create_key(CreateKeyInput()).branch_key_identifier

        def active() -> Any:
            return store.get_active_branch_key(GetActiveBranchKeyInput(branch_key_identifier=made)).branch_key_materials

        before = active()
        store.version_key(VersionKeyInput(branch_key_identifier=made))
        after = active()
        assert after.branch_key != before.branch_key
        again = store.get_branch_key_version(
            GetBranchKeyVersionInput(branch_key_identifier=made, branch_key_version=before.branch_key_version)
        )
        assert again.branch_key_materials.branch_key == before.branch_key
        message = client.encrypt(source=b"data", keyring=keyring(store, made))[0]
        assert client.decrypt(source=message, keyring=keyring(store, made))[0] == b"data"
        world.emulator.put_key_policy(arn, open_to(f"{LOCAL_PRINCIPAL}-2"))
        with pytest.raises(Exception, match="AccessDenied"):
            active()
    used = {call.operation for call in world.emulator.calls if not call.outcome_code}
    assert used == {"GenerateDataKeyWithoutPlaintext", "ReEncrypt", "Decrypt"}
