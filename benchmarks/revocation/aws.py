"""Customers of the emulated AWS: their keys and roles, and what they do with them through the control API."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.revocation.acts import Act, OwnKey, Tenant
from benchmarks.revocation.documented import IAM_CHANGED, KMS_CHANGED, KMS_DISABLED, OURS, TRUST_CHANGED
from core.domain.canaries import Canary
from functions.emulators.kms import CUSTOMER_ACCOUNT, LOCAL_PRINCIPAL

CLOUD = "AWS emulator"
KILL_SWITCH, LEASE_0 = "kill-switch", "aws-lease-0"
"""Tenants."""
CANARY_ACCOUNT, CANARY_EXTERNAL_ID = "444455556666", "of-the-canary-9f3f31dee6915899"
_NOBODY = {"AWS": "arn:aws:iam::777788889999:root"}


def policy(*statements: Mapping[str, Any]) -> dict[str, Any]:
    """A policy document."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def filled(document: Any, account: str, arn: str = "") -> Any:
    """A document of a setup kit with its placeholders replaced, as its steps say."""
    return json.loads(json.dumps(document).replace("<YOUR-ACCOUNT>", account).replace("<KEY-ARN>", arn))


@dataclass(frozen=True, slots=True)
class AwsCustomers:
    """Customers.

    Attributes:
        url: Of the emulator.
    """

    url: str

    def do(self, name: str, /, **body: Any) -> dict[str, Any]:
        """Have the emulator do something."""
        answer = httpx.post(f"{self.url}/_emulator/{name}", json=body, trust_env=False, timeout=30)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def direct_key(self, tenant: Tenant) -> tuple[str, dict[str, Any]]:
        """A key whose policy names the service; gives its ARN and its policy."""
        kit = tenant.client.key_setup(tenant.id, "aws_kms")
        named = filled(kit.documents["key_policy"], CUSTOMER_ACCOUNT)
        return self.do("create-key", account=CUSTOMER_ACCOUNT, policy=named)["arn"], named

    def disabled(self, tenant: Tenant) -> OwnKey:
        """A key to be disabled."""
        arn, _ = self.direct_key(tenant)
        return self._own(arn, lambda: self.do("disable-key", arn=arn), lambda: self.do("enable-key", arn=arn))

    def scheduled(self, tenant: Tenant) -> OwnKey:
        """A key whose deletion is to be scheduled."""
        arn, _ = self.direct_key(tenant)

        def cancel() -> None:
            self.do("cancel-key-deletion", arn=arn)
            self.do("enable-key", arn=arn)

        return self._own(arn, lambda: self.do("schedule-key-deletion", arn=arn, days=7), cancel)

    def denied(self, tenant: Tenant) -> OwnKey:
        """A key whose policy is to deny the service."""
        arn, named = self.direct_key(tenant)
        deny = {"Effect": "Deny", "Principal": {"AWS": LOCAL_PRINCIPAL}, "Action": "kms:*", "Resource": "*"}
        denying = policy(*named["Statement"], deny)
        return self._own(
            arn,
            lambda: self.do("put-key-policy", arn=arn, policy=denying),
            lambda: self.do("put-key-policy", arn=arn, policy=named),
        )

    def untrusted(self, tenant: Tenant) -> OwnKey:
        """A key behind a role that is to trust the service no more."""
        role, arn, trust, _ = self._behind_role(tenant)
        nobody = policy({"Effect": "Allow", "Principal": _NOBODY, "Action": "sts:AssumeRole"})
        return self._own(
            arn,
            lambda: self.do("update-trust-policy", arn=role, trust_policy=nobody),
            lambda: self.do("update-trust-policy", arn=role, trust_policy=trust),
            role,
        )

    def without_role(self, tenant: Tenant) -> OwnKey:
        """A key behind a role that is to be deleted."""
        role, arn, trust, policies = self._behind_role(tenant)
        return self._own(
            arn,
            lambda: self.do("delete-role", arn=role),
            lambda: self.do("create-role", arn=role, trust_policy=trust, policies=policies),
            role,
        )

    def suspended(self, tenant: Tenant) -> OwnKey:
        """A key that stays as it is: the tenant turns the service's kill switch."""
        arn, _ = self.direct_key(tenant)
        return self._own(
            arn,
            lambda: tenant.client.suspend_key(tenant.id, reason="a drill"),
            lambda: tenant.client.resume_key(tenant.id),
        )

    def canaries(self) -> list[Canary]:
        """Keys of the operator's own, reached as the customers' are: by their policy, and by a role."""
        may = {"Action": ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"], "Resource": "*"}
        root = {"AWS": f"arn:aws:iam::{CANARY_ACCOUNT}:root"}
        administered = {"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}
        lets_us = {"Effect": "Allow", "Principal": {"AWS": LOCAL_PRINCIPAL}, **may}
        direct = self.do("create-key", account=CANARY_ACCOUNT, policy=policy(administered, lets_us))["arn"]
        behind = self.do("create-key", account=CANARY_ACCOUNT, policy=policy(administered))["arn"]
        role = f"arn:aws:iam::{CANARY_ACCOUNT}:role/canary"
        condition = {"StringEquals": {"sts:ExternalId": CANARY_EXTERNAL_ID}}
        trusts = {"Effect": "Allow", "Principal": {"AWS": LOCAL_PRINCIPAL}, "Action": "sts:AssumeRole"}
        trust, uses = policy({**trusts, "Condition": condition}), policy({"Effect": "Allow", **may})
        self.do("create-role", arn=role, trust_policy=trust, policies={"uses": uses})
        return [Canary(direct), Canary(behind, role, external_id=CANARY_EXTERNAL_ID)]

    def _behind_role(self, tenant: Tenant) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
        documents = tenant.client.key_setup(tenant.id, "aws_kms").documents
        own = filled(documents["key_policy_for_role"], CUSTOMER_ACCOUNT)
        arn = self.do("create-key", account=CUSTOMER_ACCOUNT, policy=own)["arn"]
        role = f"arn:aws:iam::{CUSTOMER_ACCOUNT}:role/{tenant.id}"
        trust = filled(documents["trust_policy"], CUSTOMER_ACCOUNT)
        policies = {"keystead": filled(documents["role_policy"], CUSTOMER_ACCOUNT, arn)}
        self.do("create-role", arn=role, trust_policy=trust, policies=policies)
        return role, arn, trust, policies

    @staticmethod
    def _own(arn: str, withdraw: Callable[[], object], give_back: Callable[[], object], role: str = "") -> OwnKey:
        target = {"provider": "aws_kms", "key_arn": arn, "role_arn": role}
        return OwnKey(target, frozenset(filter(None, (arn, role))), withdraw, give_back)


def acts(customers: AwsCustomers) -> tuple[Act, ...]:
    """Every way that the emulator of AWS knows, the next call after one, and the kill switch."""
    return (
        Act("key disabled", "aws-disabled", CLOUD, customers.disabled, KMS_DISABLED),
        Act("deletion scheduled", "aws-scheduled", CLOUD, customers.scheduled, KMS_CHANGED, cause="pending_deletion"),
        Act("key policy denies", "aws-denied", CLOUD, customers.denied, KMS_CHANGED, cause="policy"),
        Act("trust policy changed", "aws-untrusted", CLOUD, customers.untrusted, TRUST_CHANGED, cause="identity"),
        Act("role deleted", "aws-role-deleted", CLOUD, customers.without_role, IAM_CHANGED, cause="identity"),
        Act("key disabled, lease 0", LEASE_0, CLOUD, customers.disabled, KMS_DISABLED, lease=0),
        Act(
            "kill switch",
            KILL_SWITCH,
            "this service",
            customers.suspended,
            OURS,
            cause="",
            state="suspended",
            code="key_suspended",
            kill_switch=True,
        ),
    )
