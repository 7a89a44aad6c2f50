"""The DynamoDB client as the stores want it: short time-outs, and no attempts but their own."""

from __future__ import annotations

from typing import Any

CONNECT_TIMEOUT = 1
READ_TIMEOUT = 2
_CONNECTIONS = 32
"""Idle connections kept; more threads than this open further ones."""


def dynamodb_client(
    region: str,
    *,
    endpoint_url: str | None = None,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    session_token: str | None = None,
) -> Any:
    """A client for `DynamoDatabase`; any number of threads may share it.

    Args:
        region: AWS Region of the tables.
        endpoint_url: Another endpoint than the Region's own, such as an emulator's.
        access_key_id: Without it the SDK finds credentials as it always does: environment, profile, role.
        secret_access_key: Belongs to it.
        session_token: Belongs to both, where they are temporary.

    Returns:
        A low-level boto3 client.
    """
    from boto3.session import Session
    from botocore.config import Config

    return Session().client(
        "dynamodb",
        region_name=region,
        endpoint_url=endpoint_url,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        aws_session_token=session_token,
        config=Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            max_pool_connections=_CONNECTIONS,
            # botocore repeats a write without telling. The legacy mode alone compares DynamoDB's checksums.
            retries={"mode": "legacy", "total_max_attempts": 1},
            # The endpoint is given, or it is AWS's own; a variable must not send rows elsewhere.
            ignore_configured_endpoint_urls=True,
        ),
    )
