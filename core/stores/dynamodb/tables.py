"""The three tables: their names, their keys, and how to make them where no template does.

::

    branch_keys   branch-key-id (S), type (S)     hv-1 rows; ``keystead:mac:<type>``; ``keystead:fence``
    tenants       tenant (S), document (S)        documents; partition ``_tenants`` lists the tenants in order
    audit         tenant (S), sequence (N)        entries from 1; the head of the chain is sequence 0

The first is keyed as an AWS branch key store is (AWS Encryption SDK specification, branch-key-store). Every item but
the hv-1 rows has a ``write_id``: which write put it there (`core.stores.dynamodb.operation`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.stores.dynamodb.faults import fault_of, sdk_errors

_KEYS = {
    "branch_keys": (("branch-key-id", "S"), ("type", "S")),
    "tenants": (("tenant", "S"), ("document", "S")),
    "audit": (("tenant", "S"), ("sequence", "N")),
}
_EXISTS = "ResourceInUseException"


@dataclass(frozen=True, slots=True)
class DynamoTables:
    """Names of the tables.

    Attributes:
        branch_keys: Branch key rows, MACs and fences.
        tenants: Tenants' documents.
        audit: Audit chains.
    """

    branch_keys: str = "keystead-branch-keys"
    tenants: str = "keystead-tenants"
    audit: str = "keystead-audit"


def create_tables(client: Any, tables: DynamoTables) -> None:
    """Make the tables that are missing, paid per request, and wait until they can be used.

    For emulators and trials. A deployment's template makes them with backups and protection against deletion.

    Args:
        client: A boto3 DynamoDB client.
        tables: Their names.

    Raises:
        StoreUnavailable: DynamoDB does not answer, or does not let us.
        InternalError: A name that DynamoDB does not take.
    """
    try:
        for attribute, keys in _KEYS.items():
            _create(client, getattr(tables, attribute), keys)
        for attribute in _KEYS:
            waiter = client.get_waiter("table_exists")
            waiter.wait(TableName=getattr(tables, attribute), WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    except sdk_errors() as error:
        fault = fault_of(error)
    else:
        return
    raise fault.error


def _create(client: Any, name: str, keys: tuple[tuple[str, str], ...]) -> None:
    from botocore.exceptions import ClientError

    try:
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[
                {"AttributeName": key, "KeyType": role} for (key, _), role in zip(keys, ("HASH", "RANGE"), strict=True)
            ],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, kind in keys],
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != _EXISTS:
            raise
