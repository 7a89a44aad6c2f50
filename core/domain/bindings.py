"""How a tenant's rows hang on its KEKs: which KEK, reached how, counting from which configuration on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Binding:
    """What is known of a KEK beside its locator.

    Attributes:
        role_arn: AWS: the role to assume to reach it; "" where its own policy names this service.
        since: Lowest configuration revision that a row under it may name. A row of an earlier time under the same KEK
            is a restored one.
        nickname: For people.
        custom_key_store: Whether it lies in a custom or external key store: withdrawals look like silence there, so
            there is no outage grace.
        unbound_policy: Whether its policy was not bound to the tenant when it was put to use, by the operator's word.
        entra_tenant: Azure: id of the Entra tenant that its vault belongs to.
    """

    role_arn: str = ""
    since: int = 1
    nickname: str = ""
    custom_key_store: bool = False
    unbound_policy: bool = False
    entra_tenant: str = ""

    def to_body(self) -> dict[str, Any]:
        """JSON form."""
        return self._azure() | {
            "role_arn": self.role_arn,
            "since": self.since,
            "nickname": self.nickname,
            "custom_key_store": self.custom_key_store,
            "unbound_policy": self.unbound_policy,
        }

    def _azure(self) -> dict[str, Any]:
        # Left out where there is none: processes of before keys in Azure read the record, too.
        return {"entra_tenant": self.entra_tenant} if self.entra_tenant else {}

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Binding:
        """Read the JSON form.

        Raises:
            TypeError: It is none.
        """
        found = cls(**body)
        if not (
            all(type(text) is str for text in (found.role_arn, found.nickname, found.entra_tenant))
            and type(found.since) is int
            and found.since >= 1
            and all(type(flag) is bool for flag in (found.custom_key_store, found.unbound_policy))
        ):
            raise TypeError("a field has another type")
        return found


UNBOUND = Binding()
"""Of the platform's own KEK, from a tenant's first configuration on."""


@dataclass(frozen=True, slots=True)
class LostKek:
    """A former KEK that refused while its rows were to be rewrapped: they wait under it until it returns.

    Attributes:
        locator: As in `Kek`.
        binding: How it is reached.
    """

    locator: str
    binding: Binding

    def to_body(self) -> dict[str, Any]:
        """JSON form."""
        return {"locator": self.locator, "binding": self.binding.to_body()}

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> LostKek:
        """Read the JSON form.

        Raises:
            KeyError, TypeError: It is none.
        """
        found = cls(body["locator"], Binding.from_body(body["binding"]))
        if type(found.locator) is not str or body.keys() != {"locator", "binding"}:
            raise TypeError("a field has another type")
        return found
