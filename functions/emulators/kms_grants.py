"""Grants: a use of a key that outlives an edit of its policy. In force at once; the real ones may lag."""

from __future__ import annotations

from typing import Any

from functions.emulators.aws_errors import AwsError, invalid
from functions.emulators.key_ring import KeyRing, Request, dry_run, new_id
from functions.emulators.kms_keys import Grant, instant

OPERATIONS = frozenset(
    {
        *("Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo"),
        *("GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext", "CreateGrant", "RetireGrant", "DescribeKey"),
        *("Sign", "GetPublicKey"),
    }
)
CONSTRAINTS = frozenset({"EncryptionContextEquals", "EncryptionContextSubset"})


class Grants:
    """Operations on the grants of a key ring's keys."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def create_grant(self, request: Request) -> dict[str, Any]:
        """CreateGrant."""
        grantee, operations = request.text("GranteePrincipal"), request.params.get("Operations")
        constraints = request.params.get("Constraints") or {}
        if not isinstance(operations, list) or not operations or not {*operations} <= OPERATIONS:
            raise invalid("Value at 'operations' failed to satisfy constraint")
        if not grantee.startswith("arn:"):
            raise AwsError("InvalidArnException", f"Invalid principal {grantee}")
        if not isinstance(constraints, dict) or not {*constraints} <= CONSTRAINTS:
            raise invalid("Value at 'constraints' failed to satisfy constraint")
        key = self._ring.find(request)
        context = {name: value for pairs in constraints.values() for name, value in pairs.items()}
        values = {
            "kms:grantisforawsresource": ("false",),
            "kms:granteeprincipal": (grantee,),
            "kms:grantoperations": tuple(operations),
        }
        if constraints:
            values["kms:grantconstrainttype"] = tuple(constraints)
        self._ring.authorize(request, key, context=context, values=values)
        self._ring.require_enabled(request, key)
        if request.dry_run:
            raise dry_run()
        grant = Grant(
            new_id(),
            new_id("grant-"),
            grantee,
            tuple(operations),
            request.params.get("Name", ""),
            request.now,
            constraints.get("EncryptionContextEquals"),
            constraints.get("EncryptionContextSubset"),
        )
        key.grants[grant.grant_id] = grant
        return {"GrantToken": grant.token, "GrantId": grant.grant_id}

    def list_grants(self, request: Request) -> dict[str, Any]:
        """ListGrants, in one page."""
        key = self._ring.find(request)
        self._ring.authorize(request, key)
        return {
            "Grants": [
                {
                    "KeyId": key.arn,
                    "GrantId": grant.grant_id,
                    "Name": grant.name,
                    "CreationDate": instant(grant.created),
                    "GranteePrincipal": grant.grantee,
                    "Operations": [*grant.operations],
                }
                for grant in key.grants.values()
            ],
            "Truncated": False,
        }

    def revoke_grant(self, request: Request) -> dict[str, Any]:
        """RevokeGrant."""
        key = self._ring.find(request)
        self._ring.authorize(request, key)
        if request.dry_run:
            raise dry_run()
        if key.grants.pop(request.text("GrantId"), None) is None:
            raise AwsError("NotFoundException", "Grant ID not found")
        return {}
