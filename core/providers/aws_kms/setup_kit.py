"""What a tenant does in AWS to let this service use a key of its own: policies and commands, filled in.

Two ways. Either the key's policy names this service (a withdrawal is seen at the service's next use of the key, at most
one lease later), or the tenant makes a role that this service assumes with an external id. DescribeKey and
GetKeyRotationStatus take no encryption context, so they stand in a statement of their own: under a condition on the
context they would never be allowed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

ACCOUNT, KEY = "<YOUR-ACCOUNT>", "<KEY-ARN>"
"""What the tenant replaces in the documents."""
_VARIABLES = {ACCOUNT: "${ACCOUNT}", KEY: "${KEY_ARN}"}
"""What stands for it in the commands: a shell would read the angle brackets as redirections."""
_CRYPTO = ["kms:Encrypt", "kms:Decrypt"]
_DESCRIBE = ["kms:DescribeKey", "kms:GetKeyRotationStatus"]
_ROLE = "keystead-byok"


def setup_kit(principal: str, tenant_id: str, external_id: str) -> Mapping[str, Any]:
    """Documents and steps; see `core.ports.KeyConnector.setup_kit`.

    Args:
        principal: ARN of this service's identity.
        tenant_id: What the policies are bound to.
        external_id: What this service presents when it assumes the tenant's role.
    """
    partition = principal.split(":")[1]
    documents = {
        "key_policy": key_policy(partition, ACCOUNT, principal, tenant_id),
        "trust_policy": trust_policy(principal, external_id),
        "role_policy": role_policy(tenant_id),
        "key_policy_for_role": _policy(_administration(partition, ACCOUNT)),
    }
    return {"identity": principal, "documents": documents, "steps": _steps(documents, partition, tenant_id)}


def key_policy(partition: str, account: str, principal: str, tenant_id: str) -> dict[str, Any]:
    """Policy of a key that names this service."""
    named = {"Principal": {"AWS": principal}, "Resource": "*"}
    return _policy(
        _administration(partition, account),
        {"Sid": "KeysteadCrypto", "Effect": "Allow", **named, "Action": _CRYPTO, "Condition": _bound(tenant_id)},
        {"Sid": "KeysteadDescribe", "Effect": "Allow", **named, "Action": _DESCRIBE},
    )


def trust_policy(principal: str, external_id: str) -> dict[str, Any]:
    """Who may assume the tenant's role: this service, when it presents the tenant's external id."""
    return _policy(
        {
            "Sid": "KeysteadAssumesThisRole",
            "Effect": "Allow",
            "Principal": {"AWS": principal},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
        }
    )


def role_policy(tenant_id: str) -> dict[str, Any]:
    """What the tenant's role may do."""
    crypto = {"Sid": "KeysteadCrypto", "Effect": "Allow", "Action": _CRYPTO, "Resource": KEY}
    return _policy(
        {**crypto, "Condition": _bound(tenant_id)},
        {"Sid": "KeysteadDescribe", "Effect": "Allow", "Action": _DESCRIBE, "Resource": KEY},
    )


def _policy(*statements: Mapping[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _administration(partition: str, account: str) -> dict[str, Any]:
    root = {"AWS": f"arn:{partition}:iam::{account}:root"}
    return {"Sid": "Administration", "Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}


def _bound(tenant_id: str) -> dict[str, Any]:
    return {"StringEquals": {"kms:EncryptionContext:tenant_id": tenant_id}}


def _steps(documents: Mapping[str, Any], partition: str, tenant_id: str) -> list[dict[str, Any]]:
    return [
        {
            "title": "Name your account and Region",
            "text": "Edit both values before you run this: your AWS account, and a Region that this service serves. "
            "Run the commands of all steps in the same bash shell: they use these variables. Then take either the way "
            "of the key's policy (steps A) or that of a role (steps B), not both.",
            "commands": ["ACCOUNT=111122223333 REGION=eu-central-1"],
        },
        {
            "title": "A. Create a key whose policy names this service",
            "text": "The key is a symmetric one for encryption. A withdrawal (disabling the key or editing its policy) "
            "is seen at the service's next use of the key, at most one lease (60 s by default) later.",
            "commands": [_saved(documents, "key_policy"), *_create_key("key_policy")],
        },
        {
            "title": "A. Put the key to use",
            "text": "New policies may take some minutes to be seen everywhere in AWS.",
            "commands": _use(tenant_id),
        },
        {
            "title": "B. Create a key that your own roles can be let to",
            "text": "The key's policy leaves access to your account's roles.",
            "commands": [_saved(documents, "key_policy_for_role"), *_create_key("key_policy_for_role")],
        },
        {
            "title": "B. Create a role that this service assumes, and let it use the key",
            "text": "Disabling the key is seen at the service's next use of the key, at most one lease (60 s by "
            "default) later; removing the role's trust at the next session: this service asks for one at least once "
            "per lease.",
            "commands": [
                _saved(documents, "trust_policy"),
                f"aws iam create-role --role-name {_ROLE} --assume-role-policy-document file://trust_policy.json",
                _saved(documents, "role_policy"),
                f"aws iam put-role-policy --role-name {_ROLE} --policy-name use --policy-document file://role_policy.json",
            ],
        },
        {
            "title": "B. Put the key to use",
            "text": "New roles and policies may take some minutes to be seen everywhere in AWS.",
            "commands": _use(tenant_id, f' --role "arn:{partition}:iam::$ACCOUNT:role/{_ROLE}"'),
        },
    ]


def _create_key(policy: str) -> list[str]:
    create = f'aws kms create-key --region "$REGION" --policy file://{policy}.json'
    return [
        f"KEY_ARN=$({create} --query KeyMetadata.Arn --output text)",
        'aws kms enable-key-rotation --region "$REGION" --key-id "$KEY_ARN"',
    ]


def _use(tenant_id: str, role: str = "") -> list[str]:
    return [f'keystead key {act} --tenant {tenant_id} --arn "$KEY_ARN"{role}' for act in ("validate", "configure")]


def _saved(documents: Mapping[str, Any], name: str) -> str:
    # The delimiter is not quoted, so that the shell puts its variables in; nothing else in a document is special to it.
    text = json.dumps(documents[name], indent=2)
    for placeholder, variable in _VARIABLES.items():
        text = text.replace(placeholder, variable)
    return f"cat > {name}.json <<EOF\n{text}\nEOF"
