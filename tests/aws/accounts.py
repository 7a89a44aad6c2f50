"""Our account, and a customer's with a key and a role in it, in the emulated AWS."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from core.domain.kek import Kek, KeyAccess
from core.providers.aws_kms import AwsKms, AwsSettings
from core.providers.system_clock import SystemClock
from tests.aws.ministack import REGION, Ministack

PLATFORM, CUSTOMER = "111111111111", "222222222222"
USER, POLICY = "keystead", "use-the-key"
ACTIONS = ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey", "kms:GetKeyRotationStatus"]


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@dataclass(frozen=True)
class Platform:
    """Our own account: a user that may assume roles, and the endpoint it uses."""

    arn: str
    credentials: tuple[str, str] = field(repr=False)
    endpoint: str
    plain_endpoint: str

    def kms(self, endpoint: str = "") -> AwsKms:
        key_id, secret = self.credentials
        settings = AwsSettings(
            regions=frozenset({REGION}),
            endpoint_url=endpoint or self.endpoint,
            access_key_id=key_id,
            secret_access_key=secret,
        )
        return AwsKms(settings, SystemClock())


@dataclass
class Customer:
    """A customer's account with a key, and a role that we may assume under an external id."""

    server: Ministack
    user_arn: str
    role: str
    external_id: str
    role_arn: str = ""
    key_arn: str = ""

    @cached_property
    def iam(self) -> Any:
        return self.server.client("iam", (CUSTOMER, "test"))

    @cached_property
    def kms(self) -> Any:
        return self.server.client("kms", (CUSTOMER, "test"))

    def set_up(self) -> None:
        trust = self.trust(self.external_id)
        self.role_arn = self.iam.create_role(RoleName=self.role, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        self.key_arn = self.kms.create_key()["KeyMetadata"]["Arn"]
        self.allow()

    def trust(self, external_id: str | None) -> str:
        condition = {} if external_id is None else {"Condition": {"StringEquals": {"sts:ExternalId": external_id}}}
        return document(
            {"Effect": "Allow", "Principal": {"AWS": self.user_arn}, "Action": "sts:AssumeRole", **condition}
        )

    def access(self, *, external_id: str = "", lease: float = 0) -> KeyAccess:
        return KeyAccess("acme", 1, Kek(self.key_arn), self.role_arn, external_id or self.external_id, lease)

    # What the customer may do at any time

    def allow(self) -> None:
        policy = document({"Effect": "Allow", "Action": ACTIONS, "Resource": self.key_arn})
        self.iam.put_role_policy(RoleName=self.role, PolicyName=POLICY, PolicyDocument=policy)

    def remove_role_policy(self) -> None:
        self.iam.delete_role_policy(RoleName=self.role, PolicyName=POLICY)

    def deny_in_key_policy(self) -> None:
        self._put_key_policy(
            {"Effect": "Deny", "Principal": {"AWS": self.role_arn}, "Action": "kms:*", "Resource": "*"}
        )

    def restore_key_policy(self) -> None:
        self._put_key_policy()

    def delete_role(self) -> None:
        self.remove_role_policy()
        self.iam.delete_role(RoleName=self.role)

    def restore_role(self) -> None:
        self.iam.create_role(RoleName=self.role, AssumeRolePolicyDocument=self.trust(self.external_id))
        self.allow()

    def set_trust(self, external_id: str | None) -> None:
        self.iam.update_assume_role_policy(RoleName=self.role, PolicyDocument=self.trust(external_id))

    def change_trust(self) -> None:
        self.set_trust("another")

    def restore_trust(self) -> None:
        self.set_trust(self.external_id)

    def disable(self) -> None:
        self.kms.disable_key(KeyId=self.key_arn)

    def enable(self) -> None:
        self.kms.enable_key(KeyId=self.key_arn)

    def schedule_deletion(self) -> None:
        self.kms.schedule_key_deletion(KeyId=self.key_arn, PendingWindowInDays=7)

    def cancel_deletion(self) -> None:
        self.kms.cancel_key_deletion(KeyId=self.key_arn)
        self.enable()

    def _put_key_policy(self, *more: dict[str, Any]) -> None:
        root = {"AWS": f"arn:aws:iam::{CUSTOMER}:root"}
        policy = document({"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}, *more)
        self.kms.put_key_policy(KeyId=self.key_arn, PolicyName="default", Policy=policy)
