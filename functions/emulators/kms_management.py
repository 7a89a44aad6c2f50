"""The management operations of KMS: describing, enabling, rotating, deleting keys, and their policies."""

from __future__ import annotations

import json
import secrets
import uuid
from typing import Any

from functions.emulators.authorization import may
from functions.emulators.aws_errors import AwsError, denied, invalid
from functions.emulators.key_ring import KeyRing, Request
from functions.emulators.kms_keys import DAY, Key, instant, wrong_state
from functions.emulators.kms_specs import ENCRYPT, SYMMETRIC, check_usage
from functions.emulators.policies import Ask, parse

MAX_ON_DEMAND_ROTATIONS = 25


def default_policy(account: str) -> dict[str, Any]:
    """The policy of a key made without one: the account decides by identity policies."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Enable IAM User Permissions",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
                "Action": "kms:*",
                "Resource": "*",
            }
        ],
    }


def new_key_id(*, multi_region: bool) -> str:
    """A random key id."""
    return f"mrk-{secrets.token_hex(16)}" if multi_region else str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))


class Management:
    """Operations on a key ring."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def create_key(self, request: Request) -> dict[str, Any]:
        """CreateKey in the caller's account."""
        caller, params = request.caller, request.params
        self._require_identity(request, f"arn:aws:kms:{request.region}:{caller.account}:key/*")
        multi_region = params.get("MultiRegion") is True
        arn = f"arn:aws:kms:{request.region}:{caller.account}:key/{new_key_id(multi_region=multi_region)}"
        origin = params.get("Origin", "AWS_KMS")
        spec, usage = request.text("KeySpec", default=SYMMETRIC), request.text("KeyUsage", default=ENCRYPT)
        check_usage(spec, usage)
        key = Key(
            arn,
            parse(params.get("Policy") or default_policy(caller.account), "key"),
            request.now,
            spec=spec,
            usage=usage,
            origin=origin,
            custom_key_store_id=params.get("CustomKeyStoreId"),
            multi_region=multi_region,
            description=params.get("Description", ""),
            forced_state="PendingImport" if origin == "EXTERNAL" else None,
        )
        self._ring.add(key)
        request.resource_arn = arn
        return {"KeyMetadata": key.metadata(request.now)}

    def list_keys(self, request: Request) -> dict[str, Any]:
        """ListKeys of the caller's account and this Region, in one page."""
        self._require_identity(request, "*")
        here = (request.caller.account, request.region)
        keys = [key for key in self._ring.keys.values() if (key.account, key.region) == here]
        return {
            "Keys": [{"KeyId": key.key_id, "KeyArn": key.arn} for key in keys if not key.gone(request.now)],
            "Truncated": False,
        }

    def describe_key(self, request: Request) -> dict[str, Any]:
        """DescribeKey: allowed in every state, and without any encryption context."""
        return {"KeyMetadata": self._managed(request).metadata(request.now)}

    def get_key_rotation_status(self, request: Request) -> dict[str, Any]:
        """GetKeyRotationStatus."""
        key = self._managed(request)
        self._require_rotatable(key)
        found: dict[str, Any] = {"KeyRotationEnabled": key.rotation and key.deletion_date is None, "KeyId": key.arn}
        if found["KeyRotationEnabled"]:
            period = key.rotation_days * DAY
            turns = int((request.now - key.created) // period) + 1
            found |= {
                "RotationPeriodInDays": key.rotation_days,
                "NextRotationDate": instant(key.created + turns * period),
            }
        return found

    def enable_key_rotation(self, request: Request) -> dict[str, Any]:
        """EnableKeyRotation."""
        days = request.params.get("RotationPeriodInDays", 365)
        if type(days) is not int or not 90 <= days <= 2560:
            raise invalid("Value at 'rotationPeriodInDays' must be between 90 and 2560")
        key = self._rotatable(request)
        key.rotation, key.rotation_days = True, days
        return {}

    def disable_key_rotation(self, request: Request) -> dict[str, Any]:
        """DisableKeyRotation."""
        self._rotatable(request).rotation = False
        return {}

    def rotate_key_on_demand(self, request: Request) -> dict[str, Any]:
        """RotateKeyOnDemand: a new backing key; what older ones made still decrypts."""
        key = self._rotatable(request)
        if len(key.backing) > MAX_ON_DEMAND_ROTATIONS:
            raise AwsError("LimitExceededException", "the key was rotated on demand 25 times")
        key.backing.append(secrets.token_bytes(32))
        return {"KeyId": key.key_id}

    def disable_key(self, request: Request) -> dict[str, Any]:
        """DisableKey."""
        self._changeable(request).enabled = False
        return {}

    def enable_key(self, request: Request) -> dict[str, Any]:
        """EnableKey."""
        self._changeable(request).enabled = True
        return {}

    def schedule_key_deletion(self, request: Request) -> dict[str, Any]:
        """ScheduleKeyDeletion."""
        days = request.params.get("PendingWindowInDays", 30)
        if type(days) is not int or not 7 <= days <= 30:
            raise invalid("Value at 'pendingWindowInDays' must be between 7 and 30")
        key = self._managed(request)
        if key.deletion_date is not None:
            raise wrong_state(key.arn, "PendingDeletion")
        key.deletion_date, key.deletion_days = request.now + days * DAY, days
        return {
            "KeyId": key.arn,
            "DeletionDate": instant(key.deletion_date),
            "KeyState": "PendingDeletion",
            "PendingWindowInDays": days,
        }

    def cancel_key_deletion(self, request: Request) -> dict[str, Any]:
        """CancelKeyDeletion: the key is disabled then, not enabled."""
        key = self._managed(request)
        if key.deletion_date is None:
            raise wrong_state(key.arn, f"not pending deletion but {key.state(request.now)}")
        key.deletion_date, key.enabled = None, False
        return {"KeyId": key.arn}

    def get_key_policy(self, request: Request) -> dict[str, Any]:
        """GetKeyPolicy: never across accounts."""
        return {"Policy": json.dumps(self._managed(request).policy.document, indent=2), "PolicyName": "default"}

    def put_key_policy(self, request: Request) -> dict[str, Any]:
        """PutKeyPolicy, without the lock-out safety check. It is in force at once; the real one may lag."""
        policy = parse(request.text("Policy"), "key")
        self._managed(request).policy = policy
        return {}

    def _managed(self, request: Request) -> Key:
        key = self._ring.find(request)
        self._ring.authorize(request, key)
        return key

    def _changeable(self, request: Request) -> Key:
        key = self._managed(request)
        state = key.state(request.now)
        if state not in ("Enabled", "Disabled"):
            raise wrong_state(key.arn, state)
        return key

    def _rotatable(self, request: Request) -> Key:
        key = self._managed(request)
        self._ring.require_enabled(request, key)
        self._require_rotatable(key)
        if key.origin == "EXTERNAL":
            raise AwsError("UnsupportedOperationException", f"{key.arn} origin is EXTERNAL")
        return key

    def _require_rotatable(self, key: Key) -> None:
        if key.spec != SYMMETRIC or key.custom_key_store_id is not None:
            raise AwsError("UnsupportedOperationException", f"{key.arn} cannot be rotated by KMS")

    def _require_identity(self, request: Request, resource: str) -> None:
        caller = request.caller
        values = caller.values(request.now, request.region)
        ask = Ask(f"kms:{request.operation}", resource, caller.principals, caller.account, values)
        if not may(caller, ask, None, caller.account):
            raise denied(caller.arn, ask.action, resource)
