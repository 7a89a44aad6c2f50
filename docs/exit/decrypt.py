"""Decrypts a Keystead message without Keystead: with the official AWS Encryption SDK and your own KMS key.

Needs: pip install boto3 'aws-encryption-sdk[MPL]'; an export of your branch keys (GET /v1/tenants/<you>/key/export,
kept from when the service was still there); AWS credentials of your own account that may use the key for Decrypt.

    python decrypt.py export.json message.keystead --context app=billing -o plaintext

The export holds what the AWS KMS hierarchical keyring calls a branch key store: rows that only your KMS key opens. This
script answers the keyring's look-ups from the file. To keep the rows in DynamoDB instead, put the export's items into a
table (keys: branch-key-id, type) and give the keyring a DynamoDB client.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ExportedRows:
    """Answers what the official key store asks of DynamoDB, from an export.

    Args:
        export: The parsed export.
    """

    def __init__(self, export: Mapping[str, Any]) -> None:
        self._items: dict[tuple[str, str], dict[str, Any]] = {}
        for item in export["items"]:
            row = {name: dict(value) for name, value in item.items()}
            row["enc"] = {"B": base64.b64decode(row["enc"]["B"])}
            self._items[row["branch-key-id"]["S"], row["type"]["S"]] = row

    def get_item(self, *, Key: Mapping[str, Any], **_: Any) -> dict[str, Any]:  # noqa: N803 - DynamoDB's own names
        """One row, as DynamoDB would answer."""
        found = self._items.get((Key["branch-key-id"]["S"], Key["type"]["S"]))
        return {"Item": found} if found else {}


def decrypt(export: Mapping[str, Any], message: bytes, context: Mapping[str, str], kms: Any) -> bytes:
    """Decrypt one message.

    Args:
        export: The parsed export.
        message: As Keystead's encrypt returned it.
        context: The encryption context given to encrypt.
        kms: A boto3 KMS client of the key's Region.

    Returns:
        The plaintext.

    Raises:
        ValueError: The message is of a branch key that the export does not hold, or of another context.
    """
    from aws_cryptographic_material_providers.keystore import KeyStore
    from aws_cryptographic_material_providers.keystore.config import KeyStoreConfig
    from aws_cryptographic_material_providers.keystore.models import Discovery, KMSConfigurationDiscovery
    from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
    from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
    from aws_cryptographic_material_providers.mpl.models import CreateAwsKmsHierarchicalKeyringInput
    from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient

    store = KeyStore(
        config=KeyStoreConfig(
            ddb_client=ExportedRows(export),
            ddb_table_name="export",
            logical_key_store_name=export["table_name"],
            kms_client=kms,
            # Each row names the key that wraps it: yours, or a former one of yours.
            kms_configuration=KMSConfigurationDiscovery(Discovery()),
        )
    )
    client = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
    providers = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
    branch_key_id = next((name for name in export["branch_key_ids"] if name.encode() in message[:16384]), None)
    if branch_key_id is None:
        raise ValueError("the export holds no branch key of this message")
    keyring = providers.create_aws_kms_hierarchical_keyring(
        CreateAwsKmsHierarchicalKeyringInput(key_store=store, branch_key_id=branch_key_id, ttl_seconds=300)
    )
    plaintext, header = client.decrypt(source=message, keyring=keyring)
    expected = {**context, "tenant_id": export["tenant_id"]}
    given = {name: value for name, value in header.encryption_context.items() if name != "keystead-use"}
    if given != expected:
        raise ValueError("the message was encrypted under another encryption context")
    return bytes(plaintext)


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(description="Decrypt a Keystead message with your own KMS key.")
    parser.add_argument("export", type=Path, help="what GET key/export answered")
    parser.add_argument("message", type=Path)
    parser.add_argument("-c", "--context", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--endpoint-url", help="another KMS endpoint, such as an emulator's")
    given = parser.parse_args()
    import boto3
    from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError

    export = json.loads(given.export.read_text(encoding="utf-8"))
    if not export["kek"].startswith("arn:"):
        print("error: these rows lie under the service's own key, which nobody else can use", file=sys.stderr)
        return 1
    if not all("=" in pair for pair in given.context):
        parser.error("--context must be KEY=VALUE")
    context = dict(pair.split("=", 1) for pair in given.context)
    kms = boto3.client("kms", region_name=export["kek"].split(":")[3], endpoint_url=given.endpoint_url)
    try:
        plaintext = decrypt(export, given.message.read_bytes(), context, kms)
    except (ValueError, AWSEncryptionSDKClientError) as error:
        print(f"error: {error}", file=sys.stderr)
        print("hint: is the key enabled, and may these credentials use it for Decrypt?", file=sys.stderr)
        return 1
    # Only for its owner, and never in the place of something that is there.
    with open(os.open(given.output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
        file.write(plaintext)
    return 0


if __name__ == "__main__":
    sys.exit(main())
