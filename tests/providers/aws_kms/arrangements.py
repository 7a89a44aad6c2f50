"""Keys and roles as tenants set them up, rightly or wrongly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core.domain.kek import KeyAccess
from core.providers.aws_kms.setup_kit import key_policy, trust_policy
from functions.emulators.kms import CUSTOMER_ACCOUNT, LOCAL_PRINCIPAL, Fault
from tests.providers.aws_kms.stage import ROLE, TENANT, Stage

OURS = key_policy("aws", CUSTOMER_ACCOUNT, LOCAL_PRINCIPAL, TENANT)
ANY_EXTERNAL_ID = trust_policy(LOCAL_PRINCIPAL, "")
ANY_EXTERNAL_ID["Statement"][0]["Condition"] = {"StringLike": {"sts:ExternalId": "*"}}
Arrange = Callable[[Stage], KeyAccess]


def changed(policy: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    """A policy whose statement on cryptography has other values."""
    statements = [{**s, **values} if s["Sid"] == "KeysteadCrypto" else s for s in policy["Statement"]]
    return {**policy, "Statement": statements}


def bound_to(value: str, operator: str = "StringEquals") -> dict[str, Any]:
    return {operator: {"kms:EncryptionContext:tenant_id": value}}


def by_policy(**key: Any) -> Arrange:
    """Access by the policy of a key that is made so."""
    return lambda stage: stage.access(stage.key(**key))


def by_role(**role: Any) -> Arrange:
    """Access by a role that is made so."""

    def arrange(stage: Stage) -> KeyAccess:
        arn = stage.role_key()
        stage.role([arn], **role)
        return stage.role_access(arn)

    return arrange


def then(access: Arrange, act: Callable[[Stage, str], object]) -> Arrange:
    """The same, after something was done to the key."""

    def arrange(stage: Stage) -> KeyAccess:
        found = access(stage)
        act(stage, found.kek.locator)
        return found

    return arrange


def faulty(fault: Fault, access: Arrange | None = None) -> Arrange:
    return then(access or by_policy(), lambda stage, arn: stage.emulator.add_fault(fault))


def distrusting(trust: Mapping[str, Any]) -> Arrange:
    return then(by_role(), lambda stage, arn: stage.emulator.update_trust_policy(ROLE, trust))
