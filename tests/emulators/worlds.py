"""An emulated AWS with a vendor, a customer and a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.emulators.kms import (
    CUSTOMER_ACCOUNT,
    DEFAULT_REGION,
    LOCAL_ACCESS_KEY_ID,
    LOCAL_PRINCIPAL,
    LOCAL_SECRET_ACCESS_KEY,
    KmsEmulator,
)

START = 1_800_000_000.0
CUSTOMER_KEY = "customer-admin"
CUSTOMER = f"arn:aws:iam::{CUSTOMER_ACCOUNT}:user/admin"
ROLE = f"arn:aws:iam::{CUSTOMER_ACCOUNT}:role/security/byok"
CONTEXT = {"tenant_id": "acme"}
USE = ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
Document = dict[str, Any]


def statement(principal: str | None, actions: str | list[str], condition: Mapping[str, Any] | None = None) -> Document:
    """An Allow of actions on everything; ``principal`` None for identity policies."""
    found: Document = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    if principal is not None:
        found["Principal"] = {"AWS": principal}
    return {**found, "Condition": condition} if condition else found


def policy(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": [*statements]}


def bound(principal: str = LOCAL_PRINCIPAL) -> Document:
    """The recommended key policy: one principal, one tenant, DescribeKey in a statement of its own."""
    condition = {"StringEquals": {"kms:EncryptionContext:tenant_id": "acme"}}
    return policy(
        statement(principal, USE, condition), statement(principal, ["kms:DescribeKey", "kms:GetKeyRotationStatus"])
    )


def open_to(principal: str = LOCAL_PRINCIPAL) -> Document:
    return policy(statement(principal, "kms:*"))


def trust(principal: str = LOCAL_PRINCIPAL, condition: Mapping[str, Any] | None = None) -> Document:
    found = statement(principal, "sts:AssumeRole", condition)
    del found["Resource"]
    return policy(found)


@dataclass
class World:
    """An emulator and its clock."""

    time: float = START
    slept: list[float] = field(default_factory=list)
    emulator: KmsEmulator = field(init=False)

    def __post_init__(self) -> None:
        self.emulator = KmsEmulator(now=lambda: self.time, sleep=self.slept.append)
        self.emulator.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL)
        self.emulator.add_principal(CUSTOMER_KEY, "secret", CUSTOMER)

    @property
    def kms(self) -> Any:
        """The vendor's client."""
        return self.emulator.client("kms", LOCAL_ACCESS_KEY_ID)

    @property
    def sts(self) -> Any:
        """The vendor's client."""
        return self.emulator.client("sts", LOCAL_ACCESS_KEY_ID)

    @property
    def customer(self) -> Any:
        """The customer's own client."""
        return self.emulator.client("kms", CUSTOMER_KEY)

    def key(self, document: Document | None = None, **given: Any) -> str:
        return self.emulator.create_key(policy=document or bound(), **given)

    def assume(self, role: str = ROLE, **given: Any) -> Any:
        """A KMS client with a session of a role."""
        answer = self.sts.assume_role(RoleArn=role, RoleSessionName="keystead", **given)
        return self.emulator.client("kms", answer["Credentials"]["AccessKeyId"], DEFAULT_REGION)


def code_of(call: Callable[[], Any]) -> str:
    """The code a call is refused with; "" if it is not."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def refused(code: str, call: Callable[[], Any]) -> ClientError:
    """Assert that a call is refused with a code."""
    with pytest.raises(ClientError) as caught:
        call()
    assert caught.value.response["Error"]["Code"] == code
    return caught.value
