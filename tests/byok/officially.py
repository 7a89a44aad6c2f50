"""A tenant's own officer, with the official client: table, KMS key and logical name are all it has."""

from __future__ import annotations

from dataclasses import replace

import boto3
from aws_encryption_sdk.identifiers import AlgorithmSuite

from core.domain.branch_keys import ACTIVE
from core.stores.dynamodb import DynamoTables
from functions.emulators.kms import CUSTOMER_ACCOUNT, DEFAULT_REGION
from tests.byok.deployment import Deployment
from tests.interop.official import Cloud, Official

OFFICER = ("tenants-own", "tenants-own-secret", f"arn:aws:iam::{CUSTOMER_ACCOUNT}:user/officer")
TABLES = DynamoTables("branch-keys", "tenants", "audit")
LOGICAL_NAME = "keystead-branch-keys"


def read_officially(deployment: Deployment, account: Cloud, arn: str, messages: dict[bytes, bytes]) -> None:
    """Read every message with nothing but table, KMS key and logical name (and the branch key's id, from a message)."""
    kms = boto3.client(
        "kms",
        region_name=DEFAULT_REGION,
        endpoint_url=deployment.endpoint,
        aws_access_key_id=OFFICER[0],
        aws_secret_access_key=OFFICER[1],
    )
    official = Official(replace(account, kms=kms), TABLES.branch_keys, LOGICAL_NAME, arn)
    record = deployment.app.tenants.read("acme")
    keyring = official.hierarchical(record.branch_key_id)
    for text, message in messages.items():
        plaintext, _ = official.client.decrypt(source=message, keyring=keyring)
        assert plaintext == text
    active = deployment.keys.read(record.branch_key_id, ACTIVE)
    assert active is not None
    message, _ = official.client.encrypt(
        source=b"written by them",
        keyring=keyring,
        algorithm=AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
        encryption_context={"tenant_id": "acme"},
    )
    assert deployment.app.encryption.decrypt("acme", message, {}, foreign=True) == b"written by them"
