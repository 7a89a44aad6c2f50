"""What a tenant asks for when it configures a key: plain values, checked for form only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.domain.arns import KeyArn, RoleArn
from core.domain.branch_keys import CREATE_TIME_FORMAT
from core.domain.instants import parse_instant
from core.domain.kek import Kek
from core.domain.vaults import VaultKey, entra_tenant
from core.errors import InvalidRequest

MAX_NICKNAME = 100
FIRST_YEAR, LAST_YEAR = 2020, 2200
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?"
_DATE_OR_INSTANT = re.compile(f"{_DATE}(?:[Tt ]{_TIME})?")


@dataclass(frozen=True, slots=True)
class KeyTarget:
    """The KEK a tenant wants to be protected by.

    Attributes:
        locator: As in `Kek`.
        role_arn: The role to assume to reach it; "" where the key's own policy names this service.
        nickname: For people; may be empty.
        activation: UTC, ``CREATE_TIME_FORMAT``: from when on it serves; "" for at once.
        reversible: Whether going back to the platform's key stays possible. Fixed at enablement.
        custom_key_store: Not asked for but seen at its examination; see `core.domain.bindings.Binding`.
        unbound_policy: Likewise.
        entra_tenant: Azure: id of the Entra tenant that the vault belongs to, a lower-case GUID.
    """

    locator: str
    role_arn: str = ""
    nickname: str = ""
    activation: str = ""
    reversible: bool = False
    custom_key_store: bool = False
    unbound_policy: bool = False
    entra_tenant: str = ""

    @property
    def kek(self) -> Kek:
        """The KEK."""
        return Kek(self.locator)

    def check(self) -> KeyTarget:
        """Give the target back if it is well formed.

        Raises:
            InvalidRequest: A field is not what it must be.
        """
        if len(self.nickname) > MAX_NICKNAME or not self.nickname.isprintable():
            raise InvalidRequest(f"a key's nickname has at most {MAX_NICKNAME} printable characters")
        if self.activation:
            parse_instant(self.activation)
        provider = self.kek.provider
        if self.role_arn and provider != "aws_kms":
            raise InvalidRequest("a role is assumed for keys in AWS KMS only")
        if self.entra_tenant and provider != "azure_key_vault":
            raise InvalidRequest("an Entra tenant is named for keys in Azure Key Vault only")
        if provider == "aws_kms":
            key = KeyArn.parse(self.locator)
            if self.role_arn and RoleArn.parse(self.role_arn).partition != key.partition:
                raise InvalidRequest("the role and the key lie in different partitions of AWS")
        elif provider == "azure_key_vault":
            self._check_azure()
        return self

    def _check_azure(self) -> None:
        if entra_tenant(self.entra_tenant) != self.entra_tenant:
            raise InvalidRequest("the id of an Entra tenant is kept in lower case")
        if str(VaultKey.parse(self.locator).key) != self.locator:
            raise InvalidRequest("a key in Azure Key Vault is configured without its version, in lower case")

    def to_body(self) -> dict[str, Any]:
        """JSON form."""
        return self._azure() | {
            "locator": self.locator,
            "role_arn": self.role_arn,
            "nickname": self.nickname,
            "activation": self.activation,
            "reversible": self.reversible,
            "custom_key_store": self.custom_key_store,
            "unbound_policy": self.unbound_policy,
        }

    def _azure(self) -> dict[str, Any]:
        # Left out where there is none: processes of before keys in Azure read the record, too.
        return {"entra_tenant": self.entra_tenant} if self.entra_tenant else {}

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> KeyTarget:
        """Read the JSON form.

        Raises:
            TypeError, InvalidRequest: It is none.
        """
        target = cls(**body)
        texts = (target.locator, target.role_arn, target.nickname, target.activation, target.entra_tenant)
        flags = (target.reversible, target.custom_key_store, target.unbound_policy)
        if not all(type(text) is str for text in texts) or not all(type(flag) is bool for flag in flags):
            raise TypeError("a field has another type")
        return target.check()


def activation_time(text: str) -> str:
    """An instant or a date as a caller writes it, in the one form that is stored.

    Args:
        text: A date, or a date and time, of ISO 8601; without an offset it counts as UTC, a bare date as its first
            instant.

    Raises:
        InvalidRequest: It is no instant, or out of all reason.
    """
    try:
        if not _DATE_OR_INSTANT.fullmatch(text):
            raise ValueError
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(
            "the activation date is not in ISO 8601", hint="write 2027-01-31 or 2027-01-31T08:00:00Z"
        ) from None
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise InvalidRequest(f"the activation date lies outside of the years {FIRST_YEAR} to {LAST_YEAR}")
    return found.strftime(CREATE_TIME_FORMAT)
