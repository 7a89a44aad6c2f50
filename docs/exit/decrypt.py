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
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

try:
    import boto3
    from aws_cryptographic_material_providers.keystore import KeyStore
    from aws_cryptographic_material_providers.keystore.config import KeyStoreConfig
    from aws_cryptographic_material_providers.keystore.models import Discovery, KMSConfigurationDiscovery
    from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
    from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
    from aws_cryptographic_material_providers.mpl.models import CreateAwsKmsHierarchicalKeyringInput
    from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
    from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError
    from botocore.exceptions import BotoCoreError
    from cryptography.exceptions import InvalidTag
except ImportError as missing:
    sys.exit(f"error: {missing}\nhint: pip install boto3 'aws-encryption-sdk[MPL]'")


class Failed(ValueError):
    """Why there is no plaintext, and what to do about it, if that is known."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ExportedRows:
    """Answers what the official key store asks of DynamoDB, from an export; ``missing`` is what it does not hold."""

    def __init__(self, export: Mapping[str, Any]) -> None:
        self.missing: list[str] = []
        self._items: dict[tuple[str, str], dict[str, Any]] = {}
        for item in export["items"]:
            row = {name: dict(value) for name, value in item.items()}
            row["enc"] = {"B": base64.b64decode(row["enc"]["B"])}
            self._items[row["branch-key-id"]["S"], row["type"]["S"]] = row

    def get_item(self, *, Key: Mapping[str, Any], **_: Any) -> dict[str, Any]:  # noqa: N803 - DynamoDB's own names
        """One row, as DynamoDB would answer."""
        found = self._items.get((Key["branch-key-id"]["S"], Key["type"]["S"]))
        if found is None:
            self.missing.append(Key["type"]["S"].rpartition(":")[2])
        return {"Item": found} if found else {}


def read_export(path: Path) -> dict[str, Any]:
    """Read an export; raises Failed if it is none, or if nobody else can use it."""
    try:
        export: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        ExportedRows(export)
        usable = export["kek"].startswith("arn:") and bool(export["kek"].split(":")[3])
        in_azure = export["kek"].startswith("https://")
        "".join([export["table_name"], export["tenant_id"], *export["branch_key_ids"]])  # all are texts
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise Failed(f"{path} is not an export of branch keys", "'keystead key export -o FILE' writes one") from None
    if in_azure:
        raise Failed(
            "these rows lie under a key in Azure Key Vault, which the official client does not reach",
            "move to a key in AWS KMS first, or unwrap the rows in the vault as docs/exit.md says",
        )
    if not usable:
        raise Failed("these rows lie under the service's own key, which nobody else can use")
    return export


def decrypt(export: Mapping[str, Any], message: bytes, context: Mapping[str, str], kms: Any) -> bytes:
    """Decrypt one message; returns the plaintext, or raises Failed, or BotoCoreError if KMS was not reached.

    Args:
        export: The parsed export.
        message: As Keystead's encrypt returned it.
        context: The encryption context given to encrypt.
        kms: A boto3 KMS client of the key's Region.
    """
    if message[:1] != b"\x02":
        raise Failed("this is no message of Keystead")
    branch_key_id = next((name for name in export["branch_key_ids"] if name.encode() in message[:16384]), None)
    if branch_key_id is None:
        raise Failed("the export holds no branch key of this message: it is another tenant's, or newer than the export")
    rows, refusals = ExportedRows(export), list[str]()

    def heard(parsed: Mapping[str, Any], **_: Any) -> None:
        refusals.extend(f"{error['Code']}: {error['Message']}" for error in [parsed.get("Error")] if error)

    kms.meta.events.register("after-call.kms", heard)
    store = KeyStore(
        config=KeyStoreConfig(
            ddb_client=rows,
            ddb_table_name="export",
            logical_key_store_name=export["table_name"],
            kms_client=kms,
            # Each row names the key that wraps it: yours, or a former one of yours.
            kms_configuration=KMSConfigurationDiscovery(Discovery()),
        )
    )
    client = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
    providers = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
    keyring = providers.create_aws_kms_hierarchical_keyring(
        CreateAwsKmsHierarchicalKeyringInput(key_store=store, branch_key_id=branch_key_id, ttl_seconds=300)
    )
    try:
        plaintext, header = client.decrypt(source=message, keyring=keyring)
    except (AWSEncryptionSDKClientError, InvalidTag, UnicodeError) as error:
        if rows.missing:
            missing = f"the export does not hold version {rows.missing[-1]}"
            raise Failed(f"{missing}: it is older than the message; fetch a newer one") from error
        if refusals:
            hint = "is the key enabled, and may these credentials use it for Decrypt?"
            raise Failed(f"KMS refused: {refusals[-1]}", hint) from error
        raise Failed("the message was changed, or is not whole") from error
    expected = {**context, "tenant_id": export["tenant_id"]}
    given = {name: value for name, value in header.encryption_context.items() if name != "keystead-use"}
    if given != expected:
        raise Failed("the message was encrypted under another encryption context")
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
    if not all("=" in pair for pair in given.context):
        parser.error("--context must be KEY=VALUE")
    logging.getLogger("aws_encryption_sdk").setLevel(logging.CRITICAL)  # it logs the tracebacks of what it raises
    try:
        if os.path.lexists(given.output):
            raise Failed(f"{given.output} is there already", "name another file with -o")
        export, message = read_export(given.export), given.message.read_bytes()
        kms = boto3.client("kms", region_name=export["kek"].split(":")[3], endpoint_url=given.endpoint_url)
        plaintext = decrypt(export, message, dict(pair.split("=", 1) for pair in given.context), kms)
        # Only for its owner, and never in the place of something that is there.
        with open(os.open(given.output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
            file.write(plaintext)
        return 0
    except BotoCoreError as error:  # such as no credentials, or nothing at the end point
        failure = Failed(
            f"KMS was not reached: {error}", "are credentials of your account in the environment or ~/.aws?"
        )
    except (OSError, ValueError) as error:
        failure = error if isinstance(error, Failed) else Failed(str(error))
    print("error:", " ".join(str(failure).split()), file=sys.stderr)
    if failure.hint:
        print("hint:", failure.hint, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
