"""The calls about a tenant's key."""

from __future__ import annotations

import re

from core.client import key_documents, key_values
from core.client.calls import Calls, tenant_path
from core.client.key_documents import KeyExport, SetupKit
from core.client.key_values import KeyConfigured, KeyStatus, Report, Rotation
from core.errors import InvalidRequest

PATIENCE = 90.0
"""Seconds that examining a key and moving branch keys may take."""
_PROVIDER = re.compile(r"[a-z][a-z0-9_]{0,63}")


class KeyCalls(Calls):
    """Brings, examines, shows, moves and exports a tenant's key."""

    def key_status(self, tenant_id: str) -> KeyStatus:
        """Status of a tenant's key."""
        return key_values.key_status(self._json("GET", _key(tenant_id)))

    def configure_key(
        self,
        tenant_id: str,
        *,
        provider: str,
        key_arn: str,
        role_arn: str = "",
        nickname: str = "",
        activation_date: str = "",
        reversible: bool = False,
    ) -> KeyConfigured:
        """Put a tenant under a key of its own, or under another. Repeated, it goes on where it was interrupted.

        Args:
            tenant_id: The tenant.
            provider: The cloud: ``aws_kms``.
            key_arn: ARN of the KMS key; never an alias.
            role_arn: The role to assume to reach it; "" where the key's own policy names the service.
            nickname: For people.
            activation_date: ISO 8601 date or instant, UTC without an offset; "" for at once.
            reversible: Whether going back to the platform's key stays possible; fixed with the first key.

        Raises:
            KeyCheckFailed: The key did not pass its examination, which is in the error; nothing was changed.
        """
        body = _body(provider, key_arn, role_arn, nickname, activation_date, reversible=reversible)
        return key_values.key_configured(self._json("PUT", _key(tenant_id), body, patience=PATIENCE))

    def validate_key(
        self,
        tenant_id: str,
        *,
        provider: str,
        key_arn: str,
        role_arn: str = "",
        nickname: str = "",
        activation_date: str = "",
        reversible: bool = False,
    ) -> Report:
        """Examine a key without putting it to use. Arguments as in `configure_key`."""
        body = _body(provider, key_arn, role_arn, nickname, activation_date, reversible=reversible)
        return key_values.report(self._json("POST", _key(tenant_id) + "/validate", body, patience=PATIENCE))

    def revert_key(self, tenant_id: str) -> KeyStatus:
        """Cancel a scheduled key, or go back to the platform's. Repeated only if the request was never sent."""
        answer = self._json("DELETE", _key(tenant_id), idempotent=False, patience=PATIENCE)
        return key_values.key_status(answer)

    def check_key(self, tenant_id: str) -> KeyStatus:
        """Have done what is due: a scheduled key activated, an interrupted change finished."""
        return key_values.key_status(self._json("POST", _key(tenant_id) + "/check", {}, patience=PATIENCE))

    def key_setup(self, tenant_id: str, provider: str) -> SetupKit:
        """What a tenant does in its own cloud to let the service use a key.

        Args:
            tenant_id: The tenant.
            provider: The cloud: ``aws_kms``.

        Raises:
            InvalidRequest: That is no cloud's name.
        """
        if not _PROVIDER.fullmatch(provider):
            raise InvalidRequest("a provider's name is lower-case letters, digits and underscores")
        return key_documents.setup_kit(self._json("GET", f"{_key(tenant_id)}/setup/{provider}"))

    def key_export(self, tenant_id: str) -> KeyExport:
        """A tenant's wrapped branch key rows, for reading messages without the service."""
        return key_documents.key_export(self._json("GET", _key(tenant_id) + "/export"))

    def rotate(self, tenant_id: str) -> Rotation:
        """Make a new ACTIVE version of a tenant's branch key. Repeated only if the request was never sent."""
        return key_values.rotation(self._json("POST", _key(tenant_id) + "/rotate", {}, idempotent=False))


def _key(tenant_id: str) -> str:
    return tenant_path(tenant_id) + "/key"


def _body(
    provider: str, key_arn: str, role_arn: str, nickname: str, activation_date: str, *, reversible: bool
) -> dict[str, object]:
    given = {"role_arn": role_arn, "nickname": nickname, "activation_date": activation_date}
    body: dict[str, object] = {"provider": provider, "key_arn": key_arn}
    body |= {name: value for name, value in given.items() if value}
    return {**body, "reversible": True} if reversible else body
