"""Assuming a tenant's role: what is asked of STS, and the credentials that come back."""

from __future__ import annotations

import json
import re
from hashlib import sha256

from core.providers.aws_kms.calls import Answer, Request
from core.providers.aws_kms.clients import Credentials

SESSION_SECONDS = 900
"""What AWS allows at least."""
ACTIONS = ("kms:Encrypt", "kms:Decrypt", "kms:DescribeKey", "kms:GetKeyRotationStatus")
_NAME_LENGTH = 64


def assume_role(role_arn: str, tenant_id: str, external_id: str | None, key_arn: str) -> Request:
    """Assume a role.

    Args:
        role_arn: The role.
        tenant_id: For whom; names the session.
        external_id: What to present; None to present nothing.
        key_arn: The key that the session is narrowed to, with our actions; "" for no limits of ours.
    """
    params = {
        "RoleArn": role_arn,
        "RoleSessionName": session_name(tenant_id),
        "DurationSeconds": SESSION_SECONDS,
    }
    if external_id is not None:
        params["ExternalId"] = external_id
    if key_arn:
        # No condition on the context: an examination finds out whether the tenant's own policy has one.
        statement = {"Effect": "Allow", "Action": list(ACTIONS), "Resource": key_arn}
        params["Policy"] = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return Request("AssumeRole", params, _is_session)


def credentials_of(answer: Answer) -> Credentials:
    """The credentials in an accepted answer."""
    found = answer["Credentials"]
    return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])


def session_name(tenant_id: str) -> str:
    """What the tenant sees in its log as the session's name: at most 64 of the characters that STS allows."""
    name = "keystead-" + re.sub(r"[^A-Za-z0-9+=,.@_-]", "-", tenant_id)
    if len(name) <= _NAME_LENGTH:
        return name
    digest = sha256(tenant_id.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{name[: _NAME_LENGTH - 9]}-{digest}"


def _is_session(answer: Answer) -> bool:
    found = answer["Credentials"]
    return all(type(found[name]) is str and found[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
